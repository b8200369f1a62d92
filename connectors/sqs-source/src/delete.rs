//! From safe to deleted: ten messages a call, several calls at once, each entry's answer looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connector_common::{Health, Warnings};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::backoff::Backoff;
use crate::custody::{Custody, Safe};
use crate::progress::Progress;
use crate::queue::{BATCH, Kind, Queue, QueueError, Receipt, Refusal};

/// The call, by its name in SQS.
const OPERATION: &str = "DeleteMessageBatch";

/// How long a delete waits for others to go with it.
const LINGER: Duration = Duration::from_millis(20);

/// Calls at once.
const CALLS: usize = 16;

/// How often an entry that the queue could not delete, by its own fault, is tried in all.
const ATTEMPTS: u32 = 6;

/// What is deleted from, and who is told.
pub(crate) struct Deleter {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) custody: Arc<Custody>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) health: Health,
    /// Set while the health reports the deletes as failing.
    pub(crate) is_troubled: AtomicBool,
    pub(crate) warnings: Warnings,
}

impl Deleter {
    /// Deletes what comes until nothing comes any more and all is settled.
    pub(crate) async fn run(self, mut safe: mpsc::UnboundedReceiver<Safe>) {
        let deleter = Arc::new(self);
        let calls = Arc::new(Semaphore::new(CALLS));
        let mut running = JoinSet::new();
        while let Some(batch) = next_batch(&mut safe).await {
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

    /// Deletes a batch; tries again what is worth it.
    async fn delete(&self, mut batch: Vec<Safe>) {
        let mut backoff = Backoff::default();
        let mut refusals_left = ATTEMPTS;
        while !batch.is_empty() {
            // The newest receipts, now: another delivery may have come since the last attempt.
            let with_receipts: Vec<(Safe, Receipt)> = batch
                .drain(..)
                .filter_map(|safe| self.custody.receipt(&safe).map(|receipt| (safe, receipt)))
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
                    let pause = backoff.after(denied.map_or(Kind::Unreachable, |one| one.kind));
                    match denied {
                        Some(refusal) => {
                            let error = QueueError::of_entry(OPERATION, self.queue.name(), refusal);
                            self.troubled(&error, pause);
                        }
                        None => self.works(),
                    }
                    refusals_left = refusals_left.saturating_sub(1);
                    batch = self.settle(with_receipts, &refusals, refusals_left > 0);
                    if batch.is_empty() {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                }
                Err(error) => {
                    self.progress.failed(&error);
                    let pause = backoff.after(error.kind);
                    self.troubled(&error, pause);
                    batch = with_receipts.into_iter().map(|(safe, _)| safe).collect();
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// A call failed, or an entry was denied as a call would be. Someone has to mend what does not
    /// pass by itself, so the health has it.
    fn troubled(&self, error: &QueueError, pause: Duration) {
        if !error.kind.may_pass() {
            self.health.troubled(&self.part(), error);
            self.is_troubled.store(true, Ordering::Relaxed);
        }
        if let Some(held_back) = self.warnings.due() {
            tracing::warn!(again_in = ?pause, held_back, "cannot delete, trying again: {error}");
        }
    }

    fn works(&self) {
        if self.is_troubled.swap(false, Ordering::Relaxed) {
            self.health.works(&self.part());
            self.warnings.reset();
            tracing::info!(queue = self.queue.name(), "deletes work again");
        }
    }

    /// The deletes' name in the connector's health.
    fn part(&self) -> String {
        format!("deletes from {}", self.queue.name())
    }

    /// Settles what the queue answered, and returns what is to be tried again.
    fn settle(
        &self,
        batch: Vec<(Safe, Receipt)>,
        refusals: &[Refusal],
        try_again: bool,
    ) -> Vec<Safe> {
        let mut again = Vec::new();
        for (index, (safe, receipt)) in batch.into_iter().enumerate() {
            let Some(refusal) = refusals.iter().find(|refusal| refusal.index == index) else {
                match self.custody.deleted(safe, &receipt) {
                    Some(safe) => again.push(safe),
                    None => self.progress.deleted.inc(),
                }
                continue;
            };
            self.progress.refused(OPERATION, refusal);
            let (code, reason) = (&refusal.code, &refusal.message);
            if refusal.kind == Kind::AccessDenied {
                again.push(safe);
            } else if refusal.senders_fault || !try_again {
                tracing::warn!(
                    queue = self.queue.name(), message_id = %safe.id(), place = ?safe.place(), code,
                    "not deleted though it is safe; it will be delivered again: {reason}"
                );
                self.progress.left.inc();
                self.custody.release(safe.id());
            } else {
                tracing::info!(queue = self.queue.name(), message_id = %safe.id(), code, "not deleted, trying again: {reason}");
                again.push(safe);
            }
        }
        again
    }
}

/// The next up to ten, as many as come within the linger. None when nothing will come.
async fn next_batch(safe: &mut mpsc::UnboundedReceiver<Safe>) -> Option<Vec<Safe>> {
    let mut batch = vec![safe.recv().await?];
    let deadline = Instant::now() + LINGER;
    while batch.len() < BATCH {
        let missing = BATCH - batch.len();
        match timeout_at(deadline, safe.recv_many(&mut batch, missing)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    Some(batch)
}
