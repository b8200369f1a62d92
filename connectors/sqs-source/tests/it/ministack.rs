//! The source on another SQS server, for the features of AWS that our endpoint lacks: FIFO queues
//! and redrive policies.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{QueueAttributeName as Name, SendMessageBatchRequestEntry};
use connector_common::committed::Commit;
use connector_common::keys::{Key, partition_of};
use end_to_end::pypi;
use sqs_source::Unreadable;
use sqs_source::awaited::AwaitedSink;
use sqs_source::pipeline::{DeletePolicy, Settings};
use tokio::sync::mpsc;

use crate::support::{Mood, StandIn, client, config, ids, start, until};

async fn create(client: &Client, name: &str, attributes: &[(Name, &str)]) -> String {
    let mut request = client.create_queue().queue_name(name);
    for (name, value) in attributes {
        request = request.attributes(name.clone(), *value);
    }
    request.send().await.unwrap().queue_url.unwrap()
}

/// The number of messages in the queue, received or not.
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

/// The values of each group, which is the first word of the key.
fn by_group(records: Vec<(String, String)>) -> HashMap<String, Vec<String>> {
    let mut groups: HashMap<String, Vec<String>> = HashMap::new();
    for (key, value) in records {
        let group = key.split(' ').next().unwrap().to_owned();
        groups.entry(group).or_default().push(value);
    }
    groups
}

/// Asserts that each of the four groups has its messages in their order.
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
    let source = start(&config, &topic, || DeletePolicy::Topic, |settings| settings).await;
    until("all produced", || topic.records().len() == 120).await;
    until_left(&client, &queue_url, 0).await;
    assert_eq!(source.stop().await.deleted, 120);
    let records = topic.records();
    let keys = records
        .iter()
        .map(|(key, _)| Key::parse(key.as_bytes()).unwrap());
    let mut numbers: HashMap<&str, Vec<u128>> = HashMap::new();
    for key in keys {
        assert!(key.sent.millis.is_some(), "{key}");
        let group = numbers.entry(key.group.unwrap()).or_default();
        group.push(key.sent.sequence.unwrap());
    }
    let of_four: BTreeSet<&str> = numbers.keys().copied().collect();
    assert!(
        of_four
            .into_iter()
            .eq(["user-0", "user-1", "user-2", "user-3"])
    );
    assert!(numbers.values().all(|of_group| of_group.is_sorted()));
    assert_in_order(topic.records());
    server.stop(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_other_partitions_go_on_while_one_is_dead_and_none_loses_its_order() {
    let (server, url, client) = pypi::ministack(client, None).await;
    let queue_url = fifo_of_120(&client).await;
    let config = config(&url, "queue-name: events.fifo");
    let partition = |group: &str| partition_of(group, 8);
    let dead = partition("user-0");
    let topic = StandIn::with_partitions(&[Mood::Acknowledge; 8]);
    topic.set_partition(dead as usize, Mood::Silent);
    // The dead group's ten messages are more than a quarter of the limit: some are given back.
    let adjust = |settings| Settings {
        max_in_flight: 20,
        acknowledgement_timeout: Duration::from_secs(1),
        ..settings
    };
    let source = start(&config, &topic, || DeletePolicy::Topic, adjust).await;
    let living = (0..4).filter(|group| partition(&format!("user-{group}")) != dead);
    let living = living.count();
    assert!(living > 0, "all groups have one partition");
    until_left(&client, &queue_url, 120 - living * 30).await;
    until("the dead partition is reported", || {
        source.health.ready().is_err()
    })
    .await;

    topic.set_partition(dead as usize, Mood::Acknowledge);
    until_left(&client, &queue_url, 0).await;
    source.stop().await;
    let mut records = topic.records();
    // Each attempt on the dead partition has produced its first record once.
    let mut seen = BTreeSet::new();
    records.retain(|record| seen.insert(record.clone()));
    assert_in_order(records);
    server.stop(Duration::from_secs(10)).await.unwrap();
}

/// A client of the server's S3, with a bucket `bodies`.
async fn bucket(url: &str) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version_latest()
        .endpoint_url(url)
        .force_path_style(true)
        .region(aws_sdk_s3::config::Region::from_static("us-east-1"))
        .credentials_provider(aws_sdk_s3::config::Credentials::new(
            "any", "any", None, None, "test",
        ));
    let client = aws_sdk_s3::Client::from_conf(config.build());
    client
        .create_bucket()
        .bucket("bodies")
        .send()
        .await
        .unwrap();
    client
}

