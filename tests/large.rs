//! The amounts of a cluster in use. They take minutes, so they run when asked for:
//!
//! ```sh
//! cargo test --release -p end-to-end --test large -- --ignored --test-threads=1
//! ```
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use end_to_end::pipeline::Pipeline;
use end_to_end::{found, shop};
use local_stack::{Part, StackOptions};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn fifty_thousand_events_while_every_part_is_killed() {
    let bodies = shop::bodies(91, 50_000);
    let options = StackOptions {
        visibility_timeout: Some(Duration::from_secs(10)),
        partitions: Some(3),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    let victims = [Part::Source, Part::Sink, Part::Node];
    for (part, victim) in bodies.chunks(8_000).zip(victims.into_iter().cycle()) {
        let before = pipeline.committed().await.unwrap();
        pipeline.send(part).await.unwrap();
        pipeline.committed_at_least(before + 1).await.unwrap();
        pipeline.kill_and_restart(victim).await.unwrap();
    }
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    pipeline.stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn a_backlog_of_a_hundred_thousand_is_read_from_the_start() {
    let bodies = shop::bodies(92, 100_000);
    let mut pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    pipeline.stack.stop_part(Part::Sink).await.unwrap();
    pipeline.send(&bodies).await.unwrap();
    while pipeline.waiting().await.unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(pipeline.topic_end().await.unwrap() >= 100_000);
    pipeline.stack.start_part(Part::Sink).await.unwrap();
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    pipeline.stack.stop().await.unwrap();
}
