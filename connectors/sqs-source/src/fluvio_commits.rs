//! Announced commits as Fluvio has them: the topic that [`connector_common::committed`] describes.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use connector_common::Warnings;
use connector_common::committed::{Commit, announcements_of, announcements_spec};
use fluvio::Offset;
use fluvio::consumer::ConsumerConfig;
use fluvio::dataplane::link::ErrorCode;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::backoff::Backoff;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long a topic that was just created may take to have a leader.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Limit for opening a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// Several of the largest batches that a sink sends: a batch that is cut off at this size loses its
/// records for good.
const MAX_BYTES: i32 = 8 << 20;

/// Follows the announcements for one topic.
pub(crate) struct Follower {
    topic: String,
    next: i64,
    /// One for each queue that is read.
    listeners: Vec<mpsc::Sender<Commit>>,
}

impl Follower {
    /// A follower of what is announced for `topic` from now on; to be made before the first message
    /// is produced.
    ///
    /// # Errors
    /// The cluster can't be reached, or refuses to create the announcements' topic.
    pub(crate) async fn new(
        topic: &str,
        listeners: Vec<mpsc::Sender<Commit>>,
    ) -> anyhow::Result<Self> {
        let topic = announcements_of(topic);
        connector_common::ensure_topic(&topic, &announcements_spec()).await?;
        let mut backoff = Backoff::default();
        let began = Instant::now();
        let next = loop {
            match connector_common::end_of_partition(&topic, 0).await {
                Ok(end) => break end,
                Err(error) if began.elapsed() > START_TIMEOUT => return Err(error),
                Err(_) => tokio::time::sleep(backoff.pause(FIRST_PAUSE, LONGEST_PAUSE)).await,
            }
        };
        Ok(Self {
            topic,
            next,
            listeners,
        })
    }

    /// Follows until nobody listens any more.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::default();
        let warnings = Warnings::default();
        while self.listeners.iter().any(|listener| !listener.is_closed()) {
            let before = self.next;
            let Err(error) = self.read().await else {
                continue;
            };
            if self.next > before {
                backoff.reset();
            }
            let pause = backoff.pause(FIRST_PAUSE, LONGEST_PAUSE);
            if let Some(held_back) = warnings.due() {
                tracing::warn!(
                    topic = self.topic, again_in = ?pause, held_back,
                    "cannot learn what is committed, trying again; nothing is deleted meanwhile: {error:#}"
                );
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Reads until the stream has to be opened anew.
    // Batches, which show whether records were cut off, are to be had from the deprecated stream only.
    #[allow(deprecated)]
    async fn read(&mut self) -> anyhow::Result<()> {
        let config = ConsumerConfig::builder().max_bytes(MAX_BYTES).build()?;
        let opening = async {
            connector_common::ensure_topic(&self.topic, &announcements_spec()).await?;
            let client = connector_common::connect().await?;
            let consumer = client.partition_consumer(&self.topic, 0).await?;
            let batches = consumer
                .stream_batches_with_config(Offset::absolute(self.next)?, config)
                .await?;
            anyhow::Ok((batches, client))
        };
        let (batches, _client) = tokio::time::timeout(OPEN_TIMEOUT, opening)
            .await
            .with_context(|| format!("no stream was opened in {OPEN_TIMEOUT:?}"))??;
        let mut batches = std::pin::pin!(batches);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|code| self.judge(code))?;
            let (base, whole) = (batch.get_base_offset(), batch.records_len());
            if base > self.next {
                tracing::info!(topic = self.topic, from = self.next, to = base, "missed");
            }
            let mut offset = base;
            for record in batch.own_records() {
                offset += 1;
                match serde_json::from_slice::<Commit>(&record.value) {
                    Ok(commit) => {
                        for listener in &self.listeners {
                            // Whoever listened has ended; without any this ends, too.
                            let _ = listener.send(commit.clone()).await;
                        }
                    }
                    Err(error) => tracing::warn!(
                        topic = self.topic,
                        offset = offset - 1,
                        "no announcement of a commit, ignored: {error}"
                    ),
                }
            }
            self.next = self.next.max(offset);
            if offset < base + whole as i64 {
                return Ok(());
            }
        }
        Err(anyhow!("the cluster ended the stream"))
    }

    /// Where to go on after an error.
    fn judge(&mut self, code: ErrorCode) -> anyhow::Error {
        match &code {
            ErrorCode::OffsetEvicted { next_available, .. } => self.next = *next_available,
            // The topic was made anew, or has lost its end: hearing an announcement twice does no harm.
            ErrorCode::TopicDeleted => self.next = 0,
            ErrorCode::Other(text) if text.contains("is greater than leo") => self.next = 0,
            _ => {}
        }
        anyhow!("{code}")
    }
}
