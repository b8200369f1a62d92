//! The lake sink beside the PostgreSQL sink: messages are deleted when both have committed them,
//! and lake sinks share partitions.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use end_to_end::connector::Connector;
use end_to_end::pipeline::{Pipeline, edit};
use end_to_end::{found, pypi, shop};
use local_stack::artefacts::LAKE;
use local_stack::{Part, StackOptions};
use nix::sys::signal::Signal;
use tokio::process::Command;

const SAMPLE: &str = include_str!("../../deploy/cluster/lake-sink.yaml");
/// Prints the number of rows, of different rows and texts, and the partitions that have rows.
const COUNT: &str = "\
import sys
from pyiceberg.table import StaticTable
folder, text = sys.argv[1:]
with open(f'{folder}/metadata/version-hint.text') as hint:
    metadata = f'{folder}/metadata/{hint.read()}.metadata.json'
columns = ('source_partition', 'source_offset', text)
rows = StaticTable.from_metadata(metadata).scan(selected_fields=columns).to_arrow()
rows = list(zip(*(rows.column(name).to_pylist() for name in columns)))
print(len(rows), len(set(rows)), len({row[2] for row in rows}), len({row[0] for row in rows}))
";

/// Starts a lake sink with the deployed file, which commits every second into a folder of the stack.
fn start(pipeline: &Pipeline, name: &str, more: &str) -> Connector {
    let stack = &pipeline.stack;
    let warehouse = format!("file://{}", stack.folder().join("lake").display());
    let config = SAMPLE
        .replace("shop-events", stack.topic())
        .replace("s3://my-bucket/lake", &warehouse)
        .replace("commit-interval: 1m", "commit-interval: 1s")
        .replace("  metrics-address: 127.0.0.1:9467", more);
    let config = match more.contains("content: raw") {
        true => config.replace("transforms:\n  - uses: flatten-items\n", ""),
        false => config,
    };
    Connector::start(stack, LAKE, name, &config).unwrap()
}

/// The rows of a table in the lake.
#[derive(Debug)]
struct Rows {
    rows: i64,
    /// Different positions and texts.
    places: i64,
    texts: i64,
    partitions: i64,
}

async fn rows(folder: &Path, table: &str, text: &str) -> Rows {
    let folder = folder.join("lake/shop").join(table);
    let output = Command::new(pypi::program("python"))
        .args(["-c", COUNT])
        .arg(folder)
        .arg(text)
        .output()
        .await
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut counts = printed
        .split_whitespace()
        .map(|count| count.parse().unwrap());
    let mut next = || counts.next().unwrap();
    Rows {
        rows: next(),
        places: next(),
        texts: next(),
        partitions: next(),
    }
}

async fn facts(pipeline: &Pipeline) -> i64 {
    let count = "SELECT count(*) FROM fact_events";
    let row = pipeline.database.query_one(count, &[]).await.unwrap();
    row.get(0)
}

