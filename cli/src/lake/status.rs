//! `etl lake status`: the state of each table.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use chrono::{DateTime, NaiveDate, Utc};
use connector_common::chain;
use iceberg::spec::Transform;
use iceberg::table::Table;
use lake_sink::Error;
use lake_sink::maintenance::contents::Contents;
use lake_sink::maintenance::storage::Missing;
use lake_sink::offsets;
use serde::Serialize;

use crate::display::{self, counted};
use crate::lake::Opened;
use crate::printer;
use crate::topic::Topic;

/// The most names of missing files that are shown.
pub const MAX_NAMES: usize = 5;
/// The fix for missing files.
pub const RESTORE: &str = "restore them from the bucket's versions or a backup, under the same \
                           names; without these see deploy/RUNBOOK.md, \"A file of the lake is \
                           missing\"";
/// The time that the cluster may take for the ends of all partitions.
const TIMEOUT: Duration = Duration::from_secs(15);

#[derive(clap::Args)]
pub struct Args {
    /// Print a JSON object; docs/etl.md describes its fields
    #[arg(long)]
    json: bool,
}

/// The state of the lake. Times are RFC 3339 in UTC, sizes are bytes.
#[derive(Serialize)]
struct State {
    /// The tables: of facts or records, and of rejected events.
    tables: Vec<TableState>,
    /// The committed offsets of the table of facts or records.
    partitions: Vec<PartitionState>,
    /// The reason why the lag is not known.
    topic_error: Option<String>,
}

#[derive(Serialize)]
struct TableState {
    /// Its name, with the namespace.
    name: String,
    /// Its folder.
    location: String,
    /// The version of Iceberg's format.
    format_version: u8,
    /// The columns' transforms that it is partitioned by.
    partitioned_by: Vec<String>,
    /// The number of snapshots.
    snapshots: usize,
    /// The time of the oldest snapshot.
    oldest_snapshot: Option<DateTime<Utc>>,
    /// The time of the newest snapshot.
    newest_snapshot: Option<DateTime<Utc>>,
    /// The number of files with rows.
    files: u64,
    /// Their size.
    bytes: u64,
    /// Their average size.
    average_file_bytes: u64,
    /// The number of files that delete rows of others.
    delete_files: u64,
    /// The number of rows, without those that delete files remove if `delete_files` is 0.
    rows: u64,
    /// The number of days with rows.
    days: usize,
    /// The first of them.
    first_day: Option<NaiveDate>,
    /// The last of them.
    last_day: Option<NaiveDate>,
    /// The number of files of the newest state that the storage does not have; `null` if its folder
    /// can't be listed.
    missing_files: Option<usize>,
    /// The first of them.
    missing_examples: Vec<String>,
    /// The number of files outside of the table's folder, which were not looked for.
    files_elsewhere: usize,
    /// The reason why the folder can't be listed.
    list_error: Option<String>,
}

#[derive(Serialize)]
struct PartitionState {
    /// The partition.
    partition: u32,
    /// The first record that is not in the table.
    next_offset: i64,
    /// The offset of the topic's next record; `null` if the cluster can't be reached.
    topic_end: Option<i64>,
    /// The records between both.
    lag_records: Option<i64>,
}

