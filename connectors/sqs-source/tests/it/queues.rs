//! Several queues, the formats of a record, and the dead-letter queue.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeNameForSends as Name, MessageSystemAttributeValue,
};
use chrono::Utc;
use connector_common::keys::Key;
use serde_json::{Value, json};
use sqs_endpoint::{Fault, Operation};
use sqs_source::pipeline::{DeletePolicy, Settings};

use crate::support::{Bench, Mood, StandIn, bodies, config, ids, start, until};

fn unchanged(settings: Settings) -> Settings {
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn several_queues_are_streamed_into_one_topic_and_emptied() {
    let bench = Bench::new().await;
    let others: Vec<String> = ["ios", "web"]
        .map(|name| bench.endpoint.create_queue(name).unwrap())
        .into();
    bench.send_all(bodies(30)).await;
    for (queue, count) in others.iter().zip([40, 50]) {
        let named = bodies(count)
            .into_iter()
            .map(|body| format!("[{count}, {body}]"));
        bench.send_to(queue, named).await;
    }
    let queues = format!(
        "queue-url: ['{}', '{}'], queue-name: events",
        others[0], others[1]
    );
    let config = config(bench.endpoint.url(), &queues);
    let topic = StandIn::new(Mood::Acknowledge);
    let source = start(&config, &topic, || DeletePolicy::Topic, unchanged).await;
    let undeleted = || -> usize {
        ["events", "ios", "web"]
            .map(|queue| bench.endpoint.queue(queue).unwrap().undeleted())
            .iter()
            .sum()
    };
    until("all deleted", || undeleted() == 0).await;
    let counts = source.stop().await;
    assert_eq!((counts.produced, counts.deleted), (120, 120));
    assert_eq!(topic.values().len(), 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn receiving_pauses_at_the_byte_budget_and_continues_below_it() {
    let bench = Bench::new().await;
    let large: Vec<String> = (0..40)
        .map(|number| format!("{number:02}{}", "x".repeat(100 << 10)))
        .collect();
    bench.send_all(large).await;
    let queue = "queue-name: events, max-in-flight-bytes: 1MiB, pollers: 2";
    let config = config(bench.endpoint.url(), queue);
    let topic = StandIn::new(Mood::Hold);
    let source = start(&config, &topic, || DeletePolicy::Topic, unchanged).await;
    until("the limit", || bench.queue().in_flight() >= 10).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    // Two receives of ten may have been running when the limit was reached.
    assert!(
        bench.queue().in_flight() <= 30,
        "{} messages of 100 KiB in flight",
        bench.queue().in_flight()
    );
    topic.set(Mood::Acknowledge);
    until("all deleted", || bench.queue().undeleted() == 0).await;
    assert_eq!(source.stop().await.deleted, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_has_the_metadata_of_sqs() {
    let bench = Bench::new().await;
    let attribute = MessageAttributeValue::builder()
        .data_type("String")
        .string_value("ios");
    bench
        .client
        .send_message()
        .queue_url(bench.queue_url())
        .message_body("{\"näme\": \"🛒\"}")
        .message_attributes("source", attribute.build().unwrap())
        .send()
        .await
        .unwrap();
    let config = config(
        bench.endpoint.url(),
        "queue-name: events, record-format: envelope",
    );
    let topic = StandIn::new(Mood::Acknowledge);
    let source = start(&config, &topic, || DeletePolicy::Topic, unchanged).await;
    until("the record", || topic.records().len() == 1).await;
    source.stop().await;
    let id = ids(&topic.records()).remove(0);
    let (_, value) = topic.records().remove(0);
    let record: Value = serde_json::from_str(&value).unwrap();
    assert_eq!(record["body"], "{\"näme\": \"🛒\"}");
    let metadata = &record["sqs"];
    assert_eq!(
        (
            &metadata["queue"],
            &metadata["message_id"],
            &metadata["receive_count"]
        ),
        (&json!("events"), &json!(id), &json!(1))
    );
    assert_eq!(metadata["attributes"], json!({"source": "ios"}));
    assert!(
        metadata["sent_at"].as_str().unwrap().ends_with('Z'),
        "{metadata}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_large_for_the_topic_is_forwarded_to_the_dead_letter_queue_before_its_delete()
{
    let bench = Bench::new().await;
    let dead = bench.endpoint.create_queue("dead").unwrap();
    let huge = "x".repeat(2_000);
    bench.send_all(bodies(20)).await;
    bench.send_all([huge.clone()]).await;
    let topic = StandIn::new(Mood::Acknowledge);
    topic.refuse_above(1_000);
    let queues = format!(
        "queue-name: events, visibility-timeout: 1s, dead-letter-queue: '{dead}', max-receives: 2"
    );
    let config = config(bench.endpoint.url(), &queues);
    let source = start(&config, &topic, || DeletePolicy::Topic, unchanged).await;
    until("forwarded", || bench.queue().undeleted() == 0).await;
    let counts = source.stop().await;
    assert_eq!(
        (counts.deleted, counts.dead_lettered, counts.left),
        (21, 1, 2)
    );
    assert_eq!(
        topic.values(),
        bodies(20).into_iter().collect::<HashSet<_>>()
    );
    let found = bench.client.receive_message().queue_url(&dead).send().await;
    let found = found.unwrap().messages.unwrap();
    assert_eq!(found[0].body.as_deref(), Some(huge.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_message_keeps_its_version_and_its_trace_context() {
    const TRACE: &str = "Root=1-5759e988-bd862e3fe1be46a994272793";
    let bench = Bench::new().await;
    let dead = bench.endpoint.create_queue("dead").unwrap();
    let attribute = MessageAttributeValue::builder().data_type("String");
    let attribute = attribute.string_value("ios").build().unwrap();
    let trace = MessageSystemAttributeValue::builder().data_type("String");
    let trace = trace.string_value(TRACE).build().unwrap();
    // The second one has no room for another attribute.
    for count in [1, 10] {
        let mut message = bench.client.send_message().queue_url(bench.queue_url());
        message = message
            .message_body(format!("{count:02}{}", "x".repeat(2_000)))
            .message_system_attributes(Name::AwsTraceHeader, trace.clone());
        for number in 0..count {
            message = message.message_attributes(format!("a{number}"), attribute.clone());
        }
        message.send().await.unwrap();
    }
    let topic = StandIn::new(Mood::Acknowledge);
    topic.refuse_above(1_000);
    let queues = format!(
        "queue-name: events, visibility-timeout: 1s, dead-letter-queue: '{dead}', max-receives: 1"
    );
    let forwarding = config(bench.endpoint.url(), &queues);
    let source = start(&forwarding, &topic, || DeletePolicy::Topic, unchanged).await;
    until("forwarded", || bench.queue().undeleted() == 0).await;
    assert_eq!(source.stop().await.dead_lettered, 2);
    assert!(topic.records().is_empty());

    let before = Utc::now().timestamp_millis();
    let topic = StandIn::new(Mood::Acknowledge);
    let reading = config(bench.endpoint.url(), "queue-name: dead");
    let source = start(&reading, &topic, || DeletePolicy::Topic, unchanged).await;
    until("read from the dead-letter queue", || {
        topic.records().len() == 2
    })
    .await;
    source.stop().await;
    for (key, value) in topic.records() {
        let key = Key::parse(key.as_bytes()).unwrap();
        assert_eq!(key.trace, value.starts_with("01").then_some(TRACE), "{key}");
        assert!(key.sent.millis.unwrap() <= before.unsigned_abs(), "{key}");
    }
    let sent = |start: &str| {
        let mut records = topic.records().into_iter();
        let (key, _) = records.find(|(_, value)| value.starts_with(start)).unwrap();
        Key::parse(key.as_bytes()).unwrap().sent.millis.unwrap()
    };
    // It was received twice, a second apart, before it was forwarded.
    assert!(
        sent("01") + 900 < sent("10"),
        "the original was sent before the copy"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_dead_letter_queue_is_reported_and_stops_no_queue() {
    let bench = Bench::new().await;
    let web = bench.endpoint.create_queue("web").unwrap();
    let dead = bench.endpoint.create_queue("dead").unwrap();
    let faults = bench.endpoint.faults();
    let operation = Operation::SendMessage;
    faults.fail_share(operation, Fault::Deny, 1.0).unwrap();
    // Together they exceed the memory for bodies.
    let huge = (0..40).map(|number| format!("{number:02}{}", "x".repeat(100 << 10)));
    bench.send_all(huge).await;
    let topic = StandIn::new(Mood::Acknowledge);
    topic.refuse_above(1_000);
    let queues = format!(
        "queue-name: [events, web], visibility-timeout: 1s, max-in-flight-bytes: 1MiB, \
         dead-letter-queue: '{dead}', max-receives: 1"
    );
    let config = config(bench.endpoint.url(), &queues);
    let source = start(&config, &topic, || DeletePolicy::Topic, unchanged).await;
    until("unready", || {
        let ready = source.health.ready();
        ready.is_err_and(|why| why.to_string().contains("allow sqs:SendMessage"))
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    bench.send_to(&web, bodies(50)).await;
    let undeleted = |queue: &str| bench.endpoint.queue(queue).unwrap().undeleted();
    until("the other queue is emptied", || undeleted("web") == 0).await;
    assert_eq!((undeleted("events"), undeleted("dead")), (40, 0));

    faults.clear();
    until("forwarded", || undeleted("events") == 0).await;
    assert!(undeleted("dead") >= 40);
    until("ready again", || source.health.ready().is_ok()).await;
    source.stop().await;
}
