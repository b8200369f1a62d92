//! Reads a partition into batches: every record once and in order.
//!
//! A response is cut at `max_bytes`; the client drops the cut-off records and continues after them.
//! A batch whose transformed records exceed `max_bytes` is left out entirely. Neither is an error
//! to the client, so the reader checks that offsets are contiguous. A gap ends the reading; records
//! are never skipped.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use connector_common::{Backoff, Health, Stop};
use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::record::Batch as SentBatch;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::batch::ReadBatch;
use crate::error::ReadError;
use crate::limits::Limits;
use crate::record::{LastRecord, Record};
use crate::topic::{BatchStream, Fault, Partition};

/// The shortest and the longest time without records after which the reader checks for records that
/// the stream does not send. It doubles with each check.
const IDLE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];
/// The shortest and the longest wait for a record that the cluster has. It doubles with each stream
/// that does not send it.
const GRACE: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];
/// The shortest wait for the first batch of a stream. An SPU compiles the SmartModules for each
/// stream, which takes long if it lacks CPU, and each further stream adds to that.
const FIRST_GRACE: Duration = Duration::from_secs(20);
/// A stream that was open for this long works, even if it sent nothing.
const HEALTHY: Duration = Duration::from_secs(10);
/// The largest response to request.
const MAX_RESPONSE: i32 = 1 << 30;
/// The factor between responses that are too small and the next larger ones.
const RESPONSE_GROWTH: i32 = 4;
/// The pauses before the stream is opened again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Reads a partition from its committed offset on.
pub struct Reader<B> {
    partition: Partition,
    limits: Limits,
    health: Health,
    continuity: Continuity,
    /// The last record that was read, or written by a reader before this one.
    last: Option<LastRecord>,
    /// Records that are not in a batch yet, with their times.
    pending: VecDeque<(Record, Option<i64>)>,
    batch: B,
    /// The time of the first record in `batch`.
    began: Option<Instant>,
    batches: mpsc::Sender<B>,
    sent: u64,
    written: watch::Receiver<u64>,
    response: ResponseSize,
    grace: Duration,
    /// True if the open stream has sent a batch.
    has_sent: bool,
}

/// The reason why an open stream ended without an error.
enum End {
    /// Open it again.
    Reopen,
    /// The sink stops, or the receiver of batches is gone.
    Stop,
}

/// The reason why a stream ended early.
enum Problem {
    Fault(Fault),
    Error(ReadError),
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        Self::Error(error)
    }
}

impl<B: ReadBatch> Reader<B> {
    /// A reader that fills `batch`, which is empty, and those after it. It begins at the offset of
    /// `batch`, behind the record `last`. `written` counts the batches that are written.
    pub fn new(
        partition: Partition,
        batch: B,
        last: Option<LastRecord>,
        limits: Limits,
        health: Health,
        batches: mpsc::Sender<B>,
        written: watch::Receiver<u64>,
    ) -> Self {
        let next = batch.next_offset();
        Self {
            partition,
            health,
            continuity: Continuity { next },
            // After a move to another offset it is a record before or behind.
            last: last.filter(|last| last.offset + 1 == next),
            pending: VecDeque::new(),
            batch,
            began: None,
            batches,
            sent: 0,
            written,
            response: ResponseSize::new(limits.response_bytes()),
            grace: GRACE[0],
            has_sent: false,
            limits,
        }
    }

