//! Rejected events: kept in `rejected_events` with their payload and the reason.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connector_common::keys;
use fact_model::Rejection;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Context, Error};
use crate::source::Record;
use crate::transaction::Transaction;

/// The reason for a record that is not an envelope: the SmartModule did not process it.
pub const NOT_AN_ENVELOPE: &str = "not-an-envelope";
/// The reason for an event that PostgreSQL can't store.
pub const REFUSED_BY_POSTGRES: &str = "refused-by-postgres";

/// The reason for a record that an operator had set aside, since the cluster can't transform it.
pub const SET_ASIDE: &str = "set-aside";

const INSERT: &str = "\
    INSERT INTO rejected_events \
        (source_topic, source_partition, reason, detail, at_path, raw, raw_encoding, raw_hash, \
         source_offset, source_key, ordinal) \
    SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], \
                                 $8::uuid[], $9::bigint[], $10::text[], $11::int[]) \
    ON CONFLICT DO NOTHING RETURNING source_offset";

/// A row of `rejected_events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    reason: String,
    detail: String,
    at: String,
    raw: String,
    is_base64: bool,
    offset: i64,
    key: Option<String>,
    ordinal: i32,
}

impl Rejected {
    /// The rejection number `ordinal` by the SmartModule in `record`.
    pub(crate) fn of_event(rejection: &Rejection<'_>, record: &Record, ordinal: i32) -> Self {
        let text = |text: &str| text.replace('\0', "\u{fffd}");
        let (raw, is_base64) = match rejection.raw_encoding {
            Some(_) => (text(&rejection.raw), true),
            None => printable(rejection.raw.as_bytes()),
        };
        Self {
            reason: text(&rejection.reason),
            detail: text(&rejection.detail),
            at: text(&rejection.at),
            raw,
            is_base64,
            offset: record.offset,
            key: key_of(record),
            ordinal,
        }
    }

    /// A whole record that the sink rejects.
    pub(crate) fn of_record(reason: &str, detail: String, record: &Record, ordinal: i32) -> Self {
        let (raw, is_base64) = printable(&record.value);
        let detail = detail.replace('\0', "\u{fffd}");
        Self {
            reason: reason.to_owned(),
            detail,
            at: "$".to_owned(),
            raw,
            is_base64,
            offset: record.offset,
            key: key_of(record),
            ordinal,
        }
    }

    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// The offset of its record.
    pub(crate) fn offset(&self) -> i64 {
        self.offset
    }

    /// The identity of the message in the column `source_key`.
    fn source_key(&self, partition: i32) -> String {
        let position = || format!("{partition}:{}", self.offset);
        self.key.clone().unwrap_or_else(position)
    }
}

/// The record's key if the unique index can hold it, an entry of which has up to 2,700 bytes: text,
/// and no longer than the source's keys are.
fn key_of(record: &Record) -> Option<String> {
    keys::stored(record.key.as_deref()?).map(str::to_owned)
}

/// The payload in a form that PostgreSQL can store, and true if that is base64.
fn printable(raw: &[u8]) -> (String, bool) {
    match std::str::from_utf8(raw) {
        Ok(text) if !text.contains('\0') => (text.to_owned(), false),
        _ => (STANDARD.encode(raw), true),
    }
}

/// Inserts `rejected`, which is in the order of offsets, and returns the offset of each new one.
pub(crate) async fn insert(
    transaction: &Transaction<'_>,
    topic: &str,
    partition: i32,
    rejected: &[Rejected],
) -> Result<Vec<i64>, Error> {
    let column = |value: fn(&Rejected) -> &str| rejected.iter().map(value).collect::<Vec<&str>>();
    let encodings: Vec<Option<&str>> = rejected
        .iter()
        .map(|row| row.is_base64.then_some("base64"))
        .collect();
    let hashes: Vec<Uuid> = rejected
        .iter()
        .map(|row| Uuid::from_u128(xxh3_128(row.raw.as_bytes())))
        .collect();
    let offsets: Vec<i64> = rejected.iter().map(|row| row.offset).collect();
    let keys: Vec<String> = rejected
        .iter()
        .map(|row| row.source_key(partition))
        .collect();
    let ordinals: Vec<i32> = rejected.iter().map(|row| row.ordinal).collect();
    let new = transaction
        .query(
            INSERT,
            &[
                &topic,
                &partition,
                &column(|row| &row.reason),
                &column(|row| &row.detail),
                &column(|row| &row.at),
                &column(|row| &row.raw),
                &encodings,
                &hashes,
                &offsets,
                &keys,
                &ordinals,
            ],
        )
        .await
        .context("cannot insert rejected events")?;
    Ok(new.iter().map(|row| row.get(0)).collect())
}
