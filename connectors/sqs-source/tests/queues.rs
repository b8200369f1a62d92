//! Several queues, what a message may look like in the topic, and where it goes when nothing can be done with it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
// Each test target uses its own part of what they share.
#[allow(dead_code)]
mod support;

use std::collections::HashSet;

use aws_sdk_sqs::types::MessageAttributeValue;
use serde_json::{Value, json};
use sqs_source::stream::{Settings, Until};
use support::{Bench, Mood, StandIn, bodies, config, start, until};

fn as_it_is(settings: Settings) -> Settings {
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn several_queues_end_up_in_one_topic_and_each_is_emptied() {
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
    let source = start(&config, &topic, || Until::Topic, as_it_is).await;
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
async fn receiving_pauses_at_the_bound_of_bytes_and_goes_on_below_it() {
    let bench = Bench::new().await;
    let large: Vec<String> = (0..40)
        .map(|number| format!("{number:02}{}", "x".repeat(100 << 10)))
        .collect();
    bench.send_all(large).await;
    let queue = "queue-name: events, max-in-flight-bytes: 1MiB, pollers: 2";
    let config = config(bench.endpoint.url(), queue);
    let topic = StandIn::new(Mood::Hold);
    let source = start(&config, &topic, || Until::Topic, as_it_is).await;
    until("the bound", || bench.queue().in_flight() >= 10).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    // Two receives of ten may have been under way when the bound was reached.
    assert!(
        bench.queue().in_flight() <= 30,
        "{} messages of 100 KiB in hand",
        bench.queue().in_flight()
    );
    topic.set(Mood::Acknowledge);
    until("all deleted", || bench.queue().undeleted() == 0).await;
    assert_eq!(source.stop().await.deleted, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_holds_what_sqs_knows_of_the_message() {
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
    let source = start(&config, &topic, || Until::Topic, as_it_is).await;
    until("the record", || topic.records().len() == 1).await;
    source.stop().await;
    let (key, value) = topic.records().remove(0);
    let record: Value = serde_json::from_str(&value).unwrap();
    assert_eq!(record["body"], "{\"näme\": \"🛒\"}");
    let about = &record["sqs"];
    assert_eq!(
        (
            &about["queue"],
            &about["message_id"],
            &about["receive_count"]
        ),
        (&json!("events"), &json!(key), &json!(1))
    );
    assert_eq!(about["attributes"], json!({"source": "ios"}));
    assert!(about["sent_at"].as_str().unwrap().ends_with('Z'), "{about}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_topic_never_takes_goes_to_the_dead_letter_queue_and_only_then_from_its_own() {
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
    let source = start(&config, &topic, || Until::Topic, as_it_is).await;
    until("moved", || bench.queue().undeleted() == 0).await;
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
