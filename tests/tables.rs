//! A message stays in the queue until its facts are in the tables, whatever becomes of the topic.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use end_to_end::pipeline::Pipeline;
use end_to_end::{found, shop};
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
async fn a_sink_that_is_away_only_delays() {
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
        "none is deleted, and none is delivered again"
    );
    pipeline.start_part(Part::Sink).await.unwrap();
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    pipeline.stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn both_connectors_are_killed_again_and_again() {
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
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    pipeline.stack.stop().await.unwrap();
}

/// Needs a node whose files are at hand.
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
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    pipeline.stack.stop().await.unwrap();
}

fn segment(data_dir: &Path) -> PathBuf {
    data_dir.join("fluvio/logs/shop-events-0/00000000000000000000.log")
}

/// Cuts off every batch that begins behind `offset`, as if it had never reached the disk.
fn cut_off(segment: &Path, offset: i64) {
    let log = std::fs::read(segment).unwrap();
    let mut at = 0;
    // A batch: its first record's offset, the length of what follows, and that.
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
