//! `etl verify`: flattens a range of the topic and compares it with the tables, fact by fact.
//!
//! It reads the raw events without the cluster's SmartModule, so it also detects a module of
//! another build, and a stream that lost records.
//!
//! Rows of rejected events may be deleted on purpose, by `etl rejected retry` and `purge`, without
//! a trace. They are counted separately, and fail the command with `--strict` only: facts and
//! rejected events are written in one transaction, so a fault that loses the one loses the other.
//!
//! A fact may also be missing because a newer version of its event does not have the item; a sink
//! with `on-conflict: update` then removes the item. Such facts are counted separately, too.

use std::collections::HashSet;
use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use connector_common::keys::{self, Key};
use fact_model::{Arena, Options, flatten_in};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use warehouse::removed_items::{Event, Versions};

use crate::arguments::{Database, Parameters, TopicName};
use crate::display::{self, counted};
use crate::topic::{Record, Topic};

/// Missing facts that are named.
const MAX_NAMED: usize = 10;
/// Facts that are remembered to count repeats, in less than 100 MiB.
const MAX_REMEMBERED: usize = 1 << 22;

const MISSING_FACTS: &str = "\
    SELECT k.n \
    FROM unnest($1::timestamptz[], $2::uuid[]) WITH ORDINALITY AS k(event_time, fact_hash, n) \
    WHERE NOT EXISTS (SELECT FROM fact_events f \
                      WHERE f.event_time = k.event_time AND f.fact_hash = k.fact_hash)";
/// True if the event is stored in a newer version.
const OUTDATED: &str = "\
    SELECT EXISTS (SELECT FROM fact_events \
                   WHERE event_time = $1 AND event_id = $2 AND event_name = $3 \
                     AND event_version > coalesce($4::text::numeric, -1))";
const MISSING_REJECTIONS: &str = "\
    SELECT k.n FROM unnest($1::text[], $2::int[]) WITH ORDINALITY AS k(key, ordinal, n) \
    WHERE NOT EXISTS (SELECT FROM rejected_events r \
                      WHERE r.source_topic = $3 AND r.source_key = k.key \
                        AND r.ordinal = k.ordinal)";
const REFUSED: &str = "\
    SELECT EXISTS (SELECT FROM rejected_events \
                   WHERE source_topic = $1 AND source_key = $2 \
                     AND reason = 'refused-by-postgres')";
const COMMITTED: &str = "\
    SELECT max(next_offset) FROM sink_offsets \
    WHERE topic = $1 AND partition = $2 AND ($3::text IS NULL OR sink = $3)";

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    topic: TopicName,
    /// One partition instead of all
    #[arg(long, value_name = "NUMBER")]
    partition: Option<u32>,
    /// The first offset [default: the first that the topic still holds]
    #[arg(long, value_name = "OFFSET")]
    from: Option<i64>,
    /// The offset after the last one [default: the sink's committed offset]
    #[arg(long, value_name = "OFFSET")]
    to: Option<i64>,
    /// The sink of the committed offset [default: the one that is furthest]
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    #[command(flatten)]
    database: Database,
    /// Also fail for rejected events that are no longer in rejected_events
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    parameters: Parameters,
}

/// Exits with 1 if a fact is missing, with `--strict` also if a rejected event is.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let options = args.parameters.options()?;
    let client = args.database.connect().await?;
    let topic = Topic::connect(&args.topic.topic).await?;
    let partitions = match args.partition {
        Some(one) => {
            topic.check(one)?;
            one..one + 1
        }
        None => topic.partitions(),
    };
    let mut whole = true;
    let mut table = display::table();
    table.set_header([
        "partition",
        "offsets",
        "facts read",
        "repeats",
        "missing",
        "removed",
        "rejected",
        "no longer kept",
    ]);
    let mut not_kept = 0;
    let mut repeats = Repeats::default();
    for partition in partitions {
        let (from, to) = range(&args, &client, &topic, partition).await?;
        let mut found = Found::default();
        let mut follower = topic.follow(partition, from).give_up();
        while follower.position() < to {
            let mut records = follower.next().await?;
            records.retain(|record| record.offset < to);
            let expected = Expected::of(&records, partition, &options);
            repeats.add(&expected);
            found.compare(&client, &args, &expected).await?;
        }
        not_kept += found.not_kept.len();
        whole &= found.missing_facts.is_empty() && (found.not_kept.is_empty() || !args.strict);
        table.add_row([
            partition.to_string(),
            format!("{from} up to {to}"),
            found.facts.to_string(),
            repeats.take(),
            found.missing_facts.len().to_string(),
            found.removed.to_string(),
            found.rejected.to_string(),
            found.not_kept.len().to_string(),
        ]);
        let missing = found.missing(args.strict);
        for (offset, what) in missing.iter().take(MAX_NAMED) {
            errln!("partition {partition}, offset {offset}: {what}");
        }
        if let Some(more) = missing
            .len()
            .checked_sub(MAX_NAMED)
            .filter(|more| *more > 0)
        {
            errln!("partition {partition}: {more} more are missing");
        }
    }
    outln!("{table}");
    if not_kept > 0 {
        outln!(
            "{} no longer {} a row in rejected_events, as after `etl rejected retry` or `purge`; \
             `etl replay` restores the rows of those that are still rejected.",
            counted(not_kept as u64, "rejected event"),
            if not_kept == 1 { "has" } else { "have" }
        );
    }
    if whole {
        outln!("Every fact of this range is in the tables.");
        return Ok(ExitCode::SUCCESS);
    }
    outln!(
        "`etl replay --partition N --from OFFSET` has the sink read them again; it adds no \
         duplicates."
    );
    Ok(ExitCode::FAILURE)
}

