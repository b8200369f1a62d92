//! A message stays in the queue until its facts are in the tables, even if the topic loses its
//! record.

use std::path::{Path, PathBuf};
use std::time::Duration;

use connector_common::Secret;
use connector_common::committed::{Commit, Signatures, notifications_topic};
use end_to_end::pipeline::Pipeline;
use end_to_end::shop;
use fluvio::Fluvio;
use fluvio::config::ConfigFile;
use local_stack::{Part, StackOptions};

const VISIBILITY: Duration = Duration::from_secs(2);

async fn start(data_dir: Option<&Path>) -> Pipeline {
    let options = StackOptions {
        visibility_timeout: Some(VISIBILITY),
        data_dir: data_dir.map(Path::to_owned),
        ..StackOptions::default()
    };
    Pipeline::start(options).await.unwrap()
}

async fn topic_reaches(pipeline: &Pipeline, records: i64) {
    for _ in 0..1200 {
        if pipeline.topic_end().await.unwrap() >= records {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the topic has not got {records} records in a minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_sink_only_delays() {
    let bodies = shop::bodies(31, 600);
    let mut pipeline = start(None).await;
    pipeline.kill(Part::Sink).await.unwrap();
    pipeline.send(&bodies).await.unwrap();
    topic_reaches(&pipeline, 600).await;
    tokio::time::sleep(VISIBILITY * 3).await;
    assert_eq!(
        (
            pipeline.waiting().await.unwrap(),
            pipeline.topic_end().await.unwrap()
        ),
        (600, 600),
        "none is deleted or delivered again"
    );
    pipeline.start_part(Part::Sink).await.unwrap();
    pipeline.finish(&bodies).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_commit_notification_with_the_sinks_signature_deletes() {
    let bodies = shop::bodies(35, 20);
    let mut pipeline = start(None).await;
    pipeline.kill(Part::Sink).await.unwrap();
    let mut ids = Vec::new();
    for body in &bodies {
        let message = pipeline.sqs.send_message().message_body(body);
        let sent = message.queue_url(pipeline.stack.queue_url()).send().await;
        ids.push(sent.unwrap().message_id.unwrap());
    }
    topic_reaches(&pipeline, 20).await;

    let topic = pipeline.stack.topic().to_owned();
    let profile = pipeline.stack.profile().display().to_string();
    let file = ConfigFile::load(Some(profile)).unwrap();
    let cluster = file.config().current_cluster().unwrap();
    let client = Fluvio::connect_with_config(cluster).await.unwrap();
    let producer = client.topic_producer(notifications_topic(&topic)).await;
    let producer = producer.unwrap();
    let notify = async |secret: Option<&str>, ids: &[String]| {
        let commit = Commit {
            sink: format!("{topic}-sink"),
            partition: 0,
            next_offset: 0,
            ids: ids.to_vec(),
            ..Commit::default()
        };
        let secret = secret.map(|secret| Secret::from(secret.to_owned()));
        let record = Signatures::new(&topic, secret.as_ref()).record(&commit);
        let record = record.unwrap();
        producer.send(record.key, record.value).await.unwrap();
        producer.flush().await.unwrap();
    };
    notify(None, &ids).await;
    notify(Some("the secret of somebody else"), &ids).await;
    let source = pipeline.stack.launch(Part::Source);
    let mut is_reported = false;
    for _ in 0..600 {
        is_reported = source.log_tail(100).contains("is not signed");
        if is_reported {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(is_reported, "{}", source.log_tail(100));
    tokio::time::sleep(VISIBILITY).await;
    assert_eq!(pipeline.waiting().await.unwrap(), 20);

    // The same with the secret deletes, so nothing else was wrong with them.
    let secrets = std::fs::read_to_string(pipeline.stack.folder().join("secrets.txt")).unwrap();
    let mut secrets = secrets.lines();
    let secret = secrets.find_map(|line| line.strip_prefix("NOTIFICATIONS_SECRET="));
    notify(secret, &ids[..5]).await;
    let mut waiting = 20;
    for _ in 0..600 {
        waiting = pipeline.waiting().await.unwrap();
        if waiting == 15 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(waiting, 15);
    pipeline.start_part(Part::Sink).await.unwrap();
    pipeline.finish(&bodies).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn both_connectors_are_killed_repeatedly() {
    let bodies = shop::bodies(32, 6_000);
    let mut pipeline = start(None).await;
    for (round, part) in bodies.chunks(1_000).enumerate() {
        let before = pipeline.committed().await.unwrap();
        pipeline.send(part).await.unwrap();
        pipeline.committed_at_least(before + 1).await.unwrap();
        let mut victims = [Part::Source, Part::Sink];
        victims.rotate_left(round % 2);
        for victim in victims {
            pipeline.kill(victim).await.unwrap();
        }
        for victim in victims {
            pipeline.start_part(victim).await.unwrap();
        }
    }
    pipeline.finish(&bodies).await.unwrap();
}

/// Only runs with the embedded node, whose files it changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_loses_its_unsynced_end_loses_no_message() {
    if std::env::var_os("ETL_TEST_CLUSTER").is_some_and(|cluster| cluster != "embedded") {
        return;
    }
    let bodies = shop::bodies(33, 900);
    let folder = tempfile::tempdir().unwrap();
    let mut pipeline = start(Some(folder.path())).await;
    let (early, late) = bodies.split_at(300);
    pipeline.send(early).await.unwrap();
    pipeline.arrived().await.unwrap();
    pipeline.kill(Part::Sink).await.unwrap();
    for part in late.chunks(100) {
        let before = pipeline.topic_end().await.unwrap();
        pipeline.send(part).await.unwrap();
        topic_reaches(&pipeline, before + 100).await;
    }

    pipeline.kill(Part::Node).await.unwrap();
    cut_off(&segment(folder.path()), 500);
    pipeline.start_part(Part::Node).await.unwrap();
    assert_eq!(pipeline.waiting().await.unwrap(), 600);
    pipeline.start_part(Part::Sink).await.unwrap();
    pipeline.finish(&bodies).await.unwrap();
}

fn segment(data_dir: &Path) -> PathBuf {
    data_dir.join("fluvio/logs/shop-events-0/00000000000000000000.log")
}

/// Removes every batch that begins after `offset`, as if it had never reached the disk.
fn cut_off(segment: &Path, offset: i64) {
    let log = std::fs::read(segment).unwrap();
    let mut at = 0;
    // A batch begins with the offset of its first record and the length of the rest.
    while let Some(head) = log.get(at..at + 12) {
        if i64::from_be_bytes(head[..8].try_into().unwrap()) > offset {
            break;
        }
        at += 12 + usize::try_from(i32::from_be_bytes(head[8..].try_into().unwrap())).unwrap();
    }
    assert!(at < log.len(), "there is nothing to lose");
    let file = std::fs::File::options().write(true).open(segment).unwrap();
    file.set_len(at as u64).unwrap();
}
