//! What has arrived, asked of the tables.

use std::sync::Arc;

use anyhow::anyhow;
use connector_common::Secret;
use fact_model::FactHash;
use futures_util::{TryStreamExt, pin_mut};
use postgres_sink::{Config, database::Database};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::expectation::Fingerprint;

/// The database of a command with subcommands, to be named before or behind these.
#[derive(clap::Args)]
pub struct DatabaseUrl {
    /// The database
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        global = true
    )]
    database_url: Option<String>,
}

impl DatabaseUrl {
    /// The one that was named; clap can't require an argument that is global.
    ///
    /// # Errors
    /// None was.
    pub fn get(&self) -> anyhow::Result<&str> {
        let url = self.database_url.as_deref();
        url.ok_or_else(|| anyhow!("no database named; use --database-url or DATABASE_URL"))
    }
}

/// The database at `url`, which is written as for the sink.
///
/// # Errors
/// The URL can't be understood.
pub fn database(url: &str) -> anyhow::Result<Arc<Database>> {
    let config = Config {
        application_name: "etl".to_owned(),
        ..Config::new(Secret::from(url.to_owned()))
    };
    Database::new(&config).map_err(|reason| anyhow!("the database's {reason}"))
}

/// Connects to the database at `url`.
///
/// # Errors
/// The server's own, without the password.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let database = database(url)?;
    let connected = database.connect().await;
    connected.map_err(|error| anyhow!("cannot connect to the database: {}", error.cause))
}

/// How many records of `topic` the sink has committed, over all partitions.
///
/// # Errors
/// The server's own.
pub async fn committed(client: &Client, topic: &str) -> anyhow::Result<i64> {
    let there = client
        .query_one("SELECT to_regclass('sink_offsets') IS NOT NULL", &[])
        .await?;
    if !there.get::<_, bool>(0) {
        return Ok(0);
    }
    let row = client
        .query_one(
            "SELECT coalesce(sum(next_offset), 0)::bigint FROM sink_offsets WHERE topic = $1",
            &[&topic],
        )
        .await?;
    Ok(row.get(0))
}

/// The sums over all facts.
///
/// # Errors
/// The server's own.
pub async fn fingerprint(client: &Client) -> anyhow::Result<Fingerprint> {
    let row = client
        .query_one(
            "SELECT count(*) FILTER (WHERE item_ordinal <= 1), count(*),
                    coalesce(bit_xor(('x' || left(hash, 16))::bit(64)::bigint), 0),
                    coalesce(bit_xor(('x' || right(hash, 16))::bit(64)::bigint), 0)
             FROM (SELECT item_ordinal, replace(fact_hash::text, '-', '') AS hash FROM fact_events) AS facts",
            &[],
        )
        .await?;
    let half = |column: usize| u128::from(row.get::<_, i64>(column).cast_unsigned());
    Ok(Fingerprint {
        events: row.get::<_, i64>(0).unsigned_abs(),
        facts: row.get::<_, i64>(1).unsigned_abs(),
        hashes: half(2) << 64 | half(3),
    })
}

/// Rejected events by reason, most frequent first.
///
/// # Errors
/// The server's own.
pub async fn rejected(client: &Client) -> anyhow::Result<Vec<(String, u64)>> {
    let rows = client
        .query("SELECT reason, count(*) FROM rejected_events GROUP BY reason ORDER BY count(*) DESC, reason", &[])
        .await?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs()))
        .collect())
}

/// When each event was committed: its first fact's hash, and microseconds after the epoch. Where
/// the server does not keep commit times, the start of the transaction stands in.
///
/// # Errors
/// The server's own.
pub async fn each_commit(
    client: &Client,
    mut with: impl FnMut(FactHash, u64),
) -> anyhow::Result<()> {
    let kept = client
        .query_one(
            "SELECT current_setting('track_commit_timestamp')::boolean",
            &[],
        )
        .await?;
    let time = if kept.get(0) {
        "pg_xact_commit_timestamp(xmin)"
    } else {
        "ingested_at"
    };
    let query = format!(
        "SELECT fact_hash, (extract(epoch FROM {time}) * 1000000)::bigint FROM fact_events WHERE item_ordinal <= 1"
    );
    let rows = client.query_raw(&query, std::iter::empty::<&str>()).await?;
    pin_mut!(rows);
    while let Some(row) = rows.try_next().await? {
        let hash: Uuid = row.get(0);
        with(
            FactHash(*hash.as_bytes()),
            row.get::<_, i64>(1).unsigned_abs(),
        );
    }
    Ok(())
}
