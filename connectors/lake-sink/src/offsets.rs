//! Committed offsets in the properties of a table.
//!
//! The same commit that adds the rows of records sets the offset behind them. The properties hold
//! it, since snapshots vanish when they expire, and other programs commit snapshots without it. The
//! summary of each snapshot has the offsets that it moved, for people.

use chrono::{DateTime, Utc};
use iceberg::table::Table;
use sink_common::LastRecord;

use crate::error::Offsets;

const OFFSET: &str = "etl.offset";
const LAST_RECORD: &str = "etl.last-record";
const CLUSTER: &str = "etl.cluster";

/// The property with the committed offset of a partition: the first record that is not in the
/// table.
#[must_use]
pub fn offset_property(topic: &str, partition: u32) -> String {
    format!("{OFFSET}.{topic}.{partition}")
}

/// The property with the last record before the offset.
#[must_use]
pub fn last_record_property(topic: &str, partition: u32) -> String {
    format!("{LAST_RECORD}.{topic}.{partition}")
}

/// The property with the cluster that the offsets belong to.
#[must_use]
pub fn cluster_property(topic: &str) -> String {
    format!("{CLUSTER}.{topic}")
}

/// The committed offsets of the topic's partitions.
#[must_use]
pub fn committed(table: &Table, topic: &str) -> Offsets {
    let prefix = format!("{OFFSET}.{topic}.");
    let properties = table.metadata().properties().iter();
    let offsets = properties.filter_map(|(key, value)| {
        // A topic's name may begin with that of another and a point.
        let partition = key.strip_prefix(&prefix)?.parse().ok()?;
        Some((partition, value.parse().ok()?))
    });
    offsets.collect()
}

/// The last record of a partition that was written; `None` if it has no key.
#[must_use]
pub fn last_record(table: &Table, topic: &str, partition: u32) -> Option<LastRecord> {
    let property = last_record_property(topic, partition);
    LastRecord::parse(table.metadata().properties().get(&property)?)
}

/// The time of the newest commit of a sink that reads the topic, which a compaction is not. `None`
/// if the table has no snapshot of one.
#[must_use]
pub fn last_commit(table: &Table, topic: &str) -> Option<DateTime<Utc>> {
    let prefix = format!("{OFFSET}.{topic}.");
    let commits = table.metadata().snapshots().filter(|snapshot| {
        let mut summary = snapshot.summary().additional_properties.keys();
        summary.any(|key| key.starts_with(&prefix))
    });
    let newest = commits.map(|snapshot| snapshot.timestamp_ms()).max();
    newest.and_then(DateTime::from_timestamp_millis)
}

/// The cluster of the offsets.
#[must_use]
pub fn cluster<'t>(table: &'t Table, topic: &str) -> Option<&'t str> {
    let cluster = table
        .metadata()
        .properties()
        .get(&cluster_property(topic))?;
    Some(cluster)
}
