//! Repeated `kill -9` of each part ends in the same rows.

use std::time::Duration;

use end_to_end::pipeline::Pipeline;
use end_to_end::shop;
use fluvio::metadata::topic::TopicSpec;
use local_stack::{Part, StackOptions};

/// Messages in flight in a killed source are visible again after this time.
const VISIBILITY: Duration = Duration::from_secs(5);

/// Sends `count` bodies in seven parts; during each, one of `victims` is killed and restarted.
async fn survives(seed: u64, count: usize, partitions: u32, victims: &[Part]) {
    let bodies = shop::bodies(seed, count);
    let options = StackOptions {
        visibility_timeout: Some(VISIBILITY),
        partitions: Some(partitions),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    pipeline.send_among_kills(&bodies, victims).await.unwrap();
    pipeline.finish(&bodies).await.unwrap();
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
#[ignore = "takes minutes: for a cluster, with `cargo test --release -p end-to-end -- --ignored \
    --test-threads=1`"]
async fn everything_is_killed_in_turn_among_fifty_thousand_events() {
    survives(91, 50_000, 3, &[Part::Source, Part::Sink, Part::Node]).await;
}

/// Asks a part to stop, which ends with 0.
async fn stop(pipeline: &mut Pipeline, part: Part) {
    let status = pipeline.stack.stop_part(part).await.unwrap();
    let status = status.expect("the part was running");
    assert!(
        status.success(),
        "{part:?}: asked to stop, it exits with {status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_sink_continues_at_its_committed_offset() {
    let bodies = shop::bodies(15, 4_000);
    let mut pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    let (early, late) = bodies.split_at(1_500);
    pipeline.send(early).await.unwrap();
    pipeline.committed_at_least(200).await.unwrap();
    stop(&mut pipeline, Part::Sink).await;
    pipeline.send(late).await.unwrap();
    pipeline.stack.start_part(Part::Sink).await.unwrap();
    pipeline.finish(&bodies).await.unwrap();
}

/// The stored identity of the last record stands for a topic that was created again.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_created_again_is_read_from_its_start() {
    let bodies = shop::bodies(17, 300);
    let options = StackOptions {
        partitions: Some(1),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    let records = "SELECT records, last_record FROM sink_offsets";
    let (first, rest) = bodies.split_at(100);
    pipeline.send(first).await.unwrap();
    pipeline.arrived().await.unwrap();
    pipeline.kill(Part::Sink).await.unwrap();
    pipeline.send(&rest[..100]).await.unwrap();
    pipeline.start_part(Part::Sink).await.unwrap();
    pipeline.arrived().await.unwrap();
    let end = pipeline.topic_end().await.unwrap();
    let row = pipeline.database.query_one(records, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), end, "it is the same topic");
    let last: String = row.get(1);
    assert!(last.starts_with(&format!("{} ", end - 1)), "{last}");

    pipeline.kill(Part::Sink).await.unwrap();
    let another = "UPDATE sink_offsets SET last_record = last_record || '-of-the-old-topic'";
    pipeline.database.execute(another, &[]).await.unwrap();
    pipeline.send(&rest[100..]).await.unwrap();
    pipeline.start_part(Part::Sink).await.unwrap();
    let mut is_read_again = false;
    for _ in 0..600 {
        let row = pipeline.database.query_one(records, &[]).await.unwrap();
        is_read_again = row.get::<_, i64>(0) >= end + pipeline.topic_end().await.unwrap();
        if is_read_again {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(is_read_again);
    let log = pipeline.stack.launch(Part::Sink).log_tail(1_000);
    assert!(log.contains("the topic was created again"), "{log}");
    pipeline.finish(&bodies).await.unwrap();
}

/// The sink or the source creates it again. Messages whose notifications got lost come again.
#[tokio::test(flavor = "multi_thread")]
async fn the_topic_of_the_commit_notifications_is_deleted() {
    let bodies = shop::bodies(18, 4_000);
    let pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    for part in bodies.chunks(1_000) {
        let before = pipeline.committed().await.unwrap();
        pipeline.send(part).await.unwrap();
        pipeline.committed_at_least(before + 100).await.unwrap();
        let notifications = format!("{}-committed", pipeline.stack.topic());
        let admin = pipeline.stack.admin().await.unwrap();
        let mut attempts = 0;
        // It may have yet to be created again.
        while let Err(error) = admin.delete::<TopicSpec>(notifications.clone()).await {
            attempts += 1;
            assert!(attempts < 600, "{error:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    pipeline.finish(&bodies).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_source_leaves_nothing_in_flight() {
    let bodies = shop::bodies(16, 3_000);
    // A message left in flight would be invisible to the second source for an hour.
    let options = StackOptions {
        visibility_timeout: Some(Duration::from_secs(3_600)),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    pipeline.send(&bodies).await.unwrap();
    stop(&mut pipeline, Part::Source).await;
    pipeline.stack.start_part(Part::Source).await.unwrap();
    pipeline.finish(&bodies).await.unwrap();
}
