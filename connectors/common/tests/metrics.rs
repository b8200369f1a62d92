//! The connector's metric socket, as Fluvio's monitoring reads it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::path::Path;
use std::time::Duration;

use connector_common::metrics::{self, ClientCounters, Volume};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};

async fn read(socket: &Path) -> std::io::Result<Value> {
    let mut text = String::new();
    UnixStream::connect(socket)
        .await?
        .read_to_string(&mut text)
        .await?;
    Ok(serde_json::from_str(&text).expect("a JSON document"))
}

async fn read_soon(socket: &Path) -> Value {
    let reading = async {
        loop {
            match read(socket).await {
                Ok(document) => return document,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading)
        .await
        .expect("the socket answers")
}

fn snapshot() -> ClientCounters {
    ClientCounters {
        consumer: Volume {
            records: 3,
            bytes: 500,
        },
        ..ClientCounters::default()
    }
}

#[tokio::test]
async fn every_connection_gets_the_counters_and_a_socket_in_use_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("metrics.sock");
    // The socket of a killed connector: the file exists without a listener.
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());

    let first = metrics::serve_at(socket.clone(), snapshot);
    for _ in 0..2 {
        let document = read_soon(&socket).await;
        assert_eq!(document["consumer"]["records"], 3);
        assert_eq!(document["consumer"]["bytes"], 500);
        assert_eq!(document["producer_connector"]["records"], 0);
    }

    let second = metrics::serve_at(socket.clone(), ClientCounters::default);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(read(&socket).await.unwrap()["consumer"]["records"], 3);

    // The second takes over from the first without a restart.
    drop(first);
    let taken_over = async {
        while !matches!(read(&socket).await, Ok(document) if document["consumer"]["records"] == 0) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), taken_over)
        .await
        .expect("the second connector takes over");
    drop(second);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!socket.exists(), "the socket is removed with its connector");
}
