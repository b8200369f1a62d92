//! The tables in a reading.

use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_postgres::Client;
use warehouse::locks::{CommittedOffset, committed_offsets};
use warehouse::refresh;

use crate::arguments::Database;
use crate::partitions;

/// The largest size of facts that are counted. A count reads all of them, so larger tables use the
/// server's estimate.
const MAX_COUNTED: i64 = 256 << 20;
/// Sizes and counts are reused for this many times the time that they took.
const REUSE: u32 = 20;

/// The contents of the database.
#[derive(Clone, Serialize)]
pub struct Tables {
    /// The size of the whole database.
    pub database_bytes: i64,
    /// Facts: counted, or in large tables estimated by the server.
    pub facts: i64,
    /// True if `facts` is an estimate.
    pub facts_are_estimated: bool,
    /// Events with facts; `null` if the facts are not counted.
    pub events: Option<i64>,
    /// The time since the first change of facts was due in the aggregates that is not in them; 0 if
    /// all that is due is.
    pub aggregates_age_seconds: u64,
    /// Hours whose aggregates are not stored yet; queries compute them from the facts.
    pub aggregates_open_hours: u32,
    /// Days whose aggregates are not stored yet; queries compute them from the facts.
    pub aggregates_open_days: u32,
    /// Rejected events by reason, most frequent first.
    pub rejected: Vec<Rejected>,
    /// The partitions of the facts by time, the default partition last.
    pub months: Vec<Month>,
}

/// The rows of `rejected_events` with one reason.
#[derive(Clone, Serialize)]
pub struct Rejected {
    /// The reason.
    pub reason: String,
    /// Their number.
    pub total: i64,
    /// Those first seen in the last 24 hours.
    pub last_24_hours: i64,
}

/// A partition of `fact_events`.
#[derive(Clone, Serialize)]
pub struct Month {
    /// The name of its table.
    pub name: String,
    /// Its first time; `null` for the default partition.
    pub since: Option<DateTime<Utc>>,
    /// Its end; `null` for the default partition.
    pub until: Option<DateTime<Utc>>,
    /// The server's estimate of the facts; 0 before its first analysis of the table.
    pub facts_estimated: i64,
    /// True if its table takes no space: it has no facts.
    pub is_empty: bool,
    /// Its size with indexes.
    pub bytes: i64,
}

/// A connection that is kept between readings.
#[derive(Default)]
pub struct Connection {
    client: Option<Client>,
    /// Sizes and counts with the time of their reading and the time it took.
    tables: Option<(Tables, Instant, Duration)>,
}

impl Connection {
    /// Reads sizes, counts and committed offsets. Reuses sizes and counts, which take longer, for a
    /// while.
    pub async fn read(
        &mut self,
        database: &Database,
        topic: &str,
    ) -> anyhow::Result<(Tables, Vec<CommittedOffset>)> {
        let client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => self.client.insert(client),
            None => self.client.insert(database.connect().await?),
        };
        let offsets = committed_offsets(client, topic)
            .await
            .context("cannot read the committed offsets; `etl migrate` creates the tables")?;
        let fresh = self
            .tables
            .as_ref()
            .filter(|(_, at, took)| at.elapsed() < *took * REUSE);
        if let Some((tables, ..)) = fresh {
            return Ok((tables.clone(), offsets));
        }
        let began = Instant::now();
        let tables = ask(client).await?;
        self.tables = Some((tables.clone(), Instant::now(), began.elapsed()));
        Ok((tables, offsets))
    }
}

async fn ask(client: &Client) -> anyhow::Result<Tables> {
    let size = "SELECT pg_database_size(current_database())";
    let rejected = "SELECT reason, count(*), \
                           count(*) FILTER (WHERE first_seen > now() - interval '24 hours') \
                    FROM rejected_events GROUP BY reason ORDER BY 2 DESC, 1";
    let months = client.query("SELECT * FROM etl_partitions()", &[]).await?;
    let empty = partitions::empty(client).await?;
    let months: Vec<Month> = months
        .iter()
        .map(|row| Month {
            name: row.get(0),
            since: row.get(1),
            until: row.get(2),
            facts_estimated: row.get(3),
            is_empty: empty.contains(row.get::<_, &str>(0)),
            bytes: row.get(4),
        })
        .collect();
    let facts_are_estimated = months.iter().map(|month| month.bytes).sum::<i64>() > MAX_COUNTED;
    let (facts, events) = if facts_are_estimated {
        (months.iter().map(|month| month.facts_estimated).sum(), None)
    } else {
        let count = "SELECT count(*), count(*) FILTER (WHERE item_ordinal <= 1) FROM fact_events";
        let row = client.query_one(count, &[]).await?;
        (row.get(0), Some(row.get(1)))
    };
    let rejected = client.query(rejected, &[]).await?;
    let aggregates = refresh::state(client).await?;
    Ok(Tables {
        database_bytes: client.query_one(size, &[]).await?.get(0),
        facts,
        facts_are_estimated,
        events,
        aggregates_age_seconds: aggregates.age.as_secs(),
        aggregates_open_hours: aggregates.open_hours,
        aggregates_open_days: aggregates.open_days,
        rejected: rejected
            .iter()
            .map(|row| Rejected {
                reason: row.get(0),
                total: row.get(1),
                last_24_hours: row.get(2),
            })
            .collect(),
        months,
    })
}
