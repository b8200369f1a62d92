//! Batches: consecutive records of a partition, decoded, to be written in one transaction.

use std::ops::Range;

use bytes::Bytes;
use chrono::Utc;
use fact_model::Envelope;
use serde::de::Error as _;
use sink_common::ReadBatch;

use crate::dimension::{Dimension, Seen};
use crate::error::Error;
use crate::rejected::{NOT_AN_ENVELOPE, REFUSED_BY_POSTGRES, Rejected, SET_ASIDE};
use crate::removed_items::Versions;
use crate::rows::{OnConflict, Rows};
use crate::source::Record;

/// An event may be dated this far ahead of this machine's clock before its time counts as wrong.
const CLOCK_SKEW_MICROS: i64 = 24 * 3600 * 1_000_000;

/// Consecutive records and their rows.
///
/// The batch keeps the records: when PostgreSQL refuses a row, parts of the batch are decoded again
/// until the event is found.
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
    /// Empty unless the newer version of an event wins.
    pub(crate) versions: Versions,
    /// True if an event that is stored in a newer version changes nothing.
    keeps_newer: bool,
    pub(crate) nuls_removed: u64,
    /// The number of records that are not envelopes.
    unreadable: usize,
    /// True if the cluster can't transform its last stored batch, so that a stream that begins at
    /// its last record fails.
    pub(crate) ends_untransformed: bool,
}

