//! Deletes acked messages: ten messages a call, several calls at once, with a check of each entry's
//! result.
//!
//! The dead-letter forwarder acks messages, too. Most queues have a redrive policy, by which SQS
//! itself moves messages that were received too often. With `dead-letter-queue` the source does: it
//! sends a copy to that queue, and deletes the message when SQS has acknowledged the copy. A crash
//! in between leaves two copies, never none. While that queue accepts no messages, they are left to
//! their next delivery: their bodies must not use up the memory that all queues share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connector_common::{Backoff, Health, Stop, Warnings};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::in_flight::{AckToken, InFlight};
use crate::metrics::QueueMetrics;
use crate::queue::{BATCH, Kind, Queue, QueueError, Receipt, Received, Refusal};

const OPERATION: &str = "DeleteMessageBatch";

/// The longest time that a delete waits for others to share its call.
const LINGER: Duration = Duration::from_millis(20);

/// Calls that run at once.
const CALLS: usize = 16;

/// Attempts for an entry that fails by the queue's fault. Calls that fail as often make the
/// connector unready.
const ATTEMPTS: u32 = 6;

/// Attempts to forward a message to a queue that does not answer or throttles.
const FORWARD_ATTEMPTS: u32 = 3;

/// Deletes the acked messages of one queue.
pub(crate) struct Deleter {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) metrics: Arc<QueueMetrics>,
    pub(crate) health: Health,
    /// True while the deletes are reported as failing.
    pub(crate) is_reported: AtomicBool,
    pub(crate) warnings: Warnings,
}

impl Deleter {
    /// Deletes the acked messages until the channel is closed and all are settled.
    pub(crate) async fn run(self, mut acks: mpsc::UnboundedReceiver<AckToken>) {
        let deleter = Arc::new(self);
        let calls = Arc::new(Semaphore::new(CALLS));
        let mut running = JoinSet::new();
        while let Some(batch) = next_batch(&mut acks).await {
            // The semaphore is never closed.
            let Ok(call) = Arc::clone(&calls).acquire_owned().await else {
                return;
            };
            let deleter = Arc::clone(&deleter);
            running.spawn(async move {
                deleter.delete(batch).await;
                drop(call);
            });
            while running.try_join_next().is_some() {}
        }
        running.join_all().await;
    }

