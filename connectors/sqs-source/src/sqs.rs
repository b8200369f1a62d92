//! The queue as AWS has it, through the AWS SDK.

mod classify;
mod client;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName, QueueAttributeName,
};
use md5::{Digest, Md5};

pub use self::classify::words;
use self::classify::{classify, kind_of_code};
pub use self::client::client;
use crate::config::QueueRef;
use crate::queue::{Depth, Kind, Queue, QueueError, Receipt, Received, Refusal, is_fifo};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a receive waits for a first message at most (SQS, `WaitTimeSeconds`).
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// How long an answer may take, on top of the wait of a long poll. Longer than SQS ever needs, so
/// that only a dead connection gets here.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What is asked about each message. The group is asked of FIFO queues only: others have none.
const SYSTEM_ATTRIBUTES: [MessageSystemAttributeName; 3] = [
    MessageSystemAttributeName::ApproximateReceiveCount,
    MessageSystemAttributeName::SentTimestamp,
    MessageSystemAttributeName::MessageGroupId,
];

/// A queue of SQS.
#[derive(Clone, Debug)]
pub struct Sqs {
    client: Client,
    /// Has more patience. To tell the SDK so for each receive would take it longer than to parse a message.
    polling: Client,
    url: String,
    wants_attributes: bool,
}

/// A queue's own settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// The time that a received message stays hidden unless the receive says otherwise.
    pub visibility_timeout: Duration,
    /// Receives after which its redrive policy moves a message to the dead-letter queue.
    pub max_receives: Option<u64>,
}

impl Sqs {
    /// Finds a queue. `wants_attributes` is whether the attributes that senders attach are received.
    ///
    /// # Errors
    /// There is no queue of that name, or it can't be looked up.
    pub async fn open(
        client: &Client,
        queue: &QueueRef,
        wants_attributes: bool,
    ) -> Result<Self, QueueError> {
        let url = match queue {
            QueueRef::Url(url) => url.clone(),
            QueueRef::Name(name) => {
                const OPERATION: &str = "GetQueueUrl";
                let found = client.get_queue_url().queue_name(name).send().await;
                let found = found.map_err(|error| classify(OPERATION, name, &error))?;
                let url = found.queue_url;
                url.ok_or_else(|| unexpected(OPERATION, name, "an answer without a URL"))?
            }
        };
        let polling = client
            .config()
            .to_builder()
            .timeout_config(timeouts(LONGEST_WAIT));
        Ok(Self {
            client: client.clone(),
            polling: Client::from_conf(polling.build()),
            url,
            wants_attributes,
        })
    }

    /// The queue's own settings.
    ///
    /// # Errors
    /// As any call.
    pub async fn described(&self) -> Result<Described, QueueError> {
        let visibility = QueueAttributeName::VisibilityTimeout;
        let redrive = QueueAttributeName::RedrivePolicy;
        let found = self
            .attributes(&[visibility.clone(), redrive.clone()])
            .await?;
        let visibility = found.get(&visibility).and_then(|value| value.parse().ok());
        let visibility = visibility.ok_or_else(|| {
            let detail = "an answer without the visibility timeout";
            unexpected("GetQueueAttributes", &self.url, detail)
        })?;
        Ok(Described {
            visibility_timeout: Duration::from_secs(visibility),
            max_receives: found.get(&redrive).and_then(|policy| max_receives(policy)),
        })
    }

    async fn attributes(
        &self,
        names: &[QueueAttributeName],
    ) -> Result<HashMap<QueueAttributeName, String>, QueueError> {
        let request = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .set_attribute_names(Some(names.to_vec()));
        let described = request
            .send()
            .await
            .map_err(|error| classify("GetQueueAttributes", &self.url, &error))?;
        Ok(described.attributes.unwrap_or_default())
    }

