//! Receiving: a poller long-polls for ten messages at a time, as many as are allowed in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use connector_common::Stop;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::backoff::{Backoff, Warnings};
use crate::custody::{Custody, Message};
use crate::progress::Progress;
use crate::queue::{BATCH, Queue, QueueError, Received};

/// How long a receive under way may go on after the stop. Messages that the queue gives out to a
/// receive that isn't there any more stay hidden until their timeout; a busy queue answers within
/// this time, and a quiet one has nothing to give.
const LAST_RECEIVE: Duration = Duration::from_secs(1);

/// What all pollers share.
pub(crate) struct Receiver {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) custody: Arc<Custody>,
    pub(crate) progress: Arc<Progress>,
    /// One permit for each message that may be in hand.
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) wait_time: Duration,
    pub(crate) visibility_timeout: Duration,
    pub(crate) inbox: mpsc::Sender<Message>,
    pub(crate) stop: Stop,
    pub(crate) warnings: Warnings,
    /// Whether the queue has ever answered a receive.
    pub(crate) has_answered: AtomicBool,
}

impl Receiver {
    /// Receives until the stop.
    ///
    /// # Errors
    /// The queue refuses the very first receives for a reason that does not pass by itself. Once it
    /// has answered, such a reason is waited out: permissions and queues come back.
    pub(crate) async fn poll(&self) -> Result<(), QueueError> {
        let mut backoff = Backoff::default();
        while let Some(permits) = self.permits().await {
            let received = tokio::select! {
                received = self.queue.receive(BATCH, self.wait_time, self.visibility_timeout) => received,
                () = self.out_of_time() => return Ok(()),
            };
            match received {
                Ok(messages) => {
                    self.has_answered.store(true, Ordering::Relaxed);
                    backoff.reset();
                    if self.take_in(messages, permits).await.is_err() {
                        return Ok(());
                    }
                }
                Err(error)
                    if !error.kind.may_pass() && !self.has_answered.load(Ordering::Relaxed) =>
                {
                    return Err(error);
                }
                Err(error) => {
                    drop(permits);
                    let pause = backoff.after(error.kind);
                    if let Some(held_back) = self.warnings.due() {
                        tracing::warn!(again_in = ?pause, held_back, "cannot receive, trying again: {error}");
                    }
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.stop.requested() => return Ok(()),
                    }
                }
            }
        }
        Ok(())
    }

    /// Room for a full receive. None when it is time to stop.
    async fn permits(&self) -> Option<OwnedSemaphorePermit> {
        const BATCH_PERMITS: u32 = BATCH as u32;
        tokio::select! {
            biased;
            () = self.stop.requested() => None,
            permits = Arc::clone(&self.in_flight).acquire_many_owned(BATCH_PERMITS) => permits.ok(),
        }
    }

    async fn out_of_time(&self) {
        self.stop.requested().await;
        tokio::time::sleep(LAST_RECEIVE).await;
    }

    /// Passes on what was received. Fails when nobody produces any more.
    async fn take_in(
        &self,
        messages: Vec<Received>,
        mut permits: OwnedSemaphorePermit,
    ) -> Result<(), mpsc::error::SendError<Message>> {
        let now = Instant::now();
        // All are in custody before the first may have to wait for the inbox.
        let mut fresh = Vec::with_capacity(messages.len());
        for received in messages {
            let Some(permit) = permits.split(1) else {
                tracing::warn!(message = %received.id, "more messages than asked for; this one will be delivered again");
                continue;
            };
            match self.custody.take_in(received, now, permit) {
                Some(message) => {
                    self.progress.received();
                    fresh.push(message);
                }
                None => self.progress.duplicate(),
            }
        }
        for message in fresh {
            self.inbox.send(message).await?;
        }
        Ok(())
    }
}
