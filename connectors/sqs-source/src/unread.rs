//! Reports messages that a queue holds and does not hand out, with `delete-after: never`.
//!
//! A message comes again after its visibility timeout. Where that is shorter than a pass over the queue
//! takes, the queue may hand out the same messages again and never reach the others.

use std::sync::Arc;
use std::time::Duration;

use connector_common::Health;

use crate::produced_ids::ProducedIds;
use crate::progress::Progress;
use crate::queue::Depth;

/// SQS counts messages approximately: one of a hundred may be missing without meaning anything.
const TOLERANCE: u64 = 100;

/// Compares what a queue holds with what was read of it.
pub(crate) struct Unread {
    pub(crate) queue: String,
    pub(crate) visibility_timeout: Duration,
    pub(crate) produced: Arc<ProducedIds>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) health: Health,
    /// Records produced and messages that came again, when this was looked at last.
    pub(crate) counted: (u64, u64),
    pub(crate) is_reported: bool,
}

impl Unread {
    /// Reports trouble if messages came again since the last look, none was new, and the queue holds more
    /// than was read.
    pub(crate) fn look(&mut self, depth: Depth) {
        let held: u64 = [depth.visible, depth.in_flight].into_iter().flatten().sum();
        let in_hand = self.produced.in_hand();
        let read = (in_hand.remembered + in_hand.messages) as u64;
        let (produced, repeats) = (self.progress.produced.get(), self.progress.repeats.get());
        let is_idle = produced == self.counted.0 && repeats > self.counted.1;
        self.counted = (produced, repeats);
        let is_unread = is_idle && held > read + read / TOLERANCE;
        if is_unread == self.is_reported {
            return;
        }
        self.is_reported = is_unread;
        let part = format!("reading all of {}", self.queue);
        if !is_unread {
            return self.health.works(&part);
        }
        let why = format!(
            "the queue holds about {held} messages and only hands out the {read} that were read: set a \
             `visibility-timeout` that is longer than a pass over the queue takes (it is {:?})",
            self.visibility_timeout
        );
        tracing::warn!(queue = self.queue, held, read, "{why}");
        self.health.troubled(&part, why);
    }
}
