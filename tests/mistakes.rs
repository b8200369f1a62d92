//! An operator's mistakes: each gets an error that says what is wrong and where, in bounded time,
//! and nothing is lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::process::Stdio;
use std::time::Duration;

use end_to_end::pipeline::Pipeline;
use end_to_end::{found, shop};
use local_stack::artefacts::{Artefacts, SINK, SOURCE};
use local_stack::{Part, StackOptions, queue};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use private_postgres::PrivatePostgres;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const LIMIT: Duration = Duration::from_secs(100);

/// A connector with files of its own.
struct Connector {
    program: &'static str,
    folder: TempDir,
    profile: String,
}

impl Connector {
    fn new(program: &'static str, config: &str, fluvio: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("connector.yaml"), config).unwrap();
        let profile = format!(
            "version = \"2.0\"\ncurrent_profile = \"local\"\n[profile.local]\ncluster = \"local\"\n\
             [cluster.local]\nendpoint = \"{fluvio}\"\n[cluster.local.tls]\ntls_policy = \"disabled\"\n"
        );
        Self {
            program,
            folder,
            profile,
        }
    }

    fn command(&self, log_level: &str) -> Command {
        let profile = self.folder.path().join("profile.toml");
        std::fs::write(&profile, &self.profile).unwrap();
        let mut command = Command::new(Artefacts::find().unwrap().program(self.program));
        command
            .arg("--config")
            .arg(self.folder.path().join("connector.yaml"))
            .env("FLV_PROFILE_PATH", &profile)
            .env(
                "FLUVIO_METRIC_CONNECTOR",
                self.folder.path().join("metrics.sock"),
            )
            .envs(queue::environment("http://127.0.0.1:1"))
            .env("RUST_LOG", log_level)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    fn start(&self, log_level: &str) -> Child {
        self.command(log_level).spawn().unwrap()
    }

    /// Runs it until it gives up, and returns what it says.
    async fn gives_up(&self) -> String {
        let output = tokio::time::timeout(LIMIT, self.start("error").wait_with_output())
            .await
            .expect("it gives up")
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        said
    }
}

fn sink(database: &str) -> String {
    format!(
        "apiVersion: 0.1.0\nmeta: {{ name: sink, type: postgres-sink, version: 0.1.0, topic: shop-events }}\n\
         transforms: [{{ uses: flatten-items }}]\npostgres:\n  url: \"{database}\"\n"
    )
}

fn source(own: &str) -> String {
    format!(
        "apiVersion: 0.1.0\nmeta: {{ name: source, type: sqs-source, version: 0.1.0, topic: shop-events }}\nsqs:\n{own}"
    )
}

fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "no «{part}» in:\n{said}");
    }
}

#[tokio::test]
async fn an_unknown_field_is_named() {
    let config = sink("postgres://etl@localhost/etl") + "  batch-rows: 5\n";
    let said = Connector::new(SINK, &config, "127.0.0.1:1")
        .gives_up()
        .await;
    assert_says(
        &said,
        &["connector.yaml", "postgres.batch-rows", "unknown field"],
    );
    let config = source("  queue-url: http://127.0.0.1:1/q\n  visibility: 30s\n");
    let said = Connector::new(SOURCE, &config, "127.0.0.1:1")
        .gives_up()
        .await;
    assert_says(
        &said,
        &["connector.yaml", "sqs.visibility", "unknown field"],
    );
}

#[tokio::test]
async fn a_dry_run_tells_of_mistakes_and_needs_no_cluster() {
    let sound = source("  queue-url: http://127.0.0.1:1/q\n");
    let dry_run = async |config: &str| {
        let connector = Connector::new(SOURCE, config, "127.0.0.1:1");
        let mut command = connector.command("info");
        let output = command.arg("--dry-run").stdout(Stdio::piped()).output();
        tokio::time::timeout(LIMIT, output).await.unwrap().unwrap()
    };
    let output = dry_run(&sound).await;
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("connector.yaml: sound")
    );
    let output = dry_run(&sound.replace("queue-url", "queue-ulr")).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[tokio::test]
async fn a_sink_without_its_smart_module_is_refused() {
    let config =
        sink("postgres://etl@localhost/etl").replace("transforms: [{ uses: flatten-items }]\n", "");
    let said = Connector::new(SINK, &config, "127.0.0.1:1")
        .gives_up()
        .await;
    assert_says(&said, &["transforms", "flatten-items"]);
}

