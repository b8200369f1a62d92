//! Acks produced messages when the awaited sinks have committed them, with `delete-after: tables`,
//! `lake` or a list of sinks.
//!
//! A [`reader::CommitReader`] reads the commit notifications ([`connector_common::committed`]) from
//! their topic, for all queues. The [`CommitTracker`] of each queue acks the messages that they
//! name.
//!
//! Only commits that name a message ack it, one of each sink. A sink's committed offset serves to
//! find messages whose records are lost: the sink has committed an offset beyond the record's
//! position without naming the message, because another record has that position now or the
//! notification got lost; or the topic ends before the position. The source then makes the message
//! visible again. Its record is produced twice, which changes no row in PostgreSQL, and adds one
//! with the same hash to a lake.
//!
//! The end that a topic reports is that of the records which all replicas have. An acknowledgement
//! with `isolation: read-uncommitted` may be ahead of it for as long as a replica is away, so there
//! the end proves nothing. And since each time costs a receive, of which a redrive policy allows a
//! few, the end counts later with each receive of a message.
//!
//! While no notification can be read, messages stay in flight although their facts are committed.
//! Those beyond half of `max-in-flight` are then given back, so that new ones are received and
//! reach the tables. They come again later, each time after a longer delay.

pub(crate) mod reader;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use connector_common::committed::Commit;
use connector_common::{Health, Warnings};
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::awaited::{AwaitedSink, SinkSet};
use crate::config::Isolation;
use crate::in_flight::visibility::{delay_after, hide, make_visible};
use crate::in_flight::{AckToken, InFlight, Uncommitted};
use crate::queue::Queue;
use crate::topic::Topic;

/// The age from which an uncommitted message makes the connector unready, besides the time between
/// two commits of the sink.
const COMMIT_OVERDUE: Duration = Duration::from_secs(120);

/// The longest time between two commits that is believed.
const LONGEST_INTERVAL: Duration = Duration::from_secs(12 * 60 * 60);

/// The time for which no notification can be read after which messages are given back. Fluvio
/// elects another leader in less.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// The delay after which a message that was received once and given back is delivered again.
const FIRST_DELAY: Duration = Duration::from_secs(5 * 60);

/// The time since when the commit notifications can't be read. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Unreadable(Arc<Mutex<Option<Instant>>>);

impl Unreadable {
    /// Begins now, unless it has begun.
    pub(crate) fn begin(&self) {
        self.begin_at(Instant::now());
    }

    /// The notifications can be read.
    pub(crate) fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn begin_at(&self, time: Instant) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.get_or_insert(time);
    }

    fn lasts(&self) -> Duration {
        let since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// Acks the committed messages of one queue.
pub(crate) struct CommitTracker {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) topic: Arc<dyn Topic>,
    pub(crate) in_flight: Arc<InFlight>,
    /// The sinks whose commits count.
    pub(crate) awaited: Vec<Awaited>,
    /// The age at which an uncommitted record is first checked for being lost.
    pub(crate) check_after: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) unreadable: Unreadable,
    /// The isolation of the records' acknowledgements.
    pub(crate) isolation: Isolation,
    pub(crate) acks: mpsc::UnboundedSender<AckToken>,
    pub(crate) committed_offsets: CommittedOffsets,
    pub(crate) health: Health,
    /// Limits the warnings that the sinks are too slow for `max-in-flight`.
    pub(crate) full: Warnings,
}

/// A sink that messages wait for, and what is known of it.
pub(crate) struct Awaited {
    sink: AwaitedSink,
    /// The time between two of its commits, as it reports.
    interval: Duration,
    warnings: Warnings,
}

impl From<AwaitedSink> for Awaited {
    fn from(sink: AwaitedSink) -> Self {
        Self {
            sink,
            interval: Duration::ZERO,
            warnings: Warnings::default(),
        }
    }
}

/// The committed offset of each sink and partition.
pub(crate) type CommittedOffsets = HashMap<(String, u32), CommittedOffset>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct CommittedOffset {
    /// The awaited sinks that the sink is.
    sinks: SinkSet,
    next_offset: i64,
    received_at: Instant,
}

impl CommitTracker {
    /// Acks committed messages until all records are `written` and none is uncommitted.
    pub(crate) async fn run(
        mut self,
        mut commits: mpsc::Receiver<Commit>,
        written: CancellationToken,
    ) {
        let mut check = tokio::time::interval(self.check_after / 2);
        while !(written.is_cancelled() && self.in_flight.uncommitted().is_empty()) {
            tokio::select! {
                Some(commit) = commits.recv() => self.ack(commit),
                _ = check.tick() => self.check_uncommitted().await,
                () = written.cancelled(), if !written.is_cancelled() => {}
            }
        }
    }

    fn ack(&mut self, commit: Commit) {
        let awaited = self.awaited.iter();
        let sinks: SinkSet = awaited.map(|one| one.sink.has_made(&commit)).collect();
        if sinks.is_empty() {
            return;
        }
        let interval = Duration::from_secs(commit.commit_seconds.into()).min(LONGEST_INTERVAL);
        for (index, awaited) in self.awaited.iter_mut().enumerate() {
            if sinks.contains(index) {
                awaited.interval = interval;
            }
        }
        for id in &commit.ids {
            if let Some(ack) = self.in_flight.committed(id, sinks) {
                // The send fails only if the deleter has failed, which ends the whole source.
                let _ = self.acks.send(ack);
            }
        }
        let offset = CommittedOffset {
            sinks,
            next_offset: commit.next_offset,
            received_at: Instant::now(),
        };
        self.committed_offsets
            .insert((commit.sink, commit.partition), offset);
    }