async fn range(
    args: &Args,
    client: &Client,
    topic: &Topic,
    partition: u32,
) -> anyhow::Result<(i64, i64)> {
    let start = topic.start(partition).await?;
    let from = args.from.unwrap_or(start);
    if from < start {
        bail!(
            "partition {partition} begins at offset {start}; earlier records are removed, so use \
             --from {start} or more"
        );
    }
    let end = topic.end(partition).await?;
    let to = match args.to {
        Some(to) if to < from => bail!("--to {to} is before the first offset, {from}"),
        Some(to) => to,
        None if start == end => from,
        None => {
            let number = i32::try_from(partition)?;
            let row = client
                .query_one(COMMITTED, &[&args.topic.topic, &number, &args.sink])
                .await
                .context("cannot read sink_offsets; `etl migrate` creates the tables")?;
            let committed = row.get::<_, Option<i64>>(0);
            let to = committed.with_context(|| {
                let nobody = match &args.sink {
                    Some(sink) => format!("the sink `{sink}` has not"),
                    None => "no sink has".to_owned(),
                };
                format!(
                    "{nobody} committed an offset of partition {partition} of `{}`; \
                     `etl status` shows the sinks that have, and --to compares without one",
                    args.topic.topic
                )
            })?;
            if to < from {
                bail!("partition {partition} has committed offset {to}, before the first, {from}");
            }
            to
        }
    };
    if to > end {
        bail!("partition {partition} ends at offset {end}, before {to}");
    }
    Ok((from, to))
}

/// The facts and rejected events expected of some records.
#[derive(Default)]
struct Expected {
    times: Vec<DateTime<Utc>>,
    hashes: Vec<Uuid>,
    /// The keys of the facts' records.
    keys: Vec<String>,
    items: Vec<Item>,
    versions: Versions,
    rejected_offsets: Vec<i64>,
    rejected_keys: Vec<String>,
    ordinals: Vec<i32>,
}

impl Expected {
    fn of(records: &[Record], partition: u32, options: &Options) -> Self {
        let mut expected = Self::default();
        let mut arena = Arena::new();
        for record in records {
            arena.reset();
            let envelope = flatten_in(&arena, options, &record.value, record.time);
            let key = key_of(record, partition);
            let version = version_of(record);
            for fact in &envelope.facts {
                expected.times.push(fact.event_time);
                expected.hashes.push(Uuid::from_bytes(fact.fact_hash.0));
                expected.keys.push(key.clone());
                expected.items.push(Item {
                    offset: record.offset,
                    version,
                    ordinal: fact.item_ordinal,
                    hash: Uuid::from_bytes(fact.fact_hash.0),
                    event: Event::of(fact).filter(|_| options.identifies_by_event_id()),
                });
            }
            expected
                .versions
                .add(&envelope, version, None, record.offset);
            for ordinal in (0..).take(envelope.rejected.len()) {
                expected.rejected_offsets.push(record.offset);
                expected.rejected_keys.push(key.clone());
                expected.ordinals.push(ordinal);
            }
        }
        expected
    }
}

/// Counts facts that were read before, in any of the partitions: of events that came again.
#[derive(Default)]
struct Repeats {
    /// Parts of the hashes of the facts that were read, up to [`MAX_REMEMBERED`].
    seen: HashSet<u64>,
    /// The number since the last [`Self::take`].
    count: usize,
}

impl Repeats {
    fn add(&mut self, expected: &Expected) {
        for hash in &expected.hashes {
            let (part, _) = hash.as_u64_pair();
            if self.seen.contains(&part) {
                self.count += 1;
            } else if self.seen.len() < MAX_REMEMBERED {
                self.seen.insert(part);
            }
        }
    }