#[tokio::test]
async fn a_node_that_is_not_there_is_named() {
    let postgres = PrivatePostgres::start().await.unwrap();
    let said = Connector::new(SINK, &sink(&postgres.url()), "127.0.0.1:1")
        .gives_up()
        .await;
    assert_says(&said, &["127.0.0.1:1", "Fluvio"]);
    postgres.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_a_missing_database_and_a_missing_server_are_told_apart() {
    let pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    let fluvio = pipeline.stack.fluvio_address().to_string();
    let url = pipeline.stack.database_url().to_owned();
    let (_, address) = url.split_once('@').unwrap();

    let wrong = format!("postgres://etl:not-the-password@{address}");
    let said = Connector::new(SINK, &sink(&wrong), &fluvio)
        .gives_up()
        .await;
    assert_says(&said, &["password authentication failed"]);
    assert!(!said.contains("not-the-password"), "{said}");

    let missing = url.replace("/etl", "/nowhere");
    let said = Connector::new(SINK, &sink(&missing), &fluvio)
        .gives_up()
        .await;
    assert_says(&said, &["nowhere"]);

    let unreachable = "postgres://etl:not-the-password@127.0.0.1:1/etl";
    let said = Connector::new(SINK, &sink(unreachable), &fluvio)
        .gives_up()
        .await;
    assert_says(&said, &["127.0.0.1:1"]);
    assert!(!said.contains("not-the-password"), "{said}");
    pipeline.stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smart_module_that_is_not_loaded_is_named() {
    let pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    let fluvio = pipeline.stack.fluvio_address().to_string();
    let config = sink(pipeline.stack.database_url())
        .replace("flatten-items", "flatten-itmes")
        .replace("shop-events", pipeline.stack.topic())
        + "  start-timeout: 2s\n";
    let said = Connector::new(SINK, &config.replace("name: sink", "name: other"), &fluvio)
        .gives_up()
        .await;
    assert_says(&said, &["flatten-itmes", "SmartModule"]);
    pipeline.stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_the_smart_module_refuses_is_shown() {
    let pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    let config = sink(pipeline.stack.database_url())
        .replace(
            "{ uses: flatten-items }",
            "{ uses: flatten-items, with: { identity: name } }",
        )
        .replace("shop-events", pipeline.stack.topic());
    let fluvio = pipeline.stack.fluvio_address();
    let said = Connector::new(SINK, &config, fluvio).gives_up().await;
    assert_says(&said, &["identity", "name", "event-id", "content"]);
    pipeline.stack.stop().await.unwrap();
}

#[tokio::test]
async fn a_queue_that_cannot_be_reached_is_named_and_waited_for() {
    let config = source("  queue-url: http://127.0.0.1:1/q\n");
    let connector = Connector::new(SOURCE, &config, "127.0.0.1:1");
    let mut child = connector.start("warn");
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let warning = tokio::time::timeout(LIMIT, lines.next_line())
        .await
        .expect("it warns")
        .unwrap()
        .unwrap();
    assert_says(&warning, &["http://127.0.0.1:1", "trying again"]);
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let status = tokio::time::timeout(LIMIT, child.wait()).await.unwrap();
    assert!(
        status.unwrap().success(),
        "it can be stopped while it waits"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_or_a_node_that_is_not_there_is_named_by_the_source() {
    let pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    let fluvio = pipeline.stack.fluvio_address().to_string();
    let gone = pipeline
        .stack
        .queue_url()
        .replace("shop-events", "shop-evnets");
    let own = format!(
        "  queue-url: {gone}\n  endpoint-url: {}\n",
        pipeline.stack.sqs_url()
    );
    let said = Connector::new(SOURCE, &source(&own), &fluvio)
        .gives_up()
        .await;
    assert_says(&said, &["shop-evnets", "does not exist"]);

    let own = format!(
        "  queue-url: {}\n  endpoint-url: {}\n",
        pipeline.stack.queue_url(),
        pipeline.stack.sqs_url()
    );
    let said = Connector::new(SOURCE, &source(&own), "127.0.0.1:1")
        .gives_up()
        .await;
    assert_says(&said, &["127.0.0.1:1", "Fluvio"]);
    pipeline.stack.stop().await.unwrap();
}

/// Both connectors outlive a node and a database that are away for a while.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_only_delays() {
    let bodies = shop::bodies(41, 2_000);
    let (early, late) = bodies.split_at(1_000);
    let options = StackOptions {
        visibility_timeout: Some(Duration::from_secs(5)),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    pipeline.send(early).await.unwrap();
    pipeline.committed_at_least(1).await.unwrap();
    pipeline.kill(Part::Node).await.unwrap();
    pipeline.send(late).await.unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(
        pipeline.stack.ended().unwrap().is_empty(),
        "both connectors wait for the node"
    );
    pipeline.start_part(Part::Node).await.unwrap();
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    pipeline.stack.stop().await.unwrap();
}
