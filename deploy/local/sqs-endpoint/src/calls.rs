//! The operations, from a request's JSON to a response's JSON.

mod batch;
mod message;
mod queue;

use axum::body::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::faults::Faults;
use crate::protocol::{Code, Operation, SqsError};
use crate::queue::{QueueRegistry, SharedQueue};

/// The state shared by all operations.
pub(crate) struct Context {
    pub(crate) queues: QueueRegistry,
    pub(crate) faults: Faults,
    /// Ends long polls when the endpoint stops.
    pub(crate) stop: CancellationToken,
}

/// Performs `operation` with the request in `body` and returns the response's JSON.
pub(crate) async fn perform(
    context: &Context,
    operation: Operation,
    body: &Bytes,
) -> Result<Vec<u8>, SqsError> {
    match operation {
        Operation::CreateQueue => answer(queue::create(context, read(body)?)),
        Operation::GetQueueUrl => answer(queue::get_url(context, read(body)?)),
        Operation::ListQueues => answer(queue::list(context, read(body)?)),
        Operation::GetQueueAttributes => answer(queue::get_attributes(context, read(body)?)),
        Operation::SetQueueAttributes => answer(queue::set_attributes(context, read(body)?)),
        Operation::PurgeQueue => answer(queue::purge(context, read(body)?)),
        Operation::DeleteQueue => answer(queue::delete(context, read(body)?)),
        Operation::SendMessage => answer(message::send(context, read(body)?)),
        Operation::SendMessageBatch => answer(message::send_batch(context, read(body)?)),
        Operation::ReceiveMessage => answer(message::receive(context, read(body)?).await),
        Operation::DeleteMessage => answer(message::delete(context, read(body)?)),
        Operation::DeleteMessageBatch => answer(message::delete_batch(context, read(body)?)),
        Operation::ChangeMessageVisibility => answer(message::change(context, read(body)?)),
        Operation::ChangeMessageVisibilityBatch => {
            answer(message::change_batch(context, read(body)?))
        }
    }
}

/// An empty response.
#[derive(Serialize)]
struct Empty {}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, SqsError> {
    serde_json::from_slice(body)
        .map_err(|error| SqsError::new(Code::SerializationException, error.to_string()))
}

fn answer<T: Serialize>(response: Result<T, SqsError>) -> Result<Vec<u8>, SqsError> {
    serde_json::to_vec(&response?)
        .map_err(|error| SqsError::new(Code::InternalFailure, error.to_string()))
}

fn required<T>(parameter: &str, value: Option<T>) -> Result<T, SqsError> {
    value.ok_or_else(|| SqsError::missing(parameter))
}

fn within(
    parameter: &str,
    value: i64,
    limits: std::ops::RangeInclusive<u64>,
) -> Result<u64, SqsError> {
    u64::try_from(value)
        .ok()
        .filter(|value| limits.contains(value))
        .ok_or_else(|| {
            let reason = format!("Must be between {} and {}.", limits.start(), limits.end());
            SqsError::invalid(parameter, value, &reason)
        })
}

impl Context {
    fn queue(&self, url: Option<&str>) -> Result<SharedQueue, SqsError> {
        self.queues.by_url(required("QueueUrl", url)?)
    }
}
