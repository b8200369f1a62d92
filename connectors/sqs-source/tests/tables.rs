//! `delete-after: tables`: what the sink says decides, against our SQS endpoint.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
// Each test target uses its own part of what they share.
#[allow(dead_code)]
mod support;

use std::time::Duration;

use connector_common::committed::Commit;
use sqs_endpoint::{Fault, Operation};
use sqs_source::stream::{Settings, Until};
use support::{Bench, Mood, Running, StandIn, bodies, until};
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_millis(300);
const SINK: &str = "sink";

fn settings(bench: &Bench, visibility: u64) -> Settings {
    Settings {
        patience: PATIENCE,
        ..bench.settings(visibility)
    }
}

async fn start(
    bench: &Bench,
    topic: &StandIn,
    settings: Settings,
) -> (Running, mpsc::Sender<Commit>) {
    let (sender, commits) = mpsc::channel(8);
    let sink = Some(SINK.to_owned());
    let until = Until::Tables { sink, commits };
    (bench.start_until(until, topic, settings).await, sender)
}

fn commit(next_offset: usize, keys: &[(String, String)]) -> Commit {
    Commit {
        sink: SINK.to_owned(),
        partition: 0,
        next_offset: next_offset as i64,
        keys: keys.iter().map(|(key, _)| key.clone()).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_deleted_only_when_the_sink_in_charge_has_named_it() {
    let bench = Bench::new().await;
    bench.send_all(bodies(100)).await;
    let topic = StandIn::new(Mood::Acknowledge);
    // The shortest timeout: an unextended message would be delivered, and produced, again.
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
    until("those named are deleted", || {
        bench.queue().undeleted() == 60
    })
    .await;
    tokio::time::sleep(PATIENCE * 3).await;
    assert_eq!(
        bench.queue().undeleted(),
        60,
        "another sink's word is none, and what is not committed yet waits"
    );
    sink.send(commit(100, &records[40..])).await.unwrap();
    until("all deleted", || bench.queue().undeleted() == 0).await;
    let counts = source.stop().await;
    assert_eq!((counts.produced, counts.deleted), (100, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_announcement_means_another_delivery() {
    let bench = Bench::new().await;
    bench.send_all(bodies(20)).await;
    let topic = StandIn::new(Mood::Acknowledge);
    let (source, sink) = start(&bench, &topic, settings(&bench, 3600)).await;
    until("all produced", || topic.records().len() == 20).await;
    until("none is left in the inbox", || {
        bench.queue().in_flight() == 20
    })
    .await;
    tokio::time::sleep(PATIENCE).await;
    // The offset alone deletes nothing.
    sink.send(commit(20, &[])).await.unwrap();
    until("all produced again", || topic.records().len() == 40).await;
    assert_eq!(bench.queue().undeleted(), 20);
    sink.send(commit(40, &topic.records())).await.unwrap();
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

    // Now others take the places, and the sink commits those.
    topic.lose_from(15);
    bench
        .send_all((0..30).map(|number| format!("late {number}")))
        .await;
    until("the places are taken", || topic.records().len() >= 45).await;
    let first: Vec<_> = topic.records();
    sink.send(commit(first.len(), &first)).await.unwrap();
    until("every message is there after all", || {
        topic.values().len() == 50
    })
    .await;
    let all = topic.records();
    assert!(lost.iter().all(|record| all.contains(record)));
    sink.send(commit(all.len(), &all)).await.unwrap();
    until("all deleted", || bench.queue().undeleted() == 0).await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bound_holds_and_a_stop_gives_back_what_is_not_committed() {
    let bench = Bench::new().await;
    bench.send_all(bodies(200)).await;
    let topic = StandIn::new(Mood::Acknowledge);
    let mut settings = settings(&bench, 3600);
    settings.max_in_flight = 50;
    settings.stop_timeout = Duration::from_secs(1);
    let (source, _sink) = start(&bench, &topic, settings).await;
    until("the bound", || topic.records().len() == 50).await;
    tokio::time::sleep(PATIENCE * 2).await;
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
    until("the bound", || topic.records().len() == 50).await;
    sink.send(commit(50, &topic.records())).await.unwrap();
    until("unready", || {
        let ready = source.health.ready();
        ready.is_err_and(|why| why.contains("allow sqs:DeleteMessage on this queue"))
    })
    .await;
    assert_eq!(topic.records().len(), 50);
    faults.clear();
    until("the others are received", || topic.records().len() == 80).await;
    until("ready again", || source.health.ready() == Ok(())).await;
    sink.send(commit(80, &topic.records())).await.unwrap();
    until("all deleted", || bench.queue().undeleted() == 0).await;
    assert_eq!(source.stop().await.deleted, 80);
}