    /// The number as text; it begins again.
    fn take(&mut self) -> String {
        let count = std::mem::take(&mut self.count);
        if self.seen.len() < MAX_REMEMBERED {
            count.to_string()
        } else {
            format!("{count} or more")
        }
    }
}

/// The value of the column `source_key` of `rejected_events` for a record.
fn key_of(record: &Record, partition: u32) -> String {
    match record.key.as_deref().and_then(keys::stored) {
        Some(key) => key.to_owned(),
        None => format!("{partition}:{}", record.offset),
    }
}

/// The version of the events of a record.
fn version_of(record: &Record) -> Option<u128> {
    Key::parse(record.key.as_deref()?)?.sent.version()
}

/// An item of an event in a record.
#[derive(Clone)]
struct Item {
    offset: i64,
    version: Option<u128>,
    ordinal: i32,
    hash: Uuid,
    event: Option<Event>,
}

impl Item {
    /// Returns true if the event is stored in a newer version than that of this item.
    async fn is_outdated(&self, client: &Client) -> Result<bool, tokio_postgres::Error> {
        let Some(event) = &self.event else {
            return Ok(false);
        };
        let version = self.version.map(|version| version.to_string());
        let params: [&(dyn ToSql + Sync); 4] = [&event.time, &event.id, &event.name, &version];
        Ok(client.query_one(OUTDATED, &params).await?.get(0))
    }
}

#[derive(Default)]
struct Found {
    facts: usize,
    missing_facts: Vec<Item>,
    /// Facts of items that a newer version of the event does not have.
    removed: usize,
    rejected: usize,
    /// The offsets of the rejected events without a row.
    not_kept: Vec<i64>,
}

impl Found {
    /// The missing facts with the offsets of their records, and if strict the missing rejected
    /// events.
    fn missing(&self, is_strict: bool) -> Vec<(i64, String)> {
        let facts = self.missing_facts.iter();
        let facts = facts.map(|item| {
            (
                item.offset,
                format!("no fact with the hash {}", item.hash.simple()),
            )
        });
        let rejections = self.not_kept.iter().filter(|_| is_strict);
        let mut missing: Vec<_> = facts
            .chain(rejections.map(|offset| (*offset, "not in rejected_events".to_owned())))
            .collect();
        missing.sort_by_key(|(offset, _)| *offset);
        missing
    }

    /// Counts facts separately whose events have a newer version without the item in these records.
    fn leave_out_removed(&mut self, versions: &Versions) {
        let before = self.missing_facts.len();
        self.missing_facts.retain(|item| {
            let event = item.event.as_ref();
            !event.is_some_and(|event| {
                versions.is_removed(event, item.version, item.offset, item.ordinal)
            })
        });
        self.removed += before - self.missing_facts.len();
    }

    async fn compare(
        &mut self,
        client: &Client,
        args: &Args,
        expected: &Expected,
    ) -> anyhow::Result<()> {
        let topic = &args.topic.topic;
        self.facts += expected.hashes.len();
        let rows = client
            .query(MISSING_FACTS, &[&expected.times, &expected.hashes])
            .await?;
        for row in rows {
            let index = usize::try_from(row.get::<_, i64>(0))?.saturating_sub(1);
            let (Some(item), Some(key)) = (expected.items.get(index), expected.keys.get(index))
            else {
                continue;
            };
            // PostgreSQL refused the row, so it is in rejected_events.
            if client.query_one(REFUSED, &[&topic, key]).await?.get(0) {
                continue;
            }
            if item.is_outdated(client).await? {
                self.removed += 1;
            } else {
                self.missing_facts.push(item.clone());
            }
        }
        self.leave_out_removed(&expected.versions);
        self.rejected += expected.ordinals.len();
        let (keys, ordinals) = (&expected.rejected_keys, &expected.ordinals);
        let rows = client
            .query(MISSING_REJECTIONS, &[keys, ordinals, &topic])
            .await?;
        for row in rows {
            let index = usize::try_from(row.get::<_, i64>(0))?.saturating_sub(1);
            let offset = expected
                .rejected_offsets
                .get(index)
                .copied()
                .unwrap_or_default();
            self.not_kept.push(offset);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_that_is_read_again_is_a_repeat() {
        let expected = Expected {
            hashes: [1, 2, 1].map(|n| Uuid::from_u64_pair(n, 0)).to_vec(),
            ..Expected::default()
        };
        let mut repeats = Repeats::default();
        repeats.add(&expected);
        assert_eq!(repeats.take(), "1");
        repeats.add(&expected);
        assert_eq!(repeats.take(), "3", "those of another partition, too");
        assert_eq!(repeats.take(), "0");
    }
}
