//! What is done with a received message by its receipt handle: delete it, or change how long it
//! stays hidden.

use std::time::Duration;

use serde::Deserialize;

use super::batch::{self, BatchResult, Done, Entry};
use super::{Context, Nothing, required, within};
use crate::error::SqsError;
use crate::faults::Fault;
use crate::limits;
use crate::operation::Operation;
use crate::queue::Queue;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Request {
    queue_url: Option<String>,
    receipt_handle: Option<String>,
    visibility_timeout: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BatchRequest {
    queue_url: Option<String>,
    #[serde(default)]
    entries: Vec<ReceiptEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReceiptEntry {
    #[serde(default)]
    id: String,
    receipt_handle: Option<String>,
    visibility_timeout: Option<i64>,
}

impl Entry for ReceiptEntry {
    fn id(&self) -> &str {
        &self.id
    }
}

pub(super) fn delete(context: &Context, request: Request) -> Result<Nothing, SqsError> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let fault = context.faults.of_entry(Operation::DeleteMessage);
    delete_one(&queue, request.receipt_handle.as_deref(), fault)?;
    Ok(Nothing {})
}

pub(super) fn delete_batch(
    context: &Context,
    request: BatchRequest,
) -> Result<BatchResult<Done>, SqsError> {
    let queue = context.queue(request.queue_url.as_deref())?;
    batch::check(&request.entries)?;
    Ok(batch::each(
        context,
        Operation::DeleteMessageBatch,
        &request.entries,
        |entry, fault| {
            delete_one(&queue, entry.receipt_handle.as_deref(), fault)?;
            Ok(Done::of(entry))
        },
    ))
}

pub(super) fn change(context: &Context, request: Request) -> Result<Nothing, SqsError> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let fault = context.faults.of_entry(Operation::ChangeMessageVisibility);
    change_one(
        &queue,
        request.receipt_handle.as_deref(),
        request.visibility_timeout,
        fault,
    )?;
    Ok(Nothing {})
}

pub(super) fn change_batch(
    context: &Context,
    request: BatchRequest,
) -> Result<BatchResult<Done>, SqsError> {
    let queue = context.queue(request.queue_url.as_deref())?;
    batch::check(&request.entries)?;
    Ok(batch::each(
        context,
        Operation::ChangeMessageVisibilityBatch,
        &request.entries,
        |entry, fault| {
            change_one(
                &queue,
                entry.receipt_handle.as_deref(),
                entry.visibility_timeout,
                fault,
            )?;
            Ok(Done::of(entry))
        },
    ))
}

fn delete_one(queue: &Queue, handle: Option<&str>, fault: Option<Fault>) -> Result<(), SqsError> {
    let receipt = queue.receipt(required("ReceiptHandle", handle)?)?;
    if fault != Some(Fault::DropSilently) {
        queue.delete(receipt);
    }
    Ok(())
}

fn change_one(
    queue: &Queue,
    handle: Option<&str>,
    timeout: Option<i64>,
    fault: Option<Fault>,
) -> Result<(), SqsError> {
    let receipt = queue.receipt(required("ReceiptHandle", handle)?)?;
    let timeout = required("VisibilityTimeout", timeout)?;
    let timeout = within(
        "VisibilityTimeout",
        timeout,
        0..=limits::VISIBILITY.as_secs(),
    )?;
    if fault != Some(Fault::DropSilently) {
        queue.change_visibility(receipt, Duration::from_secs(timeout))?;
    }
    Ok(())
}
