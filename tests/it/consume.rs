//! Other consumers of the topic: `etl consume`, and the examples in Rust and Python.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use end_to_end::pipeline::Pipeline;
use end_to_end::{cli, pypi, shop};
use fluvio::config::ConfigFile;
use fluvio::{Compression, Fluvio, TopicProducerConfigBuilder};
use local_stack::artefacts::Artefacts;
use local_stack::{Part, StackOptions};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// The records of the test with kills, of [`VALUE`] bytes each.
const RECORDS: usize = 100_000;
const VALUE: usize = 1_700;
const KILLS: usize = 5;
const LIMIT: Duration = Duration::from_secs(180);

async fn within<T>(task: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, task)
        .await
        .expect("it ends in time")
}

/// The value of a record, which compresses by about half.
fn value(number: usize) -> String {
    let mut value = format!("{number} ");
    let mut state = number as u64 + 1;
    while value.len() < VALUE {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        value.push_str(&format!("{:08x}", state >> 32));
    }
    value
}

/// Appends records to the topic.
async fn produce(pipeline: &Pipeline, numbers: std::ops::Range<usize>, compression: Compression) {
    let profile = pipeline.stack.profile().display().to_string();
    let file = ConfigFile::load(Some(profile)).unwrap();
    let cluster = file.config().current_cluster().unwrap();
    let client = Fluvio::connect_with_config(cluster).await.unwrap();
    let config = TopicProducerConfigBuilder::default()
        .compression(compression)
        .build()
        .unwrap();
    let topic = pipeline.stack.topic();
    let producer = client.topic_producer_with_config(topic, config).await;
    let producer = producer.unwrap();
    for number in numbers {
        let sent = producer.send(format!("key-{number}"), value(number)).await;
        sent.unwrap();
        if number % 1_000 == 0 {
            producer.flush().await.unwrap();
        }
    }
    producer.flush().await.unwrap();
}

fn etl(pipeline: &Pipeline, args: &[&str]) -> Command {
    let mut command = cli::command().unwrap();
    command
        .args(["consume", "--topic", pipeline.stack.topic()])
        .args(args)
        .env("FLV_PROFILE_PATH", pipeline.stack.profile());
    command
}

/// The lines of `etl consume` that ends by itself, and its exit code.
async fn lines(pipeline: &Pipeline, args: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = within(etl(pipeline, args).output()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), lines.collect())
}

async fn next_line(output: &mut BufReader<tokio::process::ChildStdout>) -> Option<String> {
    let mut line = String::new();
    within(output.read_line(&mut line)).await.unwrap();
    // A line without its end is not whole.
    Some(line.strip_suffix('\n')?.to_owned())
}

fn spawn(mut command: Command) -> (Child, BufReader<tokio::process::ChildStdout>) {
    let spawned = command.stdout(Stdio::piped()).kill_on_drop(true).spawn();
    let mut child = spawned.unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// Runs a consumer that keeps its position in a file and kills it several times, until it has
/// printed each record. `parse` returns the offset and the value in a line.
async fn sees_all_through_kills(
    consumer: impl Fn(&Path) -> Command,
    parse: impl Fn(&str) -> (usize, String),
) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("position");
    let mut seen = vec![false; RECORDS];
    let mut count = 0;
    for kill in 1..=KILLS + 1 {
        let (mut child, mut output) = spawn(consumer(&file));
        let before = count;
        let mut first = None;
        let enough = kill * RECORDS / (KILLS + 1);
        let mut is_killed = false;
        while let Some(line) = next_line(&mut output).await {
            let (offset, found) = parse(&line);
            let expected = first.map_or(offset, |first: usize| first + 1);
            assert_eq!(offset, expected, "offsets are contiguous");
            first = Some(offset);
            assert!(found == value(offset), "offset {offset}: {found}");
            count += usize::from(!std::mem::replace(&mut seen[offset], true));
            if count >= enough && !is_killed {
                child.start_kill().unwrap();
                is_killed = true;
            }
        }
        within(child.wait()).await.unwrap();
        assert!(is_killed && count > before, "run {kill} ended at {count}");
    }
    assert_eq!(seen.iter().filter(|seen| !**seen).count(), 0);
}

