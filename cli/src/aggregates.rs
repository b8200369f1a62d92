//! `etl aggregates`: compares the aggregates of the schema `analytics` with the facts, rebuilds
//! them, and changes their settings.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::NaiveDate;
use clap::Subcommand;
use tokio_postgres::Client;
use warehouse::refresh;

use crate::arguments::Database;
use crate::display::{self, counted};
use crate::progress::Bar;

/// Differences that are listed.
const MAX_SHOWN: usize = 20;
/// Hours that are stored in one transaction.
const BATCH_HOURS: i32 = 24;
/// The number of open hours and of the days that depend on them.
const OPEN: &str = "\
    SELECT (SELECT count(*) FROM analytics.open_hours) + (SELECT count(DISTINCT day) \
     FROM (SELECT day FROM analytics.days WHERE NOT is_stored \
           UNION ALL SELECT analytics.day_of(hour) + n \
           FROM analytics.open_hours, generate_series(-1, 1) AS n) d)";
/// The time between attempts while a sink refreshes the aggregates.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: Database,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare the aggregates with the facts; exits with 1 if they differ; changes nothing
    Check(Range),
    /// Rebuild the aggregates of some days from the facts
    Rebuild {
        #[command(flatten)]
        range: Range,
        /// Also remove aggregates whose facts are removed
        #[arg(long)]
        forget: bool,
    },
    /// Show or change the settings; a new time zone or session gap rebuilds everything
    Configure(Settings),
}

#[derive(clap::Args)]
struct Range {
    /// The first day, in the reporting time zone [default: all]
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<NaiveDate>,
    /// The last day [default: all]
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<NaiveDate>,
}

#[derive(clap::Args)]
struct Settings {
    /// The IANA time zone of days, weeks and months, such as America/Mexico_City
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// The pause that ends a session without a session id, as PostgreSQL writes intervals
    #[arg(long, value_name = "INTERVAL")]
    session_gap: Option<String>,
    /// The currency of totals over all currencies; rates are in analytics.exchange_rates
    #[arg(long, value_name = "CURRENCY")]
    reporting_currency: Option<String>,
    /// A regular expression for the ids of lists whose names are search terms
    #[arg(long, value_name = "REGEX")]
    search_lists: Option<String>,
    /// The range of new partitions of the facts
    #[arg(long, value_name = "UNIT", value_parser = ["month", "day"])]
    partition_by: Option<String>,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.database.connect().await?;
    match args.command {
        Command::Check(range) => check(&client, &range).await,
        Command::Rebuild { range, forget } => {
            let touched: i64 = client
                .query_one(
                    "SELECT analytics.touch(coalesce($1::date, '-infinity'), \
                                             coalesce($2::date, 'infinity'), $3)",
                    &[&range.from, &range.to, &forget],
                )
                .await?
                .get(0);
            let open = store_open_hours(&client).await?;
            outln!(
                "{} rebuilt; {}",
                counted(touched.unsigned_abs(), "hour"),
                stored(open)
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Configure(settings) => configure(&client, &settings).await,
    }
}

async fn check(client: &Client, range: &Range) -> anyhow::Result<ExitCode> {
    let rows = client
        .query(
            "SELECT table_name, day, missing, superfluous \
             FROM analytics.differences(coalesce($1::date, '-infinity'), \
                                        coalesce($2::date, 'infinity')) ORDER BY 2, 1",
            &[&range.from, &range.to],
        )
        .await?;
    if rows.is_empty() {
        outln!("the aggregates agree with the facts");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = display::table();
    table.set_header(["table", "day", "rows missing", "rows too many"]);
    for row in rows.iter().take(MAX_SHOWN) {
        table.add_row([
            row.get::<_, String>(0),
            row.get::<_, NaiveDate>(1).to_string(),
            row.get::<_, i64>(2).to_string(),
            row.get::<_, i64>(3).to_string(),
        ]);
    }
    display::align_numbers(&mut table);
    outln!("{table}");
    outln!(
        "{} differ; `etl aggregates rebuild` rebuilds them",
        match rows.len() {
            1 => "1 table of a day".to_owned(),
            all => format!("{all} tables and days"),
        }
    );
    Ok(ExitCode::FAILURE)
}

/// The end of a message after [`store_open_hours`].
fn stored(open: u64) -> String {
    match open {
        0 => "all are stored".to_owned(),
        open => format!("the sink stores the other {open} hours and days"),
    }
}

/// Stores the aggregates of all open hours and their days, in several transactions. Returns the
/// number of hours and days that were opened meanwhile, which a sink stores.
///
/// # Errors
/// Fails if a query fails, or hours or days can't be stored; earlier transactions stay committed.
pub async fn store_open_hours(client: &Client) -> anyhow::Result<u64> {
    let open: i64 = client.query_one(OPEN, &[]).await?.get(0);
    let bar = Bar::towards("hours and days", open.unsigned_abs());
    let mut left = open;
    while left > 0 {
        let row = client
            .query_one(
                "SELECT stored FROM analytics.refresh($1, '0')",
                &[&BATCH_HOURS],
            )
            .await
            .context("cannot store further hours; earlier ones are stored")?;
        match row.get::<_, Option<i32>>(0) {
            // A sink is refreshing.
            None => tokio::time::sleep(PAUSE).await,
            Some(0) => break,
            // Hours that a sink opens meanwhile are left to it.
            Some(stored) => left -= i64::from(stored),
        }
        bar.reach((open - left).clamp(0, open).unsigned_abs());
    }
    let left: i64 = client.query_one(OPEN, &[]).await?.get(0);
    if left == 0 {
        // Some days that depended on an hour have no facts, or a sink has stored them.
        bar.reach(open.unsigned_abs());
    }
    bar.finish();
    match refresh::state(client).await?.failure {
        Some(failure) => bail!("{failure}; queries compute them from the facts meanwhile"),
        None => Ok(left.unsigned_abs()),
    }
}

async fn configure(client: &Client, settings: &Settings) -> anyhow::Result<ExitCode> {
    if let Some(unit) = &settings.partition_by {
        client
            .execute("SELECT etl_partition_by($1)", &[unit])
            .await?;
    }
    client
        .execute(
            "SELECT analytics.configure($1, $2::text::interval, $3, $4)",
            &[
                &settings.time_zone,
                &settings.session_gap,
                &settings.reporting_currency,
                &settings.search_lists,
            ],
        )
        .await
        .context("the settings are unchanged")?;
    if settings.time_zone.is_some() || settings.session_gap.is_some() {
        store_open_hours(client).await?;
    }
    let row = client
        .query_one(
            "SELECT analytics.time_zone(), analytics.session_gap()::text, \
                    analytics.reporting_currency(), analytics.search_lists(), etl_partition_unit()",
            &[],
        )
        .await?;
    let names = [
        "time zone",
        "session gap",
        "reporting currency",
        "search lists",
        "partition by",
    ];
    let mut table = display::table();
    for (column, name) in names.into_iter().enumerate() {
        let value: Option<String> = row.get(column);
        table.add_row([name.to_owned(), value.unwrap_or_default()]);
    }
    outln!("{table}");
    Ok(ExitCode::SUCCESS)
}
