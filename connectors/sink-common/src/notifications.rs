//! Sends commit notifications to sources, on the topic that [`connector_common::committed`]
//! describes.
//!
//! A task of its own sends them, so that writing never waits for it. While the cluster does not
//! accept them, a bounded number is kept and the rest is dropped; SQS then redelivers the messages.
//! So it does if a sink ends between a commit and its notification: the next one notifies of the
//! committed offset, and a source gives back what lies before it and was not named.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use connector_common::committed::{
    Commit, Destination, NotificationRecord, Signatures, notifications_topic,
};
use connector_common::{Backoff, Secret};
use fluvio::{Fluvio, RecordKey, TopicProducerConfigBuilder, TopicProducerPool};
use tokio::sync::{mpsc, watch};

/// Maximum number of message ids in a notification.
pub const MAX_IDS: usize = 1000;
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

/// The sink that notifies.
#[derive(Clone, Debug)]
pub struct NotifyingSink {
    /// Its name.
    pub name: String,
    /// The destination that it commits to.
    pub destination: Destination,
    /// The time between two commits; zero if it commits what it has read without waiting.
    pub commit_interval: Duration,
    /// The number of notifications that may wait to be sent, each with up to [`MAX_IDS`] messages.
    pub queue_size: usize,
}

/// Accepts commits to notify of. Cheap to clone; the sender ends after the last clone is dropped.
#[derive(Clone, Debug)]
pub struct CommitNotifications {
    sink: NotifyingSink,
    queued: Arc<Mutex<Queued>>,
    commits: mpsc::Sender<Commit>,
    sent: watch::Receiver<u64>,
}

/// Sends the notifications.
#[derive(Debug)]
pub struct NotificationSender {
    sink: NotifyingSink,
    /// The topic of the records.
    records: String,
    topic: String,
    signatures: Signatures,
    queued: Arc<Mutex<Queued>>,
    commits: mpsc::Receiver<Commit>,
    /// The number of notifications that were sent.
    sent: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Queued {
    offsets: Offsets,
    /// The number of notifications that were queued.
    count: u64,
}

impl NotifyingSink {
    fn commit(&self, partition: u32, next_offset: i64, ids: Vec<String>) -> Commit {
        // Rounded up: it is 0 only if the sink does not wait.
        let seconds = self.commit_interval.as_millis().div_ceil(1000);
        Commit {
            sink: self.name.clone(),
            destination: self.destination,
            partition,
            next_offset,
            commit_seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
            ids,
        }
    }
}

/// The two ends of the notifications of a sink that reads `topic`, signed with the `secret`.
#[must_use]
pub fn notifications(
    sink: NotifyingSink,
    topic: &str,
    secret: Option<&Secret>,
) -> (CommitNotifications, NotificationSender) {
    let (sender, receiver) = mpsc::channel(sink.queue_size.max(1));
    let (count, sent) = watch::channel(0);
    let queued = Arc::<Mutex<Queued>>::default();
    let notifications = CommitNotifications {
        sink: sink.clone(),
        queued: Arc::clone(&queued),
        commits: sender,
        sent,
    };
    let sender = NotificationSender {
        sink,
        records: topic.to_owned(),
        topic: notifications_topic(topic),
        signatures: Signatures::new(topic, secret),
        queued,
        commits: receiver,
        sent: count,
    };
    (notifications, sender)
}

impl CommitNotifications {
    /// Notifies of the committed offset at the start of a partition.
    pub fn begin(&self, partition: u32, next_offset: i64) {
        self.committed(partition, next_offset, Vec::new());
    }

    /// Ends the notifications of a partition that this sink no longer writes.
    pub fn end(&self, partition: u32) {
        lock(&self.queued).offsets.remove(&partition);
    }

