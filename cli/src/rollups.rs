//! `etl rollups`: whether the daily rollups agree with the facts, and what to do where they don't.

use std::process::ExitCode;

use anyhow::Context;
use chrono::NaiveDate;
use clap::Subcommand;

use crate::progress::Bar;
use crate::tables::DatabaseUrl;
use crate::{answers, tables};

/// How many differences are shown one by one.
const SHOWN: usize = 20;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: DatabaseUrl,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Count the facts anew and compare; the exit code is 1 where the rollups differ. Changes nothing
    Check(Range),
    /// Count the rollups anew from the facts
    Rebuild {
        #[command(flatten)]
        range: Range,
        /// Also drop the rollups of months whose facts are gone
        #[arg(long)]
        forget: bool,
    },
    /// Keep what questions about people need of the days before today; to be called once an hour or a night
    Seal,
}

#[derive(clap::Args)]
struct Range {
    /// The first day (UTC); default all
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<NaiveDate>,
    /// The last day (UTC); default all
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<NaiveDate>,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = tables::connect(args.database.get()?).await?;
    match args.command {
        Command::Check(range) => check(&client, &range).await,
        Command::Rebuild { range, forget } => rebuild(&client, &range, forget).await,
        Command::Seal => seal(&client).await,
    }
}

async fn check(client: &tokio_postgres::Client, range: &Range) -> anyhow::Result<ExitCode> {
    let rows = client
        .query(
            "SELECT * FROM analytics.rollup_differences(coalesce($1::date, '-infinity'), coalesce($2::date, 'infinity'))",
            &[&range.from, &range.to],
        )
        .await?;
    if rows.is_empty() {
        println!("the rollups agree with the facts");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = answers::table();
    table.set_header(["rollup", "day", "of", "facts", "in the rollup"]);
    for row in rows.iter().take(SHOWN) {
        table.add_row([
            row.get::<_, String>(0),
            row.get::<_, NaiveDate>(1).to_string(),
            row.get(2),
            row.get::<_, i64>(3).to_string(),
            row.get::<_, i64>(4).to_string(),
        ]);
    }
    answers::align_numbers(&mut table);
    println!("{table}");
    println!(
        "{} rows of the rollups differ; `etl rollups rebuild` counts them anew",
        rows.len()
    );
    Ok(ExitCode::FAILURE)
}

async fn rebuild(
    client: &tokio_postgres::Client,
    range: &Range,
    forget: bool,
) -> anyhow::Result<ExitCode> {
    let made = count_anew(client, range.from, range.to, forget).await?;
    println!("{made} rows counted anew");
    Ok(ExitCode::SUCCESS)
}

/// The range in pieces that begin with a month, as far as there are facts or rollups; one piece where there are none. Days
/// are text: some are infinite.
const PIECES: &str = "\
    WITH bounds AS (
        SELECT coalesce($1::date, '-infinity') AS first, coalesce($2::date, 'infinity') AS last
    ), held AS (
        SELECT analytics.day_of(min(f.event_time)) AS first, analytics.day_of(max(f.event_time)) AS last
        FROM fact_events f WHERE isfinite(f.event_time)
        UNION ALL
        SELECT min(r.day), max(r.day) FROM analytics.rollup_event r WHERE isfinite(r.day)
    ), months AS (
        SELECT month::date
        FROM (SELECT min(first)::timestamp AS first, max(last)::timestamp AS last FROM held) h,
             generate_series(date_trunc('month', h.first), h.last, '1 month') AS month
    ), begins AS (
        SELECT b.first AS day FROM bounds b
        UNION
        SELECT m.month FROM months m, bounds b WHERE m.month BETWEEN b.first AND b.last
    )
    SELECT p.day::text, coalesce(lead(p.day) OVER (ORDER BY p.day) - 1, b.last)::text FROM begins p, bounds b ORDER BY p.day";

/// Counts the rollups of a range anew, a month after the other, each in a transaction of its own: what a server sorts of
/// all facts at once may not fit on its disk. Returns how many rows there are.
///
/// # Errors
/// The server's own; the months before are done then.
pub async fn count_anew(
    client: &tokio_postgres::Client,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    forget: bool,
) -> anyhow::Result<i64> {
    let pieces = client.query(PIECES, &[&from, &to]).await?;
    let bar = Bar::towards("months", pieces.len() as u64);
    let mut made = 0;
    for (done, piece) in (1..).zip(&pieces) {
        let (from, to): (String, String) = (piece.get(0), piece.get(1));
        let row = client
            .query_one(
                "SELECT analytics.rebuild_rollups($1::text::date, $2::text::date, $3)",
                &[&from, &to, &forget],
            )
            .await
            .with_context(|| format!("the days from {from} to {to} are as they were"))?;
        made += row.get::<_, i64>(0);
        bar.reach(done);
    }
    bar.finish();
    Ok(made)
}

async fn seal(client: &tokio_postgres::Client) -> anyhow::Result<ExitCode> {
    client.batch_execute("CALL analytics.seal_days()").await?;
    let row = client
        .query_one(
            "SELECT count(*) FILTER (WHERE is_sealed), count(*) FROM analytics.days('-infinity', 'infinity')",
            &[],
        )
        .await?;
    println!(
        "{} of {} days with facts are sealed",
        row.get::<_, i64>(0),
        row.get::<_, i64>(1)
    );
    Ok(ExitCode::SUCCESS)
}
