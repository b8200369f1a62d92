//! Queues, batches, and refused requests.

use std::time::Duration;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::get_queue_url::GetQueueUrlError;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, QueueAttributeName, SendMessageBatchRequestEntry,
};
use sqs_endpoint::{Fault, Operation};

use crate::fixture::{Fixture, delete_entry};

#[tokio::test]
async fn a_batch_fails_in_part_and_says_which_entry_and_whose_fault() {
    let fixture = Fixture::new().await;
    fixture.send("a").await;
    fixture.send("b").await;
    let messages = fixture.receive(30, 0).await;
    let deleted = fixture
        .client
        .delete_message_batch()
        .queue_url(&fixture.queue)
        .entries(delete_entry(
            0,
            messages[0].receipt_handle.as_deref().unwrap(),
        ))
        .entries(delete_entry(1, "garbage"))
        .send()
        .await
        .unwrap();
    assert_eq!(deleted.successful[0].id, "0");
    assert_eq!(
        (
            deleted.failed[0].id.as_str(),
            deleted.failed[0].code.as_str(),
            deleted.failed[0].sender_fault
        ),
        ("1", "ReceiptHandleIsInvalid", true)
    );
    assert_eq!(fixture.undeleted(), 1);

    let fault = Fault::FailEntry {
        sender_fault: false,
    };
    fixture
        .endpoint
        .faults()
        .fail_next(Operation::DeleteMessageBatch, fault, 1)
        .unwrap();
    let retried = || {
        let entry = delete_entry(0, messages[1].receipt_handle.as_deref().unwrap());
        fixture
            .client
            .delete_message_batch()
            .queue_url(&fixture.queue)
            .entries(entry)
            .send()
    };
    let failed = retried().await.unwrap();
    assert_eq!(
        (failed.failed.len(), failed.failed[0].sender_fault),
        (1, false)
    );
    assert_eq!(retried().await.unwrap().successful.len(), 1);
    assert_eq!(fixture.undeleted(), 0);
}

#[tokio::test]
async fn broken_batches_are_refused_whole_with_aws_own_codes() {
    let fixture = Fixture::new().await;
    let code_of = async |entries: Vec<DeleteMessageBatchRequestEntry>| {
        let batch = fixture
            .client
            .delete_message_batch()
            .queue_url(&fixture.queue)
            .set_entries(Some(entries));
        batch.send().await.unwrap_err().into_service_error()
    };
    assert!(code_of(vec![]).await.is_empty_batch_request());
    assert!(
        code_of((0..11).map(|id| delete_entry(id, "x")).collect())
            .await
            .is_too_many_entries_in_batch_request()
    );
    assert!(
        code_of(vec![delete_entry(1, "x"), delete_entry(1, "y")])
            .await
            .is_batch_entry_ids_not_distinct()
    );
    let bad_id = DeleteMessageBatchRequestEntry::builder()
        .id("a b")
        .receipt_handle("x")
        .build()
        .unwrap();
    assert!(code_of(vec![bad_id]).await.is_invalid_batch_entry_id());
}

#[tokio::test]
async fn bodies_that_aws_refuses_are_refused() {
    let fixture = Fixture::new().await;
    let send = async |body: String| {
        let sent = fixture
            .client
            .send_message()
            .queue_url(&fixture.queue)
            .message_body(body)
            .send()
            .await;
        sent.map_err(|error| error.code().unwrap_or_default().to_owned())
    };
    assert_eq!(send(String::new()).await.unwrap_err(), "MissingParameter");
    assert_eq!(
        send("a\u{0}b".to_owned()).await.unwrap_err(),
        "InvalidMessageContents"
    );
    assert_eq!(
        send("x".repeat((1 << 20) + 1)).await.unwrap_err(),
        "InvalidParameterValue"
    );
    assert!(send("x".repeat(1 << 20)).await.is_ok());

    let half = "x".repeat(600 << 10);
    let entry = |id: &str| {
        SendMessageBatchRequestEntry::builder()
            .id(id)
            .message_body(&half)
            .build()
            .unwrap()
    };
    let batch = fixture
        .client
        .send_message_batch()
        .queue_url(&fixture.queue)
        .entries(entry("a"))
        .entries(entry("b"));
    assert!(
        batch
            .send()
            .await
            .unwrap_err()
            .into_service_error()
            .is_batch_request_too_long()
    );
    assert_eq!(fixture.undeleted(), 1);
}

