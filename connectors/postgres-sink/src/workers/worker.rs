//! A partition worker: one task reads and decodes batches, another one writes them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use bytes::Bytes;
use connector_common::keys::Key;
use connector_common::metrics::Volume;
use connector_common::traces::{Part, Passed};
use connector_common::{Backoff, Health, Start, Stop, Traces, Warnings};
use fact_model::Options;
use sink_common::{CommitNotifications, Limits, Partition, ReadError, Reader};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use warehouse::locks::{AdvisoryLocks, Lock};
use warehouse::{Batch, LastRecord, OnConflict, Writer};

use super::set_aside;
use crate::delivery::{Refusals, deliver};
use crate::error::Error;
use crate::metrics::{Progress, TransactionMetrics};

/// A sink that is fenced more often than this within [`FENCED_PERIOD`] has a twin.
const MAX_FENCED: usize = 10;
const FENCED_PERIOD: Duration = Duration::from_secs(120);
/// The pause after the first time, longer after each: a sink that has lost its lock finds out
/// within seconds and stops writing; only a sink that does not use the locks remains then.
const FENCED_PAUSE: Duration = Duration::from_secs(1);
/// The pauses while the committed offset can't be read.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The pauses after the partition could not be read or written.
const FAILED: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// A partition that is read for this long without a failure works again.
const HEALTHY: Duration = Duration::from_secs(10);

/// The name of a partition that can't be read or written in the health report.
pub(super) fn part(number: u32) -> String {
    format!("partition {number}")
}

/// Reads a partition of the topic and writes it into the tables.
pub(super) struct PartitionWorker {
    pub(super) partition: Partition,
    pub(super) writer: Writer,
    pub(super) transactions: TransactionMetrics,
    pub(super) locks: Arc<AdvisoryLocks>,
    pub(super) start: Start,
    pub(super) limits: Limits,
    /// The policy for facts that are stored already.
    pub(super) on_conflict: OnConflict,
    /// The parameters of flatten-items; `None` if it is not the only transform.
    pub(super) options: Option<Options>,
    pub(super) refusals: Refusals,
    /// The pauses while the SmartModule is not flatten-items.
    pub(super) wrong_smartmodule: Backoff,
    /// Limits the log lines about rejected events.
    pub(super) rejections: Warnings,
    /// The pauses after the partition could not be read or written.
    pub(super) failed: Backoff,
    /// The offset of a failed read, with the first and the last offset of the batch at fault.
    pub(super) failing_batch: Option<(i64, i64, i64)>,
    /// The times at which it was fenced recently.
    pub(super) fenced: Vec<Instant>,
    pub(super) progress: Progress,
    pub(super) health: Health,
    pub(super) traces: Traces,
    pub(super) notifications: CommitNotifications,
}

impl PartitionWorker {
    /// The pauses after failures of a partition.
    pub(super) fn failures() -> Backoff {
        Backoff::new(FAILED[0], FAILED[1])
    }

    /// Runs until the stop, or until another sink holds the partition. After an error of this
    /// partition it reports the partition, pauses, and starts over at the committed offset. It
    /// keeps the lock, since another sink would meet the same error.
    ///
    /// # Errors
    /// No partition can be read.
    pub(super) async fn run(mut self, stop: Stop) -> anyhow::Result<()> {
        let Partition { topic, number, .. } = self.partition.clone();
        while !stop.is_requested() {
            if let Err(error) = self.run_from_committed_offset(&stop).await {
                let error = error.context(format!("topic {topic}, partition {number}"));
                if error.downcast_ref().is_some_and(Error::is_of_sink) {
                    return Err(error);
                }
                self.fenced.clear();
                self.pause_failed(&error, &stop).await;
                continue;
            }
            if self.fenced.is_empty() || stop.is_requested() {
                continue;
            }
            let lock = tokio::select! {
                lock = self.locks.take(self.writer.source()) => lock,
                () = stop.requested() => return Ok(()),
            };
            if let Ok(Lock::HeldBy(_)) = lock {
                return Ok(());
            }
            let times = u32::try_from(self.fenced.len()).unwrap_or(1);
            tokio::select! {
                () = tokio::time::sleep(FENCED_PAUSE * times) => {}
                () = stop.requested() => {}
            }
        }
        Ok(())
    }