    /// Reads until the stop, and retries after transient errors. Sends the last batch before it
    /// returns.
    ///
    /// # Errors
    /// The partition can't be read on.
    pub async fn read(mut self, stop: Stop) -> Result<(), ReadError> {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut failing_since = None;
        loop {
            let (before, opened) = (self.continuity.next, Instant::now());
            let outcome = tokio::select! {
                outcome = self.read_stream() => outcome,
                () = stop.requested() => Ok(End::Stop),
            };
            self.send_all().await;
            if self.continuity.next > before || opened.elapsed() > HEALTHY {
                backoff.reset();
                failing_since = None;
            }
            let reason = match outcome {
                Ok(End::Stop) => {
                    self.health.works(&self.part());
                    return Ok(());
                }
                Ok(End::Reopen) => continue,
                // Retention removed the last record, and none after it.
                Err(Problem::Fault(Fault::Evicted { next_available }))
                    if self.last.is_some() && next_available <= self.continuity.next =>
                {
                    self.last = None;
                    continue;
                }
                Err(Problem::Error(error)) => return Err(error),
                Err(Problem::Fault(fault)) => {
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    self.classify(fault, since.elapsed())?
                }
            };
            self.health.troubled(&self.part(), &reason);
            if backoff.warning_due().is_some() {
                self.warn(&reason);
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_pause()) => {}
                () = stop.requested() => return Ok(()),
            }
        }
    }

    async fn read_stream(&mut self) -> Result<End, Problem> {
        // The batch with the last record shows whether the topic is the same one.
        let from = match &self.last {
            Some(last) if last.offset + 1 == self.continuity.next => last.offset,
            _ => self.continuity.next,
        };
        self.has_sent = false;
        let mut stream = self.partition.open(from, self.response.bytes).await?;
        self.health.works(&self.part());
        let batches = self.batches.clone();
        let mut idle = IDLE[0];
        loop {
            self.fill();
            let is_full = self.is_full();
            let is_writing = self.is_writing();
            let now = Instant::now();
            let due = self.began.map(|began| began + self.limits.delay);
            let is_due = is_full || due.is_some_and(|due| due <= now);
            let waits = due.is_some() && !is_due && !is_writing;
            tokio::select! {
                biased;
                permit = batches.reserve(), if is_due && !is_writing => match permit {
                    Ok(permit) => {
                        permit.send(self.batch.take());
                        self.sent += 1;
                        self.began = None;
                    }
                    Err(_) => return Ok(End::Stop),
                },
                batch = stream.next(), if !is_full => {
                    if let Some(end) = self.accept(batch?)? {
                        return Ok(end);
                    }
                    idle = IDLE[0];
                }
                () = tokio::time::sleep_until(due.unwrap_or(now)), if waits => {}
                Ok(()) = self.written.changed(), if is_writing => {}
                () = tokio::time::sleep(idle), if self.began.is_none() => {
                    if let Some(end) = self.look_for_records(&mut stream).await? {
                        return Ok(end);
                    }
                    idle = (idle * 2).min(IDLE[1]);
                }
            }
        }
    }

    /// Takes the new records of a batch that the cluster sent.
    fn accept(&mut self, sent: SentBatch) -> Result<Option<End>, Problem> {
        self.has_sent = true;
        let (base, began) = (sent.get_base_offset(), sent.get_base_timestamp());
        let offsets = sent.records_len();
        let records = sent.own_records();
        let before = self.continuity.next;
        match self.continuity.accept(base, offsets, records.len()) {
            Step::Follows { known } => {
                if let Some(last) = &self.last
                    && let Ok(index) = usize::try_from(last.offset.saturating_sub(base))
                    && let Some(record) = records.get(index)
                    && record.key.as_deref().map(Bytes::as_ref) != Some(last.key.as_bytes())
                {
                    // It would be read from its middle.
                    let offset = last.offset;
                    return Err(ReadError::CreatedAgain { offset }.into());
                }
                if self.continuity.next > before {
                    self.grace = GRACE[0];
                    self.response = ResponseSize::new(self.limits.response_bytes());
                }
                let records = (base..).zip(records).skip(known);
                self.pending.extend(records.map(|(offset, record)| {
                    let time = began.checked_add(record.timestamp_delta());
                    let record = Record {
                        offset,
                        key: record.key.as_deref().cloned(),
                        value: Bytes::clone(&record.value),
                    };
                    (record, time.filter(|_| began >= 0))
                }));
                if let Some((record, _)) = self.pending.back() {
                    self.last = LastRecord::of(record);
                }
                Ok(None)
            }
            Step::Multiplied => Err(ReadError::Multiplied {
                base,
                offsets,
                records: records.len(),
            }
            .into()),
            Step::Gap { from } => {
                if !self.response.grow() {
                    return Err(ReadError::Gap { from, to: base }.into());
                }
                self.warn(&format!(
                    "records from offset {from} up to {base} are missing; requesting them again in \
                     responses of up to {} bytes",
                    self.response.bytes
                ));
                Ok(Some(End::Reopen))
            }
        }
    }

    /// Called if nothing came for a while. If the cluster has a record nevertheless, the connection
    /// is broken, or the record's batch exceeds the size of a response.
    async fn look_for_records(&mut self, stream: &mut BatchStream) -> Result<Option<End>, Problem> {
        let next = self.continuity.next;
        if !self.partition.has_record(next).await? {
            return Ok(None);
        }
        // It may have arrived just now, or be on its way.
        let shortest = if self.has_sent { GRACE[0] } else { FIRST_GRACE };
        let grace = self.grace.max(shortest);
        self.grace = (self.grace * 2).min(GRACE[1]);
        if let Ok(batch) = tokio::time::timeout(grace, stream.next()).await {
            return self.accept(batch?);
        }
        self.response.add_silence();
        let reason = format!(
            "the cluster does not send a record that it has; requesting it again in responses of \
             up to {} bytes",
            self.response.bytes
        );
        Err(Fault::Transient(reason).into())
    }

    fn is_full(&self) -> bool {
        self.limits.is_reached_by(&self.batch)
    }

    /// Returns true if a sent batch is not written yet. The writer sets the pace: while it is busy
    /// the next batch grows here, and when it is idle no batch waits for more records. A batch that
    /// waits in between would need as much memory and be written no sooner.
    fn is_writing(&self) -> bool {
        *self.written.borrow() < self.sent
    }

    /// Decodes pending records until the batch is full.
    fn fill(&mut self) {
        while !self.is_full() {
            let Some((record, time)) = self.pending.pop_front() else {
                return;
            };
            self.began.get_or_insert_with(Instant::now);
            self.batch.push(record, time);
        }
    }

    /// Sends all records without waiting for more.
    async fn send_all(&mut self) {
        loop {
            self.fill();
            self.began = None;
            if self.batch.is_empty() || self.batches.send(self.batch.take()).await.is_err() {
                return;
            }
            self.sent += 1;
        }
    }

    /// Returns the reason to log for a transient fault, else the error.
    fn classify(&self, fault: Fault, failing_for: Duration) -> Result<String, ReadError> {
        let offset = self.continuity.next;
        match fault {
            Fault::Transient(reason) => Ok(reason),
            Fault::SmartModule(code)
                if failing_for < self.limits.smartmodule_timeout && !refuses_parameters(&code) =>
            {
                Ok(code.to_string())
            }
            Fault::SmartModule(code) => Err(ReadError::SmartModule {
                offset,
                code: Box::new(code),
            }),
            Fault::Trapped(reason) => Err(ReadError::Trapped {
                from: offset,
                reason,
            }),
            Fault::TopicDeleted => Err(ReadError::TopicDeleted),
            Fault::Evicted { next_available } => Err(ReadError::Evicted {
                from: offset,
                to: next_available,
            }),
            Fault::BeyondEnd(message) => Err(ReadError::BeyondEnd { offset, message }),
        }
    }

    fn part(&self) -> String {
        part(self.partition.number)
    }

    fn warn(&self, reason: &str) {
        tracing::warn!(
            topic = self.partition.topic,
            partition = self.partition.number,
            offset = self.continuity.next,
            "reading from the topic: {reason}"
        );
    }
}

