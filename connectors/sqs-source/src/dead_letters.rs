//! Messages that nothing can be done with: received again and again and never deleted.
//!
//! Most queues have a redrive policy, by which SQS itself moves them. Where there is none, or another limit is wanted,
//! the source does: it sends a copy to the dead-letter queue, and deletes the message when that is acknowledged. A crash in
//! between leaves two copies, never none.

use std::sync::Arc;

use tokio::sync::mpsc;

use connector_common::{Stop, Warnings};

use crate::backoff::Backoff;
use crate::custody::{Custody, Safe};
use crate::progress::Progress;
use crate::queue::{Queue, Received};

/// Where such messages go, and when.
#[derive(Clone)]
pub struct DeadLetters {
    /// The dead-letter queue.
    pub queue: Arc<dyn Queue>,
    /// How many receives a message has before it goes there.
    pub max_receives: u32,
}

/// Moves messages, one after the other: there are few.
pub(crate) struct Undertaker {
    pub(crate) dead_letters: DeadLetters,
    pub(crate) source: Arc<dyn Queue>,
    pub(crate) custody: Arc<Custody>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) safe: mpsc::UnboundedSender<Safe>,
    pub(crate) stop: Stop,
}

impl Undertaker {
    /// Moves what comes until nothing comes any more, or until the stop while the dead-letter queue takes nothing.
    pub(crate) async fn run(self, mut dead: mpsc::UnboundedReceiver<Received>) {
        while let Some(message) = dead.recv().await {
            if !self.bury(&message).await {
                self.custody.release(&message.id);
            }
        }
    }

    /// Moves one message; false where it could not be done.
    async fn bury(&self, message: &Received) -> bool {
        let mut backoff = Backoff::default();
        let warnings = Warnings::default();
        loop {
            let error = match self.dead_letters.queue.send(message).await {
                Ok(()) => break,
                Err(error) => error,
            };
            self.progress.failed(&error);
            let pause = backoff.after(error.kind);
            if let Some(held_back) = warnings.due() {
                tracing::warn!(
                    message_id = %message.id, again_in = ?pause, held_back,
                    "cannot move a message to the dead-letter queue, trying again; it is not deleted: {error}"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.requested() => return false,
            }
        }
        tracing::warn!(
            queue = self.source.name(),
            message_id = %message.id,
            receives = message.receive_count,
            dead_letter_queue = self.dead_letters.queue.name(),
            "received more than {} times and never deleted: moved",
            self.dead_letters.max_receives
        );
        self.progress.dead_lettered.inc();
        // Without a receiver the deleting task has failed, which ends the whole source.
        self.custody
            .buried(&message.id)
            .map(|safe| self.safe.send(safe));
        true
    }
}