    /// Runs until the stop, or until another sink moves the committed offset.
    async fn run_from_committed_offset(&mut self, stop: &Stop) -> anyhow::Result<()> {
        let Some((from, last)) = self.committed_offset(stop).await else {
            return Ok(());
        };
        tracing::info!(
            topic = self.partition.topic,
            partition = self.partition.number,
            offset = from,
            "reading"
        );
        self.notifications.begin(self.partition.number, from);
        self.progress.begin(from);
        if let Some((read, first, last)) = self.failing_batch
            && read == from
            && let Some(named) = self.writer.set_aside().await?
            && (first.max(from)..=last).contains(&named)
        {
            return self.pass(from, named, stop).await;
        }
        // The next batch is read and decoded while one is written.
        let (sender, mut batches) = mpsc::channel(1);
        let (count, written) = watch::channel(0);
        let reader = Reader::new(
            self.partition.clone(),
            Batch::after(from).on_conflict(self.on_conflict),
            last,
            self.limits.clone(),
            self.health.clone(),
            sender,
            written,
        );
        let mut reading = JoinSet::new();
        reading.spawn(reader.read(stop.clone()));
        let mut healthy = std::pin::pin!(tokio::time::sleep(HEALTHY));
        loop {
            let batch = tokio::select! {
                batch = batches.recv() => batch,
                () = &mut healthy, if self.failed.failures() > 0 => {
                    self.works_again();
                    continue;
                }
            };
            let Some(batch) = batch else {
                break;
            };
            match self.write(batch, stop).await {
                Ok(()) => count.send_modify(|batches| *batches += 1),
                Err(error) => return self.not_written(error, stop).await,
            }
        }
        self.progress.log(self.writer.source());
        match reading.join_next().await.transpose()? {
            Some(Err(ReadError::CreatedAgain { offset })) => {
                self.begin_again(offset, stop).await;
                Ok(())
            }
            Some(ended) => Ok(ended.map_err(Error::from)?),
            None => Ok(()),
        }
    }

    /// Handles the error of a batch that was not written.
    ///
    /// # Errors
    /// The partition has to be reported.
    async fn not_written(&mut self, error: Error, stop: &Stop) -> anyhow::Result<()> {
        match error {
            Error::Fenced {
                committed,
                expected,
            } => self.add_fenced(committed, expected),
            // After a pause the records pass the SmartModule again.
            Error::NotEnvelopes { .. } => {
                self.pause_unready(&error.to_string(), stop).await;
                Ok(())
            }
            Error::Stopped(error) => {
                tracing::warn!(
                    topic = self.partition.topic,
                    partition = self.partition.number,
                    "stopping with a batch that the database does not accept; \
                     the next start reads it again: {}",
                    error.chain()
                );
                Ok(())
            }
            error => Err(error.into()),
        }
    }

    async fn write(&mut self, batch: Batch, stop: &Stop) -> Result<(), Error> {
        let began = Instant::now();
        let next_offset = batch.next_offset();
        let read = Volume {
            records: batch.record_count() as u64,
            bytes: batch.bytes() as u64,
        };
        let ids = batch.message_ids().map(str::to_owned).collect();
        let traced = self.traced(&batch);
        let rejected = batch.first_rejected();
        let rejected =
            rejected.map(|(record, reason)| (record.offset, record.key.clone(), reason.to_owned()));
        let metrics = Some(&self.transactions);
        let refusals = &mut self.refusals;
        let written = deliver(&mut self.writer, batch, stop, metrics, refusals).await?;
        self.wrong_smartmodule.reset();
        self.works_again();
        let number = self.partition.number;
        self.notifications.committed(number, next_offset, ids);
        if let Some((offset, key, reason)) = rejected
            && written.rejected > 0
        {
            self.log_rejected(offset, key.as_deref(), &reason);
        }
        self.trace(&traced);
        self.progress.add(began, next_offset, read, written);
        if self.progress.is_due() {
            self.progress.log(self.writer.source());
        }
        Ok(())
    }