impl Batch {
    /// An empty batch for the records from the offset `after` on, which is the committed offset.
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
            keeps_newer: false,
            nuls_removed: 0,
            unreadable: 0,
            ends_untransformed: false,
        }
    }

    /// A batch of `records`.
    pub fn of(after: i64, records: impl IntoIterator<Item = Record>) -> Self {
        Self::after(after).with(records)
    }

    /// The same batch with another policy for facts that exist already.
    #[must_use]
    pub fn on_conflict(self, on_conflict: OnConflict) -> Self {
        Self {
            on_conflict,
            keeps_newer: on_conflict == OnConflict::Update,
            ..self
        }
    }

    /// The same batch, of which an event that is stored in a newer version changes nothing.
    #[must_use]
    pub(crate) fn keeping_newer(self) -> Self {
        Self {
            keeps_newer: true,
            ..self
        }
    }

    /// An empty batch that follows this one.
    #[must_use]
    pub fn next(&self) -> Self {
        Self {
            rows: Rows::with_capacity_of(&self.rows),
            ..Self::after(self.next).on_conflict(self.on_conflict)
        }
    }

    fn with(mut self, records: impl IntoIterator<Item = Record>) -> Self {
        records.into_iter().for_each(|record| self.push(record));
        self
    }

    /// The committed offset that this batch can follow.
    #[must_use]
    pub fn follows(&self) -> i64 {
        self.after
    }

    /// The offset to commit with this batch: that of the first record behind it.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.next
    }

    /// Returns true if it has no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The number of records.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.records.len()
    }

    /// Returns true if none of its records is an envelope: the SmartModule is another one.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        !self.is_empty() && self.unreadable == self.record_count()
    }

    /// The number of rows: facts and rejected events.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.rows.len() + self.rejected.len()
    }

    /// The size of the records' values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The ids of the SQS messages in the records' keys.
    pub fn message_ids(&self) -> impl Iterator<Item = &str> {
        let messages = self.records.iter().filter_map(Record::message);
        messages.map(|message| message.id)
    }

    /// The record of the first rejected event, and the reason.
    #[must_use]
    pub fn first_rejected(&self) -> Option<(&Record, &str)> {
        let rejected = self.rejected.first()?;
        let mut records = self.records.iter();
        let record = records.find(|record| record.offset == rejected.offset())?;
        Some((record, rejected.reason()))
    }

    /// The trace context of the record at `index`, for the log.
    #[must_use]
    pub fn trace(&self, index: usize) -> Option<&str> {
        self.records.get(index)?.message()?.trace
    }

    /// The offsets and keys of the records with a trace context.
    pub fn traced(&self) -> impl Iterator<Item = (i64, Bytes)> {
        self.records.iter().filter_map(|record| {
            record.message()?.trace?;
            Some((record.offset, record.key.clone()?))
        })
    }

    /// Decodes and adds the next record.
    pub fn push(&mut self, record: Record) {
        match decode(&record.value) {
            Ok(envelope) => {
                self.add_facts(&envelope, &record);
                for (ordinal, rejection) in (0..).zip(&envelope.rejected) {
                    let rejected = Rejected::of_event(rejection, &record, ordinal);
                    self.rejected.push(rejected);
                }
            }
            Err(error) => {
                self.unreadable += 1;
                let detail = format!(
                    "the record is not an envelope of the SmartModule flatten-items: {error}"
                );
                self.reject(&record, NOT_AN_ENVELOPE, detail, 0);
            }
        }
        self.push_record(record);
    }

    /// Adds the next record as a rejected event. Its value is as it is in the topic.
    pub fn set_aside(&mut self, record: Record, detail: String) {
        self.ends_untransformed = true;
        self.reject(&record, SET_ASIDE, detail, 0);
        self.push_record(record);
    }

    /// Adds the facts of a record that is decoded already, without its rejected events.
    pub(crate) fn push_facts(&mut self, envelope: &Envelope<'_>, record: Record) {
        self.add_facts(envelope, &record);
        self.push_record(record);
    }

    /// Completes the batch: sorts its facts and drops duplicates among them.
    #[must_use]
    pub fn finish(mut self) -> Self {
        self.rows.finish(self.on_conflict);
        self
    }

    /// Two halves, to be written one after the other; `None` for a single record.
    #[must_use]
    pub fn halves(&self) -> Option<(Self, Self)> {
        let middle = self.record_count() / 2;
        (middle > 0).then(|| (self.part(0..middle), self.part(middle..self.record_count())))
    }

    /// A batch of the records at these indexes.
    pub(crate) fn part(&self, indexes: Range<usize>) -> Self {
        let (after, next) = (self.start(indexes.start), self.start(indexes.end));
        let records = self.records.get(indexes).unwrap_or_default();
        let mut part = Self::after(after).on_conflict(self.on_conflict);
        for record in records {
            part.push_again(self, record);
        }
        part.next = next;
        part.ends_untransformed = self.ends_untransformed;
        part.finish()
    }

    /// The offset that the record at `index` follows. The first one may follow a gap.
    fn start(&self, index: usize) -> i64 {
        match self.records.get(index) {
            Some(_) if index == 0 => self.after,
            Some(record) => record.offset,
            None => self.next,
        }
    }

    /// The records that were tried, without the facts of those that PostgreSQL refuses: they are
    /// rejected, each for its reason. Rejections by the SmartModule stay. The second batch has the
    /// records that were not tried, if there are any.
    #[must_use]
    pub fn reject_refused(&self, refused: &Refused) -> (Self, Option<Self>) {
        let (count, tried) = (self.record_count(), refused.tried);
        let mut causes = refused.records.iter().peekable();
        let mut part = Self::after(self.after).on_conflict(self.on_conflict);
        for (index, record) in self.records.iter().take(tried).enumerate() {
            match causes.next_if(|refused| refused.index == index) {
                Some(refused) => {
                    let rejections = self.rejections(record.offset);
                    part.refuse(record, &refused.detail, rejections);
                }
                None => part.push_again(self, record),
            }
        }
        part.next = self.start(tried);
        part.ends_untransformed = self.ends_untransformed;
        let rest = (tried < count).then(|| self.part(tried..count));
        (part.finish(), rest)
    }

    /// The rejected events of the record at `offset`.
    fn rejections(&self, offset: i64) -> &[Rejected] {
        let start = self.rejected.partition_point(|row| row.offset() < offset);
        let end = self.rejected.partition_point(|row| row.offset() <= offset);
        self.rejected.get(start..end).unwrap_or_default()
    }

    /// Adds a record of `batch` again, set aside if it was.
    fn push_again(&mut self, batch: &Self, record: &Record) {
        match batch.rejections(record.offset) {
            [rejected] if rejected.reason() == SET_ASIDE => {
                self.rejected.push(rejected.clone());
                self.push_record(record.clone());
            }
            _ => self.push(record.clone()),
        }
    }

    fn refuse(&mut self, record: &Record, detail: &str, rejections: &[Rejected]) {
        self.rejected.extend_from_slice(rejections);
        let ordinal = i32::try_from(rejections.len()).unwrap_or(i32::MAX);
        let detail = format!("PostgreSQL refuses the event: {detail}");
        self.reject(record, REFUSED_BY_POSTGRES, detail, ordinal);
        self.push_record(record.clone());
    }

    fn push_record(&mut self, record: Record) {
        self.next = record.offset.saturating_add(1);
        self.bytes += record.value.len();
        self.records.push(record);
    }

    fn add_facts(&mut self, envelope: &Envelope<'_>, record: &Record) {
        let horizon = Utc::now()
            .timestamp_micros()
            .saturating_add(CLOCK_SKEW_MICROS);
        self.nuls_removed += u64::from(envelope.nuls_removed);
        let version = record.version();
        let sent_at = record.sent_at();
        let sent_micros = sent_at.map(|sent_at| sent_at.timestamp_micros());
        self.rows.begin_record(version, sent_micros);
        for fact in &envelope.facts {
            let seen = Seen::at(fact.event_time.timestamp_micros(), horizon);
            let product = self.products.add_product(fact, seen);
            let list = self.lists.add_list(fact, seen);
            self.rows.push(fact, record.offset, product, list);
        }
        if self.keeps_newer {
            self.versions.add(envelope, version, sent_at, record.offset);
        }
    }

    fn reject(&mut self, record: &Record, reason: &str, detail: String, ordinal: i32) {
        let rejected = Rejected::of_record(reason, detail, record, ordinal);
        self.rejected.push(rejected);
    }
}