/// The name of the reading of a partition in the health report.
#[must_use]
pub fn part(number: u32) -> String {
    format!("topic, partition {number}")
}

/// A SmartModule that refuses its parameters does so again after any wait.
fn refuses_parameters(code: &ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::SmartModuleInitError(_) | ErrorCode::SmartModuleChainInitError(_)
    )
}

/// The size of the responses to request. It grows for a batch that exceeds it, and begins again
/// after the batch: an open stream keeps its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ResponseSize {
    bytes: i32,
    /// A stream of this size did not send a record that the cluster has.
    was_silent: bool,
}

impl ResponseSize {
    fn new(bytes: i32) -> Self {
        Self {
            bytes,
            was_silent: false,
        }
    }

    /// Grows if the stream before this one was silent, too: a connection can go silent by itself.
    fn add_silence(&mut self) {
        if self.was_silent {
            self.grow();
        } else {
            self.was_silent = true;
        }
    }

    /// Returns false at the limit.
    fn grow(&mut self) -> bool {
        let larger = self.bytes.saturating_mul(RESPONSE_GROWTH);
        let larger = larger.min(MAX_RESPONSE);
        let grows = larger > self.bytes;
        *self = Self::new(larger);
        grows
    }
}

/// Checks that each batch from the cluster follows the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Continuity {
    /// The offset that must come next.
    next: i64,
}

