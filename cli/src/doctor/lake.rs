//! The lake: its file beside the source's, the catalog, the storage, the tables and their offsets.

use std::time::Duration;

use anyhow::anyhow;
use chrono::{NaiveDate, TimeDelta, Utc};
use connector_common::{Connector, chain};
use iceberg::TableIdent;
use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use lake_sink::maintenance::Lake;
use lake_sink::maintenance::contents::Contents;
use lake_sink::maintenance::storage::{Missing, probe};
use lake_sink::schema::Definition;
use lake_sink::{Config, Error, offsets};
use sqs_source::awaited::AwaitedSink;
use sqs_source::config::DeleteAfter;

use super::cluster::{Found, Place};
use super::deployment::{Deployment, compare_secrets};
use super::report::Report;
use crate::display::{age, counted};
use crate::lake::compact::{MIN_FILES, SMALL_PART};
use crate::lake::open_existing;
use crate::lake::status::{MAX_NAMES, RESTORE};

const AREA: &str = "lake";
const FILES: &str = "files";
/// Timeout of each part of the catalog and the storage. A folder of a million files takes this long
/// to list.
const TIMEOUT: Duration = Duration::from_secs(300);
/// The longest time that SQS hides a message.
const LONGEST_FLIGHT: Duration = Duration::from_secs(12 * 3600);
/// The greatest `max-in-flight`.
const MOST_IN_FLIGHT: u64 = 119_999;
const STORAGE_FIX: &str = "check `warehouse`, `s3-endpoint`, `s3-region`, credentials and their \
                           rights, as in deploy/lake/aws/sink-policy.json";

/// Checks the lake of the file `sink`. Tests whether it can be written to if `write` is true.
pub async fn check(
    report: &mut Report,
    deployment: &Deployment,
    sink: &Connector<Config>,
    found: Option<&Found>,
    write: bool,
) {
    let topic = &sink.meta.topic.name;
    // The ends of another topic say nothing about the lake's offsets.
    let found = found.filter(|_| *topic == deployment.topic);
    if *topic == deployment.topic {
        report.ok(
            FILES,
            "lake-topic",
            format!("the lake sink reads `{topic}`"),
        );
    } else {
        report.fail(
            FILES,
            "lake-topic",
            format!(
                "the lake sink reads the topic `{topic}`, and the other connectors use `{}`",
                deployment.topic
            ),
            "name one topic in all files",
        );
    }
    if let Some(source) = &deployment.source {
        beside_source(report, source, sink, found).await;
    }
    if write {
        match bounded(probe(&sink.config)).await {
            Ok(()) => report.ok(
                AREA,
                "storage",
                format!(
                    "files below {} can be written, read and deleted",
                    sink.config.warehouse
                ),
            ),
            Err(error) => report.fail(AREA, "storage", chain(error.as_ref()), STORAGE_FIX),
        }
    } else {
        report.skip(AREA, "storage", "not written to; use --write");
    }
    let Some(lake) = catalog(report, &sink.config).await else {
        return;
    };
    for (id, definition) in lake.tables() {
        let table = match bounded(lake.load(id)).await {
            Ok(table) => table,
            Err(error) => {
                missing(report, id, &error);
                continue;
            }
        };
        columns(report, id, definition, table.metadata());
        folder(report, id, table.metadata(), &sink.config);
        files(report, &lake, id, &table, &sink.config).await;
    }
    if let (Some(found), Ok(rows)) = (found, lake.rows().await) {
        self::offsets(report, sink, found, &rows).await;
    }
}

async fn bounded<T, E: Into<anyhow::Error>>(
    asked: impl Future<Output = Result<T, E>>,
) -> anyhow::Result<T> {
    match tokio::time::timeout(TIMEOUT, asked).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(anyhow!("timed out after {TIMEOUT:?}")),
    }
}

