//! `etl partitions`: lists the partitions of the facts, and drops or detaches old ones.
//!
//! With `--archived` a partition is dropped only if the lake has all of its facts ([`archived`]).

#[cfg(feature = "lake")]
mod archived;

use std::collections::HashSet;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use chrono::{DateTime, Months, NaiveDate, Utc};
use clap::Subcommand;
use tokio_postgres::Client;

use crate::arguments::{self, Database};
use crate::display::{self, counted};

const MIB: i64 = 1 << 20;
/// A table's pages are in use from its first row on, also before the server has an estimate.
const EMPTY: &str = "\
    SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
    WHERE i.inhparent = 'fact_events'::regclass AND pg_relation_size(c.oid) = 0";
/// The partitions to drop, as etl_retire_partitions chooses them.
const OLD: &str = "\
    SELECT p.name, etl_schema() || '.' || quote_ident(p.name), p.since, p.until, p.bytes \
    FROM etl_partitions() p WHERE p.until <= now() - $1::text::interval ORDER BY p.since";
const IS_LONG_AGO: &str = "\
    SELECT $1::text::interval >= ('1 ' || etl_partition_unit())::interval, etl_partition_unit()";
/// The default range of `move-default`. Facts outside are probably dated by a wrong clock.
const YEARS_BACK: u32 = 10;
const MONTHS_AHEAD: u32 = 2;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: Database,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the partitions with their size
    List,
    /// Drop old partitions with all their facts; the aggregates stay
    Drop {
        #[command(flatten)]
        age: Age,
        /// List what would be dropped; drop nothing
        #[arg(long)]
        dry_run: bool,
        #[cfg(feature = "lake")]
        #[command(flatten)]
        archive: archived::Archive,
    },
    /// Detach old partitions: their tables stay, but are no longer part of the facts
    Detach {
        #[command(flatten)]
        age: Age,
        /// List what would be detached; detach nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Move facts from the default partition into partitions of their own
    MoveDefault {
        /// The first day [default: ten years ago]
        #[arg(long, value_name = "YYYY-MM-DD")]
        from: Option<NaiveDate>,
        /// The last day [default: two months ahead]
        #[arg(long, value_name = "YYYY-MM-DD")]
        to: Option<NaiveDate>,
    },
}