/// Waits until the queue is empty.
async fn until_deleted(pipeline: &Pipeline, lakes: &[&Connector]) {
    for _ in 0..3_000 {
        if pipeline.waiting().await.unwrap() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let logs: Vec<String> = lakes.iter().map(|lake| lake.log()).collect();
    let source = pipeline.stack.launch(Part::Source).log_tail(30);
    panic!("not deleted:\n{source}\n{}", logs.join("\n--\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_deleted_when_the_tables_and_the_lake_have_committed_it() {
    let bodies = shop::bodies(91, 1_500);
    let mut parts = bodies.chunks(500);
    let options = StackOptions {
        visibility_timeout: Some(Duration::from_secs(5)),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    pipeline.stack.stop_part(Part::Source).await.unwrap();
    let topic = pipeline.stack.topic().to_owned();
    let file = pipeline.stack.folder().join("sqs-source.yaml");
    let sink = format!("delete-after: tables\n  sink: {topic}-sink");
    let both = format!("delete-after: [{topic}-sink, {topic}-lake]");
    edit(&file, &sink, &both).unwrap();
    pipeline.start_part(Part::Source).await.unwrap();

    // The lake sink does not run yet: the tables alone delete nothing.
    pipeline.send(parts.next().unwrap()).await.unwrap();
    pipeline.committed_at_least(500).await.unwrap();
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(pipeline.waiting().await.unwrap(), 500);
    let mut lake = start(&pipeline, "lake", "");
    until_deleted(&pipeline, &[&lake]).await;

    // It dies again and again, at times between a commit and its notification.
    for part in parts.next().unwrap().chunks(100) {
        pipeline.send(part).await.unwrap();
        tokio::time::sleep(Duration::from_millis(rand::random_range(300..2_000))).await;
        lake.end_by(Signal::SIGKILL).await.unwrap();
        lake = start(&pipeline, "lake", "");
    }
    until_deleted(&pipeline, &[&lake]).await;

    // The PostgreSQL sink is away: the lake alone deletes nothing.
    pipeline.kill(Part::Sink).await.unwrap();
    pipeline.send(parts.next().unwrap()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(pipeline.waiting().await.unwrap(), 500);
    pipeline.start_part(Part::Sink).await.unwrap();
    until_deleted(&pipeline, &[&lake]).await;

    assert_eq!(lake.end_by(Signal::SIGTERM).await.unwrap(), Some(0));
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    let found = rows(pipeline.stack.folder(), "facts", "fact_hash").await;
    assert_eq!(found.rows, found.places, "{found:?}");
    assert_eq!(found.texts, facts(&pipeline).await, "{found:?}");
    pipeline.stack.stop().await.unwrap();
}

const LOCKS: &str = "\
    SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.mode = 'ExclusiveLock' \
      AND a.application_name LIKE 'lake-sink%' GROUP BY l.pid ORDER BY 1";

/// Waits until the lake sinks hold these numbers of partitions.
async fn until_held(pipeline: &Pipeline, lakes: &[&Connector], wanted: &[i64]) {
    let mut held = Vec::new();
    for _ in 0..600 {
        let rows = pipeline.database.query(LOCKS, &[]).await.unwrap();
        held = rows.iter().map(|row| row.get::<_, i64>(0)).collect();
        if held == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let logs: Vec<String> = lakes.iter().map(|lake| lake.log()).collect();
    panic!(
        "the partitions are held so: {held:?}\n{}",
        logs.join("\n--\n")
    );
}

/// The records are written as they are: a SmartModule would be compiled again for each partition
/// that moves.
#[tokio::test(flavor = "multi_thread")]
async fn lake_sinks_share_partitions_and_take_over_those_of_one_that_is_killed() {
    let bodies = shop::bodies(92, 5_000);
    let mut parts = bodies.chunks(1_000);
    let options = StackOptions {
        partitions: Some(4),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    for part in [Part::Source, Part::Sink] {
        pipeline.stack.stop_part(part).await.unwrap();
    }
    let topic = pipeline.stack.topic().to_owned();
    let file = pipeline.stack.folder().join("sqs-source.yaml");
    let tables = format!("delete-after: tables\n  sink: {topic}-sink");
    edit(&file, &tables, "delete-after: lake").unwrap();
    pipeline.start_part(Part::Source).await.unwrap();
    let shared = "  share-partitions: true\n  content: raw";
    let mut a = start(&pipeline, "lake-a", shared);
    until_held(&pipeline, &[&a], &[4]).await;
    pipeline.send(parts.next().unwrap()).await.unwrap();
    let mut b = start(&pipeline, "lake-b", shared);
    until_held(&pipeline, &[&a, &b], &[2, 2]).await;
    pipeline.send(parts.next().unwrap()).await.unwrap();
    until_deleted(&pipeline, &[&a, &b]).await;

    pipeline.send(parts.next().unwrap()).await.unwrap();
    a.end_by(Signal::SIGKILL).await.unwrap();
    until_held(&pipeline, &[&b], &[4]).await;
    pipeline.send(parts.next().unwrap()).await.unwrap();
    a = start(&pipeline, "lake-a", shared);
    until_held(&pipeline, &[&a, &b], &[2, 2]).await;
    pipeline.send(parts.next().unwrap()).await.unwrap();
    assert_eq!(
        b.end_by(Signal::SIGTERM).await.unwrap(),
        Some(0),
        "{}",
        b.log()
    );
    until_held(&pipeline, &[&a], &[4]).await;
    until_deleted(&pipeline, &[&a, &b]).await;
    assert_eq!(
        a.end_by(Signal::SIGTERM).await.unwrap(),
        Some(0),
        "{}",
        a.log()
    );
    let found = rows(pipeline.stack.folder(), "raw_records", "body").await;
    assert_eq!(found.rows, found.places, "{found:?}");
    let sent: BTreeSet<&String> = bodies.iter().collect();
    let expected = (sent.len() as i64, 4);
    assert_eq!((found.texts, found.partitions), expected, "{found:?}");
    for sink in [&a, &b] {
        assert!(!sink.log().contains("ERROR"), "{}", sink.log());
    }
    pipeline.stack.stop().await.unwrap();
}
