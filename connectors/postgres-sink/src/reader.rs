//! From the topic to batches: every record once and in order, or an error that says which is missing.

mod error;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use connector_common::{Health, Stop};
use fluvio::dataplane::record::Batch as SentBatch;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub use self::error::ReadError;
use self::error::Trouble;
use crate::backoff::Backoff;
use crate::batch::{Batch, Record};
use crate::config::OnConflict;
use crate::continuity::{Break, Continuity};
use crate::partition::{Open, Partition};
use crate::room::Room;

/// A stream that brings nothing for this long is looked at: is there really nothing? Then less and
/// less often, up to the second.
const IDLE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];
/// How long a record that the cluster holds may take to come: at first, and, doubled with each larger response, at
/// most. An SPU compiles the SmartModules for each stream anew, which takes long where it is short of CPU.
const GRACE: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];
/// A stream that was open for this long was in order, even if it brought nothing.
const HEALTHY: Duration = Duration::from_secs(10);
/// The largest response that is ever asked for.
const MAX_BYTES_LIMIT: i32 = 1 << 30;
const WIDER: i32 = 4;

/// How much is read, and what is waited for.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// How large a batch may get.
    pub(crate) room: Room,
    /// How long the first record waits for others while nothing is being written.
    pub(crate) delay: Duration,
    /// What becomes of facts that are there already.
    pub(crate) on_conflict: OnConflict,
    /// The size of the responses to ask the cluster for.
    pub(crate) max_bytes: i32,
    /// How long a SmartModule may be missing: a node that has just started, or has just been given
    /// it, knows it a moment later.
    pub(crate) patience: Duration,
}

/// Reads a partition from the offset that is stored for it.
pub(crate) struct Reader {
    partition: Partition,
    limits: Limits,
    health: Health,
    continuity: Continuity,
    pending: VecDeque<Record>,
    batch: Batch,
    /// When the first record of the batch came.
    began: Option<Instant>,
    batches: mpsc::Sender<Batch>,
    handed_on: u64,
    written: watch::Receiver<u64>,
    max_bytes: i32,
    grace: Duration,
}

/// What ends an open stream in good order.
enum End {
    /// Open it again.
    Reopen,
    /// The sink stops, or nobody takes the batches.
    Stop,
}

impl Reader {
    /// A reader from the offset `from` on. `written` counts the batches that are through.
    pub(crate) fn new(
        partition: Partition,
        from: i64,
        limits: Limits,
        health: Health,
        batches: mpsc::Sender<Batch>,
        written: watch::Receiver<u64>,
    ) -> Self {
        Self {
            partition,
            health,
            continuity: Continuity::from(from),
            pending: VecDeque::new(),
            batch: Batch::after(from).on_conflict(limits.on_conflict),
            began: None,
            batches,
            handed_on: 0,
            written,
            max_bytes: limits.room.response(limits.max_bytes),
            grace: GRACE[0],
            limits,
        }
    }

