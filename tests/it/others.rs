//! Third-party programs at both ends: an SQS server and a Fluvio client.

use std::collections::{BTreeMap, HashMap};
use std::process::Stdio;
use std::time::Duration;

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use end_to_end::pipeline::Pipeline;
use end_to_end::{found, pypi, shop};
use local_stack::{Part, Sqs, StackOptions, queue};
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn an_sqs_server_is_drained() {
    let (server, url, _) = pypi::ministack(queue::client, None).await;
    let bodies = shop::bodies(21, 1_000);
    let options = StackOptions {
        sqs: Sqs::At(url),
        ..StackOptions::default()
    };
    let pipeline = Pipeline::start(options).await.unwrap();
    pipeline.send(&bodies).await.unwrap();
    pipeline.finish(&bodies).await.unwrap();
    server.stop(Duration::from_secs(10)).await.unwrap();
}

/// Creates a user who may only assume a role with an external id, and the role, which may only use
/// one queue. Prints the source's settings for both.
const USER_AND_ROLE: &str = r#"
import json, sys
import botocore.session
url, key, queue_url = sys.argv[1:]
session = botocore.session.get_session()
session.set_credentials(key, key)
client = lambda service: session.create_client(service, "us-east-1", endpoint_url=url)
iam = client("iam")
allow = lambda what, **more: json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": what} | more]})
attributes = client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
queue = attributes["Attributes"]["QueueArn"]
user = iam.create_user(UserName="shop")["User"]["Arn"]
role = iam.create_role(RoleName="queue-reader", AssumeRolePolicyDocument=allow(
    "sts:AssumeRole", Principal={"AWS": user},
    Condition={"StringEquals": {"sts:ExternalId": "shop-7"}}))["Role"]["Arn"]
iam.put_user_policy(UserName="shop", PolicyName="take",
                    PolicyDocument=allow("sts:AssumeRole", Resource=role))
iam.put_role_policy(RoleName="queue-reader", PolicyName="read",
                    PolicyDocument=allow("sqs:*", Resource=queue))
