//! Retries a batch until it commits. An event that PostgreSQL refuses becomes a rejected event.

use std::sync::Arc;
use std::time::Duration;

use connector_common::{Backoff, Stop, Warnings};
use warehouse::{Batch, Cause, Refused, Remedy, ServerError, Trial, Writer, Written};

use crate::error::Error;
use crate::metrics::TransactionMetrics;

/// The wait for the database after a stop is requested. Nothing is lost when it ends: the committed
/// offset stays, and the next start reads the batch again.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The statement timeouts after which a batch is written in halves.
const TIMEOUTS: u32 = 3;
/// The pauses after transient errors.
const RETRY: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];
/// The pauses after errors that need somebody to act.
const WAIT: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(30)];

/// Counts events of a partition that PostgreSQL refuses alike, without an accepted one between
/// them. A changed table or a wrong SmartModule makes it refuse all, and each rejected event lets a
/// source delete its message.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    /// The number after which no more events are rejected; 0 for none.
    limit: usize,
    cause: Option<Cause>,
    count: usize,
    /// The number of records in a row that are not envelopes.
    unreadable: usize,
    warnings: Arc<Warnings>,
}

impl Refusals {
    /// Allows `limit` events, or any number if it is 0.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Returns true if the limit of events that are refused for this cause is reached.
    fn are_exhausted(&self, cause: Option<&Cause>) -> bool {
        self.limit > 0 && self.count >= self.limit && self.cause.as_ref() == cause
    }

    /// Counts the outcome of a trial. Returns false if its event may not be rejected.
    fn count(&mut self, trial: &Trial<'_>) -> bool {
        match trial {
            Trial::Accepted(written) => self.accept(written),
            Trial::Refused(error) => {
                let cause = error.cause();
                if self.are_exhausted(cause.as_ref()) {
                    return false;
                }
                self.add(cause);
            }
        }
        true
    }

    /// Logs refused events of `batch`, now and then: there can be many.
    fn log(&self, writer: &Writer, batch: &Batch, refused: &Refused) {
        let Some(first) = refused.records.first() else {
            return;
        };
        if let Some(suppressed) = self.warnings.due() {
            tracing::warn!(
                topic = writer.source().topic,
                partition = writer.source().partition,
                next_offset = batch.next_offset(),
                events = refused.records.len(),
                trace = batch.trace(first.index),
                suppressed,
                "PostgreSQL refuses events, which become rejected events: {}",
                first.reason
            );
        }
    }

    fn add(&mut self, cause: Option<Cause>) {
        if self.cause != cause {
            self.count = 0;
        }
        self.cause = cause;
        self.count += 1;
    }

    /// Fails if too many records in a row are not envelopes. The flattener makes one of any record,
    /// so another SmartModule is in its place.
    fn check_envelopes(&mut self, batch: &Batch) -> Result<(), Error> {
        if !batch.is_unreadable() {
            self.unreadable = 0;
            return Ok(());
        }
        self.unreadable = self.unreadable.saturating_add(batch.record_count());
        if self.limit == 0 || self.unreadable <= self.limit {
            return Ok(());
        }
        Err(Error::NotEnvelopes {
            count: self.unreadable,
            offset: batch.next_offset(),
        })
    }

    fn accept(&mut self, written: &Written) {
        if written.inserted + written.updated > 0 {
            self.count = 0;
        }
    }
}

