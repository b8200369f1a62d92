//! Writes the records of one partition.
//!
//! A producer is used until it fails once. Then all unacknowledged records are produced again, with
//! a new one or to another partition: a record may be in the topic twice, but none is missing.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use connector_common::Backoff;
use connector_common::keys::Key;
use connector_common::traces::{Part, Passed};
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Shared, Writer};
use crate::record::{Record, RecordPosition};
use crate::topic::{Acknowledgement, LARGEST_WINDOW, ProduceError, Producer};

/// The size of Fluvio's frame of a record.
const RECORD_OVERHEAD: usize = 32;

/// The least window of a partition: two of the client's batches, one that is on its way and one
/// that fills.
const LEAST_WINDOW: usize = 32 << 10;

/// The time without an acknowledgement after which a partition that has records is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// The records of a partition.
pub(super) struct Partition {
    /// The partition's number.
    pub(super) number: u32,
    state: Mutex<State>,
    arrived: Notify,
}

struct State {
    /// Records to send, in the order in which they were received.
    waiting: VecDeque<Record>,
    /// Records to send alone: the topic refused their batch as too large.
    alone: VecDeque<Record>,
    /// The number of records, the unacknowledged ones included.
    records: usize,
    /// The size of these records.
    bytes: usize,
    /// The size below which it takes records that may go to any partition; 0 without a producer.
    capacity: usize,
    /// True from a failure to the next acknowledgement.
    is_troubled: bool,
    /// The time of the last acknowledgement, or of the first record after all were acknowledged.
    moved_at: Instant,
    closed_until: Option<Instant>,
}

impl Partition {
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                alone: VecDeque::new(),
                records: 0,
                bytes: 0,
                capacity: 0,
                is_troubled: false,
                moved_at: Instant::now(),
                closed_until: None,
            }),
            arrived: Notify::new(),
        }
    }

    pub(super) fn push(&self, record: Record) {
        let mut state = self.state();
        if state.records == 0 {
            state.moved_at = Instant::now();
        }
        state.records += 1;
        state.bytes += size(&record);
        state.waiting.push_back(record);
        drop(state);
        self.arrived.notify_one();
    }

    /// Takes the newest of the records that wait.
    pub(super) fn take_newest(&self) -> Option<Record> {
        let mut state = self.state();
        let record = state.waiting.pop_back()?;
        state.remove(&record);
        Some(record)
    }

    /// The bytes of its records if it works and may get another.
    pub(super) fn bytes_if_available(&self) -> Option<usize> {
        let state = self.state();
        (state.bytes < state.capacity && !state.is_silent()).then_some(state.bytes)
    }

    /// The number of its records, and their bytes.
    pub(super) fn held(&self) -> (usize, usize) {
        let state = self.state();
        (state.records, state.bytes)
    }

    /// True if it has a producer.
    pub(super) fn is_open(&self) -> bool {
        self.state().capacity > 0
    }

    /// True if it has failed, or has acknowledged none of its records for a while.
    pub(super) fn is_stuck(&self) -> bool {
        let state = self.state();
        state.is_troubled || state.is_silent()
    }

    /// Closes it for new records until this time.
    pub(super) fn close_until(&self, time: Instant) {
        self.state().closed_until = Some(time);
    }

    pub(super) fn is_closed(&self) -> bool {
        let mut state = self.state();
        state.closed_until = state.closed_until.filter(|until| Instant::now() < *until);
        state.closed_until.is_some()
    }

    /// The next record to send, and true if it has to be sent alone. Cancel safe.
    async fn next(&self) -> (Record, bool) {
        loop {
            if let Some(next) = self.next_if_ready() {
                return next;
            }
            self.arrived.notified().await;
        }
    }

    /// As [`Partition::next`], without waiting.
    fn next_if_ready(&self) -> Option<(Record, bool)> {
        let mut state = self.state();
        let alone = state.alone.pop_front().map(|record| (record, true));
        alone.or_else(|| state.waiting.pop_front().map(|record| (record, false)))
    }

    fn needs_alone(&self) -> bool {
        !self.state().alone.is_empty()
    }

    fn put_alone(&self, record: Record) {
        self.state().alone.push_back(record);
    }

    fn put_back(&self, record: Record) {
        self.state().waiting.push_front(record);
    }

    /// Removes a settled record. Returns true if the partition was troubled until now.
    fn acknowledged(&self, record: &Record, capacity: usize) -> bool {
        let mut state = self.state();
        state.remove(record);
        state.moved_at = Instant::now();
        state.capacity = capacity;
        std::mem::take(&mut state.is_troubled)
    }

    fn refused(&self, record: &Record) {
        self.state().remove(record);
    }

    /// Opens it for one record until the first is acknowledged.
    fn open(&self) {
        self.state().capacity = 1;
    }

    /// Takes back what the failed producer did not acknowledge. Returns the records that may go to
    /// another partition.
    fn fail(&self, sent: Sent) -> Vec<Record> {
        let mut state = self.state();
        state.capacity = 0;
        state.is_troubled = true;
        let unsent = std::mem::take(&mut state.alone).into_iter();
        let unsent = unsent.chain(std::mem::take(&mut state.waiting));
        let sent = sent.queue.into_iter().map(|one| one.record);
        let (grouped, free): (Vec<_>, Vec<_>) =
            sent.chain(unsent).partition(|record| record.is_grouped);
        state.waiting = grouped.into();
        free.iter().for_each(|record| state.remove(record));
        free
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_silent(&self) -> bool {
        self.records > 0 && self.moved_at.elapsed() > STUCK_AFTER
    }

    fn remove(&mut self, record: &Record) {
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size(record));
    }
}

