//! `etl rollups`: whether the daily rollups agree with the facts, and what to do where they don't.

use std::process::ExitCode;

use anyhow::Context;
use chrono::NaiveDate;
use clap::Subcommand;

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
    let row = client
        .query_one(
            "SELECT analytics.rebuild_rollups(coalesce($1::date, '-infinity'), coalesce($2::date, 'infinity'), $3)",
            &[&range.from, &range.to, &forget],
        )
        .await
        .context("nothing was changed")?;
    println!("{} rows counted anew", row.get::<_, i64>(0));
    Ok(ExitCode::SUCCESS)
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
