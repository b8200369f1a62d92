//! Records as rows of [`crate::schema::RAW`].

use sink_common::Record;

use super::{RowBuilder, Source};

/// Adds a record that the topic received at `millis` since the Unix epoch.
pub fn push(rows: &mut RowBuilder, record: &Record, source: &Source, millis: i64) {
    let mut row = rows.row();
    row.time(Some(millis.saturating_mul(1000)));
    row.bytes(record.key.as_deref());
    row.bytes(Some(&record.value));
    row.source(source, record.offset);
}
