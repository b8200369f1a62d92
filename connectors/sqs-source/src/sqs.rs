//! The queue as AWS has it, through the AWS SDK.

mod classify;

use std::time::Duration;

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry, MessageSystemAttributeName, QueueAttributeName,
};

use self::classify::classify;
use crate::config::Config;
use crate::queue::{Kind, Queue, QueueError, Receipt, Received, Refusal};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take, on top of the wait of a long poll. Longer than SQS ever needs, so
/// that only a dead connection gets here.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

const RECEIVE_COUNT: MessageSystemAttributeName =
    MessageSystemAttributeName::ApproximateReceiveCount;

/// A queue of SQS.
#[derive(Clone, Debug)]
pub struct Sqs {
    client: Client,
    url: String,
}

impl Sqs {
    /// Finds the queue of `config`.
    ///
    /// # Errors
    /// There is no such queue, or it can't be reached or looked up.
    pub async fn open(config: &Config) -> Result<Self, QueueError> {
        let client = client(config).await?;
        if let Some(url) = &config.queue_url {
            return Ok(Self {
                client,
                url: url.clone(),
            });
        }
        let found = client
            .get_queue_url()
            .set_queue_name(config.queue_name.clone())
            .send()
            .await;
        let found = found.map_err(|error| classify("GetQueueUrl", config.queue(), &error))?;
        let url = found
            .queue_url
            .ok_or_else(|| unexpected("GetQueueUrl", config.queue(), "an answer without a URL"))?;
        Ok(Self { client, url })
    }

    /// The queue's own visibility timeout.
    ///
    /// # Errors
    /// As any call.
    pub async fn visibility_timeout(&self) -> Result<Duration, QueueError> {
        const OPERATION: &str = "GetQueueAttributes";
        let name = QueueAttributeName::VisibilityTimeout;
        let request = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(name.clone());
        let described = request
            .send()
            .await
            .map_err(|error| classify(OPERATION, &self.url, &error))?;
        let seconds = described
            .attributes
            .as_ref()
            .and_then(|attributes| attributes.get(&name)?.parse().ok());
        seconds.map(Duration::from_secs).ok_or_else(|| {
            unexpected(
                OPERATION,
                &self.url,
                "an answer without the visibility timeout",
            )
        })
    }
}

#[async_trait]
impl Queue for Sqs {
    fn name(&self) -> &str {
        &self.url
    }

    async fn receive(
        &self,
        most: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Received>, QueueError> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(count(most))
            .wait_time_seconds(seconds(wait))
            .visibility_timeout(seconds(visibility))
            .message_system_attribute_names(RECEIVE_COUNT)
            .customize()
            .config_override(aws_sdk_sqs::Config::builder().timeout_config(timeouts(wait)));
        let received = request
            .send()
            .await
            .map_err(|error| classify("ReceiveMessage", &self.url, &error))?;
        let mut messages = Vec::new();
        for message in received.messages.unwrap_or_default() {
            match (message.message_id, message.receipt_handle) {
                (Some(id), Some(receipt)) => messages.push(Received {
                    id: id.into(),
                    receipt: receipt.into(),
                    receive_count: message
                        .attributes
                        .as_ref()
                        .and_then(|all| all.get(&RECEIVE_COUNT)?.parse().ok())
                        .unwrap_or(0),
                    body: message.body.unwrap_or_default().into_bytes(),
                }),
                (id, _) => tracing::warn!(
                    queue = self.url,
                    ?id,
                    "a message came without its id or receipt handle; it stays in the queue"
                ),
            }
        }
        Ok(messages)
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<Refusal>, QueueError> {
        const OPERATION: &str = "DeleteMessageBatch";
        let entry = |(index, receipt): (usize, &Receipt)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(&**receipt)
                .build()
        };
        let entries = receipts
            .iter()
            .enumerate()
            .map(entry)
            .collect::<Result<Vec<_>, _>>();
        let entries =
            entries.map_err(|error| unexpected(OPERATION, &self.url, &error.to_string()))?;
        let request = self
            .client
            .delete_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries));
        let done = request
            .send()
            .await
            .map_err(|error| classify(OPERATION, &self.url, &error))?;
        Ok(refusals(
            receipts.len(),
            done.successful.iter().map(|done| done.id.as_str()),
            done.failed,
        ))
    }

    async fn change_visibility(
        &self,
        changes: &[(Receipt, Duration)],
    ) -> Result<Vec<Refusal>, QueueError> {
        const OPERATION: &str = "ChangeMessageVisibilityBatch";
        let entry = |(index, (receipt, timeout)): (usize, &(Receipt, Duration))| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(&**receipt)
                .visibility_timeout(seconds(*timeout))
                .build()
        };
        let entries = changes
            .iter()
            .enumerate()
            .map(entry)
            .collect::<Result<Vec<_>, _>>();
        let entries =
            entries.map_err(|error| unexpected(OPERATION, &self.url, &error.to_string()))?;
        let request = self
            .client
            .change_message_visibility_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries));
        let done = request
            .send()
            .await
            .map_err(|error| classify(OPERATION, &self.url, &error))?;
        Ok(refusals(
            changes.len(),
            done.successful.iter().map(|done| done.id.as_str()),
            done.failed,
        ))
    }
}

