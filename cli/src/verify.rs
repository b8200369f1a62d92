//! `etl verify`: a range of the topic, flattened here and compared with the tables fact by fact.
//!
//! It reads the raw events without the cluster's SmartModule, so that it also finds out a module that is not this
//! build's, and a stream that lost records on the way.
//!
//! A rejected event may be gone from its table on purpose: `etl rejected retry` and `purge` delete rows and leave
//! nothing behind that tells. So those are counted apart, and are no failure unless `--strict` says so: facts and
//! rejections are written in one transaction, and what loses that loses facts as well.
//!
//! A fact may also be gone because its event came again without the item, which a sink with `on-conflict: update` removes.
//! Such facts are counted apart, too.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use fact_model::{Arena, Options, flatten_in};
use postgres_sink::vanished::{Event, Versions};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::parameters::Parameters;
use crate::topic::{Record, Topic};
use crate::{answers, tables};

/// How many of what is missing are named.
const NAMED: usize = 10;
/// As the sink has it: longer keys are no ids.
const LONGEST_KEY: usize = 256;

const MISSING_FACTS: &str = "\
    SELECT k.n FROM unnest($1::timestamptz[], $2::uuid[]) WITH ORDINALITY AS k(event_time, fact_hash, n) \
    WHERE NOT EXISTS (SELECT FROM fact_events f WHERE f.event_time = k.event_time AND f.fact_hash = k.fact_hash)";
const MISSING_REJECTIONS: &str = "\
    SELECT k.n FROM unnest($1::text[], $2::int[]) WITH ORDINALITY AS k(key, ordinal, n) \
    WHERE NOT EXISTS (SELECT FROM rejected_events r \
                      WHERE r.source_topic = $3 AND r.source_key = k.key AND r.ordinal = k.ordinal)";
const REFUSED: &str = "\
    SELECT EXISTS (SELECT FROM rejected_events WHERE source_topic = $1 AND source_key = $2 AND reason = 'refused-by-postgres')";
const COMMITTED: &str = "\
    SELECT max(next_offset) FROM sink_offsets WHERE topic = $1 AND partition = $2 AND ($3::text IS NULL OR sink = $3)";

#[derive(clap::Args)]
pub struct Args {
    /// The topic, in the cluster of the current Fluvio profile
    #[arg(long, value_name = "NAME", default_value = local_stack::files::TOPIC)]
    topic: String,
    /// One partition instead of all
    #[arg(long, value_name = "NUMBER")]
    partition: Option<u32>,
    /// The first offset [default: the first that the topic still holds]
    #[arg(long, value_name = "OFFSET")]
    from: Option<i64>,
    /// The offset behind the last one [default: how far the sink has come]
    #[arg(long, value_name = "OFFSET")]
    to: Option<i64>,
    /// The sink whose offset is meant [default: the one that is furthest]
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// The database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: String,
    /// Fail also for rejected events that are no longer in rejected_events
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    parameters: Parameters,
}

