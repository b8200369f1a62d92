//! An operator's mistakes: each ends in an error that names the mistake and its place, in bounded
//! time, and nothing is lost.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use end_to_end::pipeline::Pipeline;
use end_to_end::shop;
use local_stack::artefacts::{Artefacts, SINK, SOURCE};
use local_stack::cluster::load_smart_module;
use local_stack::{Part, StackOptions, queue};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use private_postgres::PrivatePostgres;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;

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
             [cluster.local]\nendpoint = \"{fluvio}\"\n[cluster.local.tls]\ntls_policy \
             = \"disabled\"\n"
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

    /// Runs it until it exits with an error, and returns its log.
    async fn fails(&self) -> String {
        let output = tokio::time::timeout(LIMIT, self.start("error").wait_with_output())
            .await
            .expect("it exits")
            .unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(!log.contains("panicked"), "{log}");
        log
    }
}

fn sink(database: &str) -> String {
    format!(
        "apiVersion: 0.1.0\nmeta: {{ name: sink, type: postgres-sink, version: 0.1.0, topic: \
         shop-events }}\n\
         transforms: [{{ uses: flatten-items }}]\npostgres:\n  url: \"{database}\"\n"
    )
}

fn source(own: &str) -> String {
    format!(
        "apiVersion: 0.1.0\nmeta: {{ name: source, type: sqs-source, version: 0.1.0, topic: \
         shop-events }}\nsqs:\n{own}"
    )
}

async fn dry_run(program: &'static str, config: &str) -> Output {
    let connector = Connector::new(program, config, "127.0.0.1:1");
    let mut command = connector.command("info");
    let output = command.arg("--dry-run").stdout(Stdio::piped()).output();
    tokio::time::timeout(LIMIT, output).await.unwrap().unwrap()
}

fn assert_has(log: &str, parts: &[&str]) {
    for part in parts {
        assert!(log.contains(part), "no «{part}» in:\n{log}");
    }
}

#[tokio::test]
async fn an_unknown_field_is_named() {
    let config = sink("postgres://etl@localhost/etl") + "  batch-rows: 5\n";
    let log = Connector::new(SINK, &config, "127.0.0.1:1").fails().await;
    assert_has(
        &log,
        &["connector.yaml", "postgres.batch-rows", "unknown field"],
    );
    let config = source("  queue-url: http://127.0.0.1:1/q\n  visibility: 30s\n");
    let log = Connector::new(SOURCE, &config, "127.0.0.1:1").fails().await;
    assert_has(&log, &["connector.yaml", "sqs.visibility", "unknown field"]);
}

#[tokio::test]
async fn a_dry_run_reports_mistakes_and_needs_no_cluster() {
    let sound = source("  queue-url: http://127.0.0.1:1/q\n");
    let output = dry_run(SOURCE, &sound).await;
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("connector.yaml is valid")
    );
    let output = dry_run(SOURCE, &sound.replace("queue-url", "queue-ulr")).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[tokio::test]
async fn a_dry_run_checks_the_transforms() {
    let sound = sink("postgres://etl@localhost/etl");
    let transforms = "transforms: [{ uses: flatten-items }]\n";
    let with = |parameters: &str| {
        let step = format!("transforms: [{{ uses: flatten-items, with: {{ {parameters} }} }}]\n");
        sound.replace(transforms, &step)
    };
    let own = source("  queue-url: http://127.0.0.1:1/q\n");
    for (program, config, named) in [
        (SINK, sound.replace(transforms, ""), "`transforms` is empty"),
        (SINK, with("identity: name"), "`identity`"),
        (SINK, with("max-itmes: 5"), "`max-itmes`"),
        (
            SINK,
            with("identity: content") + "  on-conflict: update\n",
            "`on-conflict: update`",
        ),
        (
            SOURCE,
            format!("{own}{transforms}"),
            "`transforms` is refused",
        ),
    ] {
        let output = dry_run(program, &config).await;
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{config}{log}");
        assert_has(&log, &["connector.yaml", named]);
    }
}

