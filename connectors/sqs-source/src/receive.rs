//! Receives messages: pollers long-poll for up to ten messages at a time.
//!
//! The number of pollers follows the flow, between `min-pollers` and `pollers`. A receive that
//! returns five or more messages starts another poller; when the last poller receives none it
//! pauses, which on a quiet queue takes a long poll each.
//!
//! A poller also reads the bodies that are in S3, and passes the records on in the order of their
//! messages. A message whose body can't be read is given back to the queue, and with it those
//! behind it in its group.

use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use connector_common::{Backoff, Health, Stop, Warnings};
use futures_util::{StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use uuid::Uuid;

use crate::byte_budget::ByteBudget;
use crate::config::RecordFormat;
use crate::in_flight::visibility::{delay_after, hide};
use crate::in_flight::{Tracked, Tracker};
use crate::metrics::QueueMetrics;
use crate::queue::{BATCH, Kind, Queue, QueueError, Received, is_fifo};
use crate::record::{self, Record};
use crate::s3::{Payloads, Pointer};

/// The time that a running receive may take after the stop. Messages that the queue returns to a
/// cancelled receive stay hidden until their timeout; a busy queue answers within this time, and a
/// quiet one has no messages.
const LAST_RECEIVE: Duration = Duration::from_secs(1);

/// A poller hangs if it does not report for this time beyond a long poll: the timeout of each call
/// is shorter, and a pause takes at most a minute.
const HANGS_AFTER: Duration = Duration::from_secs(120);

/// An answer of at least this many messages starts another poller: SQS samples its servers, and
/// rarely fills an answer.
const RATHER_FULL: usize = BATCH / 2;

/// The delay after which a message whose body can't be read, and that was received once, is
/// delivered again.
const FIRST_DELAY: Duration = Duration::from_secs(10);

/// The name of the part of the connector's health for bodies in S3.
const PAYLOADS: &str = "bodies in S3";

/// The name of a queue's part of the connector's health.
pub(crate) fn health_part(queue: &str) -> String {
    format!("queue {queue}")
}

/// The state that all pollers of a queue share.
pub(crate) struct Receiver {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) tracker: Arc<dyn Tracker>,
    pub(crate) metrics: Arc<QueueMetrics>,
    /// One permit for each message that may be in flight.
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) byte_budget: ByteBudget,
    pub(crate) pollers: Pollers,
    pub(crate) format: RecordFormat,
    pub(crate) payloads: Option<Arc<Payloads>>,
    pub(crate) dead_letters: Option<DeadLetterInbox>,
    pub(crate) health: Health,
    pub(crate) wait_time: Duration,
    pub(crate) visibility_timeout: Duration,
    pub(crate) records: mpsc::Sender<Record>,
    pub(crate) stop: Stop,
    pub(crate) warnings: Warnings,
    /// True once the queue has answered a receive.
    pub(crate) has_answered: AtomicBool,
}

/// The inbox of the dead-letter forwarder.
pub(crate) struct DeadLetterInbox {
    /// Messages with more receives are forwarded.
    pub(crate) max_receives: u32,
    pub(crate) sender: mpsc::Sender<Received>,
}

/// A message whose body is in S3.
struct Pointed {
    pointer: Pointer,
    received: Received,
}

/// The outcome of a receive.
struct ReceiveOutcome {
    /// The number of messages that were not received before in this pass over the queue.
    fresh: usize,
    /// The pause before the next receive.
    pause: Duration,
}

impl Receiver {
    /// Receives until the stop.
    ///
    /// # Errors
    /// The first receives fail with an error that is not transient. Once the queue has answered,
    /// all errors are retried: permissions and queues may be restored.
    pub(crate) async fn poll(&self, number: usize) -> Result<(), QueueError> {
        let mut backoff = Backoff::default();
        let part = health_part(self.queue.name());
        let mut attempt = self.next_attempt();
        while let Some(permits) = self.permits(number, &part).await {
            self.health.beat(&part, self.wait_time + HANGS_AFTER);
            let receive = self.queue.receive(
                BATCH,
                self.wait_time,
                self.visibility_timeout,
                attempt.as_deref(),
            );
            let received = tokio::select! {
                received = receive => received,
                () = self.stop_deadline() => return Ok(()),
            };
            let may_be_lost = |error: &QueueError| error.kind == Kind::Unreachable;
            if !received.as_ref().is_err_and(may_be_lost) {
                attempt = self.next_attempt();
            }
            match received {
                Ok(messages) => {
                    if backoff.reset() || !self.has_answered.swap(true, Ordering::Relaxed) {
                        self.health.works(&part);
                    }
                    let Ok(outcome) = self.track(messages, permits, &part).await else {
                        return Ok(());
                    };
                    self.pollers.received(number, outcome.fresh);
                    self.metrics.pollers.set(self.pollers.wanted() as i64);
                    if !outcome.pause.is_zero() {
                        self.pause(outcome.pause).await;
                    }
                }
                Err(error)
                    if !error.kind.is_transient() && !self.has_answered.load(Ordering::Relaxed) =>
                {
                    return Err(error);
                }
                Err(error) => {
                    drop(permits);
                    self.metrics.failed(&error);
                    self.health.troubled(&part, &error);
                    let pause = error.kind.next_pause(&mut backoff);
                    if let Some(suppressed) = self.warnings.due() {
                        tracing::warn!(?pause, suppressed, "cannot receive, retrying: {error}");
                    }
                    self.pause(pause).await;
                }
            }
        }
        Ok(())
    }

