//! The source on an SQS server that isn't ours, for what AWS does and our endpoint leaves out: FIFO queues and redrive.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
// Each test target uses its own part of what they share.
#[allow(dead_code)]
mod support;

#[path = "../../../tests/pypi/mod.rs"]
mod pypi;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{QueueAttributeName as Name, SendMessageBatchRequestEntry};
use connector_common::committed::Commit;
use sqs_source::stream::Until;
use support::{Mood, StandIn, client, config, start, until};
use tokio::sync::mpsc;

async fn create(client: &Client, name: &str, attributes: &[(Name, &str)]) -> String {
    let mut request = client.create_queue().queue_name(name);
    for (name, value) in attributes {
        request = request.attributes(name.clone(), *value);
    }
    request.send().await.unwrap().queue_url.unwrap()
}

/// How many messages SQS counts, received or not.
async fn undeleted(client: &Client, queue_url: &str) -> usize {
    let asked = client
        .get_queue_attributes()
        .queue_url(queue_url)
        .attribute_names(Name::ApproximateNumberOfMessages)
        .attribute_names(Name::ApproximateNumberOfMessagesNotVisible);
    let counts = asked.send().await.unwrap().attributes.unwrap();
    counts
        .values()
        .map(|count| count.parse::<usize>().unwrap())
        .sum()
}

async fn until_left(client: &Client, queue_url: &str, messages: usize) {
    for _ in 0..600 {
        if undeleted(client, queue_url).await == messages {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!(
        "{} are left in {queue_url}",
        undeleted(client, queue_url).await
    );
}

/// A FIFO queue with the messages `000` to `119` of four groups.
async fn fifo_of_120(client: &Client) -> String {
    let fifo = [(Name::FifoQueue, "true")];
    let queue_url = create(client, "events.fifo", &fifo).await;
    for first in (0..120).step_by(10) {
        let entries = (first..first + 10).map(|number| {
            SendMessageBatchRequestEntry::builder()
                .id(number.to_string())
                .message_body(format!("{number:03}"))
                .message_group_id(format!("user-{}", number % 4))
                .message_deduplication_id(number.to_string())
                .build()
                .unwrap()
        });
        let sent = client.send_message_batch().queue_url(&queue_url);
        let sent = sent.set_entries(Some(entries.collect())).send().await;
        assert!(sent.unwrap().failed.is_empty());
    }
    queue_url
}

/// The values of each group. Keys begin with it.
fn by_group(records: Vec<(String, String)>) -> HashMap<String, Vec<String>> {
    let mut groups: HashMap<String, Vec<String>> = HashMap::new();
    for (key, value) in records {
        let group = key.split(' ').next().unwrap().to_owned();
        groups.entry(group).or_default().push(value);
    }
    groups
}

/// That each of the four groups has its messages in their order.
fn assert_in_order(records: Vec<(String, String)>) {
    let groups = by_group(records);
    assert_eq!(groups.len(), 4);
    for (group, values) in groups {
        assert!(
            values.is_sorted() && values.len() == 30,
            "{group}: {values:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_queue_keeps_the_order_of_each_group_and_keys_records_by_it() {
    let (server, url, client) = pypi::ministack(client, None).await;
    let queue_url = fifo_of_120(&client).await;
    let config = config(&url, "queue-name: events.fifo");
    let topic = StandIn::new(Mood::Acknowledge);
    let source = start(&config, &topic, || Until::Topic, |settings| settings).await;
    until("all produced", || topic.records().len() == 120).await;
    until_left(&client, &queue_url, 0).await;
    assert_eq!(source.stop().await.deleted, 120);
    let of_four = ["user-0", "user-1", "user-2", "user-3"];
    let keys: BTreeSet<String> = topic.records().into_iter().map(|(key, _)| key).collect();
    assert!(keys.iter().eq(of_four));
    assert_in_order(topic.records());
    server.stop(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_queues_messages_are_deleted_when_the_sink_has_named_them() {
    let (server, url, client) = pypi::ministack(client, None).await;
    let queue_url = fifo_of_120(&client).await;
    let config = config(&url, "queue-name: events.fifo");
    let topic = StandIn::new(Mood::Acknowledge);
    let (sink, commits) = mpsc::channel(8);
    let mut tables = Some(Until::Tables {
        sink: None,
        commits,
    });
    let tables = || tables.take().unwrap();
    let source = start(&config, &topic, tables, |settings| settings).await;
    // At most ten of each group, and no others before these are deleted.
    until("the first are produced", || !topic.records().is_empty()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (group, values) in by_group(topic.records()) {
        assert!(values.len() <= 10, "{group}: {values:?}");
    }
    assert_eq!(undeleted(&client, &queue_url).await, 120);
    let mut named = 0;
    while named < 120 {
        let records = topic.records();
        let commit = Commit {
            sink: "sink".to_owned(),
            partition: 0,
            next_offset: records.len() as i64,
            keys: records[named..]
                .iter()
                .map(|(key, _)| key.clone())
                .collect(),
        };
        named = records.len();
        sink.send(commit).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until_left(&client, &queue_url, 0).await;
    assert_eq!(source.stop().await.deleted, 120);
    assert_in_order(topic.records());
    server.stop(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queues_own_redrive_policy_takes_what_the_topic_never_does() {
    let (server, url, client) = pypi::ministack(client, None).await;
    let dead = create(&client, "dead", &[]).await;
    let described = client
        .get_queue_attributes()
        .queue_url(&dead)
        .attribute_names(Name::QueueArn);
    let arn = described.send().await.unwrap().attributes.unwrap()[&Name::QueueArn].clone();
    let policy = format!("{{\"deadLetterTargetArn\": \"{arn}\", \"maxReceiveCount\": \"2\"}}");
    let attributes = [
        (Name::RedrivePolicy, policy.as_str()),
        (Name::VisibilityTimeout, "1"),
    ];
    let queue_url = create(&client, "events", &attributes).await;
    for body in ["small".to_owned(), "x".repeat(2_000)] {
        let sent = client
            .send_message()
            .queue_url(&queue_url)
            .message_body(body);
        sent.send().await.unwrap();
    }
    let topic = StandIn::new(Mood::Acknowledge);
    topic.refuse_above(1_000);
    let config = config(&url, "queue-name: events, visibility-timeout: 1s");
    let source = start(&config, &topic, || Until::Topic, |settings| settings).await;
    until_left(&client, &dead, 1).await;
    until_left(&client, &queue_url, 0).await;
    let counts = source.stop().await;
    assert_eq!((counts.deleted, counts.left), (1, 2));
    server.stop(Duration::from_secs(10)).await.unwrap();
}
