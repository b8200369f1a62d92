//! Tracks messages from their receive on: decides which deliveries become records, and acts once the
//! topic has them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::custody::{Custody, Message, Safe};
use crate::queue::{MessageId, Received};
use crate::topic::Place;

/// Decides which deliveries become records, and acts on what becomes of those.
pub(crate) trait Tracker: Send + Sync + 'static {
    /// Takes a delivery. Its permit is held for as long as the message is on its way.
    fn take_in(&self, received: Received, now: Instant, permit: OwnedSemaphorePermit) -> Taken;

    /// The topic has acknowledged the message's own record at `place`.
    fn acknowledged(&self, id: &MessageId, place: Place);

    /// The topic does not take the message's record, and will not.
    fn refused(&self, id: &MessageId);

    /// Begins the next pass over the queue: a receive brought only messages that were received
    /// before in this one. Returns how long to pause before the next receive.
    fn next_pass(&self) -> Duration;
}

/// A delivery that was taken.
pub(crate) enum Taken {
    /// The message is to be produced.
    New(Message),
    /// The message needs no record.
    Known {
        /// Its record is in the topic, and it stays in the queue; else it is on its way.
        is_produced: bool,
        /// It was received before in this pass over the queue.
        is_again: bool,
    },
}

/// Tracks messages that are deleted once they are safe.
pub(crate) struct Deletable {
    pub(crate) custody: Arc<Custody>,
    pub(crate) safe: mpsc::UnboundedSender<Safe>,
}

impl Tracker for Deletable {
    fn take_in(&self, received: Received, now: Instant, permit: OwnedSemaphorePermit) -> Taken {
        let message = self.custody.take_in(received, now, permit);
        let known = Taken::Known {
            is_produced: false,
            is_again: false,
        };
        message.map_or(known, Taken::New)
    }

    fn acknowledged(&self, id: &MessageId, place: Place) {
        let safe = self.custody.acknowledged(id, place, Instant::now());
        // Without a receiver the deleting task has failed, which ends the whole source.
        safe.map(|safe| self.safe.send(safe));
    }

    fn refused(&self, id: &MessageId) {
        self.custody.release(id);
    }

    fn next_pass(&self) -> Duration {
        Duration::ZERO
    }
}
