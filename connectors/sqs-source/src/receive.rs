//! Receiving: pollers long-poll for ten messages at a time, as many as the flow needs and the bounds allow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use connector_common::{Health, Stop, Warnings};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::backoff::Backoff;
use crate::bodies::Bodies;
use crate::config::RecordFormat;
use crate::custody::Message;
use crate::pollers::Pollers;
use crate::progress::Progress;
use crate::queue::{BATCH, Queue, QueueError, Received};
use crate::record;
use crate::tracker::{Taken, Tracker};

/// How long a receive under way may go on after the stop. Messages that the queue gives out to a
/// receive that isn't there any more stay hidden until their timeout; a busy queue answers within
/// this time, and a quiet one has nothing to give.
const LAST_RECEIVE: Duration = Duration::from_secs(1);

/// A poller that says nothing for so long beyond a long poll hangs: each call has a shorter timeout, and pauses last
/// a minute.
const HANGS_AFTER: Duration = Duration::from_secs(120);

/// What a queue is called in the connector's health.
pub(crate) fn part(queue: &str) -> String {
    format!("queue {queue}")
}

/// What all pollers share.
pub(crate) struct Receiver {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) tracker: Arc<dyn Tracker>,
    pub(crate) progress: Arc<Progress>,
    /// One permit for each message that may be in hand.
    pub(crate) in_flight: Arc<Semaphore>,
    /// The memory of the bodies in hand.
    pub(crate) bodies: Bodies,
    pub(crate) pollers: Pollers,
    pub(crate) format: RecordFormat,
    pub(crate) dead_letters: Option<DeadLetterInbox>,
    pub(crate) health: Health,
    pub(crate) wait_time: Duration,
    pub(crate) visibility_timeout: Duration,
    pub(crate) inbox: mpsc::Sender<Message>,
    pub(crate) stop: Stop,
    pub(crate) warnings: Warnings,
    /// Whether the queue has ever answered a receive.
    pub(crate) has_answered: AtomicBool,
}

/// The inbox of the dead-letter forwarder.
pub(crate) struct DeadLetterInbox {
    /// A message that was received more often is forwarded.
    pub(crate) max_receives: u32,
    pub(crate) sender: mpsc::UnboundedSender<Received>,
}

/// The outcome of a receive.
struct Brought {
    /// Messages that were not received before in this pass over the queue.
    fresh: usize,
    /// The pause before the next receive.
    pause: Duration,
}

impl Receiver {
    /// Receives until the stop.
    ///
    /// # Errors
    /// The queue refuses the very first receives for a reason that does not pass by itself. Once it
    /// has answered, such a reason is waited out: permissions and queues come back.
    pub(crate) async fn poll(&self, number: usize) -> Result<(), QueueError> {
        let mut backoff = Backoff::default();
        let part = self.part();
        while let Some(permits) = self.permits(number).await {
            self.health.beat(&part, self.wait_time + HANGS_AFTER);
            let received = tokio::select! {
                received = self.queue.receive(BATCH, self.wait_time, self.visibility_timeout) => received,
                () = self.out_of_time() => return Ok(()),
            };
            match received {
                Ok(messages) => {
                    if backoff.reset() || !self.has_answered.swap(true, Ordering::Relaxed) {
                        self.health.works(&part);
                    }
                    let Ok(brought) = self.take_in(messages, permits).await else {
                        return Ok(());
                    };
                    self.pollers.received(number, brought.fresh);
                    self.progress.pollers.set(self.pollers.wanted() as i64);
                    if !brought.pause.is_zero() {
                        self.pause(brought.pause).await;
                    }
                }
                Err(error)
                    if !error.kind.may_pass() && !self.has_answered.load(Ordering::Relaxed) =>
                {
                    return Err(error);
                }
                Err(error) => {
                    drop(permits);
                    self.progress.failed(&error);
                    self.health.troubled(&part, &error);
                    let pause = backoff.after(error.kind);
                    if let Some(held_back) = self.warnings.due() {
                        tracing::warn!(again_in = ?pause, held_back, "cannot receive, trying again: {error}");
                    }
                    self.pause(pause).await;
                }
            }
        }
        Ok(())
    }

    /// Room for a full receive, when the poller of this number is needed. None when it is time to stop.
    async fn permits(&self, number: usize) -> Option<OwnedSemaphorePermit> {
        const BATCH_PERMITS: u32 = BATCH as u32;
        let room = async {
            self.pollers.needed(number).await;
            self.bodies.have_room().await;
            Arc::clone(&self.in_flight)
                .acquire_many_owned(BATCH_PERMITS)
                .await
        };
        let mut room = std::pin::pin!(room);
        loop {
            tokio::select! {
                biased;
                () = self.stop.requested() => {
                    self.health.ended(&self.part());
                    return None;
                }
                permits = &mut room => return permits.ok(),
                // To wait for room is no reason to be taken for one that hangs.
                () = tokio::time::sleep(HANGS_AFTER / 2) => self.health.beat(&self.part(), self.wait_time + HANGS_AFTER),
            }
        }
    }

    /// Pauses until the stop at the latest.
    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.stop.requested() => {}
        }
    }

    /// The queue's name in the connector's health.
    fn part(&self) -> String {
        part(self.queue.name())
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
    ) -> Result<Brought, mpsc::error::SendError<Message>> {
        let now = Instant::now();
        let (received, mut again) = (messages.len(), 0);
        // All are tracked before the first may have to wait for the inbox.
        let mut fresh = Vec::with_capacity(received);
        for mut received in messages {
            let Some(permit) = permits.split(1) else {
                tracing::warn!(message_id = %received.id, "more messages than asked for; this one will be delivered again");
                continue;
            };
            let dead = self.dead_letters.as_ref();
            let dead = dead.filter(|dead| received.receive_count > dead.max_receives);
            let dead = dead.map(|dead| (&dead.sender, received.clone()));
            received.body = record::value(self.format, self.queue.name(), &mut received);
            match self.tracker.take_in(received, now, permit) {
                Taken::New(message) => {
                    self.progress.received.inc();
                    match dead {
                        // Without a receiver the task that moves them has failed, which ends the
                        // whole source.
                        Some((sender, dead)) => drop(sender.send(dead)),
                        None => fresh.push(message),
                    }
                }
                Taken::Known {
                    is_produced,
                    is_again,
                } => {
                    if is_produced {
                        self.progress.repeats.inc();
                    } else {
                        self.progress.duplicates.inc();
                    }
                    again += usize::from(is_again);
                }
            }
        }
        for message in fresh {
            self.inbox.send(message).await?;
        }
        let is_over = again > 0 && again == received;
        Ok(Brought {
            fresh: received - again,
            pause: if is_over {
                self.tracker.next_pass()
            } else {
                Duration::ZERO
            },
        })
    }
}
