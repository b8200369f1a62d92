//! One writer for each partition: the sink that holds its lock writes. Any other one waits and says for whom, or
//! shares the partitions with it.
//!
//! It is the stored offset that keeps two sinks from harming each other: it is locked, compared and moved in the
//! transaction that writes, so that of two sinks which believe that they hold a partition one commits, and the
//! other finds its batch refused whole. The locks here spare them to do all work twice, and tell who is there.
//!
//! All locks are those of one session. When the sink ends, or its machine does, PostgreSQL ends the session, and with
//! it go the partitions and the place among those that share.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_postgres::{Client, Row};

use crate::database::Database;
use crate::errors::{DatabaseError, Doing};
use crate::shares::Member;
use crate::writer::Source;

/// Ends the session of a holder whose machine is gone within a minute instead of hours.
const SESSION: &str = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; \
     SET idle_session_timeout = 0; SET lock_timeout = '10s'; SET statement_timeout = '10s'";
const TRY: &str = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))";
const UNLOCK: &str = "SELECT pg_advisory_unlock(hashtextextended($1, 0))";
/// Many may hold this one at once: it is how those that share are counted.
const JOIN: &str = "SELECT pg_try_advisory_lock_shared(hashtextextended($1, 0))";
const LEAVE: &str = "SELECT pg_advisory_unlock_shared(hashtextextended($1, 0))";
/// A lock on a bigint is shown as two halves and the subid 1.
const MEMBERS: &str = "\
    WITH locks AS MATERIALIZED ( \
        SELECT pid, classid::bigint << 32 | objid::bigint AS key FROM pg_locks \
        WHERE locktype = 'advisory' AND granted AND objsubid = 1 \
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) \
    SELECT m.pid, m.pid = pg_backend_pid(), \
           (SELECT count(*) FROM locks l JOIN unnest($2::text[]) AS name ON l.key = hashtextextended(name, 0) WHERE l.pid = m.pid) \
    FROM locks m WHERE m.key = hashtextextended($1, 0)";
/// Who holds the lock on the bigint in place of KEY.
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
    session: Mutex<Option<Session>>,
}

#[derive(Debug)]
struct Session {
    client: Client,
    /// The names of the locks that it holds.
    held: BTreeSet<String>,
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

    /// Takes the partition of `source`, if nobody else holds it. To take what is held already makes sure of it.
    ///
    /// # Errors
    /// PostgreSQL's own. Then it is not known what is held, and the next call begins anew.
    pub async fn take(&self, source: &Source) -> Result<Claim, DatabaseError> {
        let mut slot = self.session.lock().await;
        let taken = async {
            let session = self.open(&mut slot).await?;
            session.take(&name(source)).await
        };
        let taken = taken.await;
        forget_on_error(&mut slot, taken)
    }

    /// Gives the partition of `source` up, if it is held.
    ///
    /// # Errors
    /// As [`Claims::take`].
    pub async fn release(&self, source: &Source) -> Result<(), DatabaseError> {
        let mut slot = self.session.lock().await;
        let Some(session) = slot.as_mut() else {
            return Ok(());
        };
        let released = session.release(UNLOCK, &name(source)).await;
        forget_on_error(&mut slot, released)
    }

    /// Takes a place among the sinks that share under `group`, and tells who they are. Those that hold a place
    /// are alive: it goes with their session. `partitions` are those that are shared.
    ///
    /// # Errors
    /// As [`Claims::take`].
    pub(crate) async fn members(
        &self,
        group: &str,
        partitions: &[Source],
    ) -> Result<Vec<Member>, DatabaseError> {
        let mut slot = self.session.lock().await;
        let asked = async {
            let session = self.open(&mut slot).await?;
            session.members(group, partitions).await
        };
        let asked = asked.await;
        forget_on_error(&mut slot, asked)
    }

    /// Gives up the place under `group`, so that the others share without this one.
    ///
    /// # Errors
    /// As [`Claims::take`].
    pub(crate) async fn leave(&self, group: &str) -> Result<(), DatabaseError> {
        let mut slot = self.session.lock().await;
        let Some(session) = slot.as_mut() else {
            return Ok(());
        };
        let left = session.release(LEAVE, group).await;
        forget_on_error(&mut slot, left)
    }

    async fn open<'s>(
        &self,
        slot: &'s mut Option<Session>,
    ) -> Result<&'s mut Session, DatabaseError> {
        let session = match slot.take().filter(|session| !session.client.is_closed()) {
            Some(session) => session,
            None => {
                let client = self.database.connect().await?;
                let prepared = client.batch_execute(SESSION).await;
                prepared.doing("cannot prepare the session")?;
                Session {
                    client,
                    held: BTreeSet::new(),
                }
            }
        };
        Ok(slot.insert(session))
    }
}

impl Session {
    async fn take(&mut self, name: &str) -> Result<Claim, DatabaseError> {
        let doing = "cannot take the partition's lock";
        // A session counts how often it takes a lock; what it holds, it holds as long as it answers.
        if self.held.contains(name) {
            self.client.simple_query("").await.doing(doing)?;
            return Ok(Claim::Held);
        }
        if self
            .client
            .query_one(TRY, &[&name])
            .await
            .doing(doing)?
            .get(0)
        {
            self.held.insert(name.to_owned());
            return Ok(Claim::Held);
        }
        let holder = HOLDER.replace("KEY", "$1");
        let holder = self
            .client
            .query_opt(&holder, &[&name])
            .await
            .doing(doing)?;
        Ok(Claim::HeldBy(holder.map_or_else(
            || "one that has just ended".to_owned(),
            |row| row.get(0),
        )))
    }

    async fn release(&mut self, unlock: &str, name: &str) -> Result<(), DatabaseError> {
        if self.held.contains(name) {
            let released = self.client.query_one(unlock, &[&name]).await;
            released.doing("cannot give up a lock")?;
            self.held.remove(name);
        }
        Ok(())
    }

    async fn members(
        &mut self,
        group: &str,
        partitions: &[Source],
    ) -> Result<Vec<Member>, DatabaseError> {
        let doing = "cannot ask who shares the partitions";
        if !self.held.contains(group) {
            let joined = self.client.query_one(JOIN, &[&group]).await.doing(doing)?;
            if joined.get(0) {
                self.held.insert(group.to_owned());
            }
        }
        let names: Vec<String> = partitions.iter().map(name).collect();
        let rows = self
            .client
            .query(MEMBERS, &[&group, &names])
            .await
            .doing(doing)?;
        let member = |row: &Row| Member {
            id: row.get(0),
            is_us: row.get(1),
            holds: usize::try_from(row.get::<_, i64>(2)).unwrap_or_default(),
        };
        Ok(rows.iter().map(member).collect())
    }
}

/// A session that gave an error is given up with all that it holds: whether a lock was taken is not known then.
fn forget_on_error<T>(
    slot: &mut Option<Session>,
    outcome: Result<T, DatabaseError>,
) -> Result<T, DatabaseError> {
    if outcome.is_err() {
        *slot = None;
    }
    outcome
}

fn name(source: &Source) -> String {
    let Source {
        sink,
        topic,
        partition,
    } = source;
    format!("{sink}\u{1f}{topic}\u{1f}{partition}")
}
