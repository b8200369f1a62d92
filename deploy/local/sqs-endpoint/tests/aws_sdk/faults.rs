//! Injected faults and their effects on a client.

use std::time::Duration;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use sqs_endpoint::{Fault, Operation};

use crate::fixture::{Fixture, delete_entry};

#[tokio::test]
async fn faults_strike_the_calls_they_are_set_for() {
    let fixture = Fixture::new().await;
    let faults = fixture.endpoint.faults();
    fixture.send("a").await;
    faults
        .fail_next(Operation::ReceiveMessage, Fault::Throttle, 1)
        .unwrap();
    let throttled = fixture
        .client
        .receive_message()
        .queue_url(&fixture.queue)
        .send()
        .await
        .unwrap_err();
    assert_eq!(throttled.code(), Some("ThrottlingException"));

    faults
        .fail_next(Operation::ReceiveMessage, Fault::Duplicate, 1)
        .unwrap();
    let first = fixture.receive(30, 0).await.remove(0);
    let second = fixture.receive(30, 0).await.remove(0);
    assert_eq!(first.message_id, second.message_id);
    assert_eq!(fixture.receive(30, 0).await.len(), 0);

    let receipt = second.receipt_handle.unwrap();
    let delete = || {
        fixture
            .client
            .delete_message_batch()
            .queue_url(&fixture.queue)
            .entries(delete_entry(0, &receipt))
            .send()
    };
    faults
        .fail_next(Operation::DeleteMessageBatch, Fault::DropSilently, 1)
        .unwrap();
    assert_eq!(delete().await.unwrap().successful.len(), 1);
    assert_eq!(fixture.undeleted(), 1);

    faults
        .fail_next(Operation::DeleteMessageBatch, Fault::CutReply, 1)
        .unwrap();
    let cut = delete().await.unwrap_err();
    assert!(matches!(cut, SdkError::DispatchFailure(_)), "{cut:?}");
    assert_eq!(
        fixture.undeleted(),
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
        _ = fixture.send("late") => panic!("the answer was not late"),
        received = fixture.receive(30, 20) => assert_eq!(received.len(), 1, "the call is done \
            before it is answered"),
    }
    assert_eq!(faults.struck(Operation::DeleteMessageBatch), 2);
}