impl ReadBatch for Batch {
    fn push(&mut self, record: Record, _time: Option<i64>) {
        self.push(record);
    }

    fn take(&mut self) -> Self {
        let next = self.next();
        std::mem::replace(self, next).finish()
    }

    fn next_offset(&self) -> i64 {
        self.next_offset()
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn row_count(&self) -> usize {
        self.row_count()
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }
}

/// Validates UTF-8 once for the whole value, which takes less time than for each text.
fn decode(value: &[u8]) -> Result<Envelope<'_>, serde_json::Error> {
    let text = std::str::from_utf8(value).map_err(serde_json::Error::custom)?;
    serde_json::from_str(text)
}

/// A record that PostgreSQL refuses.
#[derive(Debug)]
pub struct RefusedRecord {
    /// Its index in the batch.
    pub index: usize,
    /// PostgreSQL's message, with the values of the row.
    pub(crate) detail: String,
    /// The message for a log, without them.
    pub reason: String,
}

/// The refused records of a batch.
#[derive(Debug, Default)]
pub struct Refused {
    /// Each of them, in order.
    pub records: Vec<RefusedRecord>,
    /// The number of records that were tried.
    pub tried: usize,
}

impl RefusedRecord {
    pub(crate) fn new(index: usize, error: &Error) -> Self {
        Self {
            index,
            detail: error.detailed(),
            reason: error.chain(),
        }
    }
}

impl Refused {
    /// The only record of a batch, refused with `error`.
    #[must_use]
    pub fn only(error: &Error) -> Self {
        Self {
            records: vec![RefusedRecord::new(0, error)],
            tried: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use fact_model::flatten;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::checks::copied_rows;

    const BODY: &[u8] = include_bytes!("../../../smartmodules/fuzz/corpus/body/event");

    fn envelope() -> Vec<u8> {
        serde_json::to_vec(&flatten(BODY)).unwrap()
    }

    #[test]
    fn a_record_that_was_set_aside_stays_so_in_a_part() {
        let record = |offset| Record {
            offset,
            key: None,
            value: envelope().into(),
        };
        let mut batch = Batch::after(7);
        batch.push(record(7));
        batch.set_aside(record(8), "named".to_owned());
        let (first, second) = batch.finish().halves().unwrap();
        assert!(first.first_rejected().is_none());
        let (rejected, reason) = second.first_rejected().unwrap();
        assert_eq!((rejected.offset, reason), (8, SET_ASIDE));
        assert!(second.rows.is_empty() && second.ends_untransformed);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn an_envelope_that_is_changed_anywhere_makes_whole_rows_or_is_rejected(
            at in any::<Index>(),
            removed in 0..40_usize,
            inserted in prop_oneof![
                any::<Vec<u8>>(),
                r#"[\[\]{}",:0-9.eE\\ntrulfasd-]{0,12}"#.prop_map(String::into_bytes),
            ],
        ) {
            let mut value = envelope();
            let at = at.index(value.len());
            let end = value.len().min(at + removed);
            drop(value.splice(at..end, inserted));
            let records = (7..).zip([value, envelope()]).map(|(offset, value)| Record {
                offset,
                key: None,
                value: value.into(),
            });
            let batch = Batch::of(7, records).finish();
            prop_assert_eq!((batch.record_count(), batch.next_offset()), (2, 9));
            prop_assert!(batch.rows.len() >= 2, "the facts of the second one");
            prop_assert_eq!(copied_rows(&batch), batch.rows.len());
            let rejected = batch.first_rejected().map(|(_, reason)| reason);
            let is_rejected = rejected == Some(NOT_AN_ENVELOPE);
            prop_assert_eq!(batch.unreadable, usize::from(is_rejected));
        }
    }
}