/// Checks that a source which waits for the lake has the messages of a commit in flight.
async fn beside_source(
    report: &mut Report,
    source: &Connector<sqs_source::Config>,
    sink: &Connector<Config>,
    found: Option<&Found>,
) {
    let check = "lake-name";
    let name = sink.meta.sink_name();
    let awaited = source.config.awaited_sinks();
    let is_named = awaited.contains(&AwaitedSink::Named(name.to_owned()));
    if !is_named && !awaited.contains(&AwaitedSink::Lake) {
        match (&source.config.delete_after, &source.config.sink) {
            (DeleteAfter::Lake, Some(wanted)) => report.fail(
                FILES,
                check,
                format!(
                    "the source waits for commits of the lake sink `{wanted}`, and this one is \
                         `{name}`"
                ),
                "set `sqs.sink` to the lake sink's `meta.consumer.id`, else its `meta.name`; until \
                 then no message is deleted",
            ),
            _ => report.ok(
                FILES,
                check,
                format!(
                    "the source does not wait for the lake sink `{name}`, which has the \
                         topic's retention to read a record"
                ),
            ),
        }
        return;
    }
    report.ok(
        FILES,
        check,
        format!("the source waits for the lake sink `{name}`"),
    );
    let of_source = source.config.notifications_secret.as_ref();
    let of_sink = sink.config.notifications_secret.as_ref();
    compare_secrets(of_source, "lake sink", of_sink, report);
    let interval = sink.config.commit_interval;
    in_flight(report, &source.config, interval);
    if let Some(found) = found {
        max_in_flight(report, &source.config, interval, found).await;
    }
}

/// Checks the times for which messages are in flight.
fn in_flight(report: &mut Report, source: &sqs_source::Config, interval: Duration) {
    let check = "visibility-timeout";
    let shown = |time: Duration| age(time.as_secs_f64());
    if interval >= LONGEST_FLIGHT {
        report.fail(
            AREA,
            check,
            format!(
                "a message waits {} for its commit, and SQS hides it for 12 hours at most",
                shown(interval)
            ),
            "set a shorter `commit-interval`",
        );
    } else if let Some(timeout) = source
        .visibility_timeout
        .filter(|timeout| *timeout < interval)
    {
        report.warn(
            AREA,
            check,
            format!(
                "the source extends each message every {} while it waits up to {} for a commit, \
                 and each time is a part of a request",
                shown(timeout / 2),
                shown(interval)
            ),
            "set the source's `visibility-timeout` above the lake sink's `commit-interval`",
        );
    } else {
        report.ok(
            AREA,
            check,
            format!(
                "messages are in flight for a `commit-interval` of {}",
                shown(interval)
            ),
        );
    }
    let (check, stop) = ("stop-timeout", source.stop_timeout);
    if stop > interval {
        report.ok(
            AREA,
            check,
            "a stop of the source waits for a commit of the lake",
        );
    } else {
        report.warn(
            AREA,
            check,
            format!(
                "a stop of the source waits {}, and the lake commits every {}: messages in flight \
                 come again and make second rows in the lake",
                shown(stop),
                shown(interval)
            ),
            "set the source's `stop-timeout` above the lake sink's `commit-interval`, and what \
             stops the source has to wait as long",
        );
    }
}

/// Compares the messages of a `commit-interval`, at the rate of the topic's newest records, with
/// those that may be in flight.
async fn max_in_flight(
    report: &mut Report,
    source: &sqs_source::Config,
    interval: Duration,
    found: &Found,
) {
    let check = "max-in-flight";
    let most = source.max_in_flight.saturating_mul(source.queues().len());
    // Fewer than may be in flight: a source that waits for commits produces these in a burst.
    let records = i64::try_from(most / 2 / found.ranges.len().max(1)).unwrap_or(i64::MAX);
    let records = records.max(1);
    let mut rate = 0.0;
    for (partition, (start, end)) in (0..).zip(&found.ranges) {
        let from = end.saturating_sub(records);
        if from < *start {
            continue;
        }
        let first = found.topic.time(partition, from).await;
        let last = found.topic.time(partition, end - 1).await;
        if let (Ok(Some(first)), Ok(Some(last))) = (first, last) {
            rate += records as f64 / (last - first).as_seconds_f64().max(0.001);
        }
    }
    let needed = rate * interval.as_secs_f64();
    let shown = format!(
        "{most} messages may be in flight, and a `commit-interval` of {} has about {needed:.0} of \
         them at the rate of the newest records",
        age(interval.as_secs_f64())
    );
    if rate == 0.0 {
        report.skip(
            AREA,
            check,
            "the topic has too few records to tell their rate",
        );
    } else if needed < most as f64 {
        report.ok(AREA, check, shown);
    } else {
        let enough = (needed * 1.5).min(MOST_IN_FLIGHT as f64);
        report.warn(
            AREA,
            check,
            format!("{shown}: receiving pauses until the lake commits"),
            format!(
                "set the source's `max-in-flight` to {enough:.0} (at most {MOST_IN_FLIGHT}), or \
                 the lake sink's `commit-interval` shorter"
            ),
        );
    }
}

