//! From produced to safe, with `delete-after: tables`: a sink says which messages are in the tables.
//!
//! Only a commit that names a message makes it safe. What the sink's offset is good for is the
//! opposite: finding messages that wait in vain. A record is lost if the topic ends before its place;
//! and if the sink is beyond the place without having named the message, another record is there now,
//! or the announcement got lost. Either way the queue is asked to deliver the message again: produced
//! twice it changes no row.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use connector_common::committed::Commit;
use connector_common::{Health, Warnings};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::custody::{Custody, Safe, Waiting};
use crate::queue::Queue;
use crate::topic::Topic;
use crate::visibility::make_all_visible;

/// The tables' name in the connector's health.
const TABLES: &str = "tables";

/// A message that waits for the tables for longer is worth a warning.
const LONG: Duration = Duration::from_secs(120);

/// What is followed, and who is told.
pub(crate) struct Tables {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) topic: Arc<dyn Topic>,
    pub(crate) custody: Arc<Custody>,
    /// The sink that counts; any if none is named.
    pub(crate) sink: Option<String>,
    /// How long a produced message is left alone before it may count as lost.
    pub(crate) patience: Duration,
    pub(crate) safe: mpsc::UnboundedSender<Safe>,
    pub(crate) stands: Stands,
    pub(crate) health: Health,
    pub(crate) warnings: Warnings,
}

/// How far each sink has come in each partition, and when it said so last.
pub(crate) type Stands = HashMap<(String, u32), Stand>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Stand {
    next_offset: i64,
    heard_at: Instant,
}

impl Tables {
    /// Passes on what is committed, until everything is `written` to the topic and none of it waits.
    pub(crate) async fn run(
        mut self,
        mut commits: mpsc::Receiver<Commit>,
        written: CancellationToken,
    ) {
        let mut look = tokio::time::interval(self.patience / 2);
        while !(written.is_cancelled() && self.custody.waiting().is_empty()) {
            tokio::select! {
                Some(commit) = commits.recv() => self.take(commit),
                _ = look.tick() => self.look_for_lost().await,
                () = written.cancelled(), if !written.is_cancelled() => {}
            }
        }
    }

    fn take(&mut self, commit: Commit) {
        if self.sink.as_ref().is_some_and(|sink| *sink != commit.sink) {
            return;
        }
        for key in &commit.keys {
            if let Some(safe) = self.custody.committed(key) {
                // Without a receiver the deleting task has failed, which ends the whole source.
                let _ = self.safe.send(safe);
            }
        }
        let stand = Stand {
            next_offset: commit.next_offset,
            heard_at: Instant::now(),
        };
        self.stands.insert((commit.sink, commit.partition), stand);
    }

    /// Gives back to the queue what waits in vain.
    async fn look_for_lost(&self) {
        let Some(before) = Instant::now().checked_sub(self.patience) else {
            return;
        };
        let mut oldest: BTreeMap<u32, Instant> = BTreeMap::new();
        for Waiting { place, since } in self.custody.waiting() {
            let oldest = oldest.entry(place.partition).or_insert(since);
            *oldest = since.min(*oldest);
        }
        if oldest.values().all(|since| since.elapsed() <= LONG) {
            self.health.works(TABLES);
        } else {
            let why = "messages wait for a sink to commit their facts; is it running?";
            self.health.troubled(TABLES, why);
        }
        for (partition, since) in oldest {
            if since >= before {
                continue;
            }
            // Asked for after `before`, so that it covers whatever was acknowledged by then.
            let end = match self.topic.end(partition).await {
                Ok(end) => end,
                Err(error) => {
                    tracing::debug!(partition, "cannot tell whether records are lost: {error:#}");
                    continue;
                }
            };
            let in_vain = |waiting: &Waiting| {
                waiting.place.partition == partition
                    && waiting.since < before
                    && self.is_in_vain(waiting, end)
            };
            let receipts = self.custody.give_up(in_vain);
            if !receipts.is_empty() {
                let visible = make_all_visible(self.queue.as_ref(), &receipts).await;
                tracing::warn!(
                    queue = self.queue.name(),
                    partition,
                    end,
                    messages = receipts.len(),
                    visible,
                    "the topic no longer has their records, or no sink has told of them; they will be delivered again"
                );
            } else if since.elapsed() > LONG {
                self.warn(partition, since);
            }
        }
    }

    fn is_in_vain(&self, waiting: &Waiting, end: i64) -> bool {
        let offset = waiting.place.offset;
        offset >= end
            || self.stands.iter().any(|((_, partition), stand)| {
                *partition == waiting.place.partition
                    && offset < stand.next_offset
                    // Beyond the end, it is of a topic that this one has replaced.
                    && stand.next_offset <= end
                    && stand.heard_at > waiting.since
            })
    }

    fn warn(&self, partition: u32, since: Instant) {
        if let Some(held_back) = self.warnings.due() {
            let sinks: Vec<&str> = self.stands.keys().map(|(sink, _)| sink.as_str()).collect();
            tracing::warn!(
                partition, oldest = ?since.elapsed(), ?sinks, held_back,
                "messages wait for a sink to commit their facts; is it running?"
            );
        }
    }
}
