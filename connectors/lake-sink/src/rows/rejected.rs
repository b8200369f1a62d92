//! Rejected events as rows of [`crate::schema::REJECTIONS`].

use chrono::Utc;
use connector_common::keys;
use fact_model::Rejection;
use sink_common::Record;

use super::{Row, RowBuilder, Source};

/// The reason for a record that is not an envelope: the SmartModule did not process it.
pub const NOT_AN_ENVELOPE: &str = "not-an-envelope";

/// Adds the rejection number `ordinal` in `record`.
pub fn push(
    rows: &mut RowBuilder,
    rejection: &Rejection<'_>,
    record: &Record,
    source: &Source,
    ordinal: i32,
) {
    let mut row = rows.row();
    row.time(Some(Utc::now().timestamp_micros()));
    row.text(Some(&rejection.reason));
    row.text(Some(&rejection.detail));
    row.text(Some(&rejection.at));
    row.text(Some(&rejection.raw));
    row.text(rejection.raw_encoding.as_ref().map(|_| "base64"));
    end(row, record, source, ordinal);
}

/// Adds a whole record that the sink rejects.
pub fn push_record(
    rows: &mut RowBuilder,
    reason: &str,
    detail: &str,
    record: &Record,
    source: &Source,
) {
    let mut row = rows.row();
    row.time(Some(Utc::now().timestamp_micros()));
    row.text(Some(reason));
    row.text(Some(detail));
    row.text(Some("$"));
    row.bytes(Some(&record.value));
    end(row, record, source, 0);
}

fn end(mut row: Row<'_>, record: &Record, source: &Source, ordinal: i32) {
    row.int(Some(ordinal));
    row.text(record.key.as_deref().and_then(keys::stored));
    row.source(source, record.offset);
}
