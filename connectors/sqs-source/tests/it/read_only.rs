//! `delete-after: never`: a queue that may only be read, on our SQS endpoint.

use std::collections::HashSet;
use std::time::Duration;

use sqs_endpoint::{Fault, Operation};
use sqs_source::config::Config;
use sqs_source::pipeline::{DeletePolicy, Settings};

use crate::support::{Bench, Mood, Running, StandIn, bodies, config, start, until};

/// A queue on which only receiving is allowed.
async fn read_only_queue() -> Bench {
    let bench = Bench::new().await;
    for operation in [
        Operation::DeleteMessage,
        Operation::DeleteMessageBatch,
        Operation::ChangeMessageVisibility,
        Operation::ChangeMessageVisibilityBatch,
    ] {
        let faults = bench.endpoint.faults();
        faults.fail_share(operation, Fault::Deny, 1.0).unwrap();
    }
    bench
}

fn never(bench: &Bench, more: &str) -> Config {
    let keys = format!("queue-name: events, delete-after: never, {more}");
    config(bench.endpoint.url(), &keys)
}

async fn start_source(
    config: &Config,
    topic: &StandIn,
    adjust: impl Fn(Settings) -> Settings,
) -> Running {
    start(config, topic, || DeletePolicy::Never, adjust).await
}

fn unchanged(settings: Settings) -> Settings {
    settings
}

fn gauge(source: &Running, name: &str) -> f64 {
    let families = source.metrics.registry().gather();
    let family = families.iter().find(|family| family.name() == name);
    family.unwrap().get_metric()[0].get_gauge().get_value()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_is_produced_once_though_it_is_delivered_again() {
    let bench = read_only_queue().await;
    bench.send_all(bodies(300)).await;
    let topic = StandIn::new(Mood::Acknowledge);
    let config = never(&bench, "visibility-timeout: 1s");
    let source = start_source(&config, &topic, unchanged).await;
    until("all produced", || topic.records().len() == 300).await;
    until("all received twice more", || {
        source.metrics.counts().repeats >= 600
    })
    .await;
    bench.send_all(["a late one".to_owned()]).await;
    until("the late one", || topic.records().len() > 300).await;
    until("measured", || {
        gauge(&source, "sqs_source_remembered_messages") == 301.0
    })
    .await;
    assert_eq!(gauge(&source, "sqs_source_messages_in_flight"), 0.0);
    assert_eq!(gauge(&source, "sqs_source_messages_stay_in_queue"), 1.0);
    assert!(source.health.ready().is_ok());
    let counts = source.stop().await;
    assert_eq!(
        (counts.received, counts.produced, counts.deleted),
        (301, 301, 0)
    );
    assert_eq!((topic.records().len(), topic.values().len()), (301, 301));
    assert_eq!(bench.queue().undeleted(), 301);
    let faults = bench.endpoint.faults();
    for operation in [
        Operation::DeleteMessageBatch,
        Operation::ChangeMessageVisibilityBatch,
    ] {
        assert_eq!(faults.struck(operation), 0, "{operation} was called");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_read_without_hiding_its_messages_from_other_readers() {
    let bench = read_only_queue().await;
    bench.send_all(bodies(5)).await;
    let topic = StandIn::new(Mood::Acknowledge);
    let config = never(&bench, "visibility-timeout: 0s");
    let source = start_source(&config, &topic, unchanged).await;
    until("some repeats", || source.metrics.counts().repeats >= 20).await;
    assert_eq!((bench.queue().depth(), bench.queue().in_flight()), (5, 0));
    bench.send_all(bodies(8).split_off(5)).await;
    until("the rest", || topic.values().len() == 8).await;
    source.stop().await;
    assert_eq!(topic.records().len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn unacknowledged_messages_are_not_remembered() {
    let bench = read_only_queue().await;
    bench.send_all(bodies(20)).await;
    let topic = StandIn::new(Mood::Unreachable);
    let config = never(&bench, "visibility-timeout: 1s");
    let source = start_source(&config, &topic, |settings| Settings {
        stop_timeout: Duration::from_millis(300),
        ..settings
    })
    .await;
    until("all received again while produced", || {
        source.metrics.counts().duplicates >= 20
    })
    .await;
    let counts = source.stop().await;
    assert_eq!((counts.received, counts.repeats), (20, 0));

    let source = start_source(&config, &topic, unchanged).await;
    until("all received", || source.metrics.counts().received == 20).await;
    until("unready", || source.health.ready().is_err()).await;
    topic.set(Mood::Acknowledge);
    until("all received again", || {
        source.metrics.counts().repeats >= 20
    })
    .await;
    assert_eq!(source.stop().await.produced, 20);
    assert_eq!((topic.records().len(), topic.values().len()), (20, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_messages_than_are_remembered_are_all_produced() {
    let bench = read_only_queue().await;
    bench.send_all(bodies(100)).await;
    let topic = StandIn::new(Mood::Acknowledge);
    let config = never(&bench, "visibility-timeout: 1s, max-remembered: 10");
    let source = start_source(&config, &topic, unchanged).await;
    until("repeats", || topic.records().len() > 150).await;
    until("measured", || {
        gauge(&source, "sqs_source_remembered_messages") == 10.0
    })
    .await;
    source.stop().await;
    let all: HashSet<_> = bodies(100).into_iter().collect();
    assert_eq!(topic.values(), all);
    assert_eq!(bench.queue().undeleted(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_too_large_for_the_topic_is_tried_once() {
    let bench = read_only_queue().await;
    bench.send_all(bodies(3)).await;
    bench.send_all(["x".repeat(5_000)]).await;
    let topic = StandIn::new(Mood::Acknowledge);
    topic.refuse_above(4_000);
    let config = never(&bench, "visibility-timeout: 1s");
    let source = start_source(&config, &topic, unchanged).await;
    until("all received again", || {
        source.metrics.counts().repeats >= 8
    })
    .await;
    let counts = source.stop().await;
    assert_eq!((counts.produced, counts.left), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_never_returned_are_reported() {
    let bench = read_only_queue().await;
    bench.send_all(bodies(300)).await;
    let topic = StandIn::new(Mood::Acknowledge);
    // The same messages are returned again before the others.
    let config = never(&bench, "visibility-timeout: 0s");
    let often = |settings| Settings {
        depth_interval: Duration::from_millis(200),
        ..settings
    };
    let source = start_source(&config, &topic, often).await;
    until("reported", || {
        let unready = source.health.ready().err();
        unready.is_some_and(|why| {
            why.to_string()
                .contains("`visibility-timeout` that is longer")
        })
    })
    .await;
    assert!(topic.records().len() < 300);
    source.stop().await;
}