    /// The offsets and keys of the records with a trace context, if traces are exported.
    fn traced(&self, batch: &Batch) -> Vec<(i64, Bytes)> {
        if self.traces.are_exported() {
            batch.traced().collect()
        } else {
            Vec::new()
        }
    }

    fn trace(&self, traced: &[(i64, Bytes)]) {
        for (offset, key) in traced {
            if let Some(key) = Key::parse(key) {
                let passed = Passed {
                    key: &key,
                    topic: &self.partition.topic,
                    partition: self.partition.number,
                    offset: *offset,
                };
                self.traces.record(Part::Commit, &passed);
            }
        }
    }

    /// Writes the records from the committed offset on as far as the batch with the record at
    /// `named`, which it sets aside.
    async fn pass(&mut self, from: i64, named: i64, stop: &Stop) -> anyhow::Result<()> {
        let mut next = from;
        while next <= named && !stop.is_requested() {
            let (options, on_conflict) = (self.options.as_ref(), self.on_conflict);
            let batch = set_aside::batch(&self.partition, next, named, options, on_conflict);
            let batch = tokio::select! {
                batch = batch => batch?,
                () = stop.requested() => return Ok(()),
            };
            if batch.is_empty() {
                bail!("the topic has no record at offset {next}");
            }
            next = batch.next_offset();
            if let Err(error) = self.write(batch, stop).await {
                return self.not_written(error, stop).await;
            }
        }
        if next <= named {
            return Ok(());
        }
        tracing::warn!(
            topic = self.partition.topic,
            partition = self.partition.number,
            offset = named,
            "set aside a record for an operator, and continuing at offset {next}; \
             `etl rejected retry --reason set-aside` flattens such records again"
        );
        Ok(())
    }

    /// Reports a partition that can't be read or written, and pauses.
    async fn pause_failed(&mut self, error: &anyhow::Error, stop: &Stop) {
        let mut reason = format!("{error:#}");
        if let Some(&Error::Read(ReadError::Trapped { from, .. })) = error.downcast_ref() {
            tokio::select! {
                advice = self.advice(from) => reason = format!("{reason}; {advice}"),
                () = stop.requested() => return,
            }
        }
        let pause = self.failed.next_pause();
        let shown = match error.downcast_ref::<warehouse::Error>() {
            Some(error) => error.outline(),
            None => reason.clone(),
        };
        let health = &self.health;
        health.troubled(&part(self.partition.number), shown);
        if self.failed.warning_due().is_some() {
            tracing::error!(
                topic = self.partition.topic,
                partition = self.partition.number,
                "the partition stands still and is tried again, the others go on: {reason}"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.requested() => {}
        }
    }

    /// The instructions for a batch that the SmartModules fail on.
    async fn advice(&mut self, from: i64) -> String {
        let found = match self.failing_batch {
            Some((read, first, last)) if read == from => Ok((first, last)),
            _ => {
                let max_bytes = self.limits.response_bytes();
                let found = self.partition.failing_batch(from, max_bytes).await;
                if let Ok((first, last)) = found {
                    self.failing_batch = Some((from, first, last));
                }
                found
            }
        };
        let which = match found {
            Ok((first, last)) if first == last => format!("it is at offset {first}"),
            Ok((first, last)) => format!("it is at an offset from {first} to {last}"),
            Err(error) => format!("its offset is not known ({error:#})"),
        };
        format!(
            "{which}; load a SmartModule that reads it, or set it aside with `etl rejected skip \
             --topic {} --partition {} --offset OFFSET`",
            self.partition.topic, self.partition.number
        )
    }

    fn works_again(&mut self) {
        if self.failed.reset() {
            self.health.works(&part(self.partition.number));
            tracing::info!(
                topic = self.partition.topic,
                partition = self.partition.number,
                "the partition works again"
            );
        }
    }

    /// The committed offset, or the one to begin at for a partition that was never read, and the
    /// last record that was written; `None` if the stop comes first.
    async fn committed_offset(&self, stop: &Stop) -> Option<(i64, Option<LastRecord>)> {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let found = tokio::select! {
                found = self.find_committed_offset() => found,
                () = stop.requested() => return None,
            };
            let reason = match found {
                Ok(found) => return Some(found),
                Err(error) => format!("{error:#}"),
            };
            if backoff.warning_due().is_some() {
                tracing::warn!(
                    topic = self.partition.topic,
                    partition = self.partition.number,
                    "{reason}"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_pause()) => {}
                () = stop.requested() => return None,
            }
        }
    }

