//! `etl aggregates`: compares the stored hours of the schema `analytics` with the facts, stores them anew, and
//! changes the settings.

use std::process::ExitCode;

use anyhow::Context;
use chrono::NaiveDate;
use clap::Subcommand;
use tokio_postgres::Client;

use crate::progress::Bar;
use crate::tables::DatabaseUrl;
use crate::{answers, tables};

/// Most differences that are shown one by one.
const SHOWN: usize = 20;
/// Hours that are stored in one transaction.
const HOURS_AT_ONCE: i32 = 24;
/// Waits for the sink that is refreshing.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: DatabaseUrl,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compute everything that is stored anew and compare; the exit code is 1 where it differs. Changes nothing
    Check(Range),
    /// Store the hours of a range anew from the facts
    Rebuild {
        #[command(flatten)]
        range: Range,
        /// Also remove the hours whose facts are gone
        #[arg(long)]
        forget: bool,
    },
    /// Show the settings, or change some; another time zone or session gap rebuilds everything
    Configure(Settings),
}

#[derive(clap::Args)]
struct Range {
    /// The first day, in the reporting time zone; default all
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<NaiveDate>,
    /// The last day; default all
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<NaiveDate>,
}

#[derive(clap::Args)]
struct Settings {
    /// The IANA time zone of days, weeks and months, such as America/Mexico_City
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// The pause that ends a session where no session id is sent, as PostgreSQL writes intervals
    #[arg(long, value_name = "INTERVAL")]
    session_gap: Option<String>,
    /// The currency of totals over all currencies; rates are in analytics.exchange_rates
    #[arg(long, value_name = "CURRENCY")]
    reporting_currency: Option<String>,
    /// A regular expression for the ids of lists whose names are search terms
    #[arg(long, value_name = "REGEX")]
    search_lists: Option<String>,
    /// What a new partition of the facts holds
    #[arg(long, value_parser = ["month", "day"])]
    partition_by: Option<String>,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = tables::connect(args.database.get()?).await?;
    match args.command {
        Command::Check(range) => check(&client, &range).await,
        Command::Rebuild { range, forget } => {
            let touched: i64 = client
                .query_one(
                    "SELECT analytics.touch(coalesce($1::date, '-infinity'), coalesce($2::date, 'infinity'), $3)",
                    &[&range.from, &range.to, &forget],
                )
                .await?
                .get(0);
            store_open_hours(&client).await?;
            println!("{touched} hours stored anew");
            Ok(ExitCode::SUCCESS)
        }
        Command::Configure(settings) => configure(&client, &settings).await,
    }
}

async fn check(client: &Client, range: &Range) -> anyhow::Result<ExitCode> {
    let rows = client
        .query(
            "SELECT table_name, day, missing, superfluous \
             FROM analytics.differences(coalesce($1::date, '-infinity'), coalesce($2::date, 'infinity')) ORDER BY 2, 1",
            &[&range.from, &range.to],
        )
        .await?;
    if rows.is_empty() {
        println!("the aggregates agree with the facts");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = answers::table();
    table.set_header(["table", "day", "rows missing", "rows too many"]);
    for row in rows.iter().take(SHOWN) {
        table.add_row([
            row.get::<_, String>(0),
            row.get::<_, NaiveDate>(1).to_string(),
            row.get::<_, i64>(2).to_string(),
            row.get::<_, i64>(3).to_string(),
        ]);
    }
    answers::align_numbers(&mut table);
    println!("{table}");
    println!(
        "{} tables and days differ; `etl aggregates rebuild` stores them anew",
        rows.len()
    );
    Ok(ExitCode::FAILURE)
}

/// Stores all hours that are open now, some in each transaction.
///
/// # Errors
/// The server's own; the hours before are done then.
pub async fn store_open_hours(client: &Client) -> anyhow::Result<()> {
    let open: i64 = client
        .query_one("SELECT count(*) FROM analytics.open_hours", &[])
        .await?
        .get(0);
    let bar = Bar::towards("hours", open.unsigned_abs());
    let mut left = open;
    while left > 0 {
        let row = client
            .query_one(
                "SELECT stored, open FROM analytics.refresh($1, '0')",
                &[&HOURS_AT_ONCE],
            )
            .await
            .context("cannot store hours; those before are done")?;
        match row.get::<_, Option<i32>>(0) {
            // A sink refreshes at this moment.
            None => tokio::time::sleep(PAUSE).await,
            Some(0) => break,
            // A sink that writes opens hours all the time; those are left to it.
            Some(stored) => left -= i64::from(stored),
        }
        bar.reach((open - left).clamp(0, open).unsigned_abs());
    }
    bar.finish();
    Ok(())
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
        .context("the settings are as they were")?;
    if settings.time_zone.is_some() || settings.session_gap.is_some() {
        store_open_hours(client).await?;
    }
    let row = client
        .query_one(
            "SELECT analytics.time_zone(), analytics.session_gap()::text, analytics.reporting_currency(), \
                    analytics.search_lists(), etl_partition_unit()",
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
    let mut table = answers::table();
    for (column, name) in names.into_iter().enumerate() {
        let value: Option<String> = row.get(column);
        table.add_row([name.to_owned(), value.unwrap_or_default()]);
    }
    println!("{table}");
    Ok(ExitCode::SUCCESS)
}