made = iam.create_access_key(UserName="shop")["AccessKey"]
print(f"  access-key-id: {made['AccessKeyId']}\n  secret-access-key: {made['SecretAccessKey']}")
print(f"  assume-role: {role}\n  external-id: shop-7")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_role_reads_the_queue_for_a_user_who_may_not() {
    let key = queue::ACCESS_KEY;
    let (server, url, _) = pypi::ministack(queue::client, Some(key)).await;
    let options = StackOptions {
        sqs: Sqs::At(url.clone()),
        // The long poll of the stopped source can still receive messages from this server.
        visibility_timeout: Some(Duration::from_secs(3)),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    pipeline.stack.stop_part(Part::Source).await.unwrap();
    let bodies = shop::bodies(24, 300);
    pipeline.send(&bodies).await.unwrap();

    let made = Command::new(pypi::program("python"))
        .args(["-c", USER_AND_ROLE, &url, key, pipeline.stack.queue_url()])
        .output();
    let made = made.await.unwrap();
    let log = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{log}");
    let made = String::from_utf8(made.stdout).unwrap();
    let (user, role) = made.split_at(made.find("  assume-role").unwrap());

    let file = pipeline.stack.folder().join("sqs-source.yaml");
    let config = std::fs::read_to_string(&file).unwrap();
    let source = |who: &str| {
        std::fs::write(&file, format!("{config}{user}{who}")).unwrap();
        let mut command = pipeline.stack.launch(Part::Source).command();
        command
            .env("AWS_ENDPOINT_URL_STS", &url)
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command.spawn().unwrap()
    };
    let refused = [
        (String::new(), "allow sqs:GetQueueAttributes on this queue"),
        (role.replace("shop-7", "another"), "perform: sts:AssumeRole"),
    ];
    for (who, reason) in refused {
        let ended = tokio::time::timeout(Duration::from_secs(60), source(&who).wait_with_output());
        let ended = ended.await.expect("it exits").unwrap();
        let log = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{log}");
        assert!(log.contains(reason), "{log}");
    }
    let running = source(role);
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    drop(running);
    pipeline.stack.stop().await.unwrap();
    server.stop(Duration::from_secs(10)).await.unwrap();
}

/// Reads a partition to its end with Fluvio's Python client, and prints one record a line.
const CONSUMER: &str = r#"
import sys
from fluvio import Fluvio, Offset
topic, partition, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
stream = Fluvio.connect().partition_consumer(topic, partition).stream(Offset.beginning())
for _ in range(count):
    record = next(stream)
    key, value = bytes(record.key()).decode(), bytes(record.value()).hex()
    print(record.offset(), key, value, sep="\t", flush=True)
"#;

/// Offset, key and value of the first `count` records of a partition.
async fn read(pipeline: &Pipeline, partition: i32, count: i64) -> Vec<(i64, String, Vec<u8>)> {
    let output = Command::new(pypi::program("python"))
        .args(["-c", CONSUMER, pipeline.stack.topic()])
        .args([partition.to_string(), count.to_string()])
        .env("FLV_PROFILE_PATH", pipeline.stack.profile())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(60), output)
        .await
        .expect("the client reads to the end")
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let records = text.lines().map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let value = (0..fields[2].len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&fields[2][at..at + 2], 16).unwrap())
            .collect();
        (fields[0].parse().unwrap(), fields[1].to_owned(), value)
    });
    records.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_queues_groups_keep_their_order_through_a_kill_of_either_side() {
    const GROUPS: usize = 8;
    let (server, url, _) = pypi::ministack(queue::client, None).await;
    let options = StackOptions {
        sqs: Sqs::At(url),
        fifo: true,
        visibility_timeout: Some(Duration::from_secs(5)),
        partitions: Some(2),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    let bodies = shop::bodies(23, 400);
    let group = |number: usize| format!("user-{}", number % GROUPS);
    let mut numbers = HashMap::new();
    for first in (0..bodies.len()).step_by(10) {
        let entries = (first..first + 10).map(|number| {
            SendMessageBatchRequestEntry::builder()
                .id(number.to_string())
                .message_body(&bodies[number])
                .message_group_id(group(number))
                .message_deduplication_id(number.to_string())
                .build()
                .unwrap()
        });
        let sent = pipeline.sqs.send_message_batch();
        let sent = sent.queue_url(pipeline.stack.queue_url());
        let sent = sent.set_entries(Some(entries.collect())).send().await;
        for sent in sent.unwrap().successful {
            numbers.insert(sent.message_id, sent.id.parse::<usize>().unwrap());
        }
    }
    for (records, part) in [(80, Part::Source), (200, Part::Sink)] {
        pipeline.committed_at_least(records).await.unwrap();
        pipeline.kill_and_restart(part).await.unwrap();
    }
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();

    let ends = pipeline
        .database
        .query("SELECT partition, next_offset FROM sink_offsets", &[])
        .await
        .unwrap();
    let mut order: BTreeMap<String, Vec<(i32, usize)>> = BTreeMap::new();
    for end in ends {
        let partition = end.get(0);
        for (_, key, _) in read(&pipeline, partition, end.get(1)).await {
            let (group, words) = key
                .split_once(' ')
                .expect("a message group and other words");
            let id = words
                .split(' ')
                .next()
                .and_then(|word| word.strip_prefix("id="));
            let id = id.expect("the message id");
            let of_group = order.entry(group.to_owned()).or_default();
            // Messages in flight in the killed source are produced again, after their first
            // records.
            if !of_group.contains(&(partition, numbers[id])) {
                of_group.push((partition, numbers[id]));
            }
        }
    }
    assert_eq!(order.len(), GROUPS);
    for (name, found) in order {
        let partition = found[0].0;
        let sent = (0..bodies.len()).filter(|number| group(*number) == name);
        let sent: Vec<_> = sent.map(|number| (partition, number)).collect();
        assert_eq!(
            found, sent,
            "partition and number of each message of {name}"
        );
    }
    pipeline.stack.stop().await.unwrap();
    server.stop(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_teams_python_client_reads_the_raw_events() {
    let bodies = shop::bodies(22, 500);
    let mut pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    pipeline.send(&bodies).await.unwrap();
    pipeline.arrived().await.unwrap();

    let mut unread: HashMap<Vec<u8>, usize> = HashMap::new();
    for body in &bodies {
        *unread.entry(body.clone().into_bytes()).or_default() += 1;
    }
    let records = read(&pipeline, 0, bodies.len() as i64).await;
    for (expected, (offset, key, value)) in (0..).zip(records) {
        assert_eq!(offset, expected, "offsets are contiguous");
        let (id, sent) = key
            .split_once(' ')
            .expect("the message id and when it was sent");
        assert!(id.len() == 36 && sent.starts_with("sent="), "{key}");
        *unread
            .get_mut(&value)
            .expect("a record is a body, byte for byte") -= 1;
    }
    assert!(
        unread.values().all(|left| *left == 0),
        "every body is in the topic as often as it was sent"
    );
    pipeline.stack.stop().await.unwrap();
}
