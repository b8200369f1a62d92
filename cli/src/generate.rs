//! `etl generate`: made-up message bodies, one a line, or made-up facts directly in the tables.
//!
//! [`shop`] decides who does what and when; [`queue`] and [`ga4`] format it, and [`messages`] adds
//! the duplicates and unreadable messages of a real queue. The demo sends the same messages. Facts
//! in the tables are for the analysts' queries on large tables.

mod ga4;
pub mod messages;
mod queue;
mod shop;

use std::io::{self, BufWriter, Write};
use std::num::NonZero;
use std::process::ExitCode;

use anyhow::Context;
use chrono::{DateTime, Duration, NaiveDate, NaiveTime, Utc};
use futures_util::future::try_join_all;
use tokio_postgres::Client;

pub use messages::{Choice, Messages};

use crate::aggregates;
use crate::arguments::{self, Database};
use crate::display::counted;
use crate::printer::is_broken_pipe;
use crate::progress::Bar;

const DIMENSIONS: &str = include_str!("../../sql/generate/dimensions.sql");
const FACTS: &str = include_str!("../../sql/generate/facts.sql");
/// The mean number of facts that `facts.sql` makes of a session.
const FACTS_PER_SESSION: u64 = 18;
const SESSIONS_PER_STATEMENT: i64 = 2_000;

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("kind").required(true)))]
pub struct Args {
    /// Print this many message bodies, one a line, for `etl send`, `etl flatten --lines` and
    /// `etl demo --input`
    #[arg(long, value_name = "N", group = "kind")]
    messages: Option<usize>,
    #[command(flatten)]
    choice: Choice,
    /// Insert about this many facts into the tables, without queue, topic and connectors
    #[arg(long, value_name = "FACTS", group = "kind", conflicts_with_all = ["format", "seed"])]
    into_database: Option<u64>,
    /// Days of the facts, up to yesterday
    #[arg(long, default_value_t = 30, conflicts_with = "messages")]
    days: u32,
    /// Connections that insert facts at once
    #[arg(
        short,
        long,
        value_name = "N",
        default_value = "2",
        conflicts_with = "messages"
    )]
    jobs: NonZero<u8>,
    #[command(flatten)]
    database: Database,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(count) = args.messages {
        return match print(count, args.choice) {
            // The reader has closed the pipe.
            Err(error) if !is_broken_pipe(&error) => Err(error),
            _ => Ok(ExitCode::SUCCESS),
        };
    }
    let url = args.database.url()?;
    let facts = args.into_database.context("--into-database is missing")?;
    write_facts(url, facts, args.days, args.jobs).await
}

fn print(count: usize, choice: Choice) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for body in Messages::new(choice, Utc::now()).take(count) {
        writeln!(out, "{body}")?;
    }
    Ok(out.flush()?)
}

/// Has the server make facts by `sql/generate`.
async fn write_facts(
    url: &str,
    facts: u64,
    days: u32,
    jobs: NonZero<u8>,
) -> anyhow::Result<ExitCode> {
    let client = arguments::connect(url).await?;
    let until = Utc::now().date_naive().and_time(NaiveTime::MIN).and_utc();
    let since = until - Duration::days(i64::from(days.max(1)));
    let sessions = i64::try_from(facts.div_ceil(FACTS_PER_SESSION))?;

    client.batch_execute(DIMENSIONS).await?;
    create_partitions(&client, since.date_naive(), until.date_naive()).await?;
    let made = make_facts(url, jobs, sessions, since, until).await?;
    errln!("storing the aggregates");
    client.batch_execute("VACUUM ANALYZE fact_events").await?;
    aggregates::store_open_hours(&client).await?;
    client.batch_execute("ANALYZE").await?;
    outln!(
        "inserted {} of {}",
        counted(made, "fact"),
        counted((until - since).num_days().unsigned_abs(), "day")
    );
    Ok(ExitCode::SUCCESS)
}

async fn create_partitions(
    client: &Client,
    since: NaiveDate,
    until: NaiveDate,
) -> anyhow::Result<()> {
    client
        .execute(
            "SELECT etl_make_partition(day::date) \
             FROM generate_series($1::date::timestamp, $2::date::timestamp, '1 day') AS day",
            &[&since, &until],
        )
        .await?;
    Ok(())
}

/// Each job makes the facts of its own time range, so that the jobs write to different parts of the
/// index.
async fn make_facts(
    url: &str,
    jobs: NonZero<u8>,
    sessions: i64,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let bar = Bar::towards("sessions", sessions.unsigned_abs());
    let jobs = i64::from(jobs.get());
    let of_jobs = (0..jobs).map(async |job| {
        let client = arguments::connect(url).await?;
        // Compiling each statement would take half of the time.
        client.batch_execute("SET jit = off").await?;
        let statement = client.prepare(FACTS).await?;
        let (mut done, end) = (sessions * job / jobs, sessions * (job + 1) / jobs);
        let mut made = 0;
        while done < end {
            let last = end.min(done + SESSIONS_PER_STATEMENT);
            made += client
                .execute(&statement, &[&(done + 1), &last, &sessions, &since, &until])
                .await?;
            bar.add((last - done).unsigned_abs());
            done = last;
        }
        anyhow::Ok(made)
    });
    let made = try_join_all(of_jobs).await?;
    bar.finish();
    Ok(made.into_iter().sum())
}