/// Exits with 1 if the storage has lost a file.
pub async fn run(args: &Args, opened: &Opened) -> anyhow::Result<ExitCode> {
    let mut tables = Vec::new();
    for (id, _) in opened.lake.tables() {
        let table = opened.lake.load(id).await?;
        let missing = Missing::find(&opened.lake, id, &opened.connector.config).await;
        tables.push(TableState::read(&table, missing).await?);
    }
    let is_whole = tables.iter().all(|table| table.missing_examples.is_empty());
    let rows = opened.lake.rows().await?;
    let committed = offsets::committed(&rows, opened.topic());
    let asked = tokio::time::timeout(TIMEOUT, ends(opened.topic())).await;
    let asked = asked.unwrap_or_else(|_| Err(anyhow!("timed out after {TIMEOUT:?}")));
    let (ends, topic_error) = match asked {
        Ok(ends) => (ends, None),
        Err(error) => (Vec::new(), Some(chain(error.as_ref()))),
    };
    let partitions = committed.into_iter().map(|(partition, next_offset)| {
        let topic_end = ends.get(partition as usize).copied();
        PartitionState {
            partition,
            next_offset,
            topic_end,
            lag_records: topic_end.map(|end| (end - next_offset).max(0)),
        }
    });
    let state = State {
        partitions: partitions.collect(),
        tables,
        topic_error,
    };
    if args.json {
        printer::json(&serde_json::to_string_pretty(&state)?);
    } else {
        print(&state, opened.topic());
    }
    Ok(if is_whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn ends(topic: &str) -> anyhow::Result<Vec<i64>> {
    let topic = Topic::connect(topic).await?;
    let mut ends = Vec::new();
    for partition in topic.partitions() {
        let end = topic.end(partition).await;
        ends.push(end.with_context(|| format!("partition {partition} of `{}`", topic.name()))?);
    }
    Ok(ends)
}

impl TableState {
    async fn read(table: &Table, missing: Result<Missing, Error>) -> anyhow::Result<Self> {
        let contents = Contents::read(table, 0).await?;
        let (missing, list_error) = match missing {
            Ok(missing) => (Some(missing), None),
            Err(error @ Error::List { .. }) => (None, Some(format!("{:#}", anyhow!(error)))),
            Err(error) => return Err(error.into()),
        };
        let missing_files = missing.as_ref().map(|missing| missing.files.len());
        let Missing {
            mut files,
            elsewhere,
        } = missing.unwrap_or_default();
        files.truncate(MAX_NAMES);
        let sum = contents.sum();
        let metadata = table.metadata();
        let times = metadata.snapshots().map(|snapshot| snapshot.timestamp_ms());
        let times: Vec<i64> = times.collect();
        let time = |millis: Option<i64>| millis.and_then(DateTime::from_timestamp_millis);
        let schema = metadata.current_schema();
        let fields = metadata.default_partition_spec().fields().iter();
        let partitioned_by = fields.map(|field| {
            let name = schema.name_by_field_id(field.source_id).unwrap_or("?");
            match field.transform {
                Transform::Identity => name.to_owned(),
                transform => format!("{transform}({name})"),
            }
        });
        Ok(Self {
            name: table.identifier().to_string(),
            location: metadata.location().to_owned(),
            format_version: metadata.format_version() as u8,
            partitioned_by: partitioned_by.collect(),
            snapshots: times.len(),
            oldest_snapshot: time(times.iter().min().copied()),
            newest_snapshot: time(times.iter().max().copied()),
            files: sum.files,
            bytes: sum.bytes,
            average_file_bytes: sum.bytes.checked_div(sum.files).unwrap_or_default(),
            delete_files: contents.deletes.files,
            rows: sum.rows,
            days: contents.days.len(),
            first_day: contents.days.keys().next().copied(),
            last_day: contents.days.keys().next_back().copied(),
            missing_files,
            missing_examples: files,
            files_elsewhere: elsewhere,
            list_error,
        })
    }
}

fn print(state: &State, topic: &str) {
    let now = Utc::now();
    for table in &state.tables {
        let age = |time: Option<DateTime<Utc>>| {
            time.map_or_else(
                || "none".to_owned(),
                |time| display::age((now - time).as_seconds_f64().max(0.0)),
            )
        };
        let size = |bytes: u64| display::size(i64::try_from(bytes).unwrap_or(i64::MAX));
        outln!("{}  {}", table.name, table.location);
        outln!(
            "  Iceberg v{}, partitioned by {}",
            table.format_version,
            table.partitioned_by.join(", ")
        );
        outln!(
            "  {}; age of the newest {}, of the oldest {}",
            counted(table.snapshots as u64, "snapshot"),
            age(table.newest_snapshot),
            age(table.oldest_snapshot)
        );
        outln!(
            "  {} in {}, {} ({} on average){}",
            counted(table.rows, "row"),
            counted(table.files, "file"),
            size(table.bytes),
            size(table.average_file_bytes),
            match table.delete_files {
                0 => String::new(),
                1 => "; 1 file deletes some of these rows".to_owned(),
                files => format!("; {files} files delete some of these rows"),
            }
        );
        if let (Some(first), Some(last)) = (table.first_day, table.last_day) {
            let days = counted(table.days as u64, "day");
            outln!("  {days}, from {first} to {last}");
        }
        if let Some(missing) = table.missing_files.filter(|missing| *missing > 0) {
            outln!("  {missing} FILES ARE MISSING in the storage, so queries of their days fail:");
            for file in &table.missing_examples {
                outln!("    {file}");
            }
            outln!("  To do: {RESTORE}");
        }
        if table.files_elsewhere > 0 {
            outln!(
                "  outside of this folder: {}; whether they exist was not checked",
                counted(table.files_elsewhere as u64, "file")
            );
        }
        if let Some(error) = &table.list_error {
            outln!("  Whether the files exist was not checked: {error}");
        }
        outln!("");
    }
    let mut table = display::table();
    table.set_header(["partition", "committed offset", "end of the topic", "lag"]);
    let shown = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |n| n.to_string());
    for one in &state.partitions {
        table.add_row([
            one.partition.to_string(),
            one.next_offset.to_string(),
            shown(one.topic_end),
            shown(one.lag_records),
        ]);
    }
    display::align_numbers(&mut table);
    if state.partitions.is_empty() {
        outln!("No record of the topic `{topic}` is committed yet.");
    } else {
        outln!("{table}");
    }
    if let Some(error) = &state.topic_error {
        outln!("The lag is not known: {error}");
    }
}
