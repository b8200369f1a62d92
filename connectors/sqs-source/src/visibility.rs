//! Keeping what is in hand hidden from other receivers, and giving back what is left at a stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use connector_common::Warnings;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::task::JoinSet;

use crate::backoff::Backoff;
use crate::custody::{Custody, Extension};
use crate::progress::Progress;
use crate::queue::{BATCH, Queue, Receipt};

/// The call, by its name in SQS.
const OPERATION: &str = "ChangeMessageVisibilityBatch";

/// Calls at once.
const CALLS: usize = 16;

/// Extends the visibility timeout of everything in hand at half its time.
pub(crate) struct Keeper {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) custody: Arc<Custody>,
    pub(crate) visibility_timeout: Duration,
    pub(crate) progress: Arc<Progress>,
    pub(crate) warnings: Warnings,
}

impl Keeper {
    /// Runs until it is dropped.
    pub(crate) async fn run(self) {
        let tick =
            (self.visibility_timeout / 20).clamp(Duration::from_millis(50), Duration::from_secs(1));
        let keeper = Arc::new(self);
        let mut running = JoinSet::new();
        loop {
            // Without a pause for as long as any is due: tens of thousands may be.
            while running.len() >= CALLS {
                running.join_next().await;
            }
            while running.try_join_next().is_some() {}
            let due = keeper.custody.take_due(Instant::now(), BATCH);
            if due.is_empty() {
                tokio::time::sleep(tick).await;
                continue;
            }
            let keeper = Arc::clone(&keeper);
            running.spawn(async move { keeper.extend(due).await });
        }
    }

    async fn extend(&self, due: Vec<Extension>) {
        let asked_at = Instant::now();
        let changes: Vec<(Receipt, Duration)> = due
            .iter()
            .map(|extension| (Arc::clone(&extension.receipt), extension.timeout))
            .collect();
        let soon = || {
            let tenth = self.visibility_timeout / 10;
            Instant::now() + Backoff::default().pause(tenth, tenth)
        };
        match self.queue.change_visibility(&changes).await {
            Ok(refusals) => {
                for (index, extension) in due.iter().enumerate() {
                    match refusals.iter().find(|refusal| refusal.index == index) {
                        None => {
                            self.progress.extensions.inc();
                            self.custody.extended(extension, asked_at);
                        }
                        Some(refusal) if !refusal.senders_fault => {
                            self.progress.refused(OPERATION, refusal);
                            self.custody.extend_later(extension, soon())
                        }
                        // Deleted or delivered again meanwhile: nothing is wrong.
                        Some(_) if !self.custody.holds(extension) => {}
                        Some(refusal) => {
                            self.progress.refused(OPERATION, refusal);
                            if let Some(held_back) = self.warnings.due() {
                                tracing::warn!(
                                    queue = self.queue.name(), message_id = %extension.id, code = refusal.code, held_back,
                                    "its visibility is not extended; it may be delivered again: {}", refusal.message
                                );
                            }
                        }
                    }
                }
            }
            Err(error) => {
                self.progress.failed(&error);
                if let Some(held_back) = self.warnings.due() {
                    tracing::warn!(held_back, "cannot extend visibility, trying again: {error}");
                }
                for extension in &due {
                    self.custody.extend_later(extension, soon());
                }
            }
        }
    }
}

/// Makes everything in hand visible again at once, and returns for how many that was done. What the
/// queue doesn't take comes back by itself when its visibility timeout ends.
pub(crate) async fn give_back(queue: &dyn Queue, custody: &Custody) -> usize {
    make_all_visible(queue, &custody.give_up_all()).await
}

/// Makes messages visible again at once, and returns for how many that was done.
pub(crate) async fn make_all_visible(queue: &dyn Queue, receipts: &[Receipt]) -> usize {
    let batches: Vec<Vec<Receipt>> = receipts.chunks(BATCH).map(<[Receipt]>::to_vec).collect();
    stream::iter(batches.into_iter().map(|batch| make_visible(queue, batch)))
        .buffer_unordered(CALLS)
        .fold(0, |sum, visible| std::future::ready(sum + visible))
        .await
}

async fn make_visible(queue: &dyn Queue, batch: Vec<Receipt>) -> usize {
    let changes: Vec<(Receipt, Duration)> = batch
        .into_iter()
        .map(|receipt| (receipt, Duration::ZERO))
        .collect();
    match queue.change_visibility(&changes).await {
        Ok(refusals) => changes.len() - refusals.len(),
        Err(error) => {
            tracing::warn!("messages stay hidden until their visibility timeout ends: {error}");
            0
        }
    }
}