async fn client(config: &Config) -> Result<Client, QueueError> {
    // The source decides itself what is tried again and when; a second layer of retries would hide
    // throttling from it and multiply its pauses.
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts(Duration::ZERO));
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(url) = &config.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    if let (Some(id), Some(secret)) = (&config.access_key_id, &config.secret_access_key) {
        loader = loader.credentials_provider(Credentials::new(
            id.reveal(),
            secret.reveal(),
            None,
            None,
            "configuration",
        ));
    }
    let loaded = loader.load().await;
    // Without a region each call would fail, in a way that looks like a network's fault.
    if loaded.region().is_none() {
        let detail = "no AWS region is known; set `region`, or AWS_REGION in the environment";
        return Err(unexpected("GetQueueAttributes", config.queue(), detail));
    }
    Ok(Client::new(&loaded))
}

fn timeouts(wait: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_timeout(wait + ANSWER_TIMEOUT)
        .build()
}

/// The entries that did not succeed; one that the answer doesn't mention counts as failed.
fn refusals<'a>(
    entries: usize,
    successful: impl Iterator<Item = &'a str>,
    failed: Vec<BatchResultErrorEntry>,
) -> Vec<Refusal> {
    let mut is_done = vec![false; entries];
    for id in successful {
        if let Some(done) = id
            .parse()
            .ok()
            .and_then(|index: usize| is_done.get_mut(index))
        {
            *done = true;
        }
    }
    let refusal = |index: usize| {
        let id = index.to_string();
        match failed.iter().find(|entry| entry.id == id) {
            Some(entry) => Refusal {
                index,
                senders_fault: entry.sender_fault,
                code: entry.code.clone(),
                message: entry.message.clone().unwrap_or_default(),
            },
            None => Refusal {
                index,
                senders_fault: false,
                code: "NoAnswer".to_owned(),
                message: "the answer does not mention this entry".to_owned(),
            },
        }
    };
    is_done
        .iter()
        .enumerate()
        .filter(|(_, done)| !**done)
        .map(|(index, _)| refusal(index))
        .collect()
}

fn unexpected(operation: &'static str, queue: &str, detail: &str) -> QueueError {
    QueueError {
        operation,
        queue: queue.to_owned(),
        kind: Kind::Other,
        detail: detail.to_owned(),
    }
}

/// As SQS wants it; every duration here is bounded by twelve hours.
fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

fn count(messages: usize) -> i32 {
    i32::try_from(messages).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_the_answer_forgets_is_not_taken_for_done() {
        let failed = BatchResultErrorEntry::builder()
            .id("2")
            .sender_fault(true)
            .code("ReceiptHandleIsInvalid");
        let refused = refusals(
            4,
            ["0", "99", "x"].into_iter(),
            vec![failed.build().unwrap()],
        );
        let seen: Vec<_> = refused
            .iter()
            .map(|refusal| (refusal.index, refusal.senders_fault))
            .collect();
        assert_eq!(seen, [(1, false), (2, true), (3, false)]);
    }
}