    /// The id of the next receive from a FIFO queue.
    fn next_attempt(&self) -> Option<String> {
        is_fifo(self.queue.name()).then(|| Uuid::new_v4().to_string())
    }

    /// Waits until the poller of this number is needed, and returns the permits for a full receive.
    /// `None` at the stop.
    async fn permits(&self, number: usize, part: &str) -> Option<OwnedSemaphorePermit> {
        const BATCH_PERMITS: u32 = BATCH as u32;
        let permits = async {
            self.pollers.needed(number).await;
            self.byte_budget.below_limit().await;
            Arc::clone(&self.in_flight)
                .acquire_many_owned(BATCH_PERMITS)
                .await
        };
        let mut permits = pin!(permits);
        loop {
            tokio::select! {
                biased;
                () = self.stop.requested() => {
                    self.health.ended(part);
                    return None;
                }
                permits = &mut permits => return permits.ok(),
                // A poller that waits for permits does not hang.
                () = tokio::time::sleep(HANGS_AFTER / 2) => {
                    self.health.beat(part, self.wait_time + HANGS_AFTER);
                }
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

    async fn stop_deadline(&self) {
        self.stop.requested().await;
        tokio::time::sleep(LAST_RECEIVE).await;
    }

    /// Tracks the received messages and passes their records on. Fails if the writer has ended.
    async fn track(
        &self,
        messages: Vec<Received>,
        mut permits: OwnedSemaphorePermit,
        part: &str,
    ) -> Result<ReceiveOutcome, mpsc::error::SendError<Record>> {
        let now = Instant::now();
        let (received, mut again) = (messages.len(), 0);
        // All are tracked before the first may have to wait for the channel.
        let mut fresh = Vec::with_capacity(received);
        for mut received in messages {
            let Some(permit) = permits.split(1) else {
                tracing::warn!(
                    message_id = %received.id,
                    "more messages than requested; this one will be delivered again"
                );
                continue;
            };
            let dead = self.dead_letters.as_ref();
            let dead = dead.filter(|dead| received.receive_count > dead.max_receives);
            let dead = dead.map(|dead| (&dead.sender, received.clone()));
            let pointed = self.pointed(&received);
            if pointed.is_none() {
                received.body = record::value(self.format, self.queue.name(), &mut received);
            }
            match self.tracker.track(received, now, permit) {
                Tracked::New(record) => {
                    self.metrics.received.inc();
                    match dead {
                        // A dead letter that finds the inbox full is left to its next delivery.
                        Some((sender, dead)) => {
                            let id = Arc::clone(&dead.id);
                            if sender.try_send(dead).is_err() {
                                self.tracker.refused(&id);
                            }
                        }
                        None => fresh.push((record, pointed)),
                    }
                }
                Tracked::Known {
                    is_produced,
                    is_again,
                } => {
                    if is_produced {
                        self.metrics.repeats.inc();
                    } else {
                        self.metrics.duplicates.inc();
                    }
                    again += usize::from(is_again);
                }
            }
        }
        self.pass_on(fresh, part).await?;
        let pass_is_over = again > 0 && again == received;
        Ok(ReceiveOutcome {
            fresh: received - again,
            pause: if pass_is_over {
                self.tracker.next_pass()
            } else {
                Duration::ZERO
            },
        })
    }
}

/// Bodies in S3.
impl Receiver {
    fn pointed(&self, received: &Received) -> Option<Pointed> {
        self.payloads.as_ref()?;
        let pointer = Pointer::parse(&received.body)?;
        let received = received.clone();
        Some(Pointed { pointer, received })
    }

    /// Passes the records on in their order, each as soon as its body is read: bodies that are held
    /// back fill the byte budget, and reading the next may wait for it. Records whose bodies can't
    /// be read are given back, and with them those behind them in their groups. At the stop the
    /// rest is left. Fails if the writer has ended.
    async fn pass_on(
        &self,
        records: Vec<(Record, Option<Pointed>)>,
        part: &str,
    ) -> Result<(), mpsc::error::SendError<Record>> {
        if records.iter().all(|(_, pointed)| pointed.is_none()) {
            for (record, _) in records {
                self.records.send(record).await?;
            }
            return Ok(());
        }
        let reads = records
            .into_iter()
            .map(|(record, pointed)| self.read(record, pointed));
        let mut reads = pin!(stream::iter(reads).buffered(BATCH));
        let mut stop = pin!(self.stop_deadline());
        let mut beats = tokio::time::interval(HANGS_AFTER / 2);
        let mut given_back: Vec<Record> = Vec::new();
        loop {
            let read = tokio::select! {
                biased;
                read = reads.next() => read,
                () = &mut stop => return Ok(()),
                // A poller that waits for bodies does not hang.
                _ = beats.tick() => {
                    self.health.beat(part, self.wait_time + HANGS_AFTER);
                    continue;
                }
            };
            match read {
                None => break,
                Some(Ok(record)) if !given_back.iter().any(|one| one.is_in_group_of(&record)) => {
                    self.records.send(record).await?;
                }
                Some(Ok(record) | Err(record)) => given_back.push(record),
            }
        }
        let given_back = given_back.iter().filter_map(|record| {
            self.metrics.left.inc();
            let (receipt, receives) = self.tracker.give_back(&record.id)?;
            Some((receipt, delay_after(FIRST_DELAY, receives)))
        });
        let given_back: Vec<_> = given_back.collect();
        if !given_back.is_empty() {
            hide(self.queue.as_ref(), &given_back).await;
        }
        Ok(())
    }

    /// The record with its body, which is in S3 if it is `pointed` to. Fails if that can't be read.
    async fn read(&self, mut record: Record, pointed: Option<Pointed>) -> Result<Record, Record> {
        let (Some(payloads), Some(pointed)) = (&self.payloads, pointed) else {
            return Ok(record);
        };
        let Pointed {
            pointer,
            mut received,
        } = pointed;
        match payloads.read(&pointer, &self.byte_budget).await {
            Ok(body) => {
                self.health.works(PAYLOADS);
                received.body = body;
                let value = record::value(self.format, self.queue.name(), &mut received);
                self.tracker.has_body(&record.id, value.len());
                record.value = value.into();
                Ok(record)
            }
            Err(error) => {
                self.health.troubled(PAYLOADS, &error);
                if let Some(suppressed) = self.warnings.due() {
                    tracing::warn!(
                        queue = self.queue.name(),
                        message_id = %record.id,
                        suppressed,
                        "not produced and not deleted, left to the queue's redrive policy: {error}"
                    );
                }
                Err(record)
            }
        }
    }
}

/// The number of pollers of one queue that run at once. Each poller has a number, from 0 on.
#[derive(Debug)]
pub(crate) struct Pollers {
    wanted: watch::Sender<usize>,
    allowed: RangeInclusive<usize>,
}

impl Pollers {
    pub(crate) fn new(allowed: RangeInclusive<usize>) -> Self {
        Self {
            wanted: watch::Sender::new(*allowed.start()),
            allowed,
        }
    }

    /// Waits until the poller of this number is needed.
    pub(crate) async fn needed(&self, number: usize) {
        // The sender lives as long as `self`.
        let _ = self
            .wanted
            .subscribe()
            .wait_for(|wanted| number < *wanted)
            .await;
    }

    /// Adjusts the number of pollers after the poller of this number has received `messages`.
    pub(crate) fn received(&self, number: usize, messages: usize) {
        self.wanted.send_if_modified(|wanted| {
            let before = *wanted;
            if messages >= RATHER_FULL {
                *wanted = (before + 1).min(*self.allowed.end());
            } else if messages == 0 && number + 1 == before {
                *wanted = (before - 1).max(*self.allowed.start());
            }
            *wanted != before
        });
    }

    /// The number of pollers that are needed now.
    pub(crate) fn wanted(&self) -> usize {
        *self.wanted.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_number_of_pollers_follows_the_flow_within_its_limits() {
        let pollers = Pollers::new(1..=3);
        pollers.needed(0).await;
        assert_eq!(pollers.wanted(), 1);
        pollers.received(0, 10);
        pollers.needed(1).await;
        pollers.received(1, 5);
        pollers.received(1, 10);
        assert_eq!(pollers.wanted(), 3, "the upper limit");
        pollers.received(0, 0);
        pollers.received(0, 4);
        assert_eq!(pollers.wanted(), 3, "only the last one pauses");
        pollers.received(2, 0);
        pollers.received(1, 0);
        pollers.received(0, 0);
        assert_eq!(pollers.wanted(), 1, "the lower limit");
        let second = tokio::time::timeout(std::time::Duration::from_millis(10), pollers.needed(1));
        assert!(second.await.is_err());
    }
}
