//! Programs that `tests/run.sh` has installed from PyPI.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use aws_sdk_sqs::Client;
use owned_process::{OwnedProcess, Signal};
use tokio::process::Command;

/// Where one of them is.
pub fn program(name: &str) -> PathBuf {
    let venv = std::env::var("ETL_TEST_VENV")
        .expect("this test needs programs from PyPI: run it by `make test`");
    PathBuf::from(venv).join("bin").join(name)
}

/// ministack, a faithful SQS server in Python; its URL, and a client of it, which `client` makes.
#[allow(dead_code, reason = "not every test needs it")]
pub async fn ministack(client: fn(&str) -> Client) -> (OwnedProcess, String, Client) {
    started(client, &[("SERVICES", "sqs")]).await
}

/// The same, with users and roles whose rights it enforces. With this key one may do everything.
#[allow(dead_code, reason = "not every test needs it")]
pub async fn ministack_with_rights(
    client: fn(&str) -> Client,
    key: &str,
) -> (OwnedProcess, String, Client) {
    let settings = [
        ("SERVICES", "sqs,sts,iam"),
        ("AUTH", "true"),
        ("AWS_ACCESS_KEY_ID", key),
        ("AWS_SECRET_ACCESS_KEY", key),
    ];
    started(client, &settings).await
}

async fn started(
    client: fn(&str) -> Client,
    settings: &[(&str, &str)],
) -> (OwnedProcess, String, Client) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut command = Command::new(program("ministack"));
    command
        .env("BIND_HOST", "127.0.0.1")
        .env("GATEWAY_PORT", port.to_string())
        .envs(settings.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
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
