//! Reads the commit notifications.

use std::pin::{Pin, pin};
use std::time::Duration;

use anyhow::{Context, anyhow};
use connector_common::committed::{Commit, Signatures, notifications_topic};
use connector_common::{Backoff, Error, Health, Warnings};
use fluvio::consumer::ConsumerConfig;
use fluvio::dataplane::link::ErrorCode;
use fluvio::{Fluvio, Offset};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Unreadable;

/// The name of the notifications' part of the connector's health.
pub(crate) const NOTIFICATIONS: &str = "commit notifications";

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Timeout for opening a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// The time without a notification after which the reader checks that its stream is not deaf.
/// Running sinks send one every half minute.
const SILENCE: Duration = Duration::from_secs(20);

/// The size of several of the largest batches that a sink sends. The client loses the records of a
/// batch that is cut off at this size.
const MAX_BYTES: i32 = 8 << 20;

/// The offset of the next notification for `topic`. Creates the notifications' topic unless it
/// exists. While its leader is away, that is the first one: older ones name no message in flight.
///
/// # Errors
/// The cluster can't be reached, or refuses to create the topic.
pub(crate) async fn next_offset(topic: &str) -> anyhow::Result<i64> {
    if let Some(few) = connector_common::ensure_notifications(topic).await? {
        tracing::warn!("{few}; run {}", few.remedy());
    }
    let notifications = notifications_topic(topic);
    let end = connector_common::end_of_partition(&notifications, 0).await;
    Ok(end.unwrap_or_else(|error| {
        tracing::warn!("starting without commit notifications: {error:#}");
        0
    }))
}

/// Reads the commit notifications for one topic and passes them to all queues.
pub(crate) struct CommitReader {
    /// The topic of the records.
    records: String,
    topic: String,
    signatures: Signatures,
    next: i64,
    /// One channel for each queue.
    queues: Vec<mpsc::Sender<Commit>>,
    health: Health,
    unreadable: Unreadable,
    /// Limits the warnings about records that are ignored.
    ignored: Warnings,
}

impl CommitReader {
    /// A reader of the notifications from the offset `next` on, the [`next_offset`] before the
    /// first message is produced.
    pub(crate) fn new(
        topic: &str,
        signatures: Signatures,
        next: i64,
        queues: Vec<mpsc::Sender<Commit>>,
        health: Health,
        unreadable: Unreadable,
    ) -> Self {
        Self {
            records: topic.to_owned(),
            topic: notifications_topic(topic),
            signatures,
            next,
            queues,
            health,
            unreadable,
            ignored: Warnings::default(),
        }
    }