/// Writes `batch`, and retries without end. It finds the events that PostgreSQL refuses, writes
/// them into `rejected_events`, and writes the other events. If too many events are refused alike,
/// it rejects none any more and waits until the next one is accepted.
///
/// # Errors
/// Another sink has moved the offset, the stop was requested, an event can't be rejected either, or
/// the records are not envelopes.
pub async fn deliver(
    writer: &mut Writer,
    batch: Batch,
    stop: &Stop,
    metrics: Option<&TransactionMetrics>,
    refusals: &mut Refusals,
) -> Result<Written, Error> {
    refusals.check_envelopes(&batch)?;
    let mut total = Written::default();
    let mut waiting = vec![batch];
    let mut wait = Backoff::new(WAIT[0], WAIT[1]);
    while let Some(batch) = waiting.pop() {
        let error = match write_with_retries(writer, &batch, stop, metrics).await? {
            Outcome::Written(written) => {
                refusals.accept(&written);
                if wait.reset() {
                    tracing::info!(
                        topic = writer.source().topic,
                        partition = writer.source().partition,
                        "PostgreSQL accepts events again"
                    );
                }
                total += written;
                continue;
            }
            Outcome::TimedOut => {
                waiting.extend(halved(batch));
                continue;
            }
            Outcome::Refused(error) => error,
        };
        let mut counted = refusals.clone();
        let found = tokio::select! {
            found = writer.find_refused(&batch, |trial| counted.count(&trial)) => found,
            () = stop_timeout(stop) => return Err(Error::Stopped(error)),
        };
        let refused = match found {
            Ok(Refused { records, tried })
                if records.is_empty() && tried == batch.record_count() =>
            {
                // They are refused at the commit.
                if let Some((first, second)) = batch.halves() {
                    waiting.extend([second, first]);
                    continue;
                }
                if counted.count(&Trial::Refused(&error)) {
                    Refused::only(&error)
                } else {
                    Refused::default()
                }
            }
            Ok(refused) => refused,
            Err(error) => {
                if error.is_cancelled() && batch.record_count() > 1 {
                    waiting.extend(halved(batch));
                    continue;
                }
                if wait.warning_due().is_some() {
                    tracing::warn!(
                        topic = writer.source().topic,
                        partition = writer.source().partition,
                        "cannot find the events that PostgreSQL refuses: {}",
                        error.chain()
                    );
                }
                tokio::select! {
                    () = tokio::time::sleep(wait.next_pause()) => waiting.push(batch),
                    () = stop.requested() => return Err(Error::Stopped(error)),
                }
                continue;
            }
        };
        if refused.tried == 0 {
            let stands_still = format!(
                "{} events in a row were refused alike, so no more are rejected or deleted until \
                 the event at offset {} is accepted; mend the table or the SmartModule, or raise \
                 `max-refused-events`",
                refusals.count,
                batch.follows()
            );
            if let Some(metrics) = metrics {
                metrics.wait(&format!("{stands_still}: {}", error.outline()));
            }
            if wait.warning_due().is_some() {
                tracing::error!(
                    topic = writer.source().topic,
                    partition = writer.source().partition,
                    "{stands_still}: {}",
                    reason(&error)
                );
            }
            tokio::select! {
                () = tokio::time::sleep(wait.next_pause()) => waiting.push(batch),
                () = stop.requested() => return Err(Error::Stopped(error)),
            }
            continue;
        }
        let (part, rest) = batch.reject_refused(&refused);
        match write_with_retries(writer, &part, stop, metrics).await? {
            Outcome::Written(written) => {
                total += written;
                *refusals = counted;
                refusals.log(writer, &batch, &refused);
                wait.reset();
                waiting.extend(rest);
            }
            Outcome::Refused(error) => match batch.halves() {
                Some((first, second)) => waiting.extend([second, first]),
                None => {
                    tracing::error!(
                        topic = writer.source().topic,
                        partition = writer.source().partition,
                        offset = batch.next_offset() - 1,
                        "PostgreSQL refuses a row of rejected_events: {}",
                        reason(&error)
                    );
                    return Err(Error::Unwritable {
                        offset: batch.next_offset() - 1,
                        reason: error.outline(),
                    });
                }
            },
            Outcome::TimedOut => waiting.extend(halved(batch)),
        }
    }
    Ok(total)
}

enum Outcome {
    Written(Written),
    /// The server can't write the batch within the statement timeout.
    TimedOut,
    Refused(warehouse::Error),
}

/// The halves of a batch, the second one first, or a single record as it is.
fn halved(batch: Batch) -> Vec<Batch> {
    match batch.halves() {
        Some((first, second)) => vec![second, first],
        None => vec![batch],
    }
}

async fn write_with_retries(
    writer: &mut Writer,
    batch: &Batch,
    stop: &Stop,
    metrics: Option<&TransactionMetrics>,
) -> Result<Outcome, Error> {
    let mut retry = Backoff::new(RETRY[0], RETRY[1]);
    let mut wait = Backoff::new(WAIT[0], WAIT[1]);
    let mut timeouts = 0;
    let mut stopped = std::pin::pin!(stop_timeout(stop));
    loop {
        let began = metrics.map(TransactionMetrics::begin);
        let outcome = tokio::select! {
            outcome = writer.write(batch) => outcome,
            () = &mut stopped => return Err(Error::Stopped(warehouse::Error::Server {
                context: "cannot write the batch",
                source: ServerError::NoAnswer(STOP_TIMEOUT),
            })),
        };
        if let (Some(metrics), Some(began)) = (metrics, began) {
            metrics.end(began, batch, &outcome);
        }
        let error = match outcome {
            Ok(written) => {
                if retry.failures() + wait.failures() > 0 {
                    tracing::info!(
                        topic = writer.source().topic,
                        partition = writer.source().partition,
                        "the database accepts batches again"
                    );
                }
                return Ok(Outcome::Written(written));
            }
            Err(warehouse::Error::Fenced {
                committed,
                expected,
            }) => {
                return Err(Error::Fenced {
                    committed,
                    expected,
                });
            }
            Err(error) => error,
        };
        let source = writer.source();
        let pause = match error.remedy() {
            Remedy::Reject => return Ok(Outcome::Refused(error)),
            Remedy::Retry => {
                if retry.warning_due().is_some() {
                    tracing::warn!(
                        topic = source.topic,
                        partition = source.partition,
                        offset = batch.follows(),
                        "the database did not accept a batch, retrying: {}",
                        error.chain()
                    );
                }
                timeouts += u32::from(error.is_cancelled());
                if timeouts == TIMEOUTS && batch.record_count() > 1 {
                    return Ok(Outcome::TimedOut);
                }
                retry.next_pause()
            }
            Remedy::Wait | Remedy::Refused | Remedy::Fatal => {
                if wait.warning_due().is_some() {
                    tracing::error!(
                        topic = source.topic,
                        partition = source.partition,
                        offset = batch.follows(),
                        "nothing is written until somebody acts; the sink keeps retrying: {}",
                        error.chain()
                    );
                }
                wait.next_pause()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut stopped => return Err(Error::Stopped(error)),
        }
    }
}

/// Ends some time after the stop is requested.
async fn stop_timeout(stop: &Stop) {
    stop.requested().await;
    tokio::time::sleep(STOP_TIMEOUT).await;
}

/// The server's message without the request that failed.
fn reason(error: &warehouse::Error) -> String {
    match error {
        warehouse::Error::Server { source, .. } => source.to_string(),
        other => other.chain(),
    }
}
