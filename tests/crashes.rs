//! `kill -9` of each part in the middle, again and again: the same rows as without.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::time::Duration;

use end_to_end::pipeline::Pipeline;
use end_to_end::{found, shop};
use local_stack::{Part, StackOptions};

/// Messages that a killed source had in hand come back after this time.
const VISIBILITY: Duration = Duration::from_secs(5);

/// Sends `count` bodies in seven parts; while each is under way, one of `victims` is killed and started again.
async fn survives(seed: u64, count: usize, partitions: u32, victims: &[Part]) {
    let bodies = shop::bodies(seed, count);
    let options = StackOptions {
        visibility_timeout: Some(VISIBILITY),
        partitions: Some(partitions),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    pipeline.send_among_kills(&bodies, victims).await.unwrap();
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    pipeline.stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_is_killed() {
    survives(11, 7_000, 1, &[Part::Sink]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_is_killed() {
    survives(12, 4_000, 1, &[Part::Source]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_is_killed() {
    survives(13, 4_000, 1, &[Part::Node]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_killed_in_turn() {
    survives(14, 4_000, 1, &[Part::Node, Part::Sink, Part::Source]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: for a cluster, with `cargo test --release -p end-to-end -- --ignored --test-threads=1`"]
async fn everything_is_killed_in_turn_among_fifty_thousand_events() {
    survives(91, 50_000, 3, &[Part::Source, Part::Sink, Part::Node]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_stopped_goes_on_where_it_was() {
    let bodies = shop::bodies(15, 4_000);
    let mut pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    let (early, late) = bodies.split_at(1_500);
    pipeline.send(early).await.unwrap();
    pipeline.committed_at_least(200).await.unwrap();
    let status = pipeline
        .stack
        .stop_part(Part::Sink)
        .await
        .unwrap()
        .expect("the sink was running");
    assert!(
        status.success(),
        "a sink that is asked to stop exits with 0, not {status}"
    );
    pipeline.send(late).await.unwrap();
    pipeline.stack.start_part(Part::Sink).await.unwrap();
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    pipeline.stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_stopped_leaves_nothing_invisible() {
    let bodies = shop::bodies(16, 3_000);
    // Were a message left invisible, the second source would not see it for an hour.
    let options = StackOptions {
        visibility_timeout: Some(Duration::from_secs(3_600)),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    pipeline.send(&bodies).await.unwrap();
    let status = pipeline
        .stack
        .stop_part(Part::Source)
        .await
        .unwrap()
        .expect("the source was running");
    assert!(
        status.success(),
        "a source that is asked to stop exits with 0, not {status}"
    );
    pipeline.stack.start_part(Part::Source).await.unwrap();
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    pipeline.stack.stop().await.unwrap();
}