/// Sends the records of one partition.
pub(super) struct PartitionWriter {
    shared: Arc<Shared>,
    partition: Arc<Partition>,
    /// The name of the partition's part of the connector's health.
    part: String,
}

impl PartitionWriter {
    pub(super) fn new(shared: Arc<Shared>, partition: Arc<Partition>) -> Self {
        let topic = shared.writer.topic.name();
        Self {
            part: format!("partition {topic}-{}", partition.number),
            shared,
            partition,
        }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(self) {
        let Writer { topic, health, .. } = &self.shared.writer;
        let mut backoff = Backoff::default();
        let mut was_opened = false;
        loop {
            let mut sent = Sent::default();
            let written = match topic.producer(self.partition.number).await {
                Ok(mut producer) => {
                    // After an acknowledgement that did not come, only the next one proves it.
                    if backoff.failures() > 0 && !was_opened {
                        health.works(&self.part);
                    }
                    was_opened = true;
                    self.partition.open();
                    self.shared.changed.notify_one();
                    self.write(producer.as_mut(), &mut sent).await
                }
                Err(error) => {
                    was_opened = false;
                    Err(error)
                }
            };
            let Err(error) = written;
            if sent.has_acknowledged {
                backoff.reset();
            }
            let again = self.partition.fail(sent);
            let (moved, (waiting, _)) = (again.len(), self.partition.held());
            for record in again {
                // The send fails only if the distributor has ended, and this task with it.
                let _ = self.shared.returns.send(record);
            }
            health.troubled(&self.part, format_args!("cannot produce: {error:#}"));
            let pause = backoff.next_pause();
            if let Some(suppressed) = backoff.warning_due() {
                tracing::warn!(
                    topic = topic.name(),
                    partition = self.partition.number,
                    moved,
                    waiting,
                    ?pause,
                    suppressed,
                    "cannot produce to a partition, reconnecting; no unacknowledged message is \
                     deleted: {error:#}"
                );
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Produces until the producer fails.
    async fn write(
        &self,
        producer: &mut dyn Producer,
        sent: &mut Sent,
    ) -> anyhow::Result<Infallible> {
        let window = self.window(producer);
        loop {
            while let Some(outcome) = sent.oldest_if_settled() {
                self.settle(sent, outcome, window)?;
            }
            let may_send = sent.has_capacity(window, self.partition.needs_alone());
            if may_send && let Some((record, is_alone)) = self.partition.next_if_ready() {
                self.send(producer, sent, record, is_alone).await?;
                continue;
            }
            tokio::select! {
                biased;
                outcome = sent.oldest() => self.settle(sent, outcome, window)?,
                (record, is_alone) = self.partition.next(), if may_send => {
                    self.send(producer, sent, record, is_alone).await?;
                }
            }
        }
    }

    /// The most bytes that may be unacknowledged: the partitions share the largest window.
    fn window(&self, producer: &dyn Producer) -> usize {
        let partitions = self.shared.partitions.load(Ordering::Relaxed).max(1);
        let share = (LARGEST_WINDOW / partitions).max(LEAST_WINDOW);
        producer.window().min(share)
    }

    async fn send(
        &self,
        producer: &mut dyn Producer,
        sent: &mut Sent,
        record: Record,
        is_alone: bool,
    ) -> anyhow::Result<()> {
        let limit = self.shared.writer.acknowledgement_timeout;
        match timeout(limit, producer.send(&record)).await {
            Ok(Ok(acknowledgement)) => {
                sent.push(record, is_alone, acknowledgement, limit);
                Ok(())
            }
            Ok(Err(ProduceError::TooLarge(reason))) => {
                self.too_large(record, is_alone, &reason);
                Ok(())
            }
            Ok(Err(ProduceError::Broken(error))) => {
                self.partition.put_back(record);
                Err(error)
            }
            Err(_) => {
                self.partition.put_back(record);
                Err(anyhow!("the producer accepted no record within {limit:?}"))
            }
        }
    }

    /// Handles the outcome of the oldest unacknowledged record.
    fn settle(&self, sent: &mut Sent, outcome: Outcome, window: usize) -> anyhow::Result<()> {
        match outcome {
            Outcome::Acknowledged(position) => {
                if let Some(record) = sent.acknowledge_oldest() {
                    let writer = &self.shared.writer;
                    writer.metrics.produced(record.value.len(), record.sent_at);
                    self.trace(&record, position);
                    writer.tracker.acknowledged(&record.id, position);
                    if self.partition.acknowledged(&record, window) {
                        writer.health.works(&self.part);
                    }
                    self.shared.settled();
                }
                Ok(())
            }
            Outcome::Failed(ProduceError::TooLarge(reason)) => {
                if let Some((record, was_alone)) = sent.remove_oldest() {
                    self.too_large(record, was_alone, &reason);
                }
                Ok(())
            }
            Outcome::Failed(ProduceError::Broken(error)) => Err(error),
            Outcome::TimedOut => Err(anyhow!(
                "no acknowledgement within {:?}: the partition's SPU is silent, or a replica is \
                 away",
                self.shared.writer.acknowledgement_timeout
            )),
        }
    }

    fn trace(&self, record: &Record, position: RecordPosition) {
        let Writer { topic, traces, .. } = &self.shared.writer;
        if traces.are_exported()
            && let Some(key) = Key::parse(record.key.as_bytes())
        {
            let passed = Passed {
                key: &key,
                topic: topic.name(),
                partition: position.partition,
                offset: position.offset,
            };
            traces.record(Part::Publish, &passed);
        }
    }

    /// Handles a record that the topic refused with its batch. Only a record that was sent alone is
    /// known to be the cause; others are sent again alone.
    fn too_large(&self, record: Record, was_alone: bool, reason: &str) {
        if !was_alone {
            self.partition.put_alone(record);
            return;
        }
        let writer = &self.shared.writer;
        tracing::warn!(
            topic = writer.topic.name(),
            message_id = %record.id,
            trace = record.trace(),
            bytes = record.value.len(),
            "not produced and not deleted, left to the queue's redrive policy: {reason}"
        );
        writer.metrics.left.inc();
        writer.tracker.refused(&record.id);
        self.partition.refused(&record);
        self.shared.settled();
    }
}

/// The unacknowledged records of one producer, oldest first.
#[derive(Default)]
struct Sent {
    queue: VecDeque<SentRecord>,
    bytes: usize,
    /// True once the producer has acknowledged a record. Until then it gets one record at a time:
    /// each attempt on an unreachable topic adds one duplicate at most, not a full window.
    has_acknowledged: bool,
}

struct SentRecord {
    record: Record,
    is_alone: bool,
    deadline: Instant,
    acknowledgement: Acknowledgement,
}

/// The outcome of a sent record.
enum Outcome {
    Acknowledged(RecordPosition),
    Failed(ProduceError),
    TimedOut,
}

impl Sent {
    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// True if the producer may get another record now.
    fn has_capacity(&self, window: usize, needs_alone: bool) -> bool {
        if needs_alone {
            return self.is_empty();
        }
        let is_shared = self.queue.back().is_none_or(|last| !last.is_alone);
        let window = if self.has_acknowledged { window } else { 1 };
        is_shared && self.bytes < window
    }

    fn push(
        &mut self,
        record: Record,
        is_alone: bool,
        acknowledgement: Acknowledgement,
        timeout: Duration,
    ) {
        self.bytes += size(&record);
        self.queue.push_back(SentRecord {
            record,
            is_alone,
            deadline: Instant::now() + timeout,
            acknowledgement,
        });
    }

    /// Waits for the outcome of the oldest record, forever if there is none. Cancel safe.
    async fn oldest(&mut self) -> Outcome {
        match self.queue.front_mut() {
            Some(oldest) => match timeout_at(oldest.deadline, &mut oldest.acknowledgement).await {
                Ok(outcome) => outcome.into(),
                Err(_) => Outcome::TimedOut,
            },
            None => std::future::pending().await,
        }
    }

    /// The outcome of the oldest record, if it is known.
    fn oldest_if_settled(&mut self) -> Option<Outcome> {
        (&mut self.queue.front_mut()?.acknowledgement)
            .now_or_never()
            .map(Outcome::from)
    }

    fn acknowledge_oldest(&mut self) -> Option<Record> {
        self.has_acknowledged = true;
        self.remove_oldest().map(|(record, _)| record)
    }

    /// Removes the oldest record. Returns it, and true if it was sent alone.
    fn remove_oldest(&mut self) -> Option<(Record, bool)> {
        let oldest = self.queue.pop_front()?;
        self.bytes -= size(&oldest.record);
        Some((oldest.record, oldest.is_alone))
    }
}

impl From<Result<RecordPosition, ProduceError>> for Outcome {
    fn from(result: Result<RecordPosition, ProduceError>) -> Self {
        match result {
            Ok(position) => Self::Acknowledged(position),
            Err(error) => Self::Failed(error),
        }
    }
}

fn size(record: &Record) -> usize {
    record.key.len() + record.value.len() + RECORD_OVERHEAD
}