#[tokio::test]
async fn a_missing_node_is_named() {
    let postgres = PrivatePostgres::start().await.unwrap();
    let log = Connector::new(SINK, &sink(&postgres.url()), "127.0.0.1:1")
        .fails()
        .await;
    assert_has(&log, &["127.0.0.1:1", "Fluvio"]);
    postgres.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_a_missing_database_and_a_missing_server_are_distinguished() {
    let pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    let fluvio = pipeline.stack.fluvio_address().to_string();
    let url = pipeline.stack.database_url().to_owned();
    let (_, address) = url.split_once('@').unwrap();

    let wrong = format!("postgres://etl:not-the-password@{address}");
    let log = Connector::new(SINK, &sink(&wrong), &fluvio).fails().await;
    assert_has(&log, &["password authentication failed"]);
    assert!(!log.contains("not-the-password"), "{log}");

    let missing = url.replace("/etl", "/nowhere");
    let log = Connector::new(SINK, &sink(&missing), &fluvio).fails().await;
    assert_has(&log, &["nowhere"]);

    let unreachable = "postgres://etl:not-the-password@127.0.0.1:1/etl";
    let log = Connector::new(SINK, &sink(unreachable), &fluvio)
        .fails()
        .await;
    assert_has(&log, &["127.0.0.1:1"]);
    assert!(!log.contains("not-the-password"), "{log}");
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
    let log = Connector::new(SINK, &config.replace("name: sink", "name: other"), &fluvio)
        .fails()
        .await;
    assert_has(&log, &["flatten-itmes", "SmartModule"]);
    pipeline.stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_the_smart_module_refuses_is_shown() {
    let pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    // Under this name the sink does not know its parameters.
    let manifest = "params = []\n\
        package = { name = \"ours\", group = \"tests\", version = \"0.1.0\", apiVersion = \"0.1.0\" }";
    let wasm = Artefacts::find().unwrap().flatten_items();
    let admin = pipeline.stack.admin().await.unwrap();
    load_smart_module(&admin, manifest, &wasm).await.unwrap();
    let config = sink(pipeline.stack.database_url())
        .replace(
            "{ uses: flatten-items }",
            "{ uses: ours, with: { identity: name } }",
        )
        .replace("shop-events", pipeline.stack.topic());
    let fluvio = pipeline.stack.fluvio_address();
    let log = Connector::new(SINK, &config, fluvio).fails().await;
    assert_has(&log, &["identity", "name", "event-id", "content"]);
    pipeline.stack.stop().await.unwrap();
}

#[tokio::test]
async fn an_unreachable_queue_is_named_and_retried() {
    let config = source("  queue-url: http://127.0.0.1:1/q\n");
    let connector = Connector::new(SOURCE, &config, "127.0.0.1:1");
    let mut child = connector.start("warn");
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let warning = tokio::time::timeout(LIMIT, lines.next_line())
        .await
        .expect("it warns")
        .unwrap()
        .unwrap();
    assert_has(&warning, &["http://127.0.0.1:1", "retrying"]);
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let status = tokio::time::timeout(LIMIT, child.wait()).await.unwrap();
    assert!(
        status.unwrap().success(),
        "it can be stopped while it waits"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_queue_is_named_by_the_source() {
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
    let log = Connector::new(SOURCE, &source(&own), &fluvio).fails().await;
    assert_has(&log, &["shop-evnets", "does not exist"]);
    pipeline.stack.stop().await.unwrap();
}

/// Both connectors survive an outage of the node.
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
    pipeline.finish(&bodies).await.unwrap();
}

/// A proxy in front of a server, which forwards nothing and closes nothing once it is silenced.
async fn silenceable_proxy(server: String) -> (u16, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (silence, silent) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (server, mut silent) = (server.clone(), silent.clone());
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                let silenced = async { drop(silent.wait_for(|is_silent| *is_silent).await) };
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => {}
                    () = silenced => std::future::pending().await,
                }
            });
        }
    });
    (port, silence)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_falls_silent_does_not_hold_up_a_stop() {
    let bodies = shop::bodies(43, 200);
    let pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    let url = pipeline.stack.database_url().to_owned();
    let address = url.split(['@', '/']).nth(3).unwrap();
    let (port, silence) = silenceable_proxy(address.to_owned()).await;
    let through = url.replace(address, &format!("127.0.0.1:{port}"));
    let config = sink(&through)
        .replace("name: sink", "name: other")
        .replace("shop-events", pipeline.stack.topic());
    let connector = Connector::new(SINK, &config, pipeline.stack.fluvio_address());
    let mut child = connector.start("error");
    pipeline.send(&bodies[..100]).await.unwrap();
    let written = "SELECT FROM sink_offsets WHERE sink = 'other' AND next_offset > 0";
    let started = Instant::now();
    while pipeline
        .database
        .query(written, &[])
        .await
        .unwrap()
        .is_empty()
    {
        assert!(started.elapsed() < LIMIT, "the second sink writes nothing");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    silence.send_replace(true);
    // A batch that the database does not accept, and a check of the locks.
    pipeline.send(&bodies[100..]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let signalled = Instant::now();
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let status = tokio::time::timeout(LIMIT, child.wait()).await.unwrap();
    assert!(status.unwrap().success());
    let took = signalled.elapsed();
    assert!(took < Duration::from_secs(25), "{took:?}");
    pipeline.stack.stop().await.unwrap();
}
