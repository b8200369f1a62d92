//! A queue whose messages may not be deleted, through the whole pipeline.

use std::net::TcpListener;
use std::time::Duration;

use end_to_end::pipeline::{Pipeline, edit};
use end_to_end::queue_check::QueueCheck;
use end_to_end::{cli, found, pypi, shop};
use local_stack::{Part, StackOptions, queue};
use serde_json::Value;
use sqs_endpoint::{Fault, Operation};

/// A pipeline on a queue that may only be read, and the address of its source's metrics.
async fn on_a_read_only_queue(delete_after: &str) -> (Pipeline, String) {
    let options = StackOptions {
        visibility_timeout: Some(Duration::from_secs(2)),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    pipeline.stack.stop_part(Part::Source).await.unwrap();
    let faults = pipeline.stack.endpoint().unwrap().faults();
    for operation in [
        Operation::DeleteMessageBatch,
        Operation::ChangeMessageVisibilityBatch,
    ] {
        faults.fail_share(operation, Fault::Deny, 1.0).unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let file = pipeline.stack.folder().join("sqs-source.yaml");
    let own = format!("delete-after: {delete_after}\n  metrics-address: {address}");
    edit(&file, "  sink: ", "  # sink: ").unwrap();
    edit(
        &file,
        "  notifications-secret: ",
        "  # notifications-secret: ",
    )
    .unwrap();
    edit(&file, "delete-after: tables", &own).unwrap();
    (pipeline, format!("http://{address}"))
}

/// Runs `etl` with the pipeline's files.
async fn etl(pipeline: &Pipeline, args: &[&str]) -> String {
    let stack = &pipeline.stack;
    let mut command = cli::command().unwrap();
    command
        .args(args)
        .env("DATABASE_URL", stack.database_url())
        .env("QUEUE_URL", stack.queue_url())
        .env("FLV_PROFILE_PATH", stack.profile())
        .envs(queue::environment(stack.sqs_url()));
    cli::output(&mut command).await.unwrap().1
}

async fn doctor(pipeline: &Pipeline) -> String {
    let folder = pipeline.stack.folder();
    let file = |name: &str| folder.join(name).display().to_string();
    let (source, secrets) = (file("sqs-source.yaml"), file("secrets.txt"));
    let args = ["--source-config", &source, "--secrets", &secrets];
    etl(pipeline, &[&["doctor"][..], &args].concat()).await
}

/// Waits up to a minute until `is_so` is true of the source's status, and returns that.
async fn source_until(pipeline: &Pipeline, address: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let args = ["status", "--json", "--source-metrics", address];
    for _ in 0..300 {
        let output = etl(pipeline, &args).await;
        let status: Value = serde_json::from_str(&output).unwrap_or_else(|_| panic!("{output}"));
        let source = &status["connectors"][0];
        if is_so(source) {
            return source.clone();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("{}", etl(pipeline, &args).await);
}

/// Waits until the sink has committed this many records, and checks that the topic has no more.
async fn until_committed(pipeline: &Pipeline, records: usize) {
    let records = i64::try_from(records).unwrap();
    pipeline.committed_at_least(records).await.unwrap();
    assert_eq!(pipeline.topic_end().await.unwrap(), records);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_denies_deletion_and_is_read_twice_over_ends_in_the_same_tables() {
    let (mut pipeline, address) = on_a_read_only_queue("never").await;
    let python = pypi::program("python");
    let check = QueueCheck::of(2_000, &[], &python).await.unwrap();
    pipeline.send(&check.bodies).await.unwrap();
    let messages = check.bodies.len();
    pipeline.start_part(Part::Source).await.unwrap();
    until_committed(&pipeline, messages).await;
    source_until(&pipeline, &address, |source| {
        source["messages_remembered"] == messages
            && source["messages_in_flight"] == 0
            && source["messages_stay"] == true
            && source["ready"] == true
    })
    .await;
    check.ensure_equal(&pipeline).await.unwrap();

    // The killed source forgets the messages it remembered.
    pipeline.kill_and_restart(Part::Source).await.unwrap();
    until_committed(&pipeline, 2 * messages).await;
    check.ensure_equal(&pipeline).await.unwrap();
    assert_eq!(pipeline.waiting().await.unwrap(), messages as u64);

    let status = etl(&pipeline, &["status", "--source-metrics", &address]).await;
    assert!(status.contains("messages stay in the queue"), "{status}");
    let output = doctor(&pipeline).await;
    for part in [
        "skip  queue delete: not needed with `delete-after: never`",
        "skip  queue extend: not needed",
        "ok    queue redrive: messages stay in the queue until its retention ends",
        "ok    queue remembered: the queue holds",
    ] {
        assert!(output.contains(part), "no «{part}» in\n{output}");
    }
    pipeline.stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_delete_is_reported_and_repeated_once_it_is_allowed() {
    let (mut pipeline, address) = on_a_read_only_queue("tables").await;
    let bodies = shop::bodies(72, 100);
    pipeline.send(&bodies).await.unwrap();
    pipeline.start_part(Part::Source).await.unwrap();
    source_until(&pipeline, &address, |source| {
        let troubles = source["troubles"].to_string();
        source["ready"] == false && troubles.contains("allow sqs:DeleteMessage on this queue")
    })
    .await;
    let output = doctor(&pipeline).await;
    for part in ["fail  queue delete", "allow sqs:DeleteMessage", "never"] {
        assert!(output.contains(part), "no «{part}» in\n{output}");
    }
    pipeline.stack.endpoint().unwrap().faults().clear();
    pipeline.arrived().await.unwrap();
    source_until(&pipeline, &address, |source| source["ready"] == true).await;
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    pipeline.stack.stop().await.unwrap();
}