    /// Reads until all queues have ended.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let warnings = Warnings::default();
        while self.queues.iter().any(|queue| !queue.is_closed()) {
            let before = self.next;
            let Err(error) = self.read().await else {
                continue;
            };
            if self.next > before {
                backoff.reset();
            }
            let pause = backoff.next_pause();
            self.unreadable.begin();
            self.health
                .troubled(NOTIFICATIONS, format_args!("{error:#}"));
            if let Some(suppressed) = warnings.due() {
                tracing::warn!(
                    topic = self.topic,
                    ?pause,
                    suppressed,
                    "cannot read commit notifications, retrying; no message is deleted meanwhile: \
                     {error:#}"
                );
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Reads until the stream has to be reopened.
    // Only the deprecated stream returns whole batches, which show if records were cut off.
    #[allow(deprecated)]
    async fn read(&mut self) -> anyhow::Result<()> {
        let client = self.client().await?;
        let config = ConsumerConfig::builder().max_bytes(MAX_BYTES).build()?;
        let opening = async {
            let consumer = client.partition_consumer(&self.topic, 0).await?;
            consumer
                .stream_batches_with_config(Offset::absolute(self.next)?, config)
                .await
        };
        let batches = connector_common::of_leader(&client, &self.topic, 0, opening).await?;
        let mut batches = pin!(batches);
        self.unreadable.end();
        self.health.works(NOTIFICATIONS);
        loop {
            let end = || connector_common::end_of_partition(&self.topic, 0);
            let Some(batch) = next_batch(batches.as_mut(), SILENCE, self.next, end).await? else {
                return Ok(());
            };
            let batch = batch.map_err(|code| self.resume_after(code))?;
            let (base, count) = (batch.get_base_offset(), batch.records_len());
            if base > self.next {
                tracing::info!(
                    topic = self.topic,
                    from = self.next,
                    to = base,
                    "missed commit notifications"
                );
            }
            let mut offset = base;
            for record in batch.own_records() {
                let key: Option<&[u8]> = record.key.as_ref().map(AsRef::as_ref);
                match self.signatures.read(key, &record.value) {
                    Ok(commit) => {
                        self.health.works(NOTIFICATIONS);
                        for queue in &self.queues {
                            // The send fails if the queue has ended; `run` ends after the last.
                            let _ = queue.send(commit.clone()).await;
                        }
                    }
                    Err(error) => self.ignore(offset, error),
                }
                offset += 1;
            }
            self.next = self.next.max(offset);
            if offset < base + count as i64 {
                return Ok(());
            }
        }
    }

    /// Warns of a record that is not a notification, or not one that the secret signed.
    fn ignore(&self, offset: i64, error: Error) {
        if matches!(error, Error::NotSigned) {
            self.health.troubled(NOTIFICATIONS, &error);
        }
        if let Some(suppressed) = self.ignored.due() {
            let error = anyhow::Error::from(error);
            tracing::warn!(
                topic = self.topic,
                offset,
                suppressed,
                "ignored a record: {error:#}"
            );
        }
    }

    /// A client of the cluster, which has the notifications' topic.
    async fn client(&self) -> anyhow::Result<Fluvio> {
        let connecting = async {
            connector_common::ensure_notifications(&self.records).await?;
            connector_common::connect().await
        };
        timeout(OPEN_TIMEOUT, connecting)
            .await
            .with_context(|| format!("timed out after {OPEN_TIMEOUT:?} connecting"))?
    }

    /// Sets the offset to resume at after an error.
    fn resume_after(&mut self, code: ErrorCode) -> anyhow::Error {
        match &code {
            ErrorCode::OffsetEvicted { next_available, .. } => self.next = *next_available,
            // The topic was created anew or has lost its end. A notification may be read twice.
            ErrorCode::TopicDeleted => self.next = 0,
            ErrorCode::Other(text) if text.contains("is greater than leo") => self.next = 0,
            _ => {}
        }
        anyhow!("{code}")
    }
}

/// The next batch of a stream that is read up to the offset `next`.
///
/// A stream does not end if its host vanishes. So after each `silence` the topic's `end` is polled
/// on another connection. `None` if that is before `next`: a replica is away; or the topic was
/// created anew, which the next stream's error tells.
///
/// # Errors
/// The stream has ended, or is to be reopened: the topic has more, or can't be asked.
async fn next_batch<B, F>(
    mut batches: Pin<&mut impl Stream<Item = B>>,
    silence: Duration,
    next: i64,
    end: impl Fn() -> F,
) -> anyhow::Result<Option<B>>
where
    F: Future<Output = anyhow::Result<i64>>,
{
    loop {
        if let Ok(batch) = timeout(silence, batches.next()).await {
            return batch.map(Some).context("the cluster ended the stream");
        }
        let end = end().await.context("the stream is silent")?;
        if end > next {
            return Err(anyhow!(
                "the stream is silent at offset {next}, and the topic ends at {end}"
            ));
        }
        if end < next {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use futures_util::stream;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_stream_that_is_silent_while_the_topic_grows_is_reopened() {
        let mut deaf = pin!(stream::pending::<i64>());
        // Nothing to read at first, then a notification that does not come.
        let polls = AtomicI64::new(5);
        let end = || std::future::ready(Ok(polls.fetch_add(1, Ordering::Relaxed).max(7)));
        let error = next_batch(deaf.as_mut(), SHORT, 7, end).await.unwrap_err();
        assert!(error.to_string().contains("the topic ends at 8"), "{error}");
    }

    #[tokio::test]
    async fn a_silent_stream_is_reopened_if_the_topic_is_shorter_than_what_was_read() {
        let mut deaf = pin!(stream::pending::<i64>());
        let end = || std::future::ready(Ok(2));
        let batch = next_batch(deaf.as_mut(), SHORT, 7, end).await;
        assert_eq!(batch.unwrap(), None);
    }

    #[tokio::test]
    async fn a_silent_stream_is_reopened_if_the_topic_cannot_be_asked() {
        let mut deaf = pin!(stream::pending::<i64>());
        let end = || std::future::ready(Err(anyhow!("no answer")));
        let error = next_batch(deaf.as_mut(), SHORT, 7, end).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "the stream is silent: no answer");
    }

    #[tokio::test]
    async fn a_stream_that_is_silent_because_there_is_nothing_to_read_stays_open() {
        let mut late = pin!(stream::once(async {
            tokio::time::sleep(SHORT * 5).await;
            7
        }));
        let end = || std::future::ready(Ok(7));
        let batch = next_batch(late.as_mut(), SHORT, 7, end).await;
        assert_eq!(batch.unwrap(), Some(7));
        let ended = next_batch(late.as_mut(), SHORT, 8, end).await;
        assert!(ended.unwrap_err().to_string().contains("ended"));
    }
}