    /// The message as the source has it; `None` for one that can't be used and so stays in the queue.
    fn received(&self, message: Message) -> Option<Received> {
        let (Some(id), Some(receipt)) = (message.message_id, message.receipt_handle) else {
            tracing::warn!(
                queue = self.url,
                "a message came without its id or receipt handle; it stays in the queue"
            );
            return None;
        };
        let body = message.body.unwrap_or_default().into_bytes();
        if let Some(md5) = message.md5_of_body
            && md5 != format!("{:x}", Md5::digest(&body))
        {
            tracing::warn!(
                queue = self.url,
                message_id = id,
                "its body is not the one that was sent, by its MD5; it will be delivered again"
            );
            return None;
        }
        let system = message.attributes.unwrap_or_default();
        let number = |name| system.get(&name)?.parse::<u64>().ok();
        let [receive_count, sent_at, group] = SYSTEM_ATTRIBUTES;
        let count = number(receive_count).and_then(|count| count.try_into().ok());
        Some(Received {
            id: id.into(),
            receipt: receipt.into(),
            receive_count: count.unwrap_or(0),
            sent_at: number(sent_at).and_then(|millis| {
                SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
            }),
            group: system.get(&group).map(|group| group.as_str().into()),
            attributes: message
                .message_attributes
                .unwrap_or_default()
                .into_iter()
                .collect(),
            body,
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
        let asked = if is_fifo(&self.url) { 3 } else { 2 };
        let system = SYSTEM_ATTRIBUTES.into_iter().take(asked).collect();
        let attributes = self.wants_attributes.then(|| vec!["All".to_owned()]);
        let request = self
            .polling
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(count(most))
            .wait_time_seconds(seconds(wait))
            .visibility_timeout(seconds(visibility))
            .set_message_system_attribute_names(Some(system))
            .set_message_attribute_names(attributes);
        let received = request
            .send()
            .await
            .map_err(|error| classify("ReceiveMessage", &self.url, &error))?;
        let messages = received.messages.unwrap_or_default().into_iter();
        Ok(messages
            .filter_map(|message| self.received(message))
            .collect())
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

    async fn send(&self, message: &Received) -> Result<(), QueueError> {
        const OPERATION: &str = "SendMessage";
        let body = std::str::from_utf8(&message.body)
            .map_err(|error| unexpected(OPERATION, &self.url, &error.to_string()))?;
        let attributes = message.attributes.clone().into_iter().collect();
        let mut request = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .set_message_attributes(Some(attributes));
        if let Some(group) = &message.group {
            // Sent twice, because an answer got lost, it is there once.
            request = request
                .message_group_id(&**group)
                .message_deduplication_id(&*message.id);
        }
        let sent = request.send().await;
        sent.map_err(|error| classify(OPERATION, &self.url, &error))
            .map(drop)
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let found = self.attributes(&names).await?;
        let [visible, in_flight, delayed] = names.map(|name| found.get(&name)?.parse().ok());
        Ok(Depth {
            visible,
            in_flight,
            delayed,
        })
    }
}

/// After how many receives a redrive policy moves a message to the dead-letter queue. AWS writes
/// the number as a number, or as a text where it was given as one.
#[must_use]
pub fn max_receives(redrive_policy: &str) -> Option<u64> {
    let policy: serde_json::Value = serde_json::from_str(redrive_policy).ok()?;
    let count = policy.get("maxReceiveCount")?;
    count.as_u64().or_else(|| count.as_str()?.parse().ok())
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
                kind: kind_of_code(&entry.code),
                code: entry.code.clone(),
                message: entry.message.clone().unwrap_or_default(),
            },
            None => Refusal {
                index,
                senders_fault: false,
                kind: Kind::Unreachable,
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
        code: "Unexpected".to_owned(),
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
    fn a_redrive_policy_is_read_in_both_spellings() {
        let number =
            r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-central-1:1:d","maxReceiveCount":5}"#;
        assert_eq!(max_receives(number), Some(5));
        assert_eq!(max_receives(r#"{"maxReceiveCount":"7"}"#), Some(7));
        assert_eq!(max_receives("{}"), None);
    }

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
