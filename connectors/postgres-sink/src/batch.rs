//! A batch: consecutive records of one partition, decoded, ready to be written in one transaction.

use bytes::Bytes;
use chrono::Utc;
use connector_common::metrics::Volume;
use fact_model::Envelope;
use serde::de::Error as _;

use crate::config::OnConflict;
use crate::dimension::{Dimension, Seen};
use crate::rejected::{NOT_AN_ENVELOPE, REFUSED_BY_POSTGRES, Rejected};
use crate::rows::Rows;
use crate::vanished::Versions;

/// How far ahead of this machine's clock an event may be dated before its clock is not believed.
const CLOCK_SKEW_MICROS: i64 = 24 * 3600 * 1_000_000;

/// A record as it was read.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its key: the id of the SQS message.
    pub key: Option<Bytes>,
    /// Its value: an envelope, if it came through the SmartModule.
    pub value: Bytes,
}

/// Consecutive records and what came of them.
///
/// The records stay beside their rows: when PostgreSQL refuses something, the batch is halved and
/// decoded again until the event is found.
#[derive(Debug)]
pub struct Batch {
    after: i64,
    next: i64,
    pub(crate) records: Vec<Record>,
    bytes: usize,
    pub(crate) on_conflict: OnConflict,
    pub(crate) rows: Rows,
    pub(crate) products: Dimension,
    pub(crate) lists: Dimension,
    pub(crate) rejected: Vec<Rejected>,
    /// Empty unless facts are replaced.
    pub(crate) versions: Versions,
    pub(crate) nuls_removed: u64,
}

impl Batch {
    /// A batch that follows what is written up to (not including) the offset `after`.
    #[must_use]
    pub fn after(after: i64) -> Self {
        Self {
            after,
            next: after,
            records: Vec::new(),
            bytes: 0,
            on_conflict: OnConflict::default(),
            rows: Rows::default(),
            products: Dimension::of_products(),
            lists: Dimension::of_lists(),
            rejected: Vec::new(),
            versions: Versions::default(),
            nuls_removed: 0,
        }
    }

    /// The same for `records`.
    pub fn of(after: i64, records: impl IntoIterator<Item = Record>) -> Self {
        Self::after(after).with(records)
    }

    /// The same with another answer to what becomes of facts that are there already.
    #[must_use]
    pub fn on_conflict(self, on_conflict: OnConflict) -> Self {
        Self {
            on_conflict,
            ..self
        }
    }

    /// An empty one that follows this one.
    #[must_use]
    pub fn next(&self) -> Self {
        Self {
            rows: Rows::as_large_as(&self.rows),
            ..Self::after(self.next).on_conflict(self.on_conflict)
        }
    }

    fn with(mut self, records: impl IntoIterator<Item = Record>) -> Self {
        records.into_iter().for_each(|record| self.push(record));
        self
    }

    /// The offset that must be stored before this batch can be written.
    #[must_use]
    pub fn follows(&self) -> i64 {
        self.after
    }

    /// The offset to store with this batch: that of the first record behind it.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.next
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The records, and the size of their values.
    #[must_use]
    pub fn volume(&self) -> Volume {
        Volume {
            records: self.records.len() as u64,
            bytes: self.bytes as u64,
        }
    }

    /// The number of rows: facts and rejections.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.rows.len() + self.rejected.len()
    }

    /// The size of the records' values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the record that follows.
    pub fn push(&mut self, record: Record) {
        match envelope(&record.value) {
            Ok(envelope) => self.take(&envelope, &record),
            Err(error) => self.set_aside(
                &record,
                NOT_AN_ENVELOPE,
                format!("the record is not what the SmartModule flatten-items puts out: {error}"),
                0,
            ),
        }
        self.keep(record);
    }

    /// Adds what came of a record.
    pub(crate) fn add(&mut self, envelope: &Envelope<'_>, record: Record) {
        self.take(envelope, &record);
        self.keep(record);
    }

    /// Ends the batch: brings its facts into order, drops those that are equal, and adds up the rest.
    #[must_use]
    pub fn finish(mut self) -> Self {
        self.rows.finish(self.on_conflict);
        self
    }

    /// Two halves, to be written one after the other; `None` for a single record.
    #[must_use]
    pub fn halves(&self) -> Option<(Self, Self)> {
        let (left, right) = self.records.split_at_checked(self.records.len() / 2)?;
        let middle = right.first()?.offset;
        if left.is_empty() {
            return None;
        }
        let half = |after, records: &[Record]| {
            Self::after(after)
                .on_conflict(self.on_conflict)
                .with(records.iter().cloned())
        };
        let left = half(self.after, left);
        let mut right = half(middle, right);
        right.next = self.next;
        Some((
            Self {
                next: middle,
                ..left
            }
            .finish(),
            right.finish(),
        ))
    }

    /// The same records with none of their facts: set aside, because PostgreSQL refuses them for
    /// `why`. What the SmartModule has rejected itself stays.
    #[must_use]
    pub fn refused(&self, why: &str) -> Self {
        let mut refused = Self::after(self.after);
        refused.rejected.clone_from(&self.rejected);
        for record in &self.records {
            let ordinal = self
                .rejected
                .iter()
                .filter(|row| row.is_of(record.offset))
                .count();
            let ordinal = i32::try_from(ordinal).unwrap_or(i32::MAX);
            refused.set_aside(
                record,
                REFUSED_BY_POSTGRES,
                format!("PostgreSQL refuses the event: {why}"),
                ordinal,
            );
            refused.keep(record.clone());
        }
        refused.next = self.next;
        refused
    }

    fn keep(&mut self, record: Record) {
        self.next = record.offset.saturating_add(1);
        self.bytes += record.value.len();
        self.records.push(record);
    }

    fn take(&mut self, envelope: &Envelope<'_>, record: &Record) {
        let horizon = Utc::now()
            .timestamp_micros()
            .saturating_add(CLOCK_SKEW_MICROS);
        self.nuls_removed += u64::from(envelope.nuls_removed);
        for fact in &envelope.facts {
            let seen = Seen::at(fact.event_time.timestamp_micros(), horizon);
            let product = self.products.note_product(fact, seen);
            let list = self.lists.note_list(fact, seen);
            self.rows.push(fact, record.offset, product, list);
        }
        if self.on_conflict == OnConflict::Update {
            self.versions.note(envelope, record.offset);
        }
        for (ordinal, rejection) in (0..).zip(&envelope.rejected) {
            self.rejected
                .push(Rejected::of_event(rejection, record, ordinal));
        }
    }

    fn set_aside(&mut self, record: &Record, reason: &str, detail: String, ordinal: i32) {
        self.rejected
            .push(Rejected::of_record(reason, detail, record, ordinal));
    }
}

/// To check that all is UTF-8 once takes less time than to do so for each text.
fn envelope(value: &[u8]) -> Result<Envelope<'_>, serde_json::Error> {
    let text = std::str::from_utf8(value).map_err(serde_json::Error::custom)?;
    serde_json::from_str(text)
}
