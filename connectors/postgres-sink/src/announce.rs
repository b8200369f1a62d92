//! Tells sources what is in the tables, on the topic that [`connector_common::committed`] describes.
//!
//! A task of its own: the tables never wait for it. Where the cluster does not take announcements, a
//! few are kept and the rest are dropped, and the source has those messages delivered again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use connector_common::committed::{Commit, announcements_of, announcements_spec};
use fluvio::{Fluvio, RecordKey, TopicProducerConfigBuilder, TopicProducerPool};
use tokio::sync::mpsc;

use crate::backoff::Backoff;
use crate::batch::Batch;

/// Records that wait to be sent.
const KEPT: usize = 256;
/// Keys in one record at most.
const KEYS: usize = 1000;
/// Records that are sent before the first is waited for.
const AT_ONCE: usize = 32;
/// How often each partition's offset is announced, whether or not anything is new.
const REPEAT: Duration = Duration::from_secs(30);
/// How long the cluster may take to acknowledge announcements.
const PATIENCE: Duration = Duration::from_secs(10);
const LINGER: Duration = Duration::from_millis(5);

/// Where each partition stands in the database: its first record that is not written.
type Stands = BTreeMap<u32, i64>;

/// Takes what is to be announced. Cheap to clone; the announcer ends with the last of them.
#[derive(Clone)]
pub(crate) struct Announcements {
    sink: String,
    stands: Arc<Mutex<Stands>>,
    commits: mpsc::Sender<Commit>,
}

/// Announces.
pub(crate) struct Announcer {
    sink: String,
    topic: String,
    stands: Arc<Mutex<Stands>>,
    commits: mpsc::Receiver<Commit>,
}

/// The two ends for a sink that reads `topic`.
pub(crate) fn announcements(sink: &str, topic: &str) -> (Announcements, Announcer) {
    let (sender, receiver) = mpsc::channel(KEPT);
    let stands = Arc::<Mutex<Stands>>::default();
    let announcements = Announcements {
        sink: sink.to_owned(),
        stands: Arc::clone(&stands),
        commits: sender,
    };
    let announcer = Announcer {
        sink: sink.to_owned(),
        topic: announcements_of(topic),
        stands,
        commits: receiver,
    };
    (announcements, announcer)
}

impl Announcements {
    /// What PostgreSQL says at the start of a partition.
    pub(crate) fn begin(&self, partition: u32, next_offset: i64) {
        self.committed(partition, next_offset, Vec::new());
    }

    /// This sink no longer writes the partition: where it stands is another one's to say.
    pub(crate) fn end(&self, partition: u32) {
        lock(&self.stands).remove(&partition);
    }

    /// Records up to `next_offset` are committed, among them those with `keys`.
    ///
    /// Many keys go in several records, of which the last tells the offset: a source that hears of
    /// an offset may rely on having heard of the records before it.
    pub(crate) fn committed(&self, partition: u32, next_offset: i64, keys: Vec<String>) {
        // Held until all is handed over, so that the offset isn't repeated before it is said.
        let mut stands = lock(&self.stands);
        let before = stands.insert(partition, next_offset).unwrap_or(next_offset);
        let commit = |next_offset, keys| Commit {
            sink: self.sink.clone(),
            partition,
            next_offset,
            keys,
        };
        let mut keys = keys;
        let hand_over = |commit| {
            if self.commits.try_send(commit).is_err() {
                tracing::debug!(partition, next_offset, "a commit is not announced");
            }
        };
        while keys.len() > KEYS {
            let rest = keys.split_off(KEYS);
            hand_over(commit(before, std::mem::replace(&mut keys, rest)));
        }
        hand_over(commit(next_offset, keys));
    }
}

