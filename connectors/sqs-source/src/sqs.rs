//! The implementation of [`Queue`] with the AWS SDK.

mod classify;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry, Message, MessageAttributeValue, MessageSystemAttributeName,
    MessageSystemAttributeNameForSends, MessageSystemAttributeValue, QueueAttributeName,
};
use connector_common::keys::Sent;
use md5::{Digest, Md5};

pub(crate) use self::classify::classify;
pub use self::classify::error_text;
use self::classify::kind_of_code;
use crate::config::{Config, QueueRef};
use crate::queue::{
    Depth, Kind, Queue, QueueError, Receipt, Received, Refusal, TRACE_PARENT, is_fifo,
};

/// Timeout for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait of a receive for a first message (SQS, `WaitTimeSeconds`).
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Timeout of an answer, on top of the wait of a long poll. It is longer than SQS ever needs, so
/// only dead connections reach it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The system attributes to request for each message. The group and the sequence number are
/// requested of FIFO queues only: others have none.
const SYSTEM_ATTRIBUTES: [MessageSystemAttributeName; 5] = [
    MessageSystemAttributeName::ApproximateReceiveCount,
    MessageSystemAttributeName::SentTimestamp,
    MessageSystemAttributeName::AwsTraceHeader,
    MessageSystemAttributeName::MessageGroupId,
    MessageSystemAttributeName::SequenceNumber,
];

/// The attribute in which the dead-letter forwarder stores the version of the original: SQS gives
/// the copy a new time and sequence number, and a redrive gives it others again.
const FIRST_SENT: &str = "ecommerce-etl-first-sent";

/// The session name under which CloudTrail shows the use of a role.
const SESSION: &str = "sqs-source";

/// Creates a client with the credentials of `config`.
///
/// # Errors
/// No AWS region is known.
pub async fn client(config: &Config) -> Result<Client, QueueError> {
    Ok(client_with(&aws(config).await?, config))
}

/// Creates a client with the credentials of `aws`. All queues share it: it holds the connections.
#[must_use]
pub fn client_with(aws: &SdkConfig, config: &Config) -> Client {
    let mut client = aws_sdk_sqs::config::Builder::from(aws);
    if let Some(url) = &config.endpoint_url {
        client = client.endpoint_url(url);
    }
    Client::from_conf(client.build())
}

/// The region, credentials and timeouts of `config`. The clients share it, and with it the session
/// of a role.
///
/// # Errors
/// No AWS region is known.
pub async fn aws(config: &Config) -> Result<SdkConfig, QueueError> {
    // The source retries by itself; a second layer of retries would hide throttling from it and
    // multiply its pauses.
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        // Each call, and each read of a body, has a timeout; this protection costs CPU.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(timeouts(Duration::ZERO));
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &config.profile {
        loader = loader.profile_name(profile);
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
    // Without a region each call would fail with an error that looks like a network problem.
    if loaded.region().is_none() {
        let queues = config.queues();
        let queue = queues.first().map_or("", |queue| queue.as_str());
        let detail = "no AWS region is known; set `region`, or AWS_REGION in the environment";
        return Err(unexpected("GetQueueAttributes", queue, detail));
    }
    Ok(match &config.assume_role {
        Some(role) => with_role(loaded, role, config.external_id.as_deref()).await,
        None => loaded,
    })
}

/// The server that calls go to, for errors: `endpoint-url`, else that of the environment, else AWS.
#[must_use]
pub fn endpoint(config: &Config) -> String {
    endpoint_with(config, |name| std::env::var(name).ok())
}

fn endpoint_with(config: &Config, environment: impl Fn(&str) -> Option<String>) -> String {
    let configured = config.endpoint_url.clone();
    configured
        .or_else(|| environment("AWS_ENDPOINT_URL_SQS"))
        .or_else(|| environment("AWS_ENDPOINT_URL"))
        .unwrap_or_else(|| "AWS".to_owned())
}

/// Replaces the credentials by those of a role, which are renewed before they expire.
async fn with_role(loaded: SdkConfig, role: &str, external_id: Option<&str>) -> SdkConfig {
    let mut provider = AssumeRoleProvider::builder(role)
        .session_name(SESSION)
        .configure(&loaded);
    if let Some(id) = external_id {
        provider = provider.external_id(id);
    }
    let provider = provider.build().await;
    loaded
        .into_builder()
        .credentials_provider(SharedCredentialsProvider::new(provider))
        .build()
}

/// A queue of SQS.
#[derive(Clone, Debug)]
pub struct Sqs {
    client: Client,
    /// A client with the timeout of a long poll. To set the timeout for each receive would take the
    /// SDK longer than to parse a message.
    polling: Client,
    url: String,
    wants_attributes: bool,
}

/// The attributes of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueAttributes {
    /// The visibility timeout of messages whose receive sets none.
    pub visibility_timeout: Duration,
    /// The number of receives after which its redrive policy moves a message to the dead-letter
    /// queue.
    pub max_receives: Option<u64>,
}