    /// Deletes a batch, with retries.
    async fn delete(&self, mut batch: Vec<AckToken>) {
        let mut backoff = Backoff::default();
        let mut attempts_left = ATTEMPTS;
        while !batch.is_empty() {
            // Another delivery since the last attempt has replaced the receipt.
            let with_receipts: Vec<(AckToken, Receipt)> = batch
                .drain(..)
                .filter_map(|ack| self.in_flight.receipt(&ack).map(|receipt| (ack, receipt)))
                .collect();
            let receipts: Vec<Receipt> = with_receipts
                .iter()
                .map(|(_, receipt)| Arc::clone(receipt))
                .collect();
            if receipts.is_empty() {
                return;
            }
            match self.queue.delete(&receipts).await {
                Ok(refusals) => {
                    let denied = refusals
                        .iter()
                        .find(|refusal| refusal.kind == Kind::AccessDenied);
                    let kind = denied.map_or(Kind::Unreachable, |one| one.kind);
                    let pause = kind.next_pause(&mut backoff);
                    match denied {
                        Some(refusal) => {
                            let error = QueueError::of_entry(OPERATION, self.queue.name(), refusal);
                            self.troubled(&error, &backoff, pause);
                        }
                        None => self.works(),
                    }
                    attempts_left = attempts_left.saturating_sub(1);
                    batch = self.settle(with_receipts, &refusals, attempts_left > 0);
                    if batch.is_empty() {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                }
                Err(error) => {
                    self.metrics.failed(&error);
                    let pause = error.kind.next_pause(&mut backoff);
                    self.troubled(&error, &backoff, pause);
                    batch = with_receipts.into_iter().map(|(ack, _)| ack).collect();
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Reports a call that failed, or an entry that was denied. Errors that an operator has to mend
    /// make the connector unready, and those that last.
    fn troubled(&self, error: &QueueError, backoff: &Backoff, pause: Duration) {
        if !error.kind.is_transient() || backoff.failures() >= ATTEMPTS {
            self.health.troubled(&self.part(), error);
            self.is_reported.store(true, Ordering::Relaxed);
        }
        if let Some(suppressed) = self.warnings.due() {
            tracing::warn!(?pause, suppressed, "cannot delete, retrying: {error}");
        }
    }

    fn works(&self) {
        if self.is_reported.swap(false, Ordering::Relaxed) {
            self.health.works(&self.part());
            self.warnings.reset();
            tracing::info!(queue = self.queue.name(), "deletes work again");
        }
    }

    /// The name of the deletes' part of the connector's health.
    fn part(&self) -> String {
        format!("deletes from {}", self.queue.name())
    }

    /// Handles the result of each entry, and returns the tokens to retry.
    fn settle(
        &self,
        batch: Vec<(AckToken, Receipt)>,
        refusals: &[Refusal],
        may_retry: bool,
    ) -> Vec<AckToken> {
        let queue = self.queue.name();
        let mut again = Vec::new();
        for (index, (ack, receipt)) in batch.into_iter().enumerate() {
            let Some(refusal) = refusals.iter().find(|refusal| refusal.index == index) else {
                match self.in_flight.deleted(ack, &receipt) {
                    Some(ack) => again.push(ack),
                    None => self.metrics.deleted.inc(),
                }
                continue;
            };
            self.metrics.refused(OPERATION, refusal);
            let (code, reason) = (&refusal.code, &refusal.message);
            if refusal.kind == Kind::AccessDenied {
                again.push(ack);
            } else if refusal.senders_fault || !may_retry {
                tracing::warn!(
                    queue, message_id = %ack.id(), position = ?ack.position(), code,
                    "delete failed; SQS will redeliver the message: {reason}"
                );
                self.metrics.left.inc();
                self.in_flight.release(ack.id());
            } else {
                tracing::info!(
                    queue, message_id = %ack.id(), code,
                    "delete failed, retrying: {reason}"
                );
                again.push(ack);
            }
        }
        again
    }
}

/// The next tokens, as many as arrive within the linger, up to a full batch. `None` if none will
/// arrive.
async fn next_batch(acks: &mut mpsc::UnboundedReceiver<AckToken>) -> Option<Vec<AckToken>> {
    let mut batch = vec![acks.recv().await?];
    let deadline = Instant::now() + LINGER;
    while batch.len() < BATCH {
        let missing = BATCH - batch.len();
        match timeout_at(deadline, acks.recv_many(&mut batch, missing)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    Some(batch)
}

/// The dead-letter queue, and the limit of receives.
#[derive(Clone)]
pub struct DeadLetters {
    /// The dead-letter queue.
    pub queue: Arc<dyn Queue>,
    /// Messages with more receives are forwarded.
    pub max_receives: u32,
}

/// Forwards dead letters one after the other: they are few.
pub(crate) struct DeadLetterForwarder {
    pub(crate) dead_letters: DeadLetters,
    pub(crate) source: Arc<dyn Queue>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) metrics: Arc<QueueMetrics>,
    pub(crate) acks: mpsc::UnboundedSender<AckToken>,
    pub(crate) health: Health,
    pub(crate) stop: Stop,
}

impl DeadLetterForwarder {
    /// Forwards the messages that arrive until the channel is closed. After a failure the messages
    /// of a while are left to their next delivery.
    pub(crate) async fn run(self, mut dead: mpsc::Receiver<Received>) {
        let mut backoff = Backoff::default();
        let mut retry_at = Instant::now();
        while let Some(message) = dead.recv().await {
            if Instant::now() < retry_at {
                self.in_flight.release(&message.id);
                continue;
            }
            match self.send(&message).await {
                Ok(()) => {
                    if backoff.reset() {
                        self.health.works(&self.part());
                    }
                    self.forwarded(&message);
                }
                Err(error) => {
                    let pause = error.kind.next_pause(&mut backoff);
                    retry_at = Instant::now() + pause;
                    self.health.troubled(&self.part(), &error);
                    if let Some(suppressed) = backoff.warning_due() {
                        tracing::warn!(
                            message_id = %message.id, trace = message.trace(), ?pause, suppressed,
                            "cannot forward a message to the dead-letter queue; it is left to its \
                             next delivery: {error}"
                        );
                    }
                    self.in_flight.release(&message.id);
                }
            }
        }
    }

    /// Sends a copy of the message, with retries of transient errors.
    async fn send(&self, message: &Received) -> Result<(), QueueError> {
        let mut backoff = Backoff::default();
        loop {
            let Err(error) = self.dead_letters.queue.send(message).await else {
                return Ok(());
            };
            self.metrics.failed(&error);
            let pause = error.kind.next_pause(&mut backoff);
            if !error.kind.is_transient() || backoff.failures() >= FORWARD_ATTEMPTS {
                return Err(error);
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.requested() => return Err(error),
            }
        }
    }

    /// Has a message deleted whose copy is in the dead-letter queue.
    fn forwarded(&self, message: &Received) {
        tracing::warn!(
            queue = self.source.name(),
            message_id = %message.id,
            trace = message.trace(),
            receives = message.receive_count,
            dead_letter_queue = self.dead_letters.queue.name(),
            "received more than {} times and not deleted: forwarded to the dead-letter queue",
            self.dead_letters.max_receives
        );
        self.metrics.dead_lettered.inc();
        // The send fails only if the deleter has failed, which ends the whole source.
        self.in_flight
            .forwarded(&message.id)
            .map(|ack| self.acks.send(ack));
    }

    /// The name of the dead letters' part of the connector's health.
    fn part(&self) -> String {
        format!("dead letters from {}", self.source.name())
    }
}
