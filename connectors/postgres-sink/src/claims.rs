//! One writer for each partition: the sink that holds it writes, any other waits and says for whom.
//!
//! It is the stored offset that keeps two sinks from harming each other. This spares them to do all
//! work twice, and makes of the second one a standby that takes over when the first one ends.

use std::sync::Arc;
use std::time::Duration;

use connector_common::{Health, Stop};
use tokio::sync::Mutex;
use tokio_postgres::{Client, Row};

use crate::backoff::Backoff;
use crate::database::Database;
use crate::errors::{DatabaseError, Doing};
use crate::writer::Source;

/// Ends the session of a holder whose machine is gone within a minute instead of hours.
const SESSION: &str = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; \
     SET idle_session_timeout = 0; SET lock_timeout = '10s'; SET statement_timeout = '10s'";
const TRY: &str = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))";
/// Who holds the lock on the bigint in place of KEY, which is shown as two halves and the subid 1.
const HOLDER: &str = "\
    SELECT concat_ws(', ', a.application_name, 'pid ' || a.pid, 'from ' || host(a.client_addr), \
                     'connected since ' || to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"')) \
    FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
      AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(KEY, 0)";
const STANDS: &str = "\
    SELECT o.sink, o.partition, o.next_offset, extract(epoch FROM clock_timestamp() - o.updated_at)::float8, (HOLDER LIMIT 1) \
    FROM sink_offsets o WHERE o.topic = $1 ORDER BY o.sink, o.partition";
/// The name of a lock, as SQL makes it of a row of `sink_offsets`.
const LOCK_NAME: &str = "concat_ws(e'\\x1f', o.sink, o.topic, o.partition)";

/// Advisory locks on the partitions that this process writes, all on one connection of their own.
#[derive(Debug)]
pub struct Claims {
    database: Arc<Database>,
    session: Mutex<Option<Client>>,
}

/// Whose a partition is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Ours.
    Held,
    /// That of another sink: its application name, process, address, and since when it is connected.
    HeldBy(String),
}

/// Where a sink stands in a partition.
#[derive(Clone, Debug)]
pub struct Stand {
    /// The sink and the partition.
    pub source: Source,
    /// The first record that it has not written yet.
    pub next_offset: i64,
    /// How long ago that moved last, by the server's clock, in seconds.
    pub moved_ago: f64,
    /// Who writes the partition, as [`Claim::HeldBy`] has it; `None` where nobody does.
    pub writer: Option<String>,
}

/// Where all sinks stand that read `topic`, by their names and partitions.
///
/// # Errors
/// PostgreSQL's own.
pub async fn stands(client: &Client, topic: &str) -> Result<Vec<Stand>, DatabaseError> {
    let holder = HOLDER.replace("KEY", LOCK_NAME);
    let rows = client
        .query(&STANDS.replace("HOLDER", &holder), &[&topic])
        .await
        .doing("cannot ask how far the sinks are")?;
    let stand = |row: &Row| Stand {
        source: Source {
            sink: row.get(0),
            topic: topic.to_owned(),
            partition: row.get(1),
        },
        next_offset: row.get(2),
        moved_ago: row.get(3),
        writer: row.get(4),
    };
    Ok(rows.iter().map(stand).collect())
}

impl Claims {
    /// Nothing is held yet.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self {
            database,
            session: Mutex::default(),
        }
    }

    /// Takes the partition of `source`, if nobody else holds it.
    ///
    /// # Errors
    /// PostgreSQL's own.
    pub async fn take(&self, source: &Source) -> Result<Claim, DatabaseError> {
        let doing = "cannot take the partition's lock";
        let mut session = self.session.lock().await;
        let client = match session.take().filter(|client| !client.is_closed()) {
            Some(client) => session.insert(client),
            None => {
                let client = self.database.connect().await?;
                client.batch_execute(SESSION).await.doing(doing)?;
                session.insert(client)
            }
        };
        let Source {
            sink,
            topic,
            partition,
        } = source;
        let name = format!("{sink}\u{1f}{topic}\u{1f}{partition}");
        if client.query_one(TRY, &[&name]).await.doing(doing)?.get(0) {
            return Ok(Claim::Held);
        }
        let holder = HOLDER.replace("KEY", "$1");
        let holder = client.query_opt(&holder, &[&name]).await.doing(doing)?;
        Ok(Claim::HeldBy(holder.map_or_else(
            || "one that has just ended".to_owned(),
            |row| row.get(0),
        )))
    }

    /// Waits until the partition of `source` is ours; `false` if the stop comes first.
    pub(crate) async fn wait(&self, source: &Source, health: &Health, stop: &Stop) -> bool {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let Source {
            sink,
            topic,
            partition,
        } = source;
        let part = format!("claim of partition {partition}");
        loop {
            let trouble = match self.take(source).await {
                Ok(Claim::Held) => {
                    health.works(&part);
                    if backoff.failures() > 0 {
                        tracing::info!(topic, partition, "this sink writes the partition now");
                    }
                    return true;
                }
                Ok(Claim::HeldBy(holder)) => format!(
                    "another sink named `{sink}` writes this partition ({holder}); waiting until it ends. \
                     If both are wanted, give one a `meta.name` of its own"
                ),
                Err(error) => error.to_string(),
            };
            health.troubled(&part, &trouble);
            if backoff.is_news() {
                tracing::warn!(topic, partition, "{trouble}");
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = stop.requested() => return false,
            }
        }
    }
}