impl Sqs {
    /// Opens a queue. `wants_attributes` requests the senders' attributes of each message.
    ///
    /// # Errors
    /// The queue does not exist, or its look-up failed.
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

    /// Reads the queue's attributes.
    ///
    /// # Errors
    /// The call failed.
    pub async fn attributes(&self) -> Result<QueueAttributes, QueueError> {
        let visibility = QueueAttributeName::VisibilityTimeout;
        let redrive = QueueAttributeName::RedrivePolicy;
        let found = self
            .get_attributes(&[visibility.clone(), redrive.clone()])
            .await?;
        let visibility = found.get(&visibility).and_then(|value| value.parse().ok());
        let visibility = visibility.ok_or_else(|| {
            let detail = "an answer without the visibility timeout";
            unexpected("GetQueueAttributes", &self.url, detail)
        })?;
        Ok(QueueAttributes {
            visibility_timeout: Duration::from_secs(visibility),
            max_receives: found.get(&redrive).and_then(|policy| max_receives(policy)),
        })
    }

    async fn get_attributes(
        &self,
        names: &[QueueAttributeName],
    ) -> Result<HashMap<QueueAttributeName, String>, QueueError> {
        let request = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .set_attribute_names(Some(names.to_vec()));
        let answer = request
            .send()
            .await
            .map_err(|error| classify("GetQueueAttributes", &self.url, &error))?;
        Ok(answer.attributes.unwrap_or_default())
    }

