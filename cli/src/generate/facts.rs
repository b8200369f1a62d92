//! Made-up facts, straight into the tables. The server makes them itself, by `sql/generate`.

use std::num::NonZero;
use std::process::ExitCode;

use chrono::{DateTime, Duration, NaiveDate, NaiveTime, Utc};
use futures_util::future::try_join_all;
use tokio_postgres::Client;

use crate::progress::Bar;
use crate::{aggregates, tables};

const DIMENSIONS: &str = include_str!("../../../sql/generate/dimensions.sql");
const FACTS: &str = include_str!("../../../sql/generate/facts.sql");
/// Facts that `facts.sql` makes of a session, on average.
const FACTS_A_SESSION: u64 = 18;
const SESSIONS_A_STATEMENT: i64 = 2_000;

pub async fn write(
    url: &str,
    facts: u64,
    days: u32,
    jobs: NonZero<u8>,
) -> anyhow::Result<ExitCode> {
    let client = tables::connect(url).await?;
    let until = Utc::now().date_naive().and_time(NaiveTime::MIN).and_utc();
    let since = until - Duration::days(i64::from(days.max(1)));
    let sessions = i64::try_from(facts.div_ceil(FACTS_A_SESSION))?;

    client.batch_execute(DIMENSIONS).await?;
    create_partitions(&client, since.date_naive(), until.date_naive()).await?;
    let made = make_facts(url, jobs, sessions, since, until).await?;
    eprintln!("storing the hours");
    client.batch_execute("VACUUM ANALYZE fact_events").await?;
    aggregates::store_open_hours(&client).await?;
    client.batch_execute("ANALYZE").await?;
    println!(
        "{made} facts of {} days are new",
        (until - since).num_days()
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
            "SELECT etl_make_partition(day::date) FROM generate_series($1::date::timestamp, $2::date::timestamp, '1 day') AS day",
            &[&since, &until],
        )
        .await?;
    Ok(())
}

/// Each of the jobs makes the facts of a time of its own, so that they write to different ends of
/// the index.
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
        let client = tables::connect(url).await?;
        let statement = client.prepare(FACTS).await?;
        let (mut done, end) = (sessions * job / jobs, sessions * (job + 1) / jobs);
        let mut made = 0;
        while done < end {
            let last = end.min(done + SESSIONS_A_STATEMENT);
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
