//! Acks produced messages when a sink has committed them, with `delete-after: tables`.
//!
//! A [`reader::CommitReader`] reads the commit notifications ([`connector_common::committed`]) from
//! their topic, for all queues. The [`CommitTracker`] of each queue acks the messages that they
//! name.
//!
//! Only a commit that names a message acks it. The sink's committed offset serves to find messages
//! whose records are lost: the sink has committed an offset beyond the record's position without
//! naming the message, because another record has that position now or the notification got lost;
//! or the topic ends before the position. The source then makes the message visible again. Its
//! record is produced twice, which changes no row.
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

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use connector_common::committed::Commit;
use connector_common::{Health, Warnings};
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::Isolation;
use crate::in_flight::visibility::{delay_after, hide, make_visible};
use crate::in_flight::{AckToken, InFlight, Uncommitted};
use crate::queue::Queue;
use crate::topic::Topic;

/// The name of the tables' part of the connector's health.
const TABLES: &str = "tables";

/// The age from which an uncommitted message makes the connector unready.
const COMMIT_OVERDUE: Duration = Duration::from_secs(120);

/// The warning for such messages.
const OVERDUE: &str = "messages wait for a sink to commit their facts; is it running?";

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
    /// The sink whose commits count; `None` means any.
    pub(crate) sink: Option<String>,
    /// The age at which an uncommitted record is first checked for being lost.
    pub(crate) check_after: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) unreadable: Unreadable,
    /// The isolation of the records' acknowledgements.
    pub(crate) isolation: Isolation,
    pub(crate) acks: mpsc::UnboundedSender<AckToken>,
    pub(crate) committed_offsets: CommittedOffsets,
    pub(crate) health: Health,
    pub(crate) warnings: Warnings,
}

/// The committed offset of each sink and partition.
pub(crate) type CommittedOffsets = HashMap<(String, u32), CommittedOffset>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct CommittedOffset {
    next_offset: i64,
    received_at: Instant,
}

/// The uncommitted records of a partition.
struct Oldest {
    /// The time when the topic acknowledged the oldest of them.
    since: Instant,
    /// True if one of them is to be checked for being lost.
    is_due: bool,
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
        if self.sink.as_ref().is_some_and(|sink| *sink != commit.sink) {
            return;
        }
        for id in &commit.ids {
            if let Some(ack) = self.in_flight.committed(id) {
                // The send fails only if the deleter has failed, which ends the whole source.
                let _ = self.acks.send(ack);
            }
        }
        let offset = CommittedOffset {
            next_offset: commit.next_offset,
            received_at: Instant::now(),
        };
        self.committed_offsets
            .insert((commit.sink, commit.partition), offset);
    }

    /// Reports overdue messages, and makes those visible whose records are lost.
    async fn check_uncommitted(&self) {
        let now = Instant::now();
        let mut partitions: BTreeMap<u32, Oldest> = BTreeMap::new();
        for record in self.in_flight.uncommitted() {
            let oldest = partitions
                .entry(record.position.partition)
                .or_insert(Oldest {
                    since: now,
                    is_due: false,
                });
            oldest.since = oldest.since.min(record.since);
            oldest.is_due |= self.is_due(&record, now);
        }
        if partitions
            .values()
            .all(|oldest| oldest.since.elapsed() <= COMMIT_OVERDUE)
        {
            self.health.works(TABLES);
        } else {
            self.health.troubled(TABLES, OVERDUE);
        }
        for (&partition, oldest) in &partitions {
            if oldest.since.elapsed() > COMMIT_OVERDUE {
                self.warn_overdue(partition, oldest.since);
            }
        }
        // Read after `now`, an end covers all records that were acknowledged by then.
        let due = partitions.iter().filter(|(_, oldest)| oldest.is_due);
        let ends = due.map(async |(&partition, _)| (partition, self.topic.end(partition).await));
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
                        && position.offset < committed.next_offset
                        // An offset beyond the end is from a topic that this one has replaced.
                        && committed.next_offset <= end
                        && committed.received_at > record.since
                })
    }

    fn warn_overdue(&self, partition: u32, since: Instant) {
        if let Some(suppressed) = self.warnings.due() {
            let sinks = self.committed_offsets.keys();
            let sinks: Vec<&str> = sinks.map(|(sink, _)| sink.as_str()).collect();
            tracing::warn!(partition, oldest = ?since.elapsed(), ?sinks, suppressed, "{OVERDUE}");
        }
    }
}