    /// Reads until the stop, through every error that can pass. What was read is handed on before
    /// this returns.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(crate) async fn read(mut self, stop: Stop) -> Result<(), ReadError> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        let mut failing_since = None;
        loop {
            let (before, opened) = (self.continuity.next(), Instant::now());
            let outcome = tokio::select! {
                outcome = self.read_stream() => outcome,
                () = stop.requested() => Ok(End::Stop),
            };
            self.hand_on_all().await;
            if self.continuity.next() > before || opened.elapsed() > HEALTHY {
                backoff.reset();
                failing_since = None;
            }
            let trouble = match outcome {
                Ok(End::Stop) => {
                    self.health.works(&self.part());
                    return Ok(());
                }
                Ok(End::Reopen) => continue,
                Err(Trouble::Error(error)) => return Err(error),
                Err(Trouble::Fault(fault)) => {
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    self.judge(fault, since.elapsed())?
                }
            };
            self.health.troubled(&self.part(), &trouble);
            if backoff.is_news() {
                self.warn(&trouble);
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = stop.requested() => return Ok(()),
            }
        }
    }

    async fn read_stream(&mut self) -> Result<End, Trouble> {
        let mut open = self
            .partition
            .open(self.continuity.next(), self.max_bytes)
            .await?;
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
                        permit.send(take(&mut self.batch));
                        self.handed_on += 1;
                        self.began = None;
                    }
                    Err(_) => return Ok(End::Stop),
                },
                batch = open.next(), if !is_full => {
                    if let Some(end) = self.accept(batch?)? {
                        return Ok(end);
                    }
                    idle = IDLE[0];
                }
                () = tokio::time::sleep_until(due.unwrap_or(now)), if waits => {}
                Ok(()) = self.written.changed(), if is_writing => {}
                () = tokio::time::sleep(idle), if self.began.is_none() => {
                    if self.is_stuck(&mut open).await? {
                        return Ok(End::Reopen);
                    }
                    idle = (idle * 2).min(IDLE[1]);
                }
            }
        }
    }

    /// Takes the records that are new in what the cluster sent.
    fn accept(&mut self, sent: SentBatch) -> Result<Option<End>, Trouble> {
        let base = sent.get_base_offset();
        let offsets = sent.records_len();
        let records = sent.own_records();
        match self.continuity.accept(base, offsets, records.len()) {
            Ok(seen) => {
                self.grace = GRACE[0];
                let records = (base..).zip(records).skip(seen);
                self.pending.extend(records.map(|(offset, record)| Record {
                    offset,
                    key: record.key.as_deref().cloned(),
                    value: Bytes::clone(&record.value),
                }));
                Ok(None)
            }
            Err(multiplied @ Break::Multiplied { .. }) => {
                Err(ReadError::Multiplied(multiplied).into())
            }
            Err(gap @ Break::Gap { .. }) => {
                if !self.widen() {
                    return Err(ReadError::Gap(gap).into());
                }
                self.warn(&format!(
                    "{gap}; asking for them again in responses of up to {} bytes",
                    self.max_bytes
                ));
                Ok(Some(End::Reopen))
            }
        }
    }

    /// Nothing has come for a while. Where the cluster holds a record all the same, its batch got
    /// larger than a response may be, or the stream hangs.
    async fn is_stuck(&mut self, open: &mut Open) -> Result<bool, Trouble> {
        let next = self.continuity.next();
        if !self.partition.holds(next).await? {
            return Ok(false);
        }
        // It may have arrived just now, or be on its way.
        let grace = if self.max_bytes < MAX_BYTES_LIMIT {
            self.grace
        } else {
            GRACE[1]
        };
        self.grace = (grace * 2).min(GRACE[1]);
        if let Ok(batch) = tokio::time::timeout(grace, open.next()).await {
            return Ok(self.accept(batch?)?.is_some());
        }
        if !self.widen() {
            return Err(ReadError::Withheld(next).into());
        }
        self.warn(&format!("the cluster does not hand out a record that it holds; asking for it in responses of up to {} bytes", self.max_bytes));
        Ok(true)
    }

    /// Asks for larger responses from now on: where one batch got so large, others will. `false` at the limit.
    fn widen(&mut self) -> bool {
        let wider = self.max_bytes.saturating_mul(WIDER).min(MAX_BYTES_LIMIT);
        let can = wider > self.max_bytes;
        self.max_bytes = wider;
        can
    }

    fn is_full(&self) -> bool {
        self.limits.room.is_filled_by(&self.batch)
    }

    /// Whether a batch that was handed on is not through yet. The database sets the pace: as long as it writes, the next batch
    /// stays here and grows, and when it has nothing to do, nobody waits for more. One that waits in between would take as
    /// much memory, and nothing would be written sooner.
    fn is_writing(&self) -> bool {
        *self.written.borrow() < self.handed_on
    }

    /// Decodes what is pending, as far as the batch has room.
    fn fill(&mut self) {
        while !self.is_full() {
            let Some(record) = self.pending.pop_front() else {
                return;
            };
            self.began.get_or_insert_with(Instant::now);
            self.batch.push(record);
        }
    }

    /// Hands on all that was read, without waiting for more.
    async fn hand_on_all(&mut self) {
        loop {
            self.fill();
            self.began = None;
            if self.batch.is_empty() || self.batches.send(take(&mut self.batch)).await.is_err() {
                return;
            }
            self.handed_on += 1;
        }
    }

    /// What health calls it.
    fn part(&self) -> String {
        part(self.partition.number)
    }

    fn warn(&self, trouble: &str) {
        tracing::warn!(
            topic = self.partition.topic,
            partition = self.partition.number,
            offset = self.continuity.next(),
            "reading from the topic: {trouble}"
        );
    }
}

/// Health's name for the reading of a partition.
pub(crate) fn part(number: u32) -> String {
    format!("topic, partition {number}")
}

/// Ends the batch, and begins the one behind it.
fn take(batch: &mut Batch) -> Batch {
    let next = batch.next();
    std::mem::replace(batch, next).finish()
}