    /// Reports overdue messages, and makes those visible whose records are lost.
    async fn check_uncommitted(&self) {
        let now = Instant::now();
        let uncommitted = self.in_flight.uncommitted();
        for (index, awaited) in self.awaited.iter().enumerate() {
            let missing = uncommitted.iter().filter(|one| one.missing.contains(index));
            self.report(awaited, missing.min_by_key(|one| one.since));
        }
        let due = uncommitted.iter().filter(|record| self.is_due(record, now));
        let partitions: BTreeSet<u32> = due.map(|record| record.position.partition).collect();
        // Read after `now`, an end covers all records that were acknowledged by then.
        let partitions = partitions.into_iter();
        let ends = partitions.map(async |partition| (partition, self.topic.end(partition).await));
        for (partition, end) in join_all(ends).await {
            let end = match end {
                Ok(end) => end,
                Err(error) => {
                    tracing::debug!(partition, "cannot check for lost records: {error:#}");
                    continue;
                }
            };
            let is_lost = |record: &Uncommitted| {
                record.position.partition == partition
                    && self.is_due(record, now)
                    && self.is_lost(record, end, now)
            };
            let receipts = self.in_flight.release_lost(is_lost);
            if !receipts.is_empty() {
                let visible = make_visible(self.queue.as_ref(), &receipts).await;
                tracing::warn!(
                    queue = self.queue.name(),
                    partition,
                    end,
                    messages = receipts.len(),
                    visible,
                    "the topic has lost the records, or their commit notification got lost; SQS \
                     will redeliver the messages"
                );
            }
            self.make_room(partition).await;
        }
    }

    /// Gives the oldest uncommitted messages of a partition that works back to the queue, if no
    /// notification can be read and messages fill more than half of `max-in-flight`.
    async fn make_room(&self, partition: u32) {
        if self.unreadable.lasts() < LOST_AFTER {
            return;
        }
        let most = self.in_flight.len().saturating_sub(self.max_in_flight / 2);
        let given_back = self.in_flight.release_oldest(most, |record| {
            record.position.partition == partition && record.since.elapsed() >= LOST_AFTER
        });
        if given_back.is_empty() {
            return;
        }
        let changes = given_back
            .into_iter()
            .map(|(receipt, receives)| (receipt, delay_after(FIRST_DELAY, receives)));
        let changes: Vec<_> = changes.collect();
        let hidden = hide(self.queue.as_ref(), &changes).await;
        tracing::warn!(
            queue = self.queue.name(),
            partition,
            messages = changes.len(),
            hidden,
            "no commit notification can be read; messages whose records are in the topic are \
             given back to the queue, so that others can be received"
        );
    }

    /// True if the record is old enough to be checked.
    fn is_due(&self, record: &Uncommitted, now: Instant) -> bool {
        now.saturating_duration_since(record.since) > self.check_after
    }

    /// True if the record is old enough to be lost if the topic ends before it. Its message is
    /// given back in vain if the end misleads, so with each receive it takes longer.
    fn is_due_by_end(&self, record: &Uncommitted, now: Instant) -> bool {
        let check_after = delay_after(self.check_after, record.receives);
        now.saturating_duration_since(record.since) > check_after
    }

    fn is_lost(&self, record: &Uncommitted, end: i64, now: Instant) -> bool {
        let position = record.position;
        let is_behind_end = self.isolation == Isolation::ReadCommitted && position.offset >= end;
        is_behind_end && self.is_due_by_end(record, now)
            || self
                .committed_offsets
                .iter()
                .any(|((_, partition), committed)| {
                    *partition == position.partition
                        && committed.sinks.intersects(record.missing)
                        && position.offset < committed.next_offset
                        // An offset beyond the end is from a topic that this one has replaced.
                        && committed.next_offset <= end
                        && committed.received_at > record.since
                })
    }

    /// Reports whether the `oldest` message that waits for a sink does so for too long.
    fn report(&self, awaited: &Awaited, oldest: Option<&Uncommitted>) {
        let Awaited {
            sink,
            interval,
            warnings,
        } = awaited;
        let part = sink.health_part();
        let overdue = oldest.filter(|one| one.since.elapsed() > COMMIT_OVERDUE + *interval);
        let Some(overdue) = overdue else {
            self.health.works(&part);
            if oldest.is_some() && !interval.is_zero() {
                self.warn_full(sink, *interval);
            }
            return;
        };
        let reason = format!("messages wait for {sink} to commit them; is it running?");
        self.health.troubled(&part, &reason);
        if let Some(suppressed) = warnings.due() {
            let heard = self.committed_offsets.keys();
            let heard: BTreeSet<&str> = heard.map(|(sink, _)| sink.as_str()).collect();
            let (partition, oldest) = (overdue.position.partition, overdue.since.elapsed());
            tracing::warn!(partition, ?oldest, ?heard, suppressed, "{reason}");
        }
    }

    /// Warns if a sink that works commits too seldom for the messages that may be in flight.
    fn warn_full(&self, sink: &AwaitedSink, interval: Duration) {
        if self.in_flight.len() < self.max_in_flight - self.max_in_flight / 10 {
            return;
        }
        if let Some(suppressed) = self.full.due() {
            tracing::warn!(
                queue = self.queue.name(),
                max_in_flight = self.max_in_flight,
                suppressed,
                "receiving pauses until {sink} commits, which it does every {interval:?}; a larger \
                 `max-in-flight`, or a shorter `commit-interval` of the sink, lets more messages \
                 through"
            );
        }
    }
}
