//! Other people's programs at both ends: an SQS server and a Fluvio client that aren't ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod pypi;

use std::collections::HashMap;
use std::time::Duration;

use end_to_end::pipeline::Pipeline;
use end_to_end::{found, shop};
use local_stack::{Sqs, StackOptions, queue};
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn a_faithful_sqs_server_is_drained() {
    let (server, url, _) = pypi::ministack(queue::client).await;
    let bodies = shop::bodies(21, 1_000);
    let options = StackOptions {
        sqs: Sqs::At(url),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    pipeline.send(&bodies).await.unwrap();
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    pipeline.stack.stop().await.unwrap();
    server.stop(Duration::from_secs(10)).await.unwrap();
}

/// Reads a topic to its end as another team would, and prints one record a line.
const CONSUMER: &str = r#"
import sys
from fluvio import Fluvio, Offset
count = int(sys.argv[1])
stream = Fluvio.connect().partition_consumer(sys.argv[2], 0).stream(Offset.beginning())
for _ in range(count):
    record = next(stream)
    print(record.offset(), bytes(record.key()).decode(), bytes(record.value()).hex(), flush=True)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn another_teams_python_client_reads_the_raw_events() {
    let bodies = shop::bodies(22, 500);
    let mut pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    pipeline.send(&bodies).await.unwrap();
    pipeline.arrived().await.unwrap();

    let output = Command::new(pypi::program("python"))
        .args([
            "-c",
            CONSUMER,
            &bodies.len().to_string(),
            pipeline.stack.topic(),
        ])
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

    let mut unread: HashMap<Vec<u8>, usize> = HashMap::new();
    for body in &bodies {
        *unread.entry(body.clone().into_bytes()).or_default() += 1;
    }
    let text = String::from_utf8(output.stdout).unwrap();
    for (expected, line) in text.lines().enumerate() {
        let fields: Vec<&str> = line.split(' ').collect();
        assert_eq!(fields[0], expected.to_string(), "offsets are contiguous");
        assert_eq!(
            fields[1].len(),
            36,
            "the key is the SQS message id: {}",
            fields[1]
        );
        let value: Vec<u8> = (0..fields[2].len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&fields[2][at..at + 2], 16).unwrap())
            .collect();
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
