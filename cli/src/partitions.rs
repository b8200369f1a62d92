//! `etl partitions`: lists the partitions of the facts, and drops or detaches old ones.
//!
//! With `--archived` a partition is dropped only if the lake has all of its facts ([`archived`]).

#[cfg(feature = "lake")]
mod archived;

use std::process::ExitCode;

use anyhow::Context;
use chrono::{DateTime, Months, NaiveDate, Utc};
use clap::Subcommand;

use crate::arguments::Database;
use crate::display;

const MIB: i64 = 1 << 20;
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
        #[cfg(feature = "lake")]
        #[command(flatten)]
        archive: archived::Archive,
    },
    /// Detach old partitions: their tables stay, but are no longer part of the facts
    Detach(Age),
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
    #[arg(long, value_name = "AGE")]
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
        Command::Drop { age, archive } if archive.is_wanted() => {
            return archived::drop(&mut client, &age.older_than, &archive).await;
        }
        Command::Drop { age, .. } => retire(&client, &age, true).await?,
        Command::Detach(age) => retire(&client, &age, false).await?,
        Command::MoveDefault { from, to } => {
            let today = Utc::now().date_naive();
            let from = from.or(today.checked_sub_months(Months::new(12 * YEARS_BACK)));
            let to = to.or(today.checked_add_months(Months::new(MONTHS_AHEAD)));
            move_default(&client, from, to).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &tokio_postgres::Client) -> anyhow::Result<()> {
    let mut table = display::table();
    table.set_header(["partition", "from", "to", "facts, about", "MiB"]);
    for row in client.query("SELECT * FROM etl_partitions()", &[]).await? {
        let day = |column: usize| {
            let time: Option<DateTime<Utc>> = row.get(column);
            time.map_or_else(String::new, |time| time.format("%Y-%m-%d").to_string())
        };
        table.add_row([
            row.get::<_, String>(0),
            day(1),
            day(2),
            // The server has no estimate before its first analysis of a table.
            match row.get(3) {
                0_i64 => "?".to_owned(),
                facts => facts.to_string(),
            },
            (row.get::<_, i64>(4) / MIB).to_string(),
        ]);
    }
    display::align_numbers(&mut table);
    outln!("{table}");
    Ok(())
}

async fn retire(client: &tokio_postgres::Client, age: &Age, drops: bool) -> anyhow::Result<()> {
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
    outln!("{} partitions {done}", rows.len());
    Ok(())
}

async fn move_default(
    client: &tokio_postgres::Client,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
) -> anyhow::Result<()> {
    let rows = client
        .query("SELECT * FROM etl_empty_default($1, $2)", &[&from, &to])
        .await
        .context("nothing was moved")?;
    for row in &rows {
        outln!(
            "{} facts moved to {}",
            row.get::<_, i64>(1),
            row.get::<_, String>(0)
        );
    }
    let left = client
        .query_one("SELECT count(*) FROM fact_events_default", &[])
        .await?;
    outln!(
        "{} facts left in the default partition",
        left.get::<_, i64>(0)
    );
    Ok(())
}
