//! An endpoint with a queue, and a client of the AWS SDK.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName};
use sqs_endpoint::Endpoint;

pub struct Fixture {
    pub endpoint: Endpoint,
    pub client: Client,
    pub queue: String,
}

impl Fixture {
    pub async fn new() -> Self {
        let endpoint = Endpoint::start("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let queue = endpoint.create_queue("events").unwrap();
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(endpoint.url())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("any", "any", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .build();
        Self {
            endpoint,
            client: Client::from_conf(config),
            queue,
        }
    }

    pub async fn send(&self, body: &str) -> String {
        let sent = self
            .client
            .send_message()
            .queue_url(&self.queue)
            .message_body(body)
            .send()
            .await
            .unwrap();
        sent.message_id.unwrap()
    }

    pub async fn receive(&self, visibility: i32, wait: i32) -> Vec<Message> {
        let received = self
            .client
            .receive_message()
            .queue_url(&self.queue)
            .max_number_of_messages(10)
            .visibility_timeout(visibility)
            .wait_time_seconds(wait)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .send()
            .await
            .unwrap();
        received.messages.unwrap_or_default()
    }

    pub async fn delete(&self, receipt: &str) {
        self.client
            .delete_message()
            .queue_url(&self.queue)
            .receipt_handle(receipt)
            .send()
            .await
            .unwrap();
    }

    pub fn undeleted(&self) -> usize {
        self.endpoint.queue("events").unwrap().undeleted()
    }
}

pub fn receive_count(message: &Message) -> &str {
    &message.attributes.as_ref().unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount]
}

pub fn delete_entry(id: usize, receipt: &str) -> DeleteMessageBatchRequestEntry {
    DeleteMessageBatchRequestEntry::builder()
        .id(id.to_string())
        .receipt_handle(receipt)
        .build()
        .unwrap()
}