/// Compares; exit code 1 when a fact is missing, with `--strict` also when a rejection is.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let options = args.parameters.options()?;
    let client = tables::connect(&args.database_url).await?;
    let topic = Topic::connect(&args.topic).await?;
    let partitions = match args.partition {
        Some(one) => {
            topic.check(one)?;
            one..one + 1
        }
        None => topic.partitions(),
    };
    let mut whole = true;
    let mut table = answers::table();
    table.set_header([
        "partition",
        "offsets",
        "facts",
        "missing",
        "vanished",
        "rejected",
        "no longer kept",
    ]);
    let mut not_kept = 0;
    for partition in partitions {
        let (from, to) = range(&args, &client, &topic, partition).await?;
        let mut found = Found::default();
        let mut next = from;
        while next < to {
            let records = topic.read(partition, next, to).await?;
            next = records.last().map_or(to, |last| last.offset + 1);
            let expected = Expected::of(&records, partition, &options);
            found.compare(&client, &args, &expected).await?;
        }
        not_kept += found.not_kept.len();
        whole &= found.missing_facts.is_empty() && (found.not_kept.is_empty() || !args.strict);
        table.add_row([
            partition.to_string(),
            format!("{from} up to {to}"),
            found.facts.to_string(),
            found.missing_facts.len().to_string(),
            found.vanished.to_string(),
            found.rejected.to_string(),
            found.not_kept.len().to_string(),
        ]);
        let missing = found.missing(args.strict);
        for (offset, what) in missing.iter().take(NAMED) {
            eprintln!("partition {partition}, offset {offset}: {what}");
        }
        if let Some(more) = missing.len().checked_sub(NAMED).filter(|more| *more > 0) {
            eprintln!("partition {partition}: {more} more are missing");
        }
    }
    println!("{table}");
    if not_kept > 0 {
        println!(
            "{not_kept} rejected events have no row in rejected_events any more, as after `etl rejected retry` or `purge`; \
             `etl replay` brings the rows of those back that are still rejected."
        );
    }
    if whole {
        println!("Every fact of this range is in the tables.");
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "`etl replay --partition N --from OFFSET` has the sink read it again; nothing is counted twice."
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
            "partition {partition} begins at offset {start}; what was before it is gone, so give --from {start} or more"
        );
    }
    let end = topic.end(partition).await?;
    let to = match args.to {
        Some(to) => to,
        None => {
            let number = i32::try_from(partition)?;
            let row = client
                .query_one(COMMITTED, &[&args.topic, &number, &args.sink])
                .await
                .context("cannot ask sink_offsets; `etl migrate` makes the tables")?;
            row.get::<_, Option<i64>>(0).unwrap_or(from)
        }
    };
    if to > end {
        bail!("partition {partition} ends at offset {end}, before {to}");
    }
    Ok((from, to.max(from)))
}

/// What some records become.
#[derive(Default)]
struct Expected {
    times: Vec<DateTime<Utc>>,
    hashes: Vec<Uuid>,
    /// Of the facts' records.
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
            for fact in &envelope.facts {
                expected.times.push(fact.event_time);
                expected.hashes.push(Uuid::from_bytes(fact.fact_hash.0));
                expected.keys.push(key.clone());
                expected.items.push(Item {
                    offset: record.offset,
                    ordinal: fact.item_ordinal,
                    hash: Uuid::from_bytes(fact.fact_hash.0),
                    event: Event::of(fact),
                });
            }
            expected.versions.note(&envelope, record.offset);
            for ordinal in (0..).take(envelope.rejected.len()) {
                expected.rejected_offsets.push(record.offset);
                expected.rejected_keys.push(key.clone());
                expected.ordinals.push(ordinal);
            }
        }
        expected
    }
}

/// What the column `source_key` of `rejected_events` has for a record.
fn key_of(record: &Record, partition: u32) -> String {
    let key = record
        .key
        .as_deref()
        .and_then(|key| std::str::from_utf8(key).ok());
    match key.filter(|key| key.len() <= LONGEST_KEY && !key.contains('\0')) {
        Some(key) => key.to_owned(),
        None => format!("{partition}:{}", record.offset),
    }
}

/// An item of an event, as a record brought it.
#[derive(Clone)]
struct Item {
    offset: i64,
    ordinal: i32,
    hash: Uuid,
    event: Option<Event>,
}

#[derive(Default)]
struct Found {
    facts: usize,
    missing_facts: Vec<Item>,
    /// Facts whose event came again without the item.
    vanished: usize,
    rejected: usize,
    /// The offsets of the records of rejections that have no row.
    not_kept: Vec<i64>,
}

impl Found {
    /// What is missing of the records at these offsets, in words.
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

    /// Counts those apart whose events come again in these records, without the item.
    fn leave_out_vanished(&mut self, versions: &Versions) {
        let before = self.missing_facts.len();
        self.missing_facts.retain(|item| {
            let event = item.event.as_ref();
            !event.is_some_and(|event| versions.have_lost(event, item.offset, item.ordinal))
        });
        self.vanished += before - self.missing_facts.len();
    }

    async fn compare(
        &mut self,
        client: &Client,
        args: &Args,
        expected: &Expected,
    ) -> anyhow::Result<()> {
        let topic = &args.topic;
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
            // What PostgreSQL refused is where such rows go.
            if client.query_one(REFUSED, &[&topic, key]).await?.get(0) {
                continue;
            }
            self.missing_facts.push(item.clone());
        }
        self.leave_out_vanished(&expected.versions);
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