    /// Notifies that records up to `next_offset` are committed, among them those of the
    /// messages `ids`.
    ///
    /// Many ids go into several notifications, of which only the last has the new offset: a source
    /// may assume that it has received all notifications before an offset.
    pub fn committed(&self, partition: u32, next_offset: i64, ids: Vec<String>) {
        // Locked until all are queued, so that the offset isn't repeated before them.
        let mut queued = lock(&self.queued);
        let before = queued.offsets.insert(partition, next_offset);
        let before = before.unwrap_or(next_offset);
        let mut queue = |next_offset, ids| {
            let commit = self.sink.commit(partition, next_offset, ids);
            match self.commits.try_send(commit) {
                Ok(()) => queued.count += 1,
                Err(_) => tracing::debug!(partition, next_offset, "dropped a commit notification"),
            }
        };
        let mut ids = ids.into_iter();
        while ids.len() > MAX_IDS {
            queue(before, ids.by_ref().take(MAX_IDS).collect());
        }
        queue(next_offset, ids.collect());
    }

    /// Waits until all notifications so far are sent, or the timeout ends. Another sink that takes
    /// over a partition notifies of its offset: a source that has not received these by then would
    /// give their messages back.
    pub async fn flush(&self, timeout: Duration) {
        let count = lock(&self.queued).count;
        let mut sent = self.sent.clone();
        let all = sent.wait_for(|sent| *sent >= count);
        if tokio::time::timeout(timeout, all).await.is_err() {
            tracing::debug!("commit notifications are not sent within {timeout:?}");
        }
    }
}

/// Notifications that are being sent.
#[derive(Default)]
struct Unsent {
    commits: Vec<Commit>,
    /// The number of those from the queue.
    queued: u64,
}

impl NotificationSender {
    /// Sends until the last [`CommitNotifications`] is dropped and all are sent.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut unsent = Unsent::default();
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

    async fn send_all(&mut self, unsent: &mut Unsent, backoff: &mut Backoff) -> anyhow::Result<()> {
        let (producer, _client) = self.producer().await?;
        // The first tick is immediate: a topic that was deleted has lost earlier notifications.
        let mut repeat = tokio::time::interval(REPEAT_INTERVAL);
        loop {
            self.send(&producer, &unsent.commits).await?;
            self.sent.send_modify(|sent| *sent += unsent.queued);
            *unsent = Unsent::default();
            backoff.reset();
            tokio::select! {
                count = self.commits.recv_many(&mut unsent.commits, self.sink.queue_size) => {
                    if count == 0 {
                        return Ok(());
                    }
                    unsent.queued = count as u64;
                }
                _ = repeat.tick() => unsent.commits = self.offsets(),
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
        let queued = lock(&self.queued);
        if !self.commits.is_empty() {
            return Vec::new();
        }
        let offsets = queued.offsets.iter();
        offsets
            .map(|(partition, next_offset)| self.sink.commit(*partition, *next_offset, Vec::new()))
            .collect()
    }
}

fn lock(queued: &Mutex<Queued>) -> MutexGuard<'_, Queued> {
    queued.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE_SIZE: usize = 256;

    fn sink() -> NotifyingSink {
        NotifyingSink {
            name: "s".to_owned(),
            destination: Destination::Lake,
            commit_interval: Duration::from_millis(1500),
            queue_size: QUEUE_SIZE,
        }
    }

    #[test]
    fn a_large_commit_names_every_message_once_and_its_offset_last() {
        let (notifications, mut sender) = notifications(sink(), "t", None);
        notifications.begin(0, 5);
        let ids: Vec<String> = (0..=2 * MAX_IDS).map(|id| id.to_string()).collect();
        notifications.committed(0, 9, ids.clone());
        assert!(sender.offsets().is_empty(), "waiting commits go first");
        let sent: Vec<Commit> = std::iter::from_fn(|| sender.commits.try_recv().ok()).collect();
        let offsets: Vec<i64> = sent.iter().map(|commit| commit.next_offset).collect();
        assert_eq!(offsets, [5, 5, 5, 9]);
        for commit in &sent {
            assert_eq!((commit.sink.as_str(), commit.commit_seconds), ("s", 2));
            assert_eq!(commit.destination, Destination::Lake);
        }
        let named: Vec<String> = sent.into_iter().flat_map(|commit| commit.ids).collect();
        assert_eq!(named, ids);
    }

    #[test]
    fn a_dropped_notification_still_moves_the_offset() {
        let (notifications, mut sender) = notifications(sink(), "t", None);
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