/// Counts the records that a plain consumer gets.
const PLAIN: &str = r#"
import sys
from fluvio import ConsumerConfig, Fluvio, Offset
config = ConsumerConfig()
config.disable_continuous()
consumer = Fluvio.connect().partition_consumer(sys.argv[1], 0)
print(sum(1 for _ in consumer.stream_with_config(Offset.beginning(), config)))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn each_way_sees_every_record_of_responses_that_are_cut_through_kills() {
    let mut pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    for part in [Part::Source, Part::Sink] {
        pipeline.stack.stop_part(part).await.unwrap();
    }
    let plain_records = RECORDS / 2;
    produce(&pipeline, 0..plain_records, Compression::None).await;

    let python = |args: &[&str]| {
        let mut command = Command::new(pypi::program("python"));
        command
            .args(args)
            .env("FLV_PROFILE_PATH", pipeline.stack.profile());
        command
    };
    let topic = pipeline.stack.topic();
    let plain = within(python(&["-c", PLAIN, topic]).output())
        .await
        .unwrap();
    let plain: usize = String::from_utf8(plain.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(
        plain < plain_records,
        "responses are cut, so a plain consumer does not get every record: {plain}"
    );

    produce(&pipeline, plain_records..RECORDS, Compression::Gzip).await;
    let tab = |line: &str| {
        let (offset, value) = line.split_once('\t').unwrap();
        (offset.parse().unwrap(), value.to_owned())
    };
    let json = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let offset = line["offset"].as_u64().unwrap() as usize;
        assert_eq!(line["key"], format!("key-{offset}"));
        (offset, line["value"].as_str().unwrap().to_owned())
    };
    let state = |file: &Path| etl(&pipeline, &["--state", file.to_str().unwrap()]);
    sees_all_through_kills(state, json).await;
    let example = Artefacts::find().unwrap().program("consume-example");
    let rust = |file: &Path| {
        let mut command = Command::new(&example);
        command
            .args([topic, "0", file.to_str().unwrap()])
            .env("FLV_PROFILE_PATH", pipeline.stack.profile());
        command
    };
    sees_all_through_kills(rust, tab).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/consume.py");
    let python = |file: &Path| python(&[script, topic, "0", file.to_str().unwrap()]);
    sees_all_through_kills(python, tab).await;
    pipeline.stack.stop().await.unwrap();
}

/// The offsets of the lines by partition.
fn offsets(lines: &[Value]) -> HashMap<u64, Vec<i64>> {
    let mut offsets: HashMap<u64, Vec<i64>> = HashMap::new();
    for line in lines {
        let of_partition = offsets.entry(line["partition"].as_u64().unwrap());
        of_partition
            .or_default()
            .push(line["offset"].as_i64().unwrap());
    }
    offsets
}

