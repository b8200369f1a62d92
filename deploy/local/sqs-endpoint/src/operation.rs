//! The operations of SQS that this endpoint knows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An operation, named as in `X-Amz-Target: AmazonSQS.<name>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is the SQS operation of that name")]
pub enum Operation {
    ChangeMessageVisibility,
    ChangeMessageVisibilityBatch,
    CreateQueue,
    DeleteMessage,
    DeleteMessageBatch,
    DeleteQueue,
    GetQueueAttributes,
    GetQueueUrl,
    ListQueues,
    PurgeQueue,
    ReceiveMessage,
    SendMessage,
    SendMessageBatch,
    SetQueueAttributes,
}

impl Operation {
    /// The operation that the header `X-Amz-Target` names.
    pub(crate) fn from_target(target: &str) -> Option<Self> {
        let name = target.strip_prefix("AmazonSQS.")?;
        Self::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(name))
            .ok()
    }

    /// Whether the request carries entries that succeed or fail one by one.
    pub(crate) fn is_batch(self) -> bool {
        matches!(
            self,
            Self::ChangeMessageVisibilityBatch | Self::DeleteMessageBatch | Self::SendMessageBatch
        )
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}
