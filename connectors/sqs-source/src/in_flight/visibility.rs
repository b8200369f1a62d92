//! Extends the visibility timeouts of in-flight messages at half their time, and makes messages
//! visible again that are released.
//!
//! SQS hides a message for at most twelve hours after its receive.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use connector_common::{Health, Warnings, pause_after};
use futures_util::StreamExt;
use futures_util::stream;
use tokio::task::JoinSet;

use super::{InFlight, Table};
use crate::config::LONGEST_VISIBILITY;
use crate::metrics::QueueMetrics;
use crate::queue::{BATCH, Kind, MessageId, Queue, QueueError, Receipt};

const OPERATION: &str = "ChangeMessageVisibilityBatch";

/// Calls that run at once.
const CALLS: usize = 16;

/// A visibility timeout to extend now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) id: MessageId,
    /// The receipt of its newest delivery.
    pub(crate) receipt: Receipt,
    /// The new timeout, from now on.
    pub(crate) timeout: Duration,
}

impl InFlight {
    /// Up to `most` messages whose visibility timeout has to be extended by `now`. Each is returned
    /// once, until [`InFlight::extended`] or [`InFlight::extend_later`] schedules it again.
    pub(crate) fn take_due(&self, now: Instant, most: usize) -> Vec<Extension> {
        let mut table = self.table();
        let mut due = Vec::new();
        while due.len() < most {
            let Some((_, id)) = table
                .extensions
                .first()
                .filter(|(at, _)| *at <= now)
                .cloned()
            else {
                break;
            };
            table.extend_at(&id, None);
            let Some(entry) = table.messages.get(&id) else {
                continue;
            };
            let left = (entry.received_at + LONGEST_VISIBILITY).saturating_duration_since(now);
            let timeout = Duration::from_secs(self.visibility_timeout.min(left).as_secs());
            if timeout.is_zero() {
                tracing::warn!(
                    message_id = %id,
                    "in flight for 12 hours, the longest time that SQS hides a message; it will be \
                     delivered again"
                );
            } else {
                due.push(Extension {
                    receipt: entry.receipt.clone(),
                    id,
                    timeout,
                });
            }
        }
        due
    }

    /// Records that the queue hides the message for its timeout from `asked_at` on.
    pub(crate) fn extended(&self, extension: &Extension, asked_at: Instant) {
        self.extend_later(extension, asked_at + extension.timeout / 2);
    }

    /// Schedules the message's next extension at `when`, unless there is a newer delivery, which
    /// has its own time.
    pub(crate) fn extend_later(&self, extension: &Extension, when: Instant) {
        let mut table = self.table();
        if table.is_newest(extension) {
            table.extend_at(&extension.id, Some(when));
        }
    }

    /// True if this delivery is the newest of a message in flight.
    pub(crate) fn is_newest(&self, extension: &Extension) -> bool {
        self.table().is_newest(extension)
    }
}

impl Table {
    fn is_newest(&self, extension: &Extension) -> bool {
        self.messages
            .get(&extension.id)
            .is_some_and(|entry| entry.receipt == extension.receipt)
    }
}

/// Extends the visibility timeouts of all messages in flight.
pub(crate) struct VisibilityExtender {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) visibility_timeout: Duration,
    pub(crate) metrics: Arc<QueueMetrics>,
    pub(crate) health: Health,
    /// The last time that an extension was denied, until that is over.
    pub(crate) denied_at: Mutex<Option<Instant>>,
    pub(crate) warnings: Warnings,
}

