//! The queue that the source reads: the calls of SQS that it needs, and their errors.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_sqs::types::MessageAttributeValue;
use connector_common::Backoff;
use connector_common::keys::{self, Key, Sent};

/// The most entries of one request to SQS (quota "batched message").
pub const BATCH: usize = 10;

/// The sender's attribute with the trace context of the W3C
/// (<https://www.w3.org/TR/trace-context/#traceparent-header>).
pub const TRACE_PARENT: &str = "traceparent";

/// The id that SQS assigned to a message when it was sent; the same in each delivery.
pub type MessageId = Arc<str>;

/// A receipt handle: identifies one delivery of a message. The next delivery invalidates it.
pub type Receipt = Arc<str>;

/// A delivery of a message.
#[derive(Clone, Debug)]
pub struct Received {
    /// The message's id.
    pub id: MessageId,
    /// The receipt handle of this delivery.
    pub receipt: Receipt,
    /// The number of receives, this one included; 0 if the queue does not report it. The higher one
    /// of two deliveries is the newer: they may arrive in either order.
    pub receive_count: u32,
    /// The time when it was sent, by the queue's clock.
    pub sent_at: Option<SystemTime>,
    /// The version of its events. A message that the dead-letter forwarder copied has that of the
    /// original.
    pub sent: Sent,
    /// The message group, within which a FIFO queue keeps the order.
    pub group: Option<Arc<str>>,
    /// The trace context of AWS X-Ray.
    pub trace_header: Option<Arc<str>>,
    /// The sender's attributes: [`TRACE_PARENT`], and the others if they are requested.
    pub attributes: BTreeMap<String, MessageAttributeValue>,
    /// The body, byte for byte.
    pub body: Vec<u8>,
}

impl Received {
    /// The key of its record.
    #[must_use]
    pub fn key(&self) -> String {
        let key = Key {
            group: self.group.as_deref(),
            id: &self.id,
            sent: self.sent,
            trace: self.trace(),
        };
        key.to_string()
    }

    /// The trace context of the sender.
    #[must_use]
    pub fn trace(&self) -> Option<&str> {
        let header = self.trace_header.as_deref();
        let parent = || self.attributes.get(TRACE_PARENT)?.string_value();
        keys::trace(header.or_else(parent)?)
    }
}

/// The approximate number of messages in a queue; `None` if the queue does not report it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages to receive.
    pub visible: Option<u64>,
    /// Messages that a reader has received and not deleted.
    pub in_flight: Option<u64>,
    /// Messages whose delay is not over.
    pub delayed: Option<u64>,
}

/// An entry of a batch request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The entry's index in the request.
    pub index: usize,
    /// True if the queue would refuse the same entry again.
    pub senders_fault: bool,
    /// The kind of error.
    pub kind: Kind,
    /// The queue's error code.
    pub code: String,
    /// The queue's error message.
    pub message: String,
}

/// The calls of SQS that the source makes. No call retries by itself.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// The queue's URL, for logs.
    fn name(&self) -> &str;

    /// Receives up to `most` (≤ [`BATCH`]) messages and hides them for `visibility`. Waits up to
    /// `wait` for the first. On a FIFO queue a retry with the same `attempt` id returns the
    /// messages of an answer that was lost; otherwise their groups would wait until they are
    /// visible again.
    async fn receive(
        &self,
        most: usize,
        wait: Duration,
        visibility: Duration,
        attempt: Option<&str>,
    ) -> Result<Vec<Received>, QueueError>;

    /// Deletes up to [`BATCH`] messages. Returns the entries that failed.
    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<Refusal>, QueueError>;

    /// Sets the visibility timeouts of up to [`BATCH`] messages, from now on. Returns the entries
    /// that failed.
    async fn change_visibility(
        &self,
        changes: &[(Receipt, Duration)],
    ) -> Result<Vec<Refusal>, QueueError>;

    /// Sends a copy of a message of another queue, with its attributes, group, version and body.
    async fn send(&self, message: &Received) -> Result<(), QueueError>;

    /// Counts the messages in the queue.
    async fn depth(&self) -> Result<Depth, QueueError>;
}

/// True if the queue of this name or URL is a FIFO queue: AWS reserves the suffix for them.
#[must_use]
pub fn is_fifo(queue: &str) -> bool {
    queue.ends_with(".fifo")
}

/// Errors of a queue, by their remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Too many requests: slow down.
    Throttled,
    /// No answer, or an error of the service: retry.
    Unreachable,
    /// The credentials lack a permission: the policy has to change.
    AccessDenied,
    /// Credentials are missing, or AWS refuses them.
    Credentials,
    /// The queue does not exist.
    NoSuchQueue,
    /// Any other error.
    Other,
}

impl Kind {
    /// True if a retry may succeed without a change by an operator.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Throttled | Self::Unreachable)
    }

    /// The pause before the next attempt. It is longer for errors that an operator has to mend: a
    /// network recovers by itself, a permission does not.
    pub(crate) fn next_pause(self, backoff: &mut Backoff) -> Duration {
        let (first, longest) = match self {
            Self::Throttled => (Duration::from_millis(250), Duration::from_secs(20)),
            Self::Unreachable => (Duration::from_millis(100), Duration::from_secs(10)),
            Self::Other => (Duration::from_millis(500), Duration::from_secs(20)),
            Self::AccessDenied | Self::Credentials | Self::NoSuchQueue => {
                (Duration::from_secs(5), Duration::from_secs(60))
            }
        };
        backoff.next_pause_between(first, longest)
    }
}

/// A call that failed as a whole.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation} on the queue `{queue}` failed: {}{}", .detail.trim_end_matches('.'), Remedy(self))]
pub struct QueueError {
    /// The operation's name in SQS.
    pub operation: &'static str,
    /// The queue.
    pub queue: String,
    /// The kind of error.
    pub kind: Kind,
    /// The queue's error code, or a name for the failure if the queue did not answer.
    pub code: String,
    /// The queue's error code and message, or the causes of the failure in one line.
    pub detail: String,
}

impl QueueError {
    /// The error of a call for one entry of it.
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

    /// The permission that the operation needs, without `sqs:`. A batch operation needs that of the
    /// single operation.
    #[must_use]
    pub fn permission(&self) -> &str {
        self.operation
            .strip_suffix("Batch")
            .unwrap_or(self.operation)
    }
}

struct Remedy<'a>(&'a QueueError);

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.0;
        match error.kind {
            Kind::AccessDenied => write!(
                formatter,
                "; allow sqs:{} on this queue for these credentials",
                error.permission()
            ),
            Kind::Credentials => formatter.write_str(
                "; set `access-key-id` and `secret-access-key`, or check the AWS environment \
                 variables, profile or role",
            ),
            Kind::NoSuchQueue => {
                formatter.write_str("; check the queue's URL or name, the region and the account")
            }
            Kind::Throttled | Kind::Unreachable | Kind::Other => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_an_operator_has_to_mend_are_retried_less_often() {
        let first = |kind: Kind| kind.next_pause(&mut Backoff::default());
        assert!(first(Kind::AccessDenied) > first(Kind::Throttled));
        assert!(first(Kind::NoSuchQueue) > first(Kind::Unreachable));
    }
}
