//! Sends commit notifications to sources, on the topic that [`connector_common::committed`]
//! describes.
//!
//! A task of its own sends them, so that writing never waits for it. While the cluster does not
//! accept them, a bounded number is kept and the rest is dropped; SQS then redelivers the messages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use connector_common::committed::{Commit, NotificationRecord, Signatures, notifications_topic};
use connector_common::{Backoff, Secret};
use fluvio::{Fluvio, RecordKey, TopicProducerConfigBuilder, TopicProducerPool};
use tokio::sync::mpsc;

/// The number of notifications that may wait to be sent.
const QUEUE_SIZE: usize = 256;
/// Maximum number of message ids in a notification.
const MAX_IDS: usize = 1000;
/// The number of notifications that are sent before the first is acknowledged.
const IN_FLIGHT: usize = 32;
/// The time between two notifications of each partition's offset without a commit.
const REPEAT_INTERVAL: Duration = Duration::from_secs(30);
/// Timeout for acknowledgements of the cluster.
const TIMEOUT: Duration = Duration::from_secs(10);
const LINGER: Duration = Duration::from_millis(5);
/// The pauses after errors.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The committed offset of each partition.
type Offsets = BTreeMap<u32, i64>;

/// Accepts commits to notify of. Cheap to clone; the sender ends after the last clone is dropped.
#[derive(Clone)]
pub(crate) struct CommitNotifications {
    sink: String,
    offsets: Arc<Mutex<Offsets>>,
    commits: mpsc::Sender<Commit>,
}

/// Sends the notifications.
pub(crate) struct NotificationSender {
    sink: String,
    /// The topic of the records.
    records: String,
    topic: String,
    signatures: Signatures,
    offsets: Arc<Mutex<Offsets>>,
    commits: mpsc::Receiver<Commit>,
}

/// The two ends of the notifications of a sink that reads `topic`, signed with the `secret`.
pub(crate) fn notifications(
    sink: &str,
    topic: &str,
    secret: Option<&Secret>,
) -> (CommitNotifications, NotificationSender) {
    let (sender, receiver) = mpsc::channel(QUEUE_SIZE);
    let offsets = Arc::<Mutex<Offsets>>::default();
    let notifications = CommitNotifications {
        sink: sink.to_owned(),
        offsets: Arc::clone(&offsets),
        commits: sender,
    };
    let sender = NotificationSender {
        sink: sink.to_owned(),
        records: topic.to_owned(),
        topic: notifications_topic(topic),
        signatures: Signatures::new(topic, secret),
        offsets,
        commits: receiver,
    };
    (notifications, sender)
}

impl CommitNotifications {
    /// Notifies of the committed offset at the start of a partition.
    pub(crate) fn begin(&self, partition: u32, next_offset: i64) {
        self.committed(partition, next_offset, Vec::new());
    }

    /// Ends the notifications of a partition that this sink no longer writes.
    pub(crate) fn end(&self, partition: u32) {
        lock(&self.offsets).remove(&partition);
    }

    /// Notifies that records up to `next_offset` are committed, among them those of the
    /// messages `ids`.
    ///
    /// Many ids go into several notifications, of which only the last has the new offset: a source
    /// may assume that it has received all notifications before an offset.
    pub(crate) fn committed(&self, partition: u32, next_offset: i64, ids: Vec<String>) {
        // Locked until all are queued, so that the offset isn't repeated before them.
        let mut offsets = lock(&self.offsets);
        let before = offsets.insert(partition, next_offset);
        let before = before.unwrap_or(next_offset);
        let commit = |next_offset, ids| Commit {
            sink: self.sink.clone(),
            partition,
            next_offset,
            ids,
        };
        let mut ids = ids;
        let queue = |commit| {
            if self.commits.try_send(commit).is_err() {
                tracing::debug!(partition, next_offset, "dropped a commit notification");
            }
        };
        while ids.len() > MAX_IDS {
            let rest = ids.split_off(MAX_IDS);
            queue(commit(before, std::mem::replace(&mut ids, rest)));
        }
        queue(commit(next_offset, ids));
    }
}

impl NotificationSender {
    /// Sends until the last [`CommitNotifications`] is dropped and all are sent.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut unsent = Vec::new();
        while let Err(error) = self.send_all(&mut unsent, &mut backoff).await {
            if backoff.warning_due().is_some() {
                tracing::warn!(
                    topic = self.topic,
                    "cannot send commit notifications, retrying; sources that wait for them \
                     delete nothing: {error:#}"
                );
            }
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }

