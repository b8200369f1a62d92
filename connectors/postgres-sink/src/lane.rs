//! One partition's way from the topic into the tables: one task reads and decodes, this one writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use connector_common::{Health, Start, Stop};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::announce::{self, Announcements};
use crate::backoff::Backoff;
use crate::claims::{Claim, Claims};
use crate::delivery::{DeliveryError, deliver};
use crate::partition::Partition;
use crate::progress::Progress;
use crate::reader::{Limits, Reader};
use crate::writer::Writer;

/// A sink that is overtaken more often than this within the time below has a twin.
const OVERTAKEN_LIMIT: usize = 10;
const OVERTAKEN_WITHIN: Duration = Duration::from_secs(120);
/// How long to wait after the first time, and longer after each: a sink that has lost its lock finds out within
/// seconds and writes no more, and only one that knows of no locks is left then.
const OVERTAKEN_PAUSE: Duration = Duration::from_secs(1);

/// One partition's way from the topic into the tables.
pub(crate) struct Lane {
    pub(crate) partition: Partition,
    pub(crate) writer: Writer,
    pub(crate) claims: Arc<Claims>,
    pub(crate) start: Start,
    pub(crate) limits: Limits,
    pub(crate) overtaken: Vec<Instant>,
    pub(crate) progress: Progress,
    pub(crate) health: Health,
    pub(crate) announcements: Announcements,
}

impl Lane {
    /// Reads and writes until the stop, or until the partition turns out to be another sink's.
    pub(crate) async fn run(mut self, stop: Stop) -> anyhow::Result<()> {
        let Partition { topic, number, .. } = self.partition.clone();
        while !stop.is_requested() {
            self.run_from_stored_offset(&stop)
                .await
                .with_context(|| format!("topic {topic}, partition {number}"))?;
            if self.overtaken.is_empty() || stop.is_requested() {
                continue;
            }
            if let Ok(Claim::HeldBy(_)) = self.claims.take(self.writer.source()).await {
                return Ok(());
            }
            let times = u32::try_from(self.overtaken.len()).unwrap_or(1);
            tokio::select! {
                () = tokio::time::sleep(OVERTAKEN_PAUSE * times) => {}
                () = stop.requested() => {}
            }
        }
        Ok(())
    }

    /// Reads and writes until the stop, or until another sink has moved the offset.
    async fn run_from_stored_offset(&mut self, stop: &Stop) -> anyhow::Result<()> {
        let Some(from) = self.position(stop).await else {
            return Ok(());
        };
        tracing::info!(
            topic = self.partition.topic,
            partition = self.partition.number,
            offset = from,
            "reading"
        );
        self.announcements.begin(self.partition.number, from);
        self.progress.begin(from);
        // One batch is written while the next is read and decoded.
        let (sender, mut batches) = mpsc::channel(1);
        let (through, written) = watch::channel(0);
        let reader = Reader::new(
            self.partition.clone(),
            from,
            self.limits.clone(),
            self.health.clone(),
            sender,
            written,
        );
        let mut reading = JoinSet::new();
        reading.spawn(reader.read(stop.clone()));
        while let Some(batch) = batches.recv().await {
            let began = Instant::now();
            let (next, read) = (batch.next_offset(), batch.volume());
            let keys = announce::keys(&batch);
            match deliver(&mut self.writer, batch, stop).await {
                Ok(written) => {
                    through.send_modify(|batches| *batches += 1);
                    self.announcements
                        .committed(self.partition.number, next, keys);
                    self.progress.add(began, next, read, written);
                    if self.progress.is_due() {
                        self.progress.say(&self.partition);
                    }
                }
                Err(DeliveryError::Overtaken { stored, expected }) => {
                    return self.overtaken(stored, expected);
                }
                Err(DeliveryError::Stopped(error)) => {
                    tracing::warn!(
                        topic = self.partition.topic,
                        partition = self.partition.number,
                        "stopping with a batch that the database does not take; the next start reads it again: {error}"
                    );
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.progress.say(&self.partition);
        match reading.join_next().await {
            Some(ended) => Ok(ended??),
            None => Ok(()),
        }
    }

    /// The stored offset, and for a partition that was never read the one to begin at; `None` if the stop comes first.
    async fn position(&self, stop: &Stop) -> Option<i64> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        loop {
            let trouble = match self.writer.position().await {
                Ok(Some(offset)) => return Some(offset),
                Ok(None) => match self.begin().await {
                    Ok(offset) => return Some(offset),
                    Err(error) => format!("{error:#}"),
                },
                Err(error) => error.to_string(),
            };
            if backoff.is_news() {
                tracing::warn!(
                    topic = self.partition.topic,
                    partition = self.partition.number,
                    "{trouble}"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = stop.requested() => return None,
            }
        }
    }

    /// Finds where to begin and stores it at once: found again after a crash, the end of the topic
    /// would be behind records that were meant to be read.
    async fn begin(&self) -> anyhow::Result<i64> {
        let offset = self.partition.find(self.start).await?;
        Ok(self.writer.begin(offset).await?)
    }

    /// Once is what a restart looks like whose predecessor was still writing: go on from where it
    /// got to. Again and again is a twin.
    fn overtaken(&mut self, stored: i64, expected: i64) -> anyhow::Result<()> {
        self.overtaken.retain(|at| at.elapsed() < OVERTAKEN_WITHIN);
        self.overtaken.push(Instant::now());
        let sink = &self.writer.source().sink;
        if self.overtaken.len() > OVERTAKEN_LIMIT {
            bail!(
                "another sink named `{sink}` writes this partition (the stored offset is {stored}, this one was at {expected}); \
                 stop one of them, or give it a `meta.name` of its own"
            );
        }
        tracing::warn!(
            topic = self.partition.topic,
            partition = self.partition.number,
            "another sink named `{sink}` has moved the stored offset to {stored} (this one was at {expected}); going on from there"
        );
        Ok(())
    }
}
