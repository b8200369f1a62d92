//! Batches: up to ten entries in a request, each of which succeeds or fails separately.

use std::collections::HashSet;

use serde::Serialize;

use super::Context;
use crate::faults::Fault;
use crate::limits;
use crate::protocol::{Code, Operation, SqsError};

/// An entry of a batch request.
pub(super) trait Entry {
    fn id(&self) -> &str;
}

/// The response of a batch operation.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BatchResult<T> {
    successful: Vec<T>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<FailedEntry>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FailedEntry {
    id: String,
    sender_fault: bool,
    code: &'static str,
    message: String,
}

/// A successful entry without a result.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Done {
    id: String,
}

impl Done {
    pub(super) fn of(entry: &impl Entry) -> Self {
        Self {
            id: entry.id().to_owned(),
        }
    }
}

/// Performs each entry, unless a fault fails it.
pub(super) fn each<E: Entry, T>(
    context: &Context,
    operation: Operation,
    entries: &[E],
    perform: impl Fn(&E, Option<Fault>) -> Result<T, SqsError>,
) -> BatchResult<T> {
    let mut result = BatchResult {
        successful: Vec::with_capacity(entries.len()),
        failed: Vec::new(),
    };
    for entry in entries {
        let outcome = match context.faults.of_entry(operation) {
            Some(Fault::FailEntry { sender_fault: true }) => Err(SqsError::new(
                Code::ReceiptHandleIsInvalid,
                "injected failure, by the sender's fault",
            )),
            Some(Fault::FailEntry {
                sender_fault: false,
            }) => Err(SqsError::new(
                Code::InternalFailure,
                "injected failure, not by the sender's fault",
            )),
            fault => perform(entry, fault),
        };
        match outcome {
            Ok(success) => result.successful.push(success),
            Err(error) => result.failed.push(FailedEntry {
                id: entry.id().to_owned(),
                sender_fault: error.code.is_senders_fault(),
                code: error.code.in_batch(),
                message: error.message,
            }),
        }
    }
    result
}

/// Checks the rules for a whole batch, which fail the whole call.
pub(super) fn check<E: Entry>(entries: &[E]) -> Result<(), SqsError> {
    if entries.is_empty() {
        return Err(SqsError::new(
            Code::EmptyBatchRequest,
            "There should be at least one entry in the request.",
        ));
    }
    if entries.len() > limits::BATCH {
        let message = format!(
            "Maximum number of entries per request are {}. You have sent {}.",
            limits::BATCH,
            entries.len()
        );
        return Err(SqsError::new(Code::TooManyEntriesInBatchRequest, message));
    }
    let mut seen = HashSet::new();
    for id in entries.iter().map(Entry::id) {
        if !limits::is_plain_name(id, limits::BATCH_ID_CHARS) {
            let message = "A batch entry id can only contain alphanumeric characters, hyphens and \
                           underscores. It can be at most 80 letters long.";
            return Err(SqsError::new(Code::InvalidBatchEntryId, message));
        }
        if !seen.insert(id) {
            return Err(SqsError::new(
                Code::BatchEntryIdsNotDistinct,
                format!("Id {id} repeated."),
            ));
        }
    }
    Ok(())
}
