//! The source as a process: its start and its stop.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::Bench;

const LIMIT: Duration = Duration::from_secs(60);

/// Starts the source with this configuration file and the Fluvio profile in `folder`.
fn start(folder: &TempDir, config: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sqs_source"))
        .arg("--config")
        .arg(config)
        .env("FLV_PROFILE_PATH", folder.path().join("profile.toml"))
        .env("RUST_LOG", "warn")
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn configuration(bench: &Bench) -> String {
    format!(
        "apiVersion: 0.1.0\nmeta: {{version: 0.1.0, name: test, type: sqs-source, topic: events}}\n\
         sqs: {{queue-name: events, endpoint-url: '{}', region: us-east-1, access-key-id: any, \
         secret-access-key: any}}\n",
        bench.endpoint.url()
    )
}

/// Sends SIGTERM.
async fn terminate(child: &Child) {
    let pid = child.id().unwrap().to_string();
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill -TERM $0", &pid]);
    assert!(kill.status().await.unwrap().success());
}

async fn ended(mut child: Child) -> Option<i32> {
    let status = tokio::time::timeout(LIMIT, child.wait()).await;
    status.expect("it ends").unwrap().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_before_the_configuration_is_read_ends_it_orderly() {
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().unwrap();
    // A pipe has the source wait for its configuration.
    let pipe = folder.path().join("connector.yaml");
    let made = Command::new("mkfifo").arg(&pipe).status().await;
    assert!(made.unwrap().success());
    let child = start(&folder, &pipe);
    // Opened once the source opens it.
    let opening = tokio::fs::OpenOptions::new().write(true).open(&pipe).await;
    terminate(&child).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut file = opening.unwrap();
    let config = configuration(&bench);
    file.write_all(config.as_bytes()).await.unwrap();
    file.flush().await.unwrap();
    drop(file);
    assert_eq!(ended(child).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_does_not_answer_is_waited_for_and_named() {
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().unwrap();
    let profile = "version = \"2.0\"\ncurrent_profile = \"local\"\n[profile.local]\ncluster = \
                   \"local\"\n[cluster.local]\nendpoint = \"127.0.0.1:1\"\n[cluster.local.tls]\n\
                   tls_policy = \"disabled\"\n";
    std::fs::write(folder.path().join("profile.toml"), profile).unwrap();
    let config = folder.path().join("connector.yaml");
    std::fs::write(&config, configuration(&bench)).unwrap();
    let mut child = start(&folder, &config);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let waiting = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it runs");
            if line.contains("waiting for the topic") {
                return line;
            }
        }
    };
    let waiting = tokio::time::timeout(LIMIT, waiting).await.unwrap();
    assert!(waiting.contains("127.0.0.1:1"), "{waiting}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(child.try_wait().unwrap().is_none(), "it has ended");
    terminate(&child).await;
    assert_eq!(ended(child).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_profile_ends_the_start_at_once_with_the_remedy() {
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("connector.yaml");
    std::fs::write(&config, configuration(&bench)).unwrap();
    let output = start(&folder, &config).wait_with_output();
    let output = tokio::time::timeout(LIMIT, output).await.unwrap().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("no current Fluvio profile"), "{log}");
}
