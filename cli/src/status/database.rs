//! The tables' part of a reading.

use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, Utc};
use postgres_sink::claims::{self, Stand};
use serde::Serialize;
use tokio_postgres::Client;

use crate::tables;

/// Below this size the facts are counted, above it the server's estimate has to do: a count reads all of them.
const COUNTED: i64 = 256 << 20;
/// What a reading of the sizes and counts may take of the time, at most a part in so many.
const SHARE: u32 = 20;

/// What the database holds.
#[derive(Clone, Serialize)]
pub struct Tables {
    /// The size of the whole database.
    pub database_bytes: i64,
    /// Facts: counted, or where there are many, as the server estimates them.
    pub facts: i64,
    /// Whether `facts` is an estimate.
    pub facts_are_estimated: bool,
    /// Events that have facts; `null` where the facts are not counted.
    pub events: Option<i64>,
    /// Rejected events by reason, most frequent first.
    pub rejected: Vec<Rejected>,
    /// The months of the facts in their order, the default partition last.
    pub months: Vec<Month>,
}

/// Events that were rejected for one reason and are kept.
#[derive(Clone, Serialize)]
pub struct Rejected {
    /// The reason.
    pub reason: String,
    /// How many.
    pub total: i64,
    /// How many of them came in the last 24 hours.
    pub last_24_hours: i64,
}

/// A partition of `fact_events`.
#[derive(Clone, Serialize)]
pub struct Month {
    /// Its table.
    pub name: String,
    /// Where it begins; `null` for the default partition.
    pub since: Option<DateTime<Utc>>,
    /// Where it ends.
    pub until: Option<DateTime<Utc>>,
    /// Facts, as the server estimates them.
    pub facts_estimated: i64,
    /// Its size with indexes.
    pub bytes: i64,
}

/// A connection that is kept from one reading to the next.
pub struct Connection {
    url: Option<String>,
    client: Option<Client>,
    /// Sizes and counts, when they were asked for, and how long that took.
    tables: Option<(Tables, Instant, Duration)>,
}

impl Connection {
    /// To the database at `url`; nothing is connected yet.
    pub fn new(url: Option<String>) -> Self {
        Self {
            url,
            client: None,
            tables: None,
        }
    }

    /// Asks for everything; sizes and counts, which take longer, no more often than they can be had cheaply.
    pub async fn read(&mut self, topic: &str) -> anyhow::Result<(Tables, Vec<Stand>)> {
        let client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => self.client.insert(client),
            None => {
                let url = self.url.as_deref();
                let url = url.context("no database named; use --database-url or DATABASE_URL")?;
                self.client.insert(tables::connect(url).await?)
            }
        };
        let stands = claims::stands(client, topic)
            .await
            .context("the tables aren't there; `etl migrate` makes them")?;
        let fresh = self
            .tables
            .as_ref()
            .filter(|(_, at, took)| at.elapsed() < *took * SHARE);
        if let Some((tables, ..)) = fresh {
            return Ok((tables.clone(), stands));
        }
        let began = Instant::now();
        let tables = ask(client).await?;
        self.tables = Some((tables.clone(), Instant::now(), began.elapsed()));
        Ok((tables, stands))
    }
}

async fn ask(client: &Client) -> anyhow::Result<Tables> {
    let size = "SELECT pg_database_size(current_database())";
    let rejected = "SELECT reason, count(*), count(*) FILTER (WHERE first_seen > now() - interval '24 hours') \
                    FROM rejected_events GROUP BY reason ORDER BY 2 DESC, 1";
    let months = client.query("SELECT * FROM etl_partitions()", &[]).await?;
    let months: Vec<Month> = months
        .iter()
        .map(|row| Month {
            name: row.get(0),
            since: row.get(1),
            until: row.get(2),
            facts_estimated: row.get(3),
            bytes: row.get(4),
        })
        .collect();
    let facts_are_estimated = months.iter().map(|month| month.bytes).sum::<i64>() > COUNTED;
    let (facts, events) = if facts_are_estimated {
        (months.iter().map(|month| month.facts_estimated).sum(), None)
    } else {
        let count = "SELECT count(*), count(*) FILTER (WHERE item_ordinal <= 1) FROM fact_events";
        let row = client.query_one(count, &[]).await?;
        (row.get(0), Some(row.get(1)))
    };
    let rejected = client.query(rejected, &[]).await?;
    Ok(Tables {
        database_bytes: client.query_one(size, &[]).await?.get(0),
        facts,
        facts_are_estimated,
        events,
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
