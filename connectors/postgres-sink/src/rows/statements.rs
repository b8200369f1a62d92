//! The statements that put facts into the table: from the stage that a COPY fills, or from arrays.

use std::sync::LazyLock;

use super::{COLUMNS, DECIMAL};

/// Makes the table that rows are copied into, once for each connection.
pub(crate) static CREATE_STAGE: LazyLock<String> = LazyLock::new(|| {
    let columns = COLUMNS.map(|(name, sql_type)| format!("{name} {sql_type}"));
    format!(
        "CREATE TEMPORARY TABLE IF NOT EXISTS fact_stage ({}) ON COMMIT DELETE ROWS",
        columns.join(", ")
    )
});

/// Starts a COPY of what `Rows::copy_data` yields.
pub(crate) const COPY_TO_STAGE: &str = "COPY pg_temp.fact_stage FROM STDIN (FORMAT binary)";

/// Statements that take facts from one place. `$1` is the topic, `$2` the partition.
pub(crate) struct FactStatements {
    /// Inserts those that are new.
    pub(crate) insert: String,
    /// Replaces those that are there with other content.
    pub(crate) replace: String,
}

/// From the stage, in the order of the facts' key.
pub(crate) static FROM_STAGE: LazyLock<FactStatements> = LazyLock::new(|| {
    FactStatements::from_source("pg_temp.fact_stage", "ORDER BY event_time, fact_hash")
});

/// From what `Rows::arrays` returns, the parameters from `$3` on, which are in order already.
pub(crate) static FROM_ARRAYS: LazyLock<FactStatements> = LazyLock::new(|| {
    let arrays: Vec<String> = (3..)
        .zip(COLUMNS)
        .map(|(number, (_, sql_type))| match sql_type {
            DECIMAL => format!("${number}::text[]"),
            _ => format!("${number}::{sql_type}[]"),
        })
        .collect();
    let names = COLUMNS.map(|(name, _)| name).join(", ");
    FactStatements::from_source(
        &format!("unnest({}) AS facts ({names})", arrays.join(", ")),
        "",
    )
});

impl FactStatements {
    fn from_source(source: &str, order: &str) -> Self {
        let names = COLUMNS.map(|(name, _)| name).join(", ");
        let values = COLUMNS.map(|(name, sql_type)| match sql_type {
            DECIMAL => format!("{name}::numeric AS {name}"),
            _ => name.to_owned(),
        });
        let values = values.join(", ");
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
            .chain(["source_topic", "source_partition", "ingested_at"])
            .map(|name| format!("{name} = excluded.{name}"))
            .collect();
        let insert = format!(
            "INSERT INTO fact_events (source_topic, source_partition, {names}) SELECT $1, $2,"
        );
        Self {
            insert: format!("{insert} {values} FROM {source} {order} ON CONFLICT DO NOTHING"),
            // Those that differ are looked for first, for an update locks a row, and writes to it,
            // even where it then changes nothing. OFFSET 0 keeps the planner from making a join of
            // it, which would read the whole table.
            replace: format!(
                "{insert} {names} FROM (SELECT {values} FROM {source}) AS new \
                 WHERE EXISTS (SELECT FROM fact_events old WHERE old.event_time = new.event_time AND old.fact_hash = new.fact_hash \
                 AND {old} IS DISTINCT FROM {new} OFFSET 0) {order} \
                 ON CONFLICT (event_time, fact_hash) DO UPDATE SET {assignments} WHERE {existing} IS DISTINCT FROM {excluded}",
                old = content("old"),
                new = content("new"),
                assignments = assignments.join(", "),
                existing = content("fact_events"),
                excluded = content("excluded"),
            ),
        }
    }
}