    /// For a partition that was never read, finds the offset to begin at and commits it at once:
    /// after a crash the topic's end offset would be behind records that were meant to be read.
    async fn find_committed_offset(&self) -> anyhow::Result<(i64, Option<LastRecord>)> {
        if let Some(offset) = self.writer.committed_offset().await? {
            return Ok((offset, self.writer.last_record().await?));
        }
        let offset = self.partition.find(self.start).await?;
        Ok((self.writer.begin(offset).await?, None))
    }

    /// Has a topic that was created again read from its start. Facts that are stored already stay
    /// as they are.
    async fn begin_again(&self, last: i64, stop: &Stop) {
        let begin = async {
            let beginning = self.partition.beginning().await?;
            self.writer.set_offset_back(last + 1, beginning).await?;
            anyhow::Ok(beginning)
        };
        let begun = tokio::select! {
            begun = begin => begun,
            () = stop.requested() => return,
        };
        let outcome = match begun {
            Ok(beginning) => format!("reading it from offset {beginning} on"),
            Err(error) => format!("cannot begin at its start: {error:#}"),
        };
        tracing::error!(
            topic = self.partition.topic,
            partition = self.partition.number,
            "the record at offset {last} is not the one that was written, so the topic was created \
             again; {outcome}"
        );
        // The reader finds it again if this failed.
        tokio::select! {
            () = tokio::time::sleep(FENCED_PAUSE) => {}
            () = stop.requested() => {}
        }
    }

    /// Logs the first rejected event of a batch, at most once in half a minute; `rejected_events`
    /// has all of them, with the keys of their records.
    fn log_rejected(&self, offset: i64, key: Option<&[u8]>, reason: &str) {
        if let Some(suppressed) = self.rejections.due() {
            let message = key.and_then(Key::parse);
            tracing::info!(
                topic = self.partition.topic,
                partition = self.partition.number,
                offset,
                message_id = message.map(|message| message.id),
                trace = message.and_then(|message| message.trace),
                suppressed,
                "an event can't become facts and is in rejected_events: {reason}"
            );
        }
    }

    async fn pause_unready(&mut self, reason: &str, stop: &Stop) {
        self.transactions.wait(reason);
        if self.wrong_smartmodule.warning_due().is_some() {
            tracing::error!(
                topic = self.partition.topic,
                partition = self.partition.number,
                "{reason}"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(self.wrong_smartmodule.next_pause()) => {}
            () = stop.requested() => {}
        }
    }

    /// After a restart, the previous process can still be writing, so that this one is fenced once
    /// and continues from the new offset. A sink that is fenced repeatedly has a twin.
    fn add_fenced(&mut self, committed: i64, expected: i64) -> anyhow::Result<()> {
        self.fenced.retain(|at| at.elapsed() < FENCED_PERIOD);
        self.fenced.push(Instant::now());
        let sink = &self.writer.source().sink;
        if self.fenced.len() > MAX_FENCED {
            bail!(
                "another sink named `{sink}` writes this partition (the committed offset is \
                 {committed}, this one expected {expected}); stop one of them, or give it a \
                 `meta.name` of its own"
            );
        }
        tracing::warn!(
            topic = self.partition.topic,
            partition = self.partition.number,
            "another sink named `{sink}` has moved the committed offset to {committed} (this one \
             expected {expected}); continuing from there"
        );
        Ok(())
    }
}
