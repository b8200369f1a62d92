//! SQS's protocol: its operations, and its errors in the form that the AWS SDKs map to modelled
//! errors.
//!
//! AWS JSON 1.0 puts the error's shape name into `__type`. SQS also has an older query protocol,
//! and its SDKs read that protocol's code first, from the header `x-amzn-query-error`.

use std::fmt;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
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
    /// Returns the operation in the header `X-Amz-Target`.
    pub(crate) fn from_target(target: &str) -> Option<Self> {
        let name = target.strip_prefix("AmazonSQS.")?;
        Self::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(name))
            .ok()
    }

    /// Returns true if the request has entries that succeed or fail separately.
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

/// The media type of every answer.
pub(crate) const AWS_JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");

/// An error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqsError {
    pub(crate) code: Code,
    pub(crate) message: String,
}

/// The kind of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    AccessDenied,
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    EmptyBatchRequest,
    InternalFailure,
    InvalidAttributeName,
    InvalidAttributeValue,
    InvalidBatchEntryId,
    InvalidMessageContents,
    InvalidParameterValue,
    MessageNotInflight,
    MissingParameter,
    OverLimit,
    PurgeQueueInProgress,
    QueueDoesNotExist,
    QueueNameExists,
    ReceiptHandleIsInvalid,
    SerializationException,
    ThrottlingException,
    TooManyEntriesInBatchRequest,
    UnknownOperationException,
    UnsupportedOperation,
}

impl Code {
    /// Returns the error's shape name and its code in the query protocol.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::AccessDenied => ("AccessDeniedException", "AccessDenied"),
            Self::BatchEntryIdsNotDistinct => (
                "BatchEntryIdsNotDistinct",
                "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
            ),
            Self::BatchRequestTooLong => (
                "BatchRequestTooLong",
                "AWS.SimpleQueueService.BatchRequestTooLong",
            ),
            Self::EmptyBatchRequest => (
                "EmptyBatchRequest",
                "AWS.SimpleQueueService.EmptyBatchRequest",
            ),
            Self::InternalFailure => ("InternalFailure", "InternalFailure"),
            Self::InvalidAttributeName => ("InvalidAttributeName", "InvalidAttributeName"),
            Self::InvalidAttributeValue => ("InvalidAttributeValue", "InvalidAttributeValue"),
            Self::InvalidBatchEntryId => (
                "InvalidBatchEntryId",
                "AWS.SimpleQueueService.InvalidBatchEntryId",
            ),
            Self::InvalidMessageContents => ("InvalidMessageContents", "InvalidMessageContents"),
            Self::InvalidParameterValue => {
                ("InvalidParameterValueException", "InvalidParameterValue")
            }
            Self::MessageNotInflight => (
                "MessageNotInflight",
                "AWS.SimpleQueueService.MessageNotInflight",
            ),
            Self::MissingParameter => ("MissingRequiredParameterException", "MissingParameter"),
            Self::OverLimit => ("OverLimit", "OverLimit"),
            Self::PurgeQueueInProgress => (
                "PurgeQueueInProgress",
                "AWS.SimpleQueueService.PurgeQueueInProgress",
            ),
            Self::QueueDoesNotExist => (
                "QueueDoesNotExist",
                "AWS.SimpleQueueService.NonExistentQueue",
            ),
            Self::QueueNameExists => ("QueueNameExists", "QueueAlreadyExists"),
            Self::ReceiptHandleIsInvalid => ("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid"),
            Self::SerializationException => ("SerializationException", "SerializationException"),
            Self::ThrottlingException => ("ThrottlingException", "ThrottlingException"),
            Self::TooManyEntriesInBatchRequest => (
                "TooManyEntriesInBatchRequest",
                "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            ),
            Self::UnknownOperationException => ("UnknownOperationException", "InvalidAction"),
            Self::UnsupportedOperation => (
                "UnsupportedOperation",
                "AWS.SimpleQueueService.UnsupportedOperation",
            ),
        }
    }

    /// Returns the code for the `Failed` list of a batch response.
    pub(crate) fn in_batch(self) -> &'static str {
        self.names().1
    }

    /// Returns true if the client caused the error, so retrying the same request can't succeed.
    pub(crate) fn is_senders_fault(self) -> bool {
        self != Self::InternalFailure
    }
}

impl SqsError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        Self::new(
            Code::MissingParameter,
            format!("The request must contain the parameter {parameter}."),
        )
    }

    pub(crate) fn invalid(parameter: &str, value: impl std::fmt::Display, reason: &str) -> Self {
        Self::new(
            Code::InvalidParameterValue,
            format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}"),
        )
    }

    pub(crate) fn unsupported(what: &str) -> Self {
        Self::new(
            Code::UnsupportedOperation,
            format!("{what}: not supported by this endpoint"),
        )
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    #[serde(rename = "__type")]
    shape: String,
    message: &'a str,
}

impl IntoResponse for SqsError {
    fn into_response(self) -> Response {
        let (shape, query_code) = self.code.names();
        let (status, party) = if self.code.is_senders_fault() {
            (StatusCode::BAD_REQUEST, "Sender")
        } else {
            (StatusCode::INTERNAL_SERVER_ERROR, "Receiver")
        };
        let body = ErrorBody {
            shape: format!("com.amazonaws.sqs#{shape}"),
            message: &self.message,
        };
        match serde_json::to_vec(&body) {
            Ok(body) => (
                status,
                [(CONTENT_TYPE, AWS_JSON)],
                [("x-amzn-query-error", format!("{query_code};{party}"))],
                body,
            )
                .into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}