impl Announcer {
    /// Announces until there is nobody left to say anything, and all is said.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        let mut unsaid = Vec::new();
        while let Err(error) = self.announce(&mut unsaid, &mut backoff).await {
            if backoff.is_news() {
                tracing::warn!(
                    topic = self.topic,
                    "cannot announce what is committed, trying again; sources that wait for it delete nothing: {error:#}"
                );
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn announce(
        &mut self,
        unsaid: &mut Vec<Commit>,
        backoff: &mut Backoff,
    ) -> anyhow::Result<()> {
        let (producer, _client) = self.producer().await?;
        // Its first tick is at once: what was said to a topic that went away may be gone with it.
        let mut repeat = tokio::time::interval(REPEAT);
        loop {
            say(&producer, unsaid).await?;
            unsaid.clear();
            backoff.reset();
            tokio::select! {
                count = self.commits.recv_many(unsaid, KEPT) => if count == 0 {
                    return Ok(());
                },
                _ = repeat.tick() => unsaid.extend(self.stands()),
            }
        }
    }

    /// With its client: one that is dropped closes its producers.
    async fn producer(&self) -> anyhow::Result<(TopicProducerPool, Fluvio)> {
        connector_common::ensure_topic(&self.topic, &announcements_spec()).await?;
        let client = connector_common::connect().await?;
        let config = TopicProducerConfigBuilder::default()
            .linger(LINGER)
            .build()?;
        let producer = client.topic_producer_with_config(&self.topic, config);
        let producer = tokio::time::timeout(PATIENCE, producer)
            .await
            .context("the cluster did not tell about the topic")??;
        Ok((producer, client))
    }

    /// How far all partitions have come; nothing while a commit waits, which goes first.
    fn stands(&self) -> Vec<Commit> {
        let stands = lock(&self.stands);
        if !self.commits.is_empty() {
            return Vec::new();
        }
        let stand = |(partition, next_offset): (&u32, &i64)| Commit {
            sink: self.sink.clone(),
            partition: *partition,
            next_offset: *next_offset,
            keys: Vec::new(),
        };
        stands.iter().map(stand).collect()
    }
}

/// The keys by which a source knows the records of `batch`.
pub(crate) fn keys(batch: &Batch) -> Vec<String> {
    let keys = batch
        .records
        .iter()
        .filter_map(|record| record.key.as_ref());
    // A key that is no text is none of a message.
    keys.filter_map(|key| std::str::from_utf8(key).ok())
        .map(str::to_owned)
        .collect()
}

async fn say(producer: &TopicProducerPool, commits: &[Commit]) -> anyhow::Result<()> {
    for commits in commits.chunks(AT_ONCE) {
        let said = async {
            let mut outputs = Vec::with_capacity(commits.len());
            for commit in commits {
                let key = RecordKey::from(format!("{}/{}", commit.sink, commit.partition));
                outputs.push(producer.send(key, serde_json::to_vec(commit)?).await?);
            }
            for output in outputs {
                output.wait().await?;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, said)
            .await
            .context("no acknowledgement")??;
    }
    Ok(())
}

fn lock(stands: &Mutex<Stands>) -> MutexGuard<'_, Stands> {
    stands.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_commit_names_every_key_once_and_its_offset_last() {
        let (announcements, mut announcer) = announcements("s", "t");
        announcements.begin(0, 5);
        let keys: Vec<String> = (0..=2 * KEYS).map(|key| key.to_string()).collect();
        announcements.committed(0, 9, keys.clone());
        assert!(announcer.stands().is_empty(), "what waits goes first");
        let said: Vec<Commit> = std::iter::from_fn(|| announcer.commits.try_recv().ok()).collect();
        let offsets: Vec<i64> = said.iter().map(|commit| commit.next_offset).collect();
        assert_eq!(offsets, [5, 5, 5, 9]);
        let named: Vec<String> = said.into_iter().flat_map(|commit| commit.keys).collect();
        assert_eq!(named, keys);
    }

    #[test]
    fn what_is_dropped_while_the_cluster_is_away_still_moves_the_offset() {
        let (announcements, mut announcer) = announcements("s", "t");
        let last = 2 * KEPT as i64;
        for next_offset in 0..=last {
            announcements.committed(3, next_offset, vec![next_offset.to_string()]);
        }
        while announcer.commits.try_recv().is_ok() {}
        let stands = announcer.stands();
        assert_eq!((stands[0].partition, stands[0].next_offset), (3, last));
        announcements.end(3);
        assert!(announcer.stands().is_empty(), "it is another sink's now");
    }
}
