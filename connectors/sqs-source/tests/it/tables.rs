//! `delete-after: tables`, on our SQS endpoint: only commit notifications of the sink delete
//! messages.

use std::time::Duration;

use connector_common::committed::{Commit, Destination};
use sqs_endpoint::{Fault, Operation};
use sqs_source::Unreadable;
use sqs_source::awaited::AwaitedSink;
use sqs_source::pipeline::{DeletePolicy, Settings};
use tokio::sync::mpsc;

use crate::support::{Bench, Mood, Running, StandIn, bodies, ids, until};

const CHECK_AFTER: Duration = Duration::from_millis(300);
const SINK: &str = "sink";
const LAKE: &str = "lake-sink";

fn settings(bench: &Bench, visibility: u64) -> Settings {
    Settings {
        check_commits_after: CHECK_AFTER,
        ..bench.settings(visibility)
    }
}

async fn start(
    bench: &Bench,
    topic: &StandIn,
    settings: Settings,
) -> (Running, mpsc::Sender<Commit>) {
    start_with(&[SINK], bench, topic, settings).await
}

async fn start_with(
    sinks: &[&str],
    bench: &Bench,
    topic: &StandIn,
    settings: Settings,
) -> (Running, mpsc::Sender<Commit>) {
    let (sender, commits) = mpsc::channel(8);
    let sinks = sinks
        .iter()
        .map(|name| AwaitedSink::Named((*name).to_owned()));
    let policy = DeletePolicy::Sinks {
        sinks: sinks.collect(),
        commits,
        unreadable: Unreadable::default(),
    };
    (bench.start_with(policy, topic, settings).await, sender)
}

fn commit(next_offset: usize, records: &[(String, String)]) -> Commit {
    Commit {
        sink: SINK.to_owned(),
        partition: 0,
        next_offset: next_offset as i64,
        ids: ids(records),
        ..Commit::default()
    }
}