#[tokio::test]
async fn queues_are_created_found_described_changed_listed_and_deleted() {
    let fixture = Fixture::new().await;
    let created = fixture
        .client
        .create_queue()
        .queue_name("orders")
        .attributes(QueueAttributeName::VisibilityTimeout, "7")
        .send()
        .await
        .unwrap();
    let url = created.queue_url.unwrap();
    let conflict = fixture
        .client
        .create_queue()
        .queue_name("orders")
        .send()
        .await
        .unwrap_err();
    assert!(conflict.into_service_error().is_queue_name_exists());
    let fifo = fixture
        .client
        .create_queue()
        .queue_name("orders.fifo")
        .send()
        .await
        .unwrap_err();
    assert!(fifo.into_service_error().is_unsupported_operation());

    let found = fixture
        .client
        .get_queue_url()
        .queue_name("orders")
        .send()
        .await
        .unwrap();
    assert_eq!(found.queue_url.as_deref(), Some(url.as_str()));
    let listed = fixture
        .client
        .list_queues()
        .send()
        .await
        .unwrap()
        .queue_urls
        .unwrap();
    assert_eq!(listed, [fixture.queue.clone(), url.clone()]);
    let page = fixture
        .client
        .list_queues()
        .max_results(1)
        .send()
        .await
        .unwrap();
    let rest = fixture
        .client
        .list_queues()
        .max_results(1)
        .next_token(page.next_token.unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(
        (rest.queue_urls.unwrap(), rest.next_token),
        (vec![url.clone()], None)
    );

    let change = fixture.client.set_queue_attributes().queue_url(&url);
    change
        .attributes(QueueAttributeName::DelaySeconds, "900")
        .send()
        .await
        .unwrap();
    fixture
        .client
        .send_message()
        .queue_url(&url)
        .message_body("later")
        .send()
        .await
        .unwrap();
    let described = fixture
        .client
        .get_queue_attributes()
        .queue_url(&url)
        .attribute_names(QueueAttributeName::All);
    let attributes = described.send().await.unwrap().attributes.unwrap();
    assert_eq!(attributes[&QueueAttributeName::VisibilityTimeout], "7");
    assert_eq!(
        attributes[&QueueAttributeName::ApproximateNumberOfMessages],
        "0"
    );
    assert_eq!(
        attributes[&QueueAttributeName::ApproximateNumberOfMessagesDelayed],
        "1"
    );
    assert!(attributes[&QueueAttributeName::QueueArn].ends_with(":orders"));

    fixture
        .client
        .purge_queue()
        .queue_url(&url)
        .send()
        .await
        .unwrap();
    let again = fixture
        .client
        .purge_queue()
        .queue_url(&url)
        .send()
        .await
        .unwrap_err();
    assert!(again.into_service_error().is_purge_queue_in_progress());
    assert_eq!(fixture.endpoint.queue("orders").unwrap().delayed(), 0);

    fixture
        .client
        .delete_queue()
        .queue_url(&url)
        .send()
        .await
        .unwrap();
    let gone = fixture
        .client
        .get_queue_url()
        .queue_name("orders")
        .send()
        .await
        .unwrap_err();
    assert!(matches!(
        gone.into_service_error(),
        GetQueueUrlError::QueueDoesNotExist(_)
    ));
    let gone = fixture
        .client
        .receive_message()
        .queue_url(&url)
        .send()
        .await
        .unwrap_err();
    assert!(gone.into_service_error().is_queue_does_not_exist());
}

#[tokio::test]
async fn a_stop_ends_long_polls_and_closes_the_port() {
    let fixture = Fixture::new().await;
    let client = fixture.client.clone();
    let queue = fixture.queue.clone();
    let poll = tokio::spawn(async move {
        client
            .receive_message()
            .queue_url(queue)
            .wait_time_seconds(20)
            .send()
            .await
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    fixture.endpoint.stop().await;
    assert!(
        poll.await
            .unwrap()
            .unwrap()
            .messages
            .unwrap_or_default()
            .is_empty()
    );
    assert!(matches!(
        fixture.client.list_queues().send().await.unwrap_err(),
        SdkError::DispatchFailure(_)
    ));
}
