//! Programs from PyPI, which `tests/run.sh` installs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use aws_sdk_sqs::Client;
use owned_process::{OwnedProcess, Signal};
use tokio::process::Command;

/// The path of a program.
pub fn program(name: &str) -> PathBuf {
    let venv = std::env::var("ETL_TEST_VENV")
        .expect("this test needs programs from PyPI: run it by `make test`");
    PathBuf::from(venv).join("bin").join(name)
}

/// Starts ministack, a faithful server of SQS and S3 in Python. Returns it with its URL and a
/// client, which `client` creates. With a `root` key it also has users and roles and enforces their
/// rights; that key has all rights.
pub async fn ministack(
    client: fn(&str) -> Client,
    root: Option<&str>,
) -> (OwnedProcess, String, Client) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut command = Command::new(program("ministack"));
    command
        .env("BIND_HOST", "127.0.0.1")
        .env("GATEWAY_PORT", port.to_string())
        .env("SERVICES", "sqs,s3")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(root) = root {
        command
            .env("SERVICES", "sqs,sts,iam")
            .env("AUTH", "true")
            .env("AWS_ACCESS_KEY_ID", root)
            .env("AWS_SECRET_ACCESS_KEY", root);
    }
    let process = OwnedProcess::spawn("ministack", command, Signal::SIGTERM).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let client = client(&url);
    for _ in 0..150 {
        if client.list_queues().send().await.is_ok() {
            return (process, url, client);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("ministack does not answer at {url}");
}