#[tokio::test(flavor = "multi_thread")]
async fn records_and_facts_are_those_of_the_topic_from_any_position() {
    let options = StackOptions {
        partitions: Some(2),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    let mut bodies = shop::bodies(63, 600);
    bodies.push("no event at all".to_owned());
    pipeline.send(&bodies).await.unwrap();
    pipeline.arrived().await.unwrap();

    let (code, records) = lines(&pipeline, &["--end"]).await;
    assert_eq!(code, Some(0));
    let mut found: Vec<_> = records
        .iter()
        .map(|it| it["value"].as_str().unwrap())
        .collect();
    found.sort_unstable();
    bodies.sort_unstable();
    assert!(found == bodies, "each body is a line");
    for (partition, offsets) in offsets(&records) {
        let expected = Vec::from_iter(0..offsets.len() as i64);
        assert_eq!(offsets, expected, "partition {partition}");
    }

    let (code, facts) = lines(&pipeline, &["--end", "--facts"]).await;
    assert_eq!(code, Some(0));
    let hashes: BTreeSet<_> = facts
        .iter()
        .filter_map(|line| line["fact"]["fact_hash"].as_str())
        .collect();
    let rows = pipeline
        .database
        .query(
            "SELECT replace(fact_hash::text, '-', '') FROM fact_events",
            &[],
        )
        .await
        .unwrap();
    let rows: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(hashes.into_iter().eq(rows.iter().map(String::as_str)));
    assert!(
        facts
            .iter()
            .any(|line| line["rejected"]["raw"] == "no event at all")
    );

    // The source may send nearly all records to one of the partitions.
    let all = offsets(&records);
    let (&number, _) = all.iter().max_by_key(|(_, offsets)| offsets.len()).unwrap();
    let largest: Vec<&Value> = records
        .iter()
        .filter(|it| it["partition"] == number)
        .collect();
    let number_text = number.to_string();
    let partition = ["--partition", &number_text];
    let middle = largest[largest.len() / 2]["time"].as_str().unwrap();
    let first = largest
        .iter()
        .position(|it| it["time"].as_str() >= Some(middle));
    let from_middle = [&["--end", "--from", middle], &partition[..]].concat();
    let (code, later) = lines(&pipeline, &from_middle).await;
    assert_eq!(code, Some(0));
    let later: Vec<&Value> = later.iter().collect();
    assert!(later == largest[first.unwrap()..], "not from {middle}");

    let five = [&["--from", "7", "--limit", "5"], &partition[..]].concat();
    let (code, some) = lines(&pipeline, &five).await;
    assert_eq!(code, Some(0));
    assert_eq!(offsets(&some)[&number], [7, 8, 9, 10, 11]);
    let twice = [&["--end"], &partition[..], &partition[..]].concat();
    let (code, once) = lines(&pipeline, &twice).await;
    assert_eq!(code, Some(0));
    assert_eq!(offsets(&once)[&number], all[&number]);
    let (code, none) = lines(&pipeline, &["--end", "--from", "100000"]).await;
    assert_eq!((code, none.len()), (Some(1), 0));
    pipeline.stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_goes_on_where_it_stopped_and_notices_what_it_can_not_read() {
    let mut pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    pipeline.send(&shop::bodies(64, 600)).await.unwrap();
    pipeline.arrived().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.json");
    let state = file.to_str().unwrap().to_owned();
    let stored = || -> Value { serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap() };
    let next = || stored()["partitions"]["0"]["next_offset"].as_i64().unwrap();

    let (_, first) = lines(&pipeline, &["--state", &state, "--limit", "100"]).await;
    assert_eq!((first.len(), next()), (100, 100));
    // The reader of the lines ends.
    let (mut child, mut output) = spawn(etl(&pipeline, &["--state", &state]));
    let line = next_line(&mut output).await.unwrap();
    assert!(line.contains(r#""offset":100,"#), "{line}");
    let (code, _) = lines(&pipeline, &["--state", &state, "--end"]).await;
    assert_eq!(code, Some(1), "the file is in use");
    drop(output);
    assert!(within(child.wait()).await.unwrap().success());
    assert!(next() >= 100);

    // The program confirms what it has processed, and is killed with lines that it did not process.
    let position = next();
    let mut command = etl(&pipeline, &["--state", &state, "--acks"]);
    command.stdin(Stdio::piped());
    let (mut child, mut output) = spawn(command);
    let mut stdin = child.stdin.take().unwrap();
    for offset in position..position + 50 {
        let line = next_line(&mut output).await.unwrap();
        assert!(line.contains(&format!(r#""offset":{offset},"#)), "{line}");
        let ack = format!("0 {offset}\n");
        stdin.write_all(ack.as_bytes()).await.unwrap();
    }
    drop((stdin, output));
    assert!(within(child.wait()).await.unwrap().success());
    assert_eq!(next(), position + 50);

    // Records that come later, and a partition that is added later.
    let (mut child, mut output) = spawn(etl(&pipeline, &["--state", &state]));
    let mut seen = BTreeSet::new();
    for _ in next()..600 {
        seen.insert(next_line(&mut output).await.unwrap());
    }
    pipeline.stack.add_partitions(1).await.unwrap();
    produce(&pipeline, 0..300, Compression::None).await;
    while seen.len() < 900 - (position + 50) as usize {
        seen.insert(next_line(&mut output).await.unwrap());
    }
    let added = seen.iter().filter(|it| it.contains(r#""partition":1,"#));
    let added = added.count();
    assert!(added > 0);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id().unwrap() as i32),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    assert!(within(child.wait()).await.unwrap().success());
    assert_eq!(next(), 900 - added as i64);
    assert_eq!(stored()["partitions"]["1"]["next_offset"], added);

    let mut other_topic = stored();
    other_topic["partitions"]["0"]["last"]["key"] = "of another record".into();
    std::fs::write(&file, other_topic.to_string()).unwrap();
    let (code, none) = lines(&pipeline, &["--state", &state, "--end"]).await;
    assert_eq!(
        (code, none.len()),
        (Some(1), 0),
        "the topic was created again"
    );
    pipeline.stack.stop().await.unwrap();
}