/// The position of a batch relative to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It follows. Its first `known` records were read before: a stream starts with the batch that
    /// holds the requested offset.
    Follows { known: usize },
    /// Records before it are missing, the first one at `from`.
    Gap { from: i64 },
    /// It holds more records than offsets, so no record's offset is known.
    Multiplied,
}

impl Continuity {
    /// Checks a batch at the offset `base` that covers `offsets` offsets and holds `records`
    /// records.
    ///
    /// A batch with too few records is accepted; the batch after it shows the gap. After a gap
    /// nothing of the batch may be used.
    fn accept(&mut self, base: i64, offsets: usize, records: usize) -> Step {
        if base > self.next {
            return Step::Gap { from: self.next };
        }
        if records > offsets {
            return Step::Multiplied;
        }
        let known = usize::try_from(self.next.saturating_sub(base))
            .unwrap_or(usize::MAX)
            .min(records);
        let end = base.saturating_add(i64::try_from(records).unwrap_or(i64::MAX));
        self.next = self.next.max(end);
        Step::Follows { known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_batch_may_hold_records_that_were_read_before() {
        let mut continuity = Continuity { next: 296 };
        assert_eq!(continuity.accept(290, 10, 10), Step::Follows { known: 6 });
        assert_eq!(continuity.accept(300, 5, 5), Step::Follows { known: 0 });
        assert_eq!(continuity.next, 305);
        assert_eq!(
            continuity.accept(300, 5, 5),
            Step::Follows { known: 5 },
            "a batch that comes twice is skipped entirely"
        );
        assert_eq!(continuity.next, 305);
    }

    #[test]
    fn missing_records_show_in_the_batch_after_them() {
        let mut continuity = Continuity { next: 0 };
        let cut = continuity.accept(0, 100, 60);
        assert_eq!(cut, Step::Follows { known: 0 });
        assert_eq!(continuity.accept(100, 100, 100), Step::Gap { from: 60 });
        assert_eq!(continuity.next, 60, "a batch behind a gap must not count");
        assert_eq!(continuity.accept(0, 100, 100), Step::Follows { known: 60 });
        assert_eq!(continuity.next, 100);
    }

    #[test]
    fn responses_grow_only_if_two_streams_in_a_row_are_silent() {
        let first = ResponseSize::new(16 << 20);
        let mut size = first;
        size.add_silence();
        assert_eq!(size.bytes, 16 << 20, "a connection that went silent");
        size.add_silence();
        assert_eq!(size, ResponseSize::new(64 << 20));
        for _ in 0..20 {
            size.add_silence();
        }
        assert_eq!(size.bytes, MAX_RESPONSE, "and it goes on");
        assert!(!size.grow(), "a gap ends the reading here");
    }

    #[test]
    fn more_records_than_offsets_are_refused() {
        let mut continuity = Continuity { next: 0 };
        assert_eq!(continuity.accept(0, 60, 300), Step::Multiplied);
    }
}
