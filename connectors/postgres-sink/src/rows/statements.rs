//! The statements that put facts into the table.

use std::sync::LazyLock;

use super::{COLUMNS, SOURCE_COLUMNS};

/// Starts a COPY of what `Rows::copy_data` yields.
pub(crate) static COPY: LazyLock<String> = LazyLock::new(|| {
    let columns: Vec<&str> = COLUMNS
        .iter()
        .map(|(name, _)| *name)
        .chain(SOURCE_COLUMNS)
        .collect();
    format!(
        "COPY fact_events ({}) FROM STDIN (FORMAT binary)",
        columns.join(", ")
    )
});

/// Opens hours: questions compute them from the facts until they are stored anew.
pub(crate) const NOTE_HOURS: &str =
    "INSERT INTO analytics.touched_hours (hour) SELECT unnest($1::timestamptz[])";

/// The places, from 0, of those facts that are in the table, of what `Rows::keys` returns. OFFSET 0 keeps the planner from
/// making a join of it, which would read the whole table.
pub(crate) const FIND_STORED: &str = "\
    SELECT coalesce(array_agg(new.place::int - 1), '{}') \
    FROM unnest($1::timestamptz[], $2::uuid[]) WITH ORDINALITY AS new (event_time, fact_hash, place) \
    WHERE EXISTS (SELECT FROM fact_events old WHERE old.event_time = new.event_time AND old.fact_hash = new.fact_hash OFFSET 0)";

/// Replaces those facts that are in the table with other content, of what `Rows::arrays` returns, which is `$3` and those behind it.
/// `$1` is the topic, `$2` the partition. Returns the offset of each that did so.
pub(crate) static REPLACE: LazyLock<String> = LazyLock::new(|| {
    let arrays: Vec<String> = (3..)
        .zip(COLUMNS)
        .map(|(number, (_, sql_type))| format!("${number}::{sql_type}[]"))
        .collect();
    let names = COLUMNS.map(|(name, _)| name).join(", ");
    let content = |of: &str| {
        let columns: Vec<String> = COLUMNS
            .iter()
            .filter(|(name, _)| !["event_time", "fact_hash", "source_offset"].contains(name))
            .map(|(name, _)| format!("{of}.{name}"))
            .collect();
        format!("ROW({})", columns.join(", "))
    };
    let assignments: Vec<String> = COLUMNS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !["event_time", "fact_hash"].contains(name))
        .chain(SOURCE_COLUMNS)
        .chain(["ingested_at"])
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    // Those that differ are looked for first, for an update locks a row, and writes to it, even where it then changes
    // nothing.
    format!(
        "INSERT INTO fact_events (source_topic, source_partition, {names}) SELECT $1, $2, {names} \
         FROM unnest({arrays}) AS new ({names}) \
         WHERE EXISTS (SELECT FROM fact_events old WHERE old.event_time = new.event_time AND old.fact_hash = new.fact_hash \
         AND {old} IS DISTINCT FROM {new} OFFSET 0) \
         ON CONFLICT (event_time, fact_hash) DO UPDATE SET {assignments} WHERE {existing} IS DISTINCT FROM {excluded} \
         RETURNING source_offset",
        arrays = arrays.join(", "),
        old = content("old"),
        new = content("new"),
        assignments = assignments.join(", "),
        existing = content("fact_events"),
        excluded = content("excluded"),
    )
});
