//! The source on our SQS endpoint and a topic that the tests control.

use std::collections::HashSet;
use std::io::Write;
use std::time::Duration;

use connector_common::{Connector, Stop};
use sqs_endpoint::{Fault, Operation};
use sqs_source::Config;

use crate::support::{Bench, Mood, StandIn, bodies, until};

#[tokio::test(flavor = "multi_thread")]
async fn each_message_becomes_one_record_and_is_deleted_only_after_its_acknowledgement() {
    let bench = Bench::new().await;
    bench.send_all(bodies(125)).await;
    let topic = StandIn::new(Mood::Hold);
    let source = bench.start(&topic, bench.settings(60)).await;
    // A producer that has acknowledged nothing yet gets a single record.
    until("the first record", || topic.records().len() == 1).await;
    until("all received", || bench.queue().in_flight() == 125).await;
    assert_eq!((bench.queue().undeleted(), topic.records().len()), (125, 1));

    topic.set(Mood::Acknowledge);
    until("all deleted", || bench.queue().undeleted() == 0).await;
    let counts = source.stop().await;
    assert_eq!(
        (counts.received, counts.produced, counts.deleted),
        (125, 125, 125)
    );
    assert_eq!(
        topic.values(),
        bodies(125).into_iter().collect::<HashSet<_>>()
    );
    let keys: HashSet<_> = topic.records().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), 125, "the key is the message id");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_delete_is_repeated_after_the_redelivery() {
    let bench = Bench::new().await;
    bench.send_all(bodies(30)).await;
    bench
        .endpoint
        .faults()
        .fail_next(Operation::DeleteMessageBatch, Fault::DropSilently, 3)
        .unwrap();
    let topic = StandIn::new(Mood::Acknowledge);
    let source = bench.start(&topic, bench.settings(1)).await;
    until("all deleted", || bench.queue().undeleted() == 0).await;
    source.stop().await;
    assert_eq!(topic.values().len(), 30);
    assert_eq!(
        topic.records().len(),
        33,
        "only redelivered messages are produced again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_entries_are_retried_unless_the_failure_is_permanent() {
    let bench = Bench::new().await;
    let faults = bench.endpoint.faults();
    bench.send_all(bodies(20)).await;
    faults
        .fail_next(
            Operation::DeleteMessageBatch,
            Fault::FailEntry {
                sender_fault: false,
            },
            7,
        )
        .unwrap();
    let topic = StandIn::new(Mood::Acknowledge);
    let source = bench.start(&topic, bench.settings(60)).await;
    until("all deleted", || bench.queue().undeleted() == 0).await;
    assert_eq!(
        topic.records().len(),
        20,
        "a retried delete does not produce again"
    );

    faults
        .fail_next(
            Operation::DeleteMessageBatch,
            Fault::FailEntry { sender_fault: true },
            1,
        )
        .unwrap();
    bench.send_all(["refused".to_owned()]).await;
    until("the refusal", || {
        faults.struck(Operation::DeleteMessageBatch) == 8
    })
    .await;
    let counts = source.stop().await;
    assert_eq!((counts.deleted, counts.left), (20, 1));
    assert_eq!(
        bench.queue().undeleted(),
        1,
        "the message stays in the queue"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_deletes_are_reported_and_succeed_once_they_are_allowed() {
    let bench = Bench::new().await;
    let faults = bench.endpoint.faults();
    let operation = Operation::DeleteMessageBatch;
    faults.fail_share(operation, Fault::Deny, 1.0).unwrap();
    bench.send_all(bodies(30)).await;
    let topic = StandIn::new(Mood::Acknowledge);
    let source = bench.start(&topic, bench.settings(60)).await;
    until("unready", || {
        let ready = source.health.ready();
        ready.is_err_and(|why| {
            why.to_string()
                .contains("allow sqs:DeleteMessage on this queue")
        })
    })
    .await;
    until("all produced", || topic.records().len() == 30).await;
    assert!(source.health.alive().is_ok(), "a restart would not help");
    assert_eq!(bench.queue().undeleted(), 30);
    faults.clear();
    until("all deleted", || bench.queue().undeleted() == 0).await;
    until("ready again", || source.health.ready().is_ok()).await;
    assert_eq!(source.stop().await.deleted, 30);
    assert_eq!(topic.records().len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_extensions_of_visibility_timeouts_are_reported_until_they_are_allowed() {
    let bench = Bench::new().await;
    let faults = bench.endpoint.faults();
    let operation = Operation::ChangeMessageVisibilityBatch;
    faults.fail_share(operation, Fault::Deny, 1.0).unwrap();
    bench.send_all(bodies(5)).await;
    let topic = StandIn::new(Mood::Hold);
    let source = bench.start(&topic, bench.settings(1)).await;
    until("unready", || {
        let ready = source.health.ready();
        ready.is_err_and(|why| {
            why.to_string()
                .contains("allow sqs:ChangeMessageVisibility on this queue")
        })
    })
    .await;
    faults.clear();
    until("ready again", || source.health.ready().is_ok()).await;
    topic.set(Mood::Acknowledge);
    until("all deleted", || bench.queue().undeleted() == 0).await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_messages_arrive_despite_throttling_cut_and_late_replies_and_duplicates() {
    use Operation as O;
    let bench = Bench::new().await;
    let faults = bench.endpoint.faults();
    bench.send_all(bodies(1500)).await;
    for operation in [
        O::ReceiveMessage,
        O::DeleteMessageBatch,
        O::ChangeMessageVisibilityBatch,
    ] {
        faults.fail_share(operation, Fault::Throttle, 0.05).unwrap();
        faults.fail_share(operation, Fault::CutReply, 0.05).unwrap();
        faults
            .fail_share(
                operation,
                Fault::Delay {
                    by: Duration::from_millis(100),
                },
                0.05,
            )
            .unwrap();
    }
    faults
        .fail_share(O::ReceiveMessage, Fault::Duplicate, 0.1)
        .unwrap();
    faults
        .fail_share(O::DeleteMessageBatch, Fault::DropSilently, 0.02)
        .unwrap();
    faults
        .fail_share(
            O::DeleteMessageBatch,
            Fault::FailEntry {
                sender_fault: false,
            },
            0.02,
        )
        .unwrap();
    let topic = StandIn::new(Mood::Acknowledge);
    let source = bench.start(&topic, bench.settings(3)).await;
    until("all deleted", || bench.queue().undeleted() == 0).await;
    source.stop().await;
    assert_eq!(
        topic.values(),
        bodies(1500).into_iter().collect::<HashSet<_>>()
    );
    assert!(faults.struck(O::ReceiveMessage) > 0 && faults.struck(O::DeleteMessageBatch) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_stay_hidden_while_they_are_in_flight() {
    let bench = Bench::new().await;
    let faults = bench.endpoint.faults();
    faults
        .fail_next(
            Operation::ChangeMessageVisibilityBatch,
            Fault::FailEntry {
                sender_fault: false,
            },
            5,
        )
        .unwrap();
    faults
        .fail_next(Operation::ChangeMessageVisibilityBatch, Fault::Throttle, 1)
        .unwrap();
    bench.send_all(bodies(200)).await;
    let topic = StandIn::new(Mood::Hold);
    let source = bench.start(&topic, bench.settings(2)).await;
    until("all received", || bench.queue().in_flight() == 200).await;
    for _ in 0..700 {
        assert_eq!(
            bench.queue().depth(),
            0,
            "a message in flight became visible"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    topic.set(Mood::Acknowledge);
    until("all deleted", || bench.queue().undeleted() == 0).await;
    let counts = source.stop().await;
    assert_eq!(
        (counts.received, counts.duplicates, topic.records().len()),
        (200, 0, 200)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_delivered_twice_is_produced_once_and_deleted_by_its_newest_receipt() {
    let bench = Bench::new().await;
    bench
        .endpoint
        .faults()
        .fail_next(Operation::ReceiveMessage, Fault::Duplicate, 40)
        .unwrap();
    bench.send_all(bodies(20)).await;
    let topic = StandIn::new(Mood::Hold);
    let source = bench.start(&topic, bench.settings(60)).await;
    until("all hidden", || {
        bench.queue().in_flight() == 20 && bench.queue().depth() == 0
    })
    .await;
    topic.set(Mood::Acknowledge);
    until("all deleted", || bench.queue().undeleted() == 0).await;
    let counts = source.stop().await;
    assert_eq!(
        (counts.received, counts.duplicates, topic.records().len()),
        (20, 40, 20)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_silent_or_unreachable_delays_records_and_loses_none() {
    let bench = Bench::new().await;
    bench.send_all(bodies(100)).await;
    let topic = StandIn::new(Mood::Silent);
    let mut settings = bench.settings(2);
    settings.acknowledgement_timeout = Duration::from_millis(300);
    let source = bench.start(&topic, settings).await;
    // A second record shows that the first producer was replaced.
    until("a second attempt", || topic.records().len() >= 2).await;
    assert_eq!(bench.queue().undeleted(), 100);
    topic.set(Mood::Unreachable);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bench.queue().undeleted(), 100);
    topic.set(Mood::Acknowledge);
    until("all deleted", || bench.queue().undeleted() == 0).await;
    let counts = source.stop().await;
    assert_eq!((counts.received, counts.deleted), (100, 100));
    assert_eq!(topic.values().len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_large_for_the_topic_stays_in_the_queue_and_delays_no_other() {
    let bench = Bench::new().await;
    let large = "x".repeat(5000);
    let fits_alone = "y".repeat(3900);
    bench.send_all(bodies(50)).await;
    bench.send_all([large.clone(), fits_alone.clone()]).await;
    bench.send_all(bodies(100).split_off(50)).await;
    let topic = StandIn::new(Mood::Acknowledge);
    topic.refuse_above(4000);
    let source = bench.start(&topic, bench.settings(60)).await;
    until("all but one deleted", || bench.queue().undeleted() == 1).await;
    let counts = source.stop().await;
    assert_eq!(
        (counts.produced, counts.deleted, counts.left),
        (101, 101, 1)
    );
    assert!(topic.values().contains(&fits_alone) && !topic.values().contains(&large));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_settles_messages_in_flight_and_makes_the_rest_visible_at_once() {
    let bench = Bench::new().await;
    bench.send_all(bodies(95)).await;
    let topic = StandIn::new(Mood::Hold);
    let mut settings = bench.settings(43_200);
    settings.stop_timeout = Duration::from_millis(1500);
    let source = bench.start(&topic, settings).await;
    until("all received", || bench.queue().in_flight() == 95).await;
    source.stop().await;
    assert_eq!((bench.queue().depth(), bench.queue().in_flight()), (95, 0));

    topic.set(Mood::Acknowledge);
    let source = bench.start(&topic, bench.settings(43_200)).await;
    until("the first records", || topic.records().len() > 5).await;
    let counts = source.stop().await;
    assert_eq!(bench.queue().in_flight(), 0);
    assert_eq!(counts.received, counts.deleted);
    assert_eq!(
        bench.queue().depth(),
        95 - usize::try_from(counts.deleted).unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_messages_are_received_than_may_be_in_flight() {
    let bench = Bench::new().await;
    bench.send_all(bodies(300)).await;
    let topic = StandIn::new(Mood::Hold);
    let mut settings = bench.settings(60);
    settings.max_in_flight = 50;
    let source = bench.start(&topic, settings).await;
    until("the limit", || bench.queue().in_flight() == 50).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bench.queue().in_flight(), 50);
    topic.set(Mood::Acknowledge);
    until("all deleted", || bench.queue().undeleted() == 0).await;
    assert_eq!(source.stop().await.deleted, 300);
}

/// Runs the whole connector with the section `sqs`, stopping after two seconds.
async fn run(sqs: &str) -> anyhow::Result<()> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let meta = "{version: 0.1.0, name: test, type: sqs-source, topic: events}";
    write!(file, "apiVersion: 0.1.0\nmeta: {meta}\nsqs: {sqs}\n").unwrap();
    let connector = Connector::<Config>::load("sqs", file.path(), None)?;
    let (stop, request) = Stop::manual();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        request();
    });
    sqs_source::run(connector, stop).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_queue_or_dead_letter_queue_ends_the_start_with_the_remedy() {
    let bench = Bench::new().await;
    let access = format!(
        "endpoint-url: '{}', region: us-east-1, access-key-id: any, \
         secret-access-key: hunter2",
        bench.endpoint.url()
    );
    for queue in [
        "queue-name: nowhere".to_owned(),
        format!("queue-url: '{}/0/nowhere'", bench.endpoint.url()),
        format!(
            "queue-name: events, dead-letter-queue: '{}/0/nowhere'",
            bench.endpoint.url()
        ),
    ] {
        let error = format!(
            "{:#}",
            run(&format!("{{{queue}, {access}}}")).await.unwrap_err()
        );
        assert!(
            error.contains("nowhere") && error.contains("check the queue's URL or name"),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_does_not_answer_is_retried_until_the_stop() {
    let access = "endpoint-url: 'http://127.0.0.1:1', region: us-east-1, access-key-id: any, \
                  secret-access-key: any";
    run(&format!("{{queue-name: events, {access}}}"))
        .await
        .unwrap();
}

#[test]
fn the_sample_configuration_is_valid() {
    let mut secrets = tempfile::NamedTempFile::new().unwrap();
    writeln!(secrets, "AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b").unwrap();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/sample-config.yaml");
    Connector::<Config>::load("sqs", sample.as_ref(), Some(secrets.path())).unwrap();
}