/// Opens the catalog, unless it would have to be created.
async fn catalog(report: &mut Report, config: &Config) -> Option<Lake> {
    let check = "catalog";
    match bounded(open_existing(config)).await {
        Ok(Some(lake)) => {
            report.ok(AREA, check, "it can be read");
            Some(lake)
        }
        Ok(None) => {
            report.warn(
                AREA,
                check,
                "the database of `catalog-url` has no catalog yet",
                "start the lake sink, or run etl lake init; if another database has the catalog, \
                 correct `catalog-url`",
            );
            None
        }
        Err(error) => {
            let fix = "start the server, or correct `catalog-url`, credentials and rights";
            report.fail(AREA, check, chain(error.as_ref()), fix);
            None
        }
    }
}

fn missing(report: &mut Report, id: &TableIdent, error: &anyhow::Error) {
    let check = "tables";
    match error.downcast_ref::<Error>() {
        Some(Error::NoTable { .. }) => report.warn(
            AREA,
            check,
            format!("the catalog does not have the table {id}"),
            "start the lake sink, or run etl lake init; if it has another name, correct \
             `namespace`, `table` or `catalog-name`",
        ),
        _ => report.fail(
            AREA,
            check,
            format!(
                "the metadata of {id} can't be read: {}",
                chain(error.as_ref())
            ),
            STORAGE_FIX,
        ),
    }
}

fn columns(
    report: &mut Report,
    id: &TableIdent,
    definition: &Definition,
    metadata: &TableMetadata,
) {
    let check = "columns";
    let (name, schema) = (id.to_string(), metadata.current_schema());
    let partitions = metadata.default_partition_spec();
    let missing = definition.missing(&name, schema);
    let fits = definition.check_partitions(&name, schema, partitions);
    match (missing, fits) {
        (Ok(missing), Ok(())) if missing.is_empty() => report.ok(
            AREA,
            check,
            format!("{id} has the columns and partitions that the sink writes"),
        ),
        (Ok(missing), Ok(())) => {
            let names: Vec<&str> = missing.iter().map(|column| column.name).collect();
            report.warn(
                AREA,
                check,
                format!("{id} lacks {}", names.join(", ")),
                "restart the lake sink, or run etl lake init: both add them",
            );
        }
        (Err(error), _) | (_, Err(error)) => report.fail(
            AREA,
            check,
            error.to_string(),
            "change the table back, or name another one, which the sink creates, with `table` or \
             `rejections-table`; until then the sink does not start",
        ),
    }
}

fn folder(report: &mut Report, id: &TableIdent, metadata: &TableMetadata, config: &Config) {
    let check = "folder";
    let location = metadata.location();
    let rest = location.strip_prefix(config.warehouse.trim_end_matches('/'));
    if rest.is_some_and(|rest| rest.starts_with('/')) {
        report.ok(AREA, check, format!("{id} is in {location}"));
    } else {
        report.warn(
            AREA,
            check,
            format!(
                "{id} is in {location}, which is not below `warehouse`, {}: the sink writes it \
                 there",
                config.warehouse
            ),
            "correct `warehouse`; if the table is meant to be there, give the sink's role its \
             rights on that folder",
        );
    }
}