impl VisibilityExtender {
    /// Runs until it is dropped.
    pub(crate) async fn run(self) {
        let tick =
            (self.visibility_timeout / 20).clamp(Duration::from_millis(50), Duration::from_secs(1));
        let extender = Arc::new(self);
        let mut running = JoinSet::new();
        loop {
            // While any are due there is only the limit on calls: tens of thousands may be due.
            while running.len() >= CALLS {
                running.join_next().await;
            }
            while running.try_join_next().is_some() {}
            let due = extender.in_flight.take_due(Instant::now(), BATCH);
            if due.is_empty() {
                extender.check_recovery();
                tokio::time::sleep(tick).await;
                continue;
            }
            let extender = Arc::clone(&extender);
            running.spawn(async move { extender.extend(due).await });
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
            Instant::now() + pause_after(0, tenth, tenth)
        };
        let refusals = match self.queue.change_visibility(&changes).await {
            Ok(refusals) => {
                let denied = refusals
                    .iter()
                    .find(|refusal| refusal.kind == Kind::AccessDenied);
                if let Some(refusal) = denied {
                    self.troubled(&QueueError::of_entry(OPERATION, self.queue.name(), refusal));
                }
                refusals
            }
            Err(error) => {
                self.metrics.failed(&error);
                self.troubled(&error);
                if let Some(suppressed) = self.warnings.due() {
                    tracing::warn!(suppressed, "cannot extend visibility, retrying: {error}");
                }
                for extension in &due {
                    self.in_flight.extend_later(extension, soon());
                }
                return;
            }
        };
        for (index, extension) in due.iter().enumerate() {
            match refusals.iter().find(|refusal| refusal.index == index) {
                None => {
                    self.metrics.extensions.inc();
                    self.in_flight.extended(extension, asked_at);
                }
                Some(refusal) if !refusal.senders_fault || refusal.kind == Kind::AccessDenied => {
                    self.metrics.refused(OPERATION, refusal);
                    self.in_flight.extend_later(extension, soon());
                }
                // It was deleted or delivered again meanwhile, so its receipt is invalid.
                Some(_) if !self.in_flight.is_newest(extension) => {}
                Some(refusal) => {
                    self.metrics.refused(OPERATION, refusal);
                    if let Some(suppressed) = self.warnings.due() {
                        tracing::warn!(
                            queue = self.queue.name(), message_id = %extension.id,
                            code = refusal.code, suppressed,
                            "visibility not extended; the message may be delivered again: {}",
                            refusal.message
                        );
                    }
                }
            }
        }
    }

    /// Makes the connector unready by an error that an operator has to mend: messages that are not
    /// extended are delivered again and again.
    fn troubled(&self, error: &QueueError) {
        if !error.kind.is_transient() {
            self.health.troubled(&self.part(), error);
            *self.denied_at() = Some(Instant::now());
        }
    }

    /// Makes the connector ready again after a visibility timeout without a denial. In that time
    /// each message in flight was extended or settled.
    fn check_recovery(&self) {
        let mut denied_at = self.denied_at();
        if denied_at.is_some_and(|at| at.elapsed() > self.visibility_timeout) {
            *denied_at = None;
            self.health.works(&self.part());
        }
    }

    fn denied_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.denied_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of the extensions' part of the connector's health.
    fn part(&self) -> String {
        format!("visibility timeouts of {}", self.queue.name())
    }
}

/// The factor between the delays of a message that was received once and twice, and so on. With
/// ten seconds for the first, ten receives take more than five hours.
const DELAY_GROWTH: u32 = 4;

/// The longest of these delays.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(60 * 60);

/// The delay before a message is given back, or delivered again. Each time costs a receive, of
/// which a redrive policy allows a few, so it grows from `first` with the number of `receives`.
pub(crate) fn delay_after(first: Duration, receives: u32) -> Duration {
    let factor = DELAY_GROWTH.saturating_pow(receives.saturating_sub(1));
    first.saturating_mul(factor).min(LONGEST_DELAY.max(first))
}

/// Makes all messages in flight visible at once, and returns the number of those that are. The
/// others become visible when their visibility timeout ends.
pub(crate) async fn release_all(queue: &dyn Queue, in_flight: &InFlight) -> usize {
    make_visible(queue, &in_flight.release_all()).await
}

/// Makes messages visible at once, and returns the number of those that are.
pub(crate) async fn make_visible(queue: &dyn Queue, receipts: &[Receipt]) -> usize {
    let receipts = receipts.iter().cloned();
    let changes: Vec<_> = receipts.map(|receipt| (receipt, Duration::ZERO)).collect();
    hide(queue, &changes).await
}

/// Hides each message for its time from now on, and returns the number of those that are. The
/// others stay hidden until their visibility timeout ends.
pub(crate) async fn hide(queue: &dyn Queue, changes: &[(Receipt, Duration)]) -> usize {
    let batches: Vec<Vec<_>> = changes.chunks(BATCH).map(<[_]>::to_vec).collect();
    stream::iter(batches.into_iter().map(|batch| hide_batch(queue, batch)))
        .buffer_unordered(CALLS)
        .fold(0, |sum, hidden| std::future::ready(sum + hidden))
        .await
}

async fn hide_batch(queue: &dyn Queue, changes: Vec<(Receipt, Duration)>) -> usize {
    match queue.change_visibility(&changes).await {
        Ok(refusals) => changes.len() - refusals.len(),
        Err(error) => {
            tracing::warn!("messages stay hidden until their visibility timeout ends: {error}");
            0
        }
    }
}
