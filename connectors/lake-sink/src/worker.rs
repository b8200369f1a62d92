//! A partition worker: reads a partition and hands its batches over to be committed.

use std::time::Duration;

use connector_common::{Backoff, Health, Stop};
use sink_common::{LastRecord, Limits, Partition, Reader};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::batch::{Content, LakeBatch};
use crate::error::Error;
use crate::rows::Source;

/// The pauses after the partition could not be read.
const FAILED: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// The name of a partition that can't be read in the health report.
#[must_use]
pub fn part(number: u32) -> String {
    format!("partition {number}")
}

/// Reads a partition.
pub struct PartitionWorker {
    /// The partition, and the SmartModules that its records pass.
    pub partition: Partition,
    /// What is made of its records.
    pub content: Content,
    /// The limits of a batch.
    pub limits: Limits,
    /// Takes the report of a partition that can't be read.
    pub health: Health,
    /// The offset to read next.
    pub next: i64,
    /// The record before it.
    pub last: Option<LastRecord>,
    /// Takes the batches.
    pub batches: mpsc::Sender<LakeBatch>,
}

impl PartitionWorker {
    /// Reads until the stop, or until nobody takes the batches. After an error of the partition it
    /// reports it, pauses, and reads on behind the last batch.
    ///
    /// # Errors
    /// No partition can be read.
    pub async fn run(mut self, stop: Stop) -> Result<(), Error> {
        let mut failed = Backoff::new(FAILED[0], FAILED[1]);
        while !stop.is_requested() && !self.batches.is_closed() {
            let Err(error) = self.read(&stop, &mut failed).await else {
                continue;
            };
            if error.is_fatal() {
                return Err(error);
            }
            self.health.troubled(&part(self.partition.number), &error);
            if failed.warning_due().is_some() {
                tracing::error!(
                    topic = self.partition.topic,
                    partition = self.partition.number,
                    "the partition stands still and is tried again, the others go on: {error}"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(failed.next_pause()) => {}
                () = stop.requested() => {}
                () = self.batches.closed() => {}
            }
        }
        Ok(())
    }

    async fn read(&mut self, stop: &Stop, failed: &mut Backoff) -> Result<(), Error> {
        let source = Source {
            topic: self.partition.topic.clone(),
            partition: self.partition.number,
        };
        tracing::info!(
            topic = source.topic,
            partition = source.partition,
            offset = self.next,
            "reading"
        );
        let (sender, mut batches) = mpsc::channel(1);
        let (count, written) = watch::channel(0);
        let reader = Reader::new(
            self.partition.clone(),
            LakeBatch::after(self.next, self.content, source),
            self.last.clone(),
            self.limits.clone(),
            self.health.clone(),
            sender,
            written,
        );
        let mut reading = JoinSet::new();
        reading.spawn(reader.read(stop.clone()));
        while let Some(batch) = batches.recv().await {
            self.next = batch.next;
            self.last.clone_from(&batch.last);
            if self.batches.send(batch).await.is_err() {
                return Ok(());
            }
            count.send_modify(|batches| *batches += 1);
            if failed.reset() {
                self.health.works(&part(self.partition.number));
            }
        }
        match reading.join_next().await {
            Some(ended) => Ok(ended??),
            None => Ok(()),
        }
    }
}