    /// Converts a message; `None` if it is damaged. It then stays in the queue.
    fn received(&self, message: Message) -> Option<Received> {
        let (Some(id), Some(receipt)) = (message.message_id, message.receipt_handle) else {
            tracing::warn!(
                queue = self.url,
                "received a message without id or receipt handle; it stays in the queue"
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
                "the body does not match its MD5; the message will be delivered again"
            );
            return None;
        }
        let system = message.attributes.unwrap_or_default();
        let [receive_count, sent_at, trace, group, sequence] = SYSTEM_ATTRIBUTES;
        let count = system
            .get(&receive_count)
            .and_then(|count| count.parse().ok());
        let own = Sent {
            millis: system.get(&sent_at).and_then(|millis| millis.parse().ok()),
            sequence: system.get(&sequence).and_then(|number| number.parse().ok()),
        };
        let mut attributes: BTreeMap<_, _> = message
            .message_attributes
            .unwrap_or_default()
            .into_iter()
            .collect();
        // Anybody who may send could write it, so it only makes a message older.
        let first = attributes.remove(FIRST_SENT);
        let first = first.and_then(|first| Sent::parse(first.string_value()?));
        let sent = first.filter(|first| first.may_precede(&own)).unwrap_or(own);
        Some(Received {
            id: id.into(),
            receipt: receipt.into(),
            receive_count: count.unwrap_or(0),
            sent_at: own.millis.and_then(|millis| {
                SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
            }),
            sent,
            group: system.get(&group).map(|group| group.as_str().into()),
            trace_header: system.get(&trace).map(|header| header.as_str().into()),
            attributes,
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
        attempt: Option<&str>,
    ) -> Result<Vec<Received>, QueueError> {
        let requested = if is_fifo(&self.url) { 5 } else { 3 };
        let system = SYSTEM_ATTRIBUTES.into_iter().take(requested).collect();
        let attributes: &[&str] = if self.wants_attributes {
            &["All"]
        } else {
            &[TRACE_PARENT, FIRST_SENT]
        };
        let attributes = attributes.iter().map(|name| (*name).to_owned()).collect();
        let request = self
            .polling
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(count(most))
            .wait_time_seconds(seconds(wait))
            .visibility_timeout(seconds(visibility))
            .set_message_system_attribute_names(Some(system))
            .set_message_attribute_names(Some(attributes))
            .set_receive_request_attempt_id(attempt.map(str::to_owned));
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
        match self.send_copy(message, true).await {
            // A message may have all ten attributes, or be as large as the queue allows.
            Err(error) if error.kind == Kind::Other => {
                self.send_copy(message, false).await?;
                tracing::warn!(
                    queue = self.url,
                    message_id = %message.id,
                    "sent without the attribute `{FIRST_SENT}`, so it counts as sent now: {error}"
                );
                Ok(())
            }
            sent => sent,
        }
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let found = self.get_attributes(&names).await?;
        let [visible, in_flight, delayed] = names.map(|name| found.get(&name)?.parse().ok());
        Ok(Depth {
            visible,
            in_flight,
            delayed,
        })
    }
}

impl Sqs {
    /// Sends a copy of a message, with or without its version and its trace header.
    async fn send_copy(&self, message: &Received, is_complete: bool) -> Result<(), QueueError> {
        const OPERATION: &str = "SendMessage";
        let unexpected = |detail: String| unexpected(OPERATION, &self.url, &detail);
        let body = std::str::from_utf8(&message.body);
        let body = body.map_err(|error| unexpected(error.to_string()))?;
        let attributes = message.attributes.clone().into_iter().collect();
        let mut request = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .set_message_attributes(Some(attributes));
        if let Some(group) = &message.group {
            // A retry after a lost answer adds no second copy.
            request = request
                .message_group_id(&**group)
                .message_deduplication_id(&*message.id);
        }
        if is_complete && message.sent != Sent::default() {
            let first = MessageAttributeValue::builder().data_type("String");
            let first = first.string_value(message.sent.to_string()).build();
            let first = first.map_err(|error| unexpected(error.to_string()))?;
            request = request.message_attributes(FIRST_SENT, first);
        }
        if is_complete && let Some(header) = &message.trace_header {
            let trace = MessageSystemAttributeValue::builder().data_type("String");
            let trace = trace.string_value(&**header).build();
            let trace = trace.map_err(|error| unexpected(error.to_string()))?;
            let name = MessageSystemAttributeNameForSends::AwsTraceHeader;
            request = request.message_system_attributes(name, trace);
        }
        let sent = request.send().await;
        sent.map_err(|error| classify(OPERATION, &self.url, &error))
            .map(drop)
    }
}

/// The number of receives after which a redrive policy moves a message to the dead-letter queue.
/// AWS writes it as a number, or as a string if it was set as one.
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

/// The entries that failed. An entry that the answer doesn't mention counts as failed.
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

/// A duration in seconds. All durations are at most twelve hours.
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
    fn the_receive_count_of_a_redrive_policy_is_a_number_or_a_string() {
        let number =
            r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-central-1:1:d","maxReceiveCount":5}"#;
        assert_eq!(max_receives(number), Some(5));
        assert_eq!(max_receives(r#"{"maxReceiveCount":"7"}"#), Some(7));
        assert_eq!(max_receives("{}"), None);
    }

    #[test]
    fn the_endpoint_is_that_of_the_configuration_before_the_environment() {
        let environment = |name: &str| Some(format!("http://{name}"));
        let parse = |yaml: &str| serde_saphyr::from_str::<Config>(yaml).unwrap();
        let config = parse("queue-name: a");
        assert_eq!(endpoint_with(&config, |_| None), "AWS");
        let of_environment = endpoint_with(&config, environment);
        assert_eq!(of_environment, "http://AWS_ENDPOINT_URL_SQS");
        let config = parse("{queue-name: a, endpoint-url: 'http://localhost:1'}");
        assert_eq!(endpoint_with(&config, environment), "http://localhost:1");
    }

    #[test]
    fn an_entry_that_the_answer_does_not_mention_counts_as_failed() {
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