/// Checks that the storage has the files of a table, and that they are not too small.
async fn files(report: &mut Report, lake: &Lake, id: &TableIdent, table: &Table, config: &Config) {
    match bounded(Missing::find(lake, id, config)).await {
        Ok(missing) if !missing.files.is_empty() => {
            let names: Vec<&str> = missing
                .files
                .iter()
                .take(MAX_NAMES)
                .map(String::as_str)
                .collect();
            report.fail(
                AREA,
                "files",
                format!(
                    "the storage lacks {} of {id}: {}",
                    counted(missing.files.len() as u64, "file"),
                    names.join(", ")
                ),
                RESTORE,
            );
        }
        Ok(Missing { elsewhere: 0, .. }) => {
            report.ok(AREA, "files", format!("the storage has the files of {id}"));
        }
        Ok(Missing { elsewhere, .. }) => report.skip(
            AREA,
            "files",
            format!(
                "{} of {id} outside of its folder: not looked for",
                counted(elsewhere as u64, "file")
            ),
        ),
        Err(error) => report.fail(AREA, "files", chain(error.as_ref()), STORAGE_FIX),
    }
    let small = config.target_file_size.as_u64() / SMALL_PART;
    let contents = match bounded(Contents::read(table, small)).await {
        Ok(contents) => contents,
        Err(error) => {
            return report.fail(AREA, "small-files", chain(error.as_ref()), STORAGE_FIX);
        }
    };
    // The files of yesterday may have to wait for the daily work.
    let yesterday = Utc::now() - TimeDelta::days(1);
    let days = small_days(&contents, yesterday.date_naive());
    match days.as_slice() {
        [] => report.ok(AREA, "small-files", format!("{id} needs no compaction")),
        [first, ..] => report.warn(
            AREA,
            "small-files",
            format!(
                "{MIN_FILES} small files or more on {} of {id}, the first {first}, which makes \
                 queries slow",
                counted(days.len() as u64, "day")
            ),
            "etl lake compact prints the statements; run them each day",
        ),
    }
}

/// The days before `before` that are worth compacting.
fn small_days(contents: &Contents, before: NaiveDate) -> Vec<NaiveDate> {
    let days = contents.days.range(..before);
    let small = days.filter(|(_, files)| files.small >= MIN_FILES);
    small.map(|(day, _)| *day).collect()
}

/// Checks that the topic still holds the records after the committed offsets, and that the sink
/// commits them.
async fn offsets(report: &mut Report, sink: &Connector<Config>, found: &Found, table: &Table) {
    let topic = &sink.meta.topic.name;
    let committed = offsets::committed(table, topic);
    if committed.is_empty() {
        let found = format!("no lake sink has read the topic `{topic}` yet");
        return report.warn(AREA, "offsets", found, "start it");
    }
    let mut oldest: f64 = 0.0;
    let mut is_sound = true;
    for (partition, next) in committed {
        let property = offsets::offset_property(topic, partition);
        let (shown, fix) = match found.place(partition, next).await {
            None => continue,
            Some(Place::Inside { oldest: age }) => {
                oldest = oldest.max(age);
                continue;
            }
            Some(Place::Beyond { end }) => (
                format!(
                    "partition {partition}: the lake's offset is {next}, and the topic ends at \
                     {end}: it was recreated or has lost its last records"
                ),
                format!(
                    "stop the sink, set the property {property} to 0 and remove {}, in both \
                     tables, and start it: it reads the topic from its start",
                    offsets::last_record_property(topic, partition)
                ),
            ),
            Some(Place::Removed { start }) => (
                format!(
                    "partition {partition}: the lake's offset is {next}, and the topic begins at \
                     {start}: retention has removed {} records that the lake does not have",
                    start - next
                ),
                format!(
                    "the facts may be in PostgreSQL: keep its partitions; to skip them here, set \
                     the property {property} to {start}, in both tables"
                ),
            ),
        };
        is_sound = false;
        report.fail(AREA, "offsets", shown, fix);
    }
    if is_sound {
        let found = "the topic holds all records after the lake's offsets";
        report.ok(AREA, "offsets", found);
    }
    commits(report, sink, found, table, oldest);
}

/// Checks that the sink commits. `oldest` is the age in seconds of the oldest record that is not in
/// the lake.
fn commits(
    report: &mut Report,
    sink: &Connector<Config>,
    found: &Found,
    table: &Table,
    oldest: f64,
) {
    let check = "commits";
    // A record that was just read waits for an interval, and a commit takes some seconds.
    let limit = sink.config.commit_interval.as_secs_f64() * 3.0 + 60.0;
    let last = offsets::last_commit(table, &sink.meta.topic.name);
    let last = last.map(|last| (Utc::now() - last).as_seconds_f64());
    let shown = format!(
        "the oldest record that is not in the lake is {} old, and the last commit {}",
        age(oldest),
        last.map_or_else(
            || "is not known".to_owned(),
            |last| format!("{} ago", age(last))
        )
    );
    let fix = "start the lake sink, or mend what its /readyz and log name; deploy/RUNBOOK.md, \
               \"The lake falls behind\"";
    let stands_still = oldest > limit && last.is_none_or(|last| last > limit);
    if stands_still || oldest > f64::from(found.retention) / 2.0 {
        report.fail(AREA, check, shown, fix);
    } else {
        report.ok(AREA, check, shown);
    }
}
