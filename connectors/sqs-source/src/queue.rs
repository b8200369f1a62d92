//! What the source needs of a queue, and how a queue's errors are told apart.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_sqs::types::MessageAttributeValue;

/// The most entries of one request to SQS (quota "batched message").
pub const BATCH: usize = 10;

/// The id that SQS gave a message when it was sent; the same in each delivery.
pub type MessageId = Arc<str>;

/// A receipt handle: names one delivery of a message, and goes stale with the next.
pub type Receipt = Arc<str>;

/// A delivery of a message.
#[derive(Clone, Debug)]
pub struct Received {
    /// The message.
    pub id: MessageId,
    /// This delivery of it.
    pub receipt: Receipt,
    /// How many times the message has been received, this time included; 0 if the queue doesn't say.
    /// Tells which of two deliveries is the newer: they may arrive in either order.
    pub receive_count: u32,
    /// When it was sent, by the queue's clock, if the queue says.
    pub sent_at: Option<SystemTime>,
    /// Of a FIFO queue: the group within which messages keep their order.
    pub group: Option<Arc<str>>,
    /// What the sender attached to it; nothing where nobody has asked for it.
    pub attributes: BTreeMap<String, MessageAttributeValue>,
    /// What the sender wrote, byte for byte.
    pub body: Vec<u8>,
}

/// How many messages a queue holds, approximately; `None` where it doesn't say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// To be received.
    pub visible: Option<u64>,
    /// Received and not deleted, by anybody.
    pub in_flight: Option<u64>,
    /// Not to be received before their delay is over.
    pub delayed: Option<u64>,
}

/// An entry of a batch that the queue did not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The entry's place in the request.
    pub index: usize,
    /// Whether the queue would refuse the same entry again.
    pub senders_fault: bool,
    /// The kind of error.
    pub kind: Kind,
    /// The queue's error code.
    pub code: String,
    /// The queue's words.
    pub message: String,
}

/// The calls of SQS that the source makes. No call retries by itself.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// The queue, for messages to people.
    fn name(&self) -> &str;

    /// Receives up to `most` (≤ [`BATCH`]) messages and hides them for `visibility`; waits up to
    /// `wait` for the first.
    async fn receive(
        &self,
        most: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Received>, QueueError>;

    /// Deletes up to [`BATCH`] messages, and returns those that were not deleted.
    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<Refusal>, QueueError>;

    /// Hides each of up to [`BATCH`] messages for so long from now on, and returns those for which
    /// that was not done.
    async fn change_visibility(
        &self,
        changes: &[(Receipt, Duration)],
    ) -> Result<Vec<Refusal>, QueueError>;

    /// Sends a message that another queue has delivered, with its attributes, group and body.
    async fn send(&self, message: &Received) -> Result<(), QueueError>;

    /// How many messages are in the queue.
    async fn depth(&self) -> Result<Depth, QueueError>;
}

/// Whether the queue of this name or URL is a FIFO queue: AWS has the suffix reserved for them.
#[must_use]
pub fn is_fifo(queue: &str) -> bool {
    queue.ends_with(".fifo")
}

/// What kind of trouble a queue gives, by what helps against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Too many requests: slow down.
    Throttled,
    /// No answer, or the service's own fault: try again.
    Unreachable,
    /// The credentials may not do this: someone has to change the policy.
    AccessDenied,
    /// There are no credentials, or AWS doesn't take them.
    Credentials,
    /// There is no such queue.
    NoSuchQueue,
    /// Anything else that the queue says.
    Other,
}

impl Kind {
    /// Whether waiting alone may help.
    #[must_use]
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Throttled | Self::Unreachable)
    }
}

/// A call that the queue did not do, as a whole.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation} on the queue `{queue}` failed: {detail}{}", Hint(self))]
pub struct QueueError {
    /// The operation's name in SQS.
    pub operation: &'static str,
    /// The queue.
    pub queue: String,
    /// What helps.
    pub kind: Kind,
    /// The queue's error code; what kind of failure it was where the queue gave none.
    pub code: String,
    /// The error code, if it came from the queue, and its words.
    pub detail: String,
}

impl QueueError {
    /// An entry's refusal as the error of its call.
    #[must_use]
    pub fn of_entry(operation: &'static str, queue: &str, refusal: &Refusal) -> Self {
        Self {
            operation,
            queue: queue.to_owned(),
            kind: refusal.kind,
            code: refusal.code.clone(),
            detail: format!("{}: {}", refusal.code, refusal.message),
        }
    }

    /// The permission that the operation needs, without `sqs:`: that of a batch is the single operation's.
    #[must_use]
    pub fn permission(&self) -> &str {
        self.operation
            .strip_suffix("Batch")
            .unwrap_or(self.operation)
    }
}

struct Hint<'a>(&'a QueueError);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.0;
        match error.kind {
            Kind::AccessDenied => write!(formatter, "; allow sqs:{} on this queue for these credentials", error.permission()),
            Kind::Credentials => formatter.write_str(
                "; set `access-key-id` and `secret-access-key`, or check the AWS environment variables, profile or role",
            ),
            Kind::NoSuchQueue => formatter.write_str("; check the queue's URL or name, the region and the account"),
            Kind::Throttled | Kind::Unreachable | Kind::Other => Ok(()),
        }
    }
}
