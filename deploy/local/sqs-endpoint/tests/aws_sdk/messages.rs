//! Messages: sent, received, hidden, redelivered, deleted.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, MessageAttributeValue, MessageSystemAttributeName,
    MessageSystemAttributeNameForSends, MessageSystemAttributeValue, SendMessageBatchRequestEntry,
};

use crate::fixture::{Fixture, receive_count};

#[tokio::test]
async fn a_message_travels_unchanged_and_is_gone_after_its_delete() {
    let fixture = Fixture::new().await;
    let body = "{\"name\":\"Wärmflasche 🛒\",\"path\":\"a\\\\b\\n\"}\t\u{FFFD}";
    let id = fixture.send(body).await;

    let messages = fixture.receive(30, 0).await;
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].message_id.as_deref(), Some(id.as_str()));
    assert_eq!(messages[0].body.as_deref(), Some(body));
    assert_eq!(receive_count(&messages[0]), "1");
    assert!(
        messages[0]
            .attributes
            .as_ref()
            .unwrap()
            .contains_key(&MessageSystemAttributeName::SentTimestamp)
    );
    assert!(fixture.receive(30, 0).await.is_empty());

    fixture
        .delete(messages[0].receipt_handle.as_deref().unwrap())
        .await;
    assert_eq!(fixture.undeleted(), 0);
}

#[tokio::test]
async fn the_trace_header_of_a_message_arrives_and_is_the_only_system_attribute() {
    let fixture = Fixture::new().await;
    let send = |name: &'static str| {
        let value = MessageSystemAttributeValue::builder().data_type("String");
        let value = value.string_value("Root=1-5759e988-bd862e3f").build();
        let message = fixture.client.send_message().queue_url(&fixture.queue);
        message
            .message_body("{}")
            .message_system_attributes(
                MessageSystemAttributeNameForSends::from(name),
                value.unwrap(),
            )
            .send()
    };
    assert!(send("SenderId").await.is_err());
    send("AWSTraceHeader").await.unwrap();
    let received = fixture.receive(30, 0).await;
    let attributes = received[0].attributes.as_ref().unwrap();
    assert_eq!(
        attributes[&MessageSystemAttributeName::AwsTraceHeader],
        "Root=1-5759e988-bd862e3f"
    );
}

#[tokio::test]
async fn checksums_are_those_that_aws_computes() {
    let fixture = Fixture::new().await;
    let text = MessageAttributeValue::builder()
        .data_type("String")
        .string_value("shop")
        .build()
        .unwrap();
    let sent = fixture
        .client
        .send_message()
        .queue_url(&fixture.queue)
        .message_body("This is a test message")
        .message_attributes("origin", text)
        .send()
        .await
        .unwrap();
    // The first value is from the AWS documentation of SendMessage, the second was computed with
    // Python's hashlib over the encoding that the developer guide describes.
    assert_eq!(
        sent.md5_of_message_body.as_deref(),
        Some("fafb00f5732ab283681e124bf8747ed1")
    );
    assert_eq!(
        sent.md5_of_message_attributes.as_deref(),
        Some("77f3ccefcbdd31eaec2779750020915f")
    );
    let received = fixture.receive(30, 0).await;
    assert_eq!(received[0].md5_of_body, sent.md5_of_message_body);
    assert_eq!(
        received[0].md5_of_message_attributes,
        sent.md5_of_message_attributes
    );
    assert_eq!(
        received[0].message_attributes.as_ref().unwrap()["origin"]
            .string_value
            .as_deref(),
        Some("shop")
    );
}

#[tokio::test]
async fn an_undeleted_message_comes_back_with_a_new_handle_and_the_old_one_deletes_nothing() {
    let fixture = Fixture::new().await;
    fixture.send("again").await;
    let first = fixture.receive(1, 0).await.remove(0);
    let second = fixture.receive(30, 20).await.remove(0);
    assert_eq!(first.message_id, second.message_id);
    assert_ne!(first.receipt_handle, second.receipt_handle);
    assert_eq!(receive_count(&second), "2");

    fixture
        .delete(first.receipt_handle.as_deref().unwrap())
        .await;
    assert_eq!(fixture.undeleted(), 1);
    let stale = fixture
        .client
        .change_message_visibility()
        .queue_url(&fixture.queue)
        .receipt_handle(first.receipt_handle.unwrap())
        .visibility_timeout(60)
        .send()
        .await
        .unwrap_err();
    assert_eq!(stale.code(), Some("InvalidParameterValue"));
    fixture
        .delete(second.receipt_handle.as_deref().unwrap())
        .await;
    assert_eq!(fixture.undeleted(), 0);
}

#[tokio::test]
async fn a_message_made_visible_wakes_a_long_poll() {
    let fixture = Fixture::new().await;
    fixture.send("now").await;
    let first = fixture.receive(43_200, 0).await.remove(0);
    // A poll that isn't woken would sleep for its full 20 seconds.
    let poll = tokio::time::timeout(Duration::from_secs(15), fixture.receive(30, 20));
    let (again, ()) = tokio::join!(poll, async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
            .id("0")
            .receipt_handle(first.receipt_handle.unwrap())
            .visibility_timeout(0)
            .build()
            .unwrap();
        let changed = fixture
            .client
            .change_message_visibility_batch()
            .queue_url(&fixture.queue)
            .entries(entry)
            .send()
            .await
            .unwrap();
        assert_eq!(changed.successful.len(), 1);
    });
    assert_eq!(again.expect("the poll was not woken").len(), 1);
}

#[tokio::test]
async fn every_waiting_poll_gets_its_share_of_what_is_sent() {
    let fixture = Fixture::new().await;
    let (a, b, c, ()) = tokio::join!(
        fixture.receive(30, 20),
        fixture.receive(30, 20),
        fixture.receive(30, 20),
        async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut batch = fixture
                .client
                .send_message_batch()
                .queue_url(&fixture.queue);
            for id in 0..10 {
                let entry = SendMessageBatchRequestEntry::builder()
                    .id(id.to_string())
                    .message_body(format!("{id}"));
                batch = batch.entries(entry.build().unwrap());
            }
            assert_eq!(batch.send().await.unwrap().successful.len(), 10);
            while fixture.endpoint.queue("events").unwrap().depth() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // One message for each receiver that still waits.
            fixture.send("10").await;
            fixture.send("11").await;
        }
    );
    let bodies: HashSet<_> = a
        .iter()
        .chain(&b)
        .chain(&c)
        .map(|message| message.body.clone().unwrap())
        .collect();
    let received = a.len() + b.len() + c.len();
    assert_eq!(bodies.len(), received, "a message was delivered twice");
    assert!(!a.is_empty() && !b.is_empty() && !c.is_empty());
}
