//! Faults on purpose, as a client feels them.

use std::time::Duration;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use sqs_endpoint::{Fault, Operation};

use crate::bench::{Bench, delete_entry};

#[tokio::test]
async fn faults_strike_the_calls_they_are_set_for() {
    let bench = Bench::new().await;
    let faults = bench.endpoint.faults();
    bench.send("a").await;
    faults
        .fail_next(Operation::ReceiveMessage, Fault::Throttle, 1)
        .unwrap();
    let throttled = bench
        .client
        .receive_message()
        .queue_url(&bench.queue)
        .send()
        .await
        .unwrap_err();
    assert_eq!(throttled.code(), Some("ThrottlingException"));

    faults
        .fail_next(Operation::ReceiveMessage, Fault::Duplicate, 1)
        .unwrap();
    let first = bench.receive(30, 0).await.remove(0);
    let second = bench.receive(30, 0).await.remove(0);
    assert_eq!(first.message_id, second.message_id);
    assert_eq!(bench.receive(30, 0).await.len(), 0);

    let receipt = second.receipt_handle.unwrap();
    let delete = || {
        bench
            .client
            .delete_message_batch()
            .queue_url(&bench.queue)
            .entries(delete_entry(0, &receipt))
            .send()
    };
    faults
        .fail_next(Operation::DeleteMessageBatch, Fault::DropSilently, 1)
        .unwrap();
    assert_eq!(delete().await.unwrap().successful.len(), 1);
    assert_eq!(bench.undeleted(), 1);

    faults
        .fail_next(Operation::DeleteMessageBatch, Fault::CutReply, 1)
        .unwrap();
    let cut = delete().await.unwrap_err();
    assert!(matches!(cut, SdkError::DispatchFailure(_)), "{cut:?}");
    assert_eq!(
        bench.undeleted(),
        0,
        "a cut reply belongs to a call that was done"
    );

    faults
        .fail_next(
            Operation::SendMessage,
            Fault::Delay {
                by: Duration::from_secs(20),
            },
            1,
        )
        .unwrap();
    tokio::select! {
        biased;
        _ = bench.send("late") => panic!("the answer was not late"),
        received = bench.receive(30, 20) => assert_eq!(received.len(), 1, "the call is done before it is answered"),
    }
    assert_eq!(faults.struck(Operation::DeleteMessageBatch), 2);
}

#[tokio::test]
async fn faults_can_be_set_over_http() {
    let bench = Bench::new().await;
    let address = bench
        .endpoint
        .url()
        .strip_prefix("http://")
        .unwrap()
        .to_owned();
    let request = async |method: &str, body: &str| {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let length = body.len();
        let head = format!(
            "{method} /_faults HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let set = r#"{"operation": "SendMessage", "fault": {"kind": "throttle"}, "times": 5}"#;
    assert!(request("PUT", set).await.starts_with("HTTP/1.1 204"));
    let send = || {
        bench
            .client
            .send_message()
            .queue_url(&bench.queue)
            .message_body("x")
            .send()
    };
    assert_eq!(
        send().await.unwrap_err().code(),
        Some("ThrottlingException")
    );
    assert!(request("GET", "").await.ends_with(r#"{"SendMessage":1}"#));
    assert!(request("DELETE", "").await.starts_with("HTTP/1.1 204"));
    send().await.unwrap();

    for wrong in [
        r#"{"operation": "SendMessage", "fault": {"kind": "duplicate"}, "times": 1}"#,
        r#"{"operation": "SendMessage", "fault": {"kind": "throttle"}}"#,
        r#"{"operation": "Nonsense", "fault": {"kind": "throttle"}, "times": 1}"#,
    ] {
        assert!(
            request("PUT", wrong).await.starts_with("HTTP/1.1 400"),
            "{wrong}"
        );
    }
}