fn lake_commit(next_offset: usize, records: &[(String, String)]) -> Commit {
    Commit {
        sink: LAKE.to_owned(),
        destination: Destination::Lake,
        commit_seconds: 60,
        ..commit(next_offset, records)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_deleted_only_when_the_configured_sink_has_committed_it() {
    let bench = Bench::new().await;
    bench.send_all(bodies(100)).await;
    let topic = StandIn::new(Mood::Acknowledge);
    // With the shortest timeout a message that is not extended would be produced again.
    let (source, sink) = start(&bench, &topic, settings(&bench, 1)).await;
    until("all produced", || topic.records().len() == 100).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(
        (bench.queue().undeleted(), topic.records().len()),
        (100, 100)
    );

    let records = topic.records();
    let of_another = Commit {
        sink: "another".to_owned(),
        ..commit(100, &records)
    };
    sink.send(of_another).await.unwrap();
    sink.send(commit(40, &records[..40])).await.unwrap();
    until("the committed ones are deleted", || {
        bench.queue().undeleted() == 60
    })
    .await;
    tokio::time::sleep(CHECK_AFTER * 3).await;
    assert_eq!(
        bench.queue().undeleted(),
        60,
        "another sink's commits do not count, and uncommitted messages wait"
    );
    sink.send(commit(100, &records[40..])).await.unwrap();
    until("all deleted", || bench.queue().undeleted() == 0).await;
    let counts = source.stop().await;
    assert_eq!((counts.produced, counts.deleted), (100, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_commit_notification_leads_to_another_delivery() {
    let bench = Bench::new().await;
    bench.send_all(bodies(20)).await;
    let topic = StandIn::new(Mood::Acknowledge);
    let (source, sink) = start(&bench, &topic, settings(&bench, 3600)).await;
    until("all produced", || topic.records().len() == 20).await;
    until("all in flight", || bench.queue().in_flight() == 20).await;
    tokio::time::sleep(CHECK_AFTER).await;
    // The offset alone deletes no message.
    sink.send(commit(20, &[])).await.unwrap();
    until("all produced again", || topic.records().len() == 40).await;
    assert_eq!(bench.queue().undeleted(), 20);
    sink.send(commit(40, &topic.records())).await.unwrap();
    until("all deleted", || bench.queue().undeleted() == 0).await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_deleted_only_when_both_sinks_have_committed_it() {
    let bench = Bench::new().await;
    bench.send_all(bodies(100)).await;
    let topic = StandIn::new(Mood::Acknowledge);
    let settings = settings(&bench, 3600);
    let (source, sinks) = start_with(&[SINK, LAKE], &bench, &topic, settings).await;
    until("all produced", || topic.records().len() == 100).await;
    let records = topic.records();
    sinks.send(commit(100, &records)).await.unwrap();
    sinks.send(lake_commit(30, &records[..30])).await.unwrap();
    until("those of both are deleted", || {
        bench.queue().undeleted() == 70
    })
    .await;
    // The tables are past all of them, and none comes again: the lake is only slower.
    tokio::time::sleep(CHECK_AFTER * 3).await;
    assert_eq!(
        (bench.queue().undeleted(), topic.records().len()),
        (70, 100)
    );
    // The lake's notification gets lost: its sink was killed after the commit.
    sinks.send(lake_commit(60, &[])).await.unwrap();
    until("those come again", || topic.records().len() == 130).await;
    let again = topic.records().split_off(100);
    assert_eq!(again.len(), 30);
    sinks.send(lake_commit(100, &records[60..])).await.unwrap();
    until("the others are deleted", || bench.queue().undeleted() == 30).await;
    sinks.send(lake_commit(130, &again)).await.unwrap();
    tokio::time::sleep(CHECK_AFTER).await;
    assert_eq!(
        bench.queue().undeleted(),
        30,
        "the tables have to commit the repeats, too"
    );
    sinks.send(commit(130, &again)).await.unwrap();
    until("all deleted", || bench.queue().undeleted() == 0).await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_the_topic_lost_are_produced_again_though_others_have_their_offsets() {
    let bench = Bench::new().await;
    bench.send_all(bodies(20)).await;
    let topic = StandIn::new(Mood::Acknowledge);
    let (source, sink) = start(&bench, &topic, settings(&bench, 3600)).await;
    until("all produced", || topic.records().len() == 20).await;
    let lost: Vec<_> = topic.records().split_off(15);
    topic.lose_from(15);
    until("the lost ones are back", || topic.values().len() == 20).await;
    assert_eq!(bench.queue().undeleted(), 20);

    // Other records get the offsets, and the sink commits those.
    topic.lose_from(15);
    bench
        .send_all((0..30).map(|number| format!("late {number}")))
        .await;
    until("the offsets are assigned", || topic.records().len() >= 45).await;
    let first: Vec<_> = topic.records();
    sink.send(commit(first.len(), &first)).await.unwrap();
    until("every message is produced", || topic.values().len() == 50).await;
    let all = topic.records();
    assert!(lost.iter().all(|record| all.contains(record)));
    sink.send(commit(all.len(), &all)).await.unwrap();
    until("all deleted", || bench.queue().undeleted() == 0).await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_holds_and_a_stop_makes_uncommitted_messages_visible() {
    let bench = Bench::new().await;
    bench.send_all(bodies(200)).await;
    let topic = StandIn::new(Mood::Acknowledge);
    let mut settings = settings(&bench, 3600);
    settings.max_in_flight = 50;
    settings.stop_timeout = Duration::from_secs(1);
    let (source, _sink) = start(&bench, &topic, settings).await;
    until("the limit", || topic.records().len() == 50).await;
    tokio::time::sleep(CHECK_AFTER * 2).await;
    assert_eq!((bench.queue().in_flight(), topic.records().len()), (50, 50));
    assert_eq!(source.stop().await.deleted, 0);
    assert_eq!(
        (bench.queue().in_flight(), bench.queue().undeleted()),
        (0, 200)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_deletes_of_committed_messages_are_reported_until_they_are_allowed() {
    let bench = Bench::new().await;
    let faults = bench.endpoint.faults();
    let operation = Operation::DeleteMessageBatch;
    faults.fail_share(operation, Fault::Deny, 1.0).unwrap();
    bench.send_all(bodies(80)).await;
    let topic = StandIn::new(Mood::Acknowledge);
    let mut settings = settings(&bench, 3600);
    settings.max_in_flight = 50;
    let (source, sink) = start(&bench, &topic, settings).await;
    until("the limit", || topic.records().len() == 50).await;
    sink.send(commit(50, &topic.records())).await.unwrap();
    until("unready", || {
        let ready = source.health.ready();
        ready.is_err_and(|why| {
            why.to_string()
                .contains("allow sqs:DeleteMessage on this queue")
        })
    })
    .await;
    assert_eq!(topic.records().len(), 50);
    faults.clear();
    until("the others are received", || topic.records().len() == 80).await;
    until("ready again", || source.health.ready().is_ok()).await;
    sink.send(commit(80, &topic.records())).await.unwrap();
    until("all deleted", || bench.queue().undeleted() == 0).await;
    assert_eq!(source.stop().await.deleted, 80);
}