    async fn send_all(
        &mut self,
        unsent: &mut Vec<Commit>,
        backoff: &mut Backoff,
    ) -> anyhow::Result<()> {
        let (producer, _client) = self.producer().await?;
        // The first tick is immediate: a topic that was deleted has lost earlier notifications.
        let mut repeat = tokio::time::interval(REPEAT_INTERVAL);
        loop {
            self.send(&producer, unsent).await?;
            unsent.clear();
            backoff.reset();
            tokio::select! {
                count = self.commits.recv_many(unsent, QUEUE_SIZE) => if count == 0 {
                    return Ok(());
                },
                _ = repeat.tick() => unsent.extend(self.offsets()),
            }
        }
    }

    /// Returns the client, too, since a dropped client closes its producers.
    async fn producer(&self) -> anyhow::Result<(TopicProducerPool, Fluvio)> {
        if let Some(few) = connector_common::ensure_notifications(&self.records).await? {
            tracing::warn!("{few}; run {}", few.remedy());
        }
        let client = connector_common::connect().await?;
        let config = TopicProducerConfigBuilder::default()
            .linger(LINGER)
            .delivery_semantic(connector_common::no_retries())
            .build()?;
        let producer = client.topic_producer_with_config(&self.topic, config);
        let producer = tokio::time::timeout(TIMEOUT, producer)
            .await
            .with_context(|| format!("timed out after {TIMEOUT:?} waiting for topic metadata"))??;
        Ok((producer, client))
    }

    async fn send(&self, producer: &TopicProducerPool, commits: &[Commit]) -> anyhow::Result<()> {
        for commits in commits.chunks(IN_FLIGHT) {
            let sent = async {
                let mut outputs = Vec::with_capacity(commits.len());
                for commit in commits {
                    let NotificationRecord { key, value } = self.signatures.record(commit)?;
                    outputs.push(producer.send(RecordKey::from(key), value).await?);
                }
                for output in outputs {
                    output.wait().await?;
                }
                anyhow::Ok(())
            };
            tokio::time::timeout(TIMEOUT, sent)
                .await
                .with_context(|| format!("no acknowledgement in {TIMEOUT:?}"))??;
        }
        Ok(())
    }

    /// The offsets of all partitions; none while a commit waits, which must be sent first.
    fn offsets(&self) -> Vec<Commit> {
        let offsets = lock(&self.offsets);
        if !self.commits.is_empty() {
            return Vec::new();
        }
        let commit = |(partition, next_offset): (&u32, &i64)| Commit {
            sink: self.sink.clone(),
            partition: *partition,
            next_offset: *next_offset,
            ids: Vec::new(),
        };
        offsets.iter().map(commit).collect()
    }
}

fn lock(offsets: &Mutex<Offsets>) -> MutexGuard<'_, Offsets> {
    offsets.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_commit_names_every_message_once_and_its_offset_last() {
        let (notifications, mut sender) = notifications("s", "t", None);
        notifications.begin(0, 5);
        let ids: Vec<String> = (0..=2 * MAX_IDS).map(|id| id.to_string()).collect();
        notifications.committed(0, 9, ids.clone());
        assert!(sender.offsets().is_empty(), "waiting commits go first");
        let sent: Vec<Commit> = std::iter::from_fn(|| sender.commits.try_recv().ok()).collect();
        let offsets: Vec<i64> = sent.iter().map(|commit| commit.next_offset).collect();
        assert_eq!(offsets, [5, 5, 5, 9]);
        let named: Vec<String> = sent.into_iter().flat_map(|commit| commit.ids).collect();
        assert_eq!(named, ids);
    }

    #[test]
    fn a_dropped_notification_still_moves_the_offset() {
        let (notifications, mut sender) = notifications("s", "t", None);
        let last = 2 * QUEUE_SIZE as i64;
        for next_offset in 0..=last {
            notifications.committed(3, next_offset, vec![next_offset.to_string()]);
        }
        while sender.commits.try_recv().is_ok() {}
        let offsets = sender.offsets();
        assert_eq!((offsets[0].partition, offsets[0].next_offset), (3, last));
        notifications.end(3);
        assert!(sender.offsets().is_empty(), "another sink writes it now");
    }
}
