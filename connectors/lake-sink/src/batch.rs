//! Batches: consecutive records of a partition as rows of the tables.

use arrow_array::ArrayRef;
use chrono::Utc;
use connector_common::keys::Key;
use fact_model::Envelope;
use serde::Deserialize;
use serde::de::Error as _;
use sink_common::{LastRecord, ReadBatch, Record};

use crate::rows::{self, RowBuilder, Source, facts, raw, rejected};
use crate::schema::{Definition, FACTS, RAW, REJECTIONS};

/// What the sink writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// A row for each item of each event, and rejected events in a table of their own.
    #[default]
    Facts,
    /// A row for each record, as it is.
    Raw,
}

impl Content {
    /// The table of its rows.
    #[must_use]
    pub fn definition(self) -> &'static Definition {
        match self {
            Self::Facts => &FACTS,
            Self::Raw => &RAW,
        }
    }
}

/// Consecutive records and their rows.
#[derive(Debug)]
pub struct LakeBatch {
    content: Content,
    source: Source,
    /// The offset that the batch follows.
    pub from: i64,
    /// The offset of the first record behind it.
    pub next: i64,
    /// The last record.
    pub last: Option<LastRecord>,
    rows: RowBuilder,
    rejected: RowBuilder,
    /// The offset of each rejected row.
    rejected_offsets: Vec<i64>,
    /// The number of records.
    pub records: usize,
    /// The bytes of their values.
    pub bytes: usize,
    /// The number of records that are not envelopes.
    pub unreadable: usize,
    /// The ids of the records' messages.
    pub ids: Vec<String>,
}

impl LakeBatch {
    /// An empty batch for the records from the offset `from` on.
    #[must_use]
    pub fn after(from: i64, content: Content, source: Source) -> Self {
        Self {
            content,
            source,
            from,
            next: from,
            last: None,
            rows: RowBuilder::new(content.definition()),
            rejected: RowBuilder::new(&REJECTIONS),
            rejected_offsets: Vec::new(),
            records: 0,
            bytes: 0,
            unreadable: 0,
            ids: Vec::new(),
        }
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.source.partition
    }

    /// The columns of the rows.
    pub fn rows(&mut self) -> Vec<ArrayRef> {
        self.rows.finish()
    }

    /// The columns of the rejected rows of records from the offset `from` on.
    pub fn rejected(&mut self, from: i64) -> Vec<ArrayRef> {
        let first = self
            .rejected_offsets
            .partition_point(|offset| *offset < from);
        rows::rows_from(&self.rejected.finish(), first)
    }

    fn push_envelope(&mut self, record: &Record) {
        match decode(&record.value) {
            Ok(envelope) => {
                let (version, sent_at) = (record.version(), record.sent_at());
                let offset = record.offset;
                for fact in &envelope.facts {
                    facts::push(&mut self.rows, fact, &self.source, offset, version, sent_at);
                }
                for (ordinal, rejection) in (0..).zip(&envelope.rejected) {
                    let rows = &mut self.rejected;
                    rejected::push(rows, rejection, record, &self.source, ordinal);
                    self.rejected_offsets.push(record.offset);
                }
            }
            Err(error) => {
                self.unreadable += 1;
                let reason = rejected::NOT_AN_ENVELOPE;
                let detail = format!(
                    "the record is not an envelope of the SmartModule flatten-items: {error}"
                );
                let rows = &mut self.rejected;
                rejected::push_record(rows, reason, &detail, record, &self.source);
                self.rejected_offsets.push(record.offset);
            }
        }
    }
}

impl ReadBatch for LakeBatch {
    fn push(&mut self, record: Record, time: Option<i64>) {
        match self.content {
            Content::Facts => self.push_envelope(&record),
            Content::Raw => {
                let sent = || {
                    let key = Key::parse(record.key.as_deref()?)?;
                    i64::try_from(key.sent.millis?).ok()
                };
                let millis = time.or_else(sent);
                let millis = millis.unwrap_or_else(|| Utc::now().timestamp_millis());
                raw::push(&mut self.rows, &record, &self.source, millis);
            }
        }
        self.ids
            .extend(record.message().map(|key| key.id.to_owned()));
        self.next = record.offset.saturating_add(1);
        self.last = LastRecord::of(&record);
        self.records += 1;
        self.bytes += record.value.len();
    }

    fn take(&mut self) -> Self {
        let next = Self::after(self.next, self.content, self.source.clone());
        std::mem::replace(self, next)
    }

    fn next_offset(&self) -> i64 {
        self.next
    }

    fn is_empty(&self) -> bool {
        self.records == 0
    }

    fn row_count(&self) -> usize {
        self.rows.len() + self.rejected.len()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

fn decode(value: &[u8]) -> Result<Envelope<'_>, serde_json::Error> {
    let text = std::str::from_utf8(value).map_err(serde_json::Error::custom)?;
    serde_json::from_str(text)
}