async fn put(client: &aws_sdk_s3::Client, key: &str, body: String) {
    let object = client.put_object().bucket("bodies").key(key);
    object.body(body.into_bytes().into()).send().await.unwrap();
}

/// The body that the Amazon SQS Extended Client Library sends for an object.
fn pointer(class: &str, key: &str) -> String {
    format!(r#"["{class}",{{"s3BucketName":"bodies","s3Key":"{key}"}}]"#)
}

const POINTER: &str = "software.amazon.payloadoffloading.PayloadS3Pointer";
const OLD_POINTER: &str = "com.amazon.sqs.javamessaging.MessageS3Pointer";

#[tokio::test(flavor = "multi_thread")]
async fn bodies_in_s3_are_produced_and_one_that_cannot_be_read_is_left() {
    let (server, url, client) = pypi::ministack(client, None).await;
    let queue_url = create(&client, "events", &[]).await;
    let s3 = bucket(&url).await;
    let large = |letter: &str| letter.repeat(600 << 10);
    put(&s3, "a", large("a")).await;
    put(&s3, "b/b", large("b")).await;
    put(&s3, "too-large", "x".repeat(5 << 20)).await;
    let bodies = [
        pointer(POINTER, "a"),
        pointer(OLD_POINTER, "b/b"),
        pointer(POINTER, "missing"),
        pointer(POINTER, "too-large"),
        "in SQS".to_owned(),
    ];
    for body in bodies {
        let sent = client.send_message().queue_url(&queue_url);
        sent.message_body(body).send().await.unwrap();
    }
    let more = format!("queue-name: events, s3-payloads: true, s3-endpoint-url: '{url}'");
    let config = config(&url, &more);
    let topic = StandIn::new(Mood::Acknowledge);
    let source = start(&config, &topic, || DeletePolicy::Topic, |settings| settings).await;
    until_left(&client, &queue_url, 2).await;
    let expected = [large("a"), large("b"), "in SQS".to_owned()];
    assert_eq!(topic.values(), expected.into_iter().collect());
    until("unready", || {
        let ready = source.health.ready();
        ready.is_err_and(|why| {
            why.to_string()
                .contains("bodies in S3: cannot read s3://bodies/")
        })
    })
    .await;

    // The message comes again, and the next body that is read ends the report.
    put(&s3, "missing", large("m")).await;
    put(&s3, "too-large", large("t")).await;
    until_left(&client, &queue_url, 0).await;
    assert_eq!(topic.records().len(), 5);
    assert!(source.health.ready().is_ok());
    assert_eq!(source.stop().await.deleted, 5);
    server.stop(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_one_receive_are_produced_though_the_byte_budget_has_room_for_one() {
    let (server, url, client) = pypi::ministack(client, None).await;
    let queue_url = create(&client, "events", &[]).await;
    let s3 = bucket(&url).await;
    let body = |number: usize| number.to_string().repeat(1_000_000);
    for number in 0..10 {
        put(&s3, &number.to_string(), body(number)).await;
    }
    let entries = (0..10).map(|number| {
        SendMessageBatchRequestEntry::builder()
            .id(number.to_string())
            .message_body(pointer(POINTER, &number.to_string()))
            .build()
            .unwrap()
    });
    let sent = client.send_message_batch().queue_url(&queue_url);
    let sent = sent.set_entries(Some(entries.collect())).send().await;
    assert!(sent.unwrap().failed.is_empty());
    let more = format!(
        "queue-name: events, s3-payloads: true, s3-endpoint-url: '{url}', \
         max-in-flight-bytes: 1MiB"
    );
    let config = config(&url, &more);
    let topic = StandIn::new(Mood::Acknowledge);
    let source = start(&config, &topic, || DeletePolicy::Topic, |settings| settings).await;
    until_left(&client, &queue_url, 0).await;
    assert_eq!(topic.records().len(), 10);
    assert!(topic.values() == (0..10).map(body).collect());
    assert_eq!(source.stop().await.deleted, 10);
    server.stop(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_keeps_its_order_though_some_bodies_are_in_s3_or_missing_at_first() {
    let (server, url, client) = pypi::ministack(client, None).await;
    let queue_url = create(&client, "events.fifo", &[(Name::FifoQueue, "true")]).await;
    let s3 = bucket(&url).await;
    put(&s3, "0", "0".to_owned()).await;
    let bodies = [
        pointer(POINTER, "0"),
        "1".to_owned(),
        pointer(POINTER, "2"),
        "3".to_owned(),
    ];
    for (number, body) in bodies.into_iter().enumerate() {
        let sent = client.send_message().queue_url(&queue_url);
        let sent = sent.message_body(body).message_group_id("group");
        let sent = sent.message_deduplication_id(number.to_string());
        sent.send().await.unwrap();
    }
    let more = format!("queue-name: events.fifo, s3-payloads: true, s3-endpoint-url: '{url}'");
    let config = config(&url, &more);
    let topic = StandIn::new(Mood::Acknowledge);
    let source = start(&config, &topic, || DeletePolicy::Topic, |settings| settings).await;
    until_left(&client, &queue_url, 2).await;
    put(&s3, "2", "2".to_owned()).await;
    until_left(&client, &queue_url, 0).await;
    assert_eq!(topic.values_of(0), ["0", "1", "2", "3"]);
    source.stop().await;
    server.stop(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_fifo_queue_are_deleted_when_the_sink_has_committed_them() {
    let (server, url, client) = pypi::ministack(client, None).await;
    let queue_url = fifo_of_120(&client).await;
    let config = config(&url, "queue-name: events.fifo");
    let topic = StandIn::new(Mood::Acknowledge);
    let (sink, commits) = mpsc::channel(8);
    let mut tables = Some(DeletePolicy::Sinks {
        sinks: vec![AwaitedSink::Tables],
        commits,
        unreadable: Unreadable::default(),
    });
    let tables = || tables.take().unwrap();
    let source = start(&config, &topic, tables, |settings| settings).await;
    // At most ten of each group are returned before these are deleted.
    until("the first are produced", || !topic.records().is_empty()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (group, values) in by_group(topic.records()) {
        assert!(values.len() <= 10, "{group}: {values:?}");
    }
    assert_eq!(undeleted(&client, &queue_url).await, 120);
    let mut committed = 0;
    while committed < 120 {
        let records = topic.records();
        let commit = Commit {
            sink: "sink".to_owned(),
            partition: 0,
            next_offset: records.len() as i64,
            ids: ids(&records[committed..]),
            ..Commit::default()
        };
        committed = records.len();
        sink.send(commit).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until_left(&client, &queue_url, 0).await;
    assert_eq!(source.stop().await.deleted, 120);
    assert_in_order(topic.records());
    server.stop(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queues_own_redrive_policy_moves_a_message_that_is_too_large_for_the_topic() {
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
    let source = start(&config, &topic, || DeletePolicy::Topic, |settings| settings).await;
    until_left(&client, &dead, 1).await;
    until_left(&client, &queue_url, 0).await;
    let counts = source.stop().await;
    assert_eq!((counts.deleted, counts.left), (1, 2));
    server.stop(Duration::from_secs(10)).await.unwrap();
}
