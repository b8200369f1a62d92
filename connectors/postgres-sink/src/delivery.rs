//! A batch is tried until it is in the tables, whatever PostgreSQL says meanwhile.

use std::time::Duration;

use connector_common::Stop;

use crate::backoff::Backoff;
use crate::batch::Batch;
use crate::errors::{DatabaseError, Remedy};
use crate::writer::{WriteError, Writer, Written};

/// How long a stop waits for a database that does not take the batch in hand. Nothing is lost: the
/// stored offset stays where it is, and the next start reads the batch again.
const PATIENCE_WHEN_STOPPING: Duration = Duration::from_secs(10);

/// A batch that the server has cancelled so often for want of time is written in halves.
const CANCELLED: u32 = 3;

/// Why a batch is not in the tables.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// Another sink of the same name has moved the offset.
    #[error("another sink has moved the stored offset to {stored}; this one was at {expected}")]
    Overtaken {
        /// The offset in the database.
        stored: i64,
        /// Where this sink was.
        expected: i64,
    },
    /// The stop was requested while the database took nothing.
    #[error("stopped while the database took nothing: {0}")]
    Stopped(String),
    /// An event that PostgreSQL refuses, and whose rejection it refuses as well.
    #[error(
        "PostgreSQL refuses the event at offset {offset}, and its row in rejected_events too: {why}"
    )]
    Unwritable {
        /// The record's offset.
        offset: i64,
        /// PostgreSQL's answer.
        why: String,
    },
}

/// Writes `batch`. What can pass is tried again, without end; an event that PostgreSQL refuses is
/// found by halving and becomes a row in `rejected_events`, and the rest goes in.
///
/// # Errors
/// See [`DeliveryError`].
pub async fn deliver(
    writer: &mut Writer,
    batch: Batch,
    stop: &Stop,
) -> Result<Written, DeliveryError> {
    let mut total = Written::default();
    let mut waiting = vec![batch];
    while let Some(batch) = waiting.pop() {
        match write_patiently(writer, &batch, stop).await? {
            Outcome::Written(written) => total += written,
            Outcome::TooLarge => match batch.halves() {
                Some((first, second)) => waiting.extend([second, first]),
                None => waiting.push(batch),
            },
            Outcome::Refused(why) => match batch.halves() {
                Some((first, second)) => waiting.extend([second, first]),
                None => total += set_aside(writer, &batch, &why, stop).await?,
            },
        }
    }
    Ok(total)
}

enum Outcome {
    Written(Written),
    /// The server does not get it done in the time that a statement may take.
    TooLarge,
    Refused(String),
}

async fn set_aside(
    writer: &mut Writer,
    batch: &Batch,
    why: &str,
    stop: &Stop,
) -> Result<Written, DeliveryError> {
    let source = writer.source();
    tracing::warn!(
        topic = source.topic,
        partition = source.partition,
        offset = batch.follows(),
        "PostgreSQL refuses an event, which goes to rejected_events: {why}"
    );
    match write_patiently(writer, &batch.refused(why), stop).await? {
        Outcome::Written(written) => Ok(written),
        Outcome::TooLarge => Err(DeliveryError::Unwritable {
            offset: batch.next_offset() - 1,
            why: "its row takes longer than `statement-timeout`".to_owned(),
        }),
        Outcome::Refused(why) => Err(DeliveryError::Unwritable {
            offset: batch.next_offset() - 1,
            why,
        }),
    }
}

async fn write_patiently(
    writer: &mut Writer,
    batch: &Batch,
    stop: &Stop,
) -> Result<Outcome, DeliveryError> {
    let mut retry = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    let mut wait = Backoff::new(Duration::from_secs(2), Duration::from_secs(30));
    let mut cancelled = 0;
    let mut given_up = std::pin::pin!(patience(stop));
    loop {
        let error = match writer.write(batch).await {
            Ok(written) => {
                if retry.failures() + wait.failures() > 0 {
                    tracing::info!(
                        topic = writer.source().topic,
                        partition = writer.source().partition,
                        "the database takes facts again"
                    );
                }
                return Ok(Outcome::Written(written));
            }
            Err(WriteError::Fenced { stored, expected }) => {
                return Err(DeliveryError::Overtaken { stored, expected });
            }
            Err(error) => error,
        };
        let pause = match error.remedy() {
            Some(Remedy::SetAside) => return Ok(Outcome::Refused(reason(&error))),
            Some(Remedy::Retry) | None => {
                if retry.is_news() {
                    warn(writer, batch, &error);
                }
                cancelled += u32::from(is_cancelled(&error));
                if cancelled == CANCELLED && batch.volume().records > 1 {
                    return Ok(Outcome::TooLarge);
                }
                retry.next()
            }
            Some(Remedy::Wait | Remedy::Refused) => {
                if wait.is_news() {
                    alarm(writer, batch, &error);
                }
                wait.next()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut given_up => return Err(DeliveryError::Stopped(error.to_string())),
        }
    }
}

fn is_cancelled(error: &WriteError) -> bool {
    matches!(error, WriteError::Database(error) if error.is_cancelled())
}

/// Ends some time after the stop is requested.
async fn patience(stop: &Stop) {
    stop.requested().await;
    tokio::time::sleep(PATIENCE_WHEN_STOPPING).await;
}

fn reason(error: &WriteError) -> String {
    match error {
        WriteError::Database(DatabaseError { cause, .. }) => cause.to_string(),
        other => other.to_string(),
    }
}

fn warn(writer: &Writer, batch: &Batch, error: &WriteError) {
    let source = writer.source();
    tracing::warn!(
        topic = source.topic,
        partition = source.partition,
        offset = batch.follows(),
        "the database did not take a batch, trying again: {error}"
    );
}

fn alarm(writer: &Writer, batch: &Batch, error: &WriteError) {
    let source = writer.source();
    tracing::error!(
        topic = source.topic,
        partition = source.partition,
        offset = batch.follows(),
        "nothing is written until somebody acts; the sink keeps trying: {error}"
    );
}