#[derive(clap::Args)]
struct Age {
    /// The time since the partition's end, as PostgreSQL writes intervals: `13months`, `2 years`
    #[arg(long, value_name = "AGE", value_parser = arguments::age)]
    older_than: String,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    #[cfg_attr(
        not(feature = "lake"),
        expect(unused_mut, reason = "the proof needs transactions")
    )]
    let mut client = args.database.connect().await?;
    match args.command {
        Command::List => list(&client).await?,
        #[cfg(feature = "lake")]
        Command::Drop {
            age,
            dry_run,
            archive,
        } if archive.is_wanted() => {
            return archived::drop(&mut client, &age.older_than, &archive, dry_run).await;
        }
        Command::Drop {
            age, dry_run: true, ..
        } => preview(&client, &age, "drop", "dropped").await?,
        Command::Detach { age, dry_run: true } => {
            preview(&client, &age, "detach", "detached").await?;
        }
        Command::Drop { age, .. } => retire(&client, &age, true).await?,
        Command::Detach { age, .. } => retire(&client, &age, false).await?,
        Command::MoveDefault { from, to } => {
            let today = Utc::now().date_naive();
            let from = from.or(today.checked_sub_months(Months::new(12 * YEARS_BACK)));
            let to = to.or(today.checked_add_months(Months::new(MONTHS_AHEAD)));
            move_default(&client, from, to).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client) -> anyhow::Result<()> {
    let empty = empty(client).await?;
    let mut table = display::table();
    table.set_header(["partition", "from", "to", "facts, about", "MiB"]);
    for row in client.query("SELECT * FROM etl_partitions()", &[]).await? {
        let day = |column: usize| {
            let time: Option<DateTime<Utc>> = row.get(column);
            time.map_or_else(String::new, |time| time.format("%Y-%m-%d").to_string())
        };
        let name: String = row.get(0);
        // The server has no estimate before its first analysis of a table.
        let facts = match row.get(3) {
            0_i64 if !empty.contains(&name) => "?".to_owned(),
            facts => facts.to_string(),
        };
        table.add_row([
            name,
            day(1),
            day(2),
            facts,
            (row.get::<_, i64>(4) / MIB).to_string(),
        ]);
    }
    display::align_numbers(&mut table);
    outln!("{table}");
    Ok(())
}

/// The names of the partitions without a page, so without facts.
pub async fn empty(client: &Client) -> Result<HashSet<String>, tokio_postgres::Error> {
    let rows = client.query(EMPTY, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// A partition of the facts.
#[cfg_attr(
    not(feature = "lake"),
    expect(dead_code, reason = "times are compared with the lake")
)]
struct Partition {
    name: String,
    /// Its name with the schema, quoted.
    table: String,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    /// Its size with indexes.
    bytes: i64,
}

/// The partitions that etl_retire_partitions chooses.
async fn old(client: &Client, age: &str) -> anyhow::Result<Vec<Partition>> {
    let nothing = "nothing was changed";
    let row = client
        .query_one(IS_LONG_AGO, &[&age])
        .await
        .context(nothing)?;
    ensure!(
        row.get::<_, bool>(0),
        "an age of {age} would take the partition that is being written; name one of a {} or more",
        row.get::<_, String>(1)
    );
    let rows = client.query(OLD, &[&age]).await.context(nothing)?;
    let partition = |row: &tokio_postgres::Row| Partition {
        name: row.get(0),
        table: row.get(1),
        since: row.get(2),
        until: row.get(3),
        bytes: row.get(4),
    };
    Ok(rows.iter().map(partition).collect())
}

/// Lists the old partitions with their facts, and changes nothing.
async fn preview(client: &Client, age: &Age, verb: &str, done: &str) -> anyhow::Result<()> {
    let partitions = old(client, &age.older_than).await?;
    for partition in &partitions {
        let count = format!("SELECT count(*) FROM {}", partition.table);
        let facts: i64 = client.query_one(&count, &[]).await?.get(0);
        outln!("{}", partition.would(verb, facts));
    }
    outln!(
        "{} would be {done}; nothing was changed",
        counted(partitions.len() as u64, "partition")
    );
    Ok(())
}

impl Partition {
    fn would(&self, verb: &str, facts: i64) -> String {
        format!(
            "would {verb} {}: {}, {}",
            self.name,
            counted(facts.unsigned_abs(), "fact"),
            display::size(self.bytes)
        )
    }
}

async fn retire(client: &Client, age: &Age, drops: bool) -> anyhow::Result<()> {
    let rows = client
        .query(
            "SELECT etl_retire_partitions($1::text::interval, $2)",
            &[&age.older_than, &drops],
        )
        .await
        .context("nothing was changed")?;
    let done = if drops { "dropped" } else { "detached" };
    for row in &rows {
        outln!("{done} {}", row.get::<_, String>(0));
    }
    outln!("{} {done}", counted(rows.len() as u64, "partition"));
    Ok(())
}

async fn move_default(
    client: &Client,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
) -> anyhow::Result<()> {
    let rows = client
        .query("SELECT * FROM etl_empty_default($1, $2)", &[&from, &to])
        .await
        .context("nothing was moved")?;
    for row in &rows {
        outln!(
            "{} moved to {}",
            counted(row.get::<_, i64>(1).unsigned_abs(), "fact"),
            row.get::<_, String>(0)
        );
    }
    let left = client
        .query_one("SELECT count(*) FROM fact_events_default", &[])
        .await?;
    outln!(
        "{} left in the default partition",
        counted(left.get::<_, i64>(0).unsigned_abs(), "fact")
    );
    Ok(())
}
