//! Advisory locks on partitions: one sink writes each. Others wait, or share the partitions with
//! it.
//!
//! The locks avoid duplicate work and name the owner; the committed offset ensures correctness. It
//! is locked, compared and moved in the transaction that writes: of two sinks that both believe
//! they hold a partition one commits, and the other is fenced.
//!
//! All locks belong to one session. When the sink or its machine fails, PostgreSQL ends the
//! session, and with it the locks on partitions and the membership in the group of sinks that
//! share. If only the connection breaks, the session and its locks can outlive it. So its
//! application name tells whose it is, and the next session of this process ends it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use connector_common::Partitions;
use tokio::sync::Mutex;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

use crate::database::{Connection, Database, server_process};
use crate::error::{Context, Error};
use crate::source::Source;
use crate::transaction::answer;

const SESSION: &str = "\
    SET idle_session_timeout = 0; SET lock_timeout = '10s'; SET statement_timeout = '10s'; \
    SELECT set_config('application_name', \
                      left(current_setting('application_name'), 50) || ' INSTANCE', false)";
/// Ends earlier sessions of this process, and waits until they have ended.
const END_EARLIER: &str = "\
    SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity \
    WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid()";
/// Timeout for an answer of the server.
const TIMEOUT: Duration = Duration::from_secs(10);
const LOCK: &str = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))";
const UNLOCK: &str = "SELECT pg_advisory_unlock(hashtextextended($1, 0))";
/// A shared lock, which all members of a group hold: it is how they are counted.
const JOIN: &str = "SELECT pg_try_advisory_lock_shared(hashtextextended($1, 0))";
const LEAVE: &str = "SELECT pg_advisory_unlock_shared(hashtextextended($1, 0))";
/// `pg_locks` shows a lock on a bigint as two halves and `objsubid` 1.
const MEMBERS: &str = "\
    WITH locks AS MATERIALIZED ( \
        SELECT pid, classid::bigint << 32 | objid::bigint AS key FROM pg_locks \
        WHERE locktype = 'advisory' AND granted AND objsubid = 1 \
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) \
    SELECT m.pid, m.pid = pg_backend_pid(), \
           (SELECT count(*) FROM locks l \
            JOIN unnest($2::text[]) AS name ON l.key = hashtextextended(name, 0) \
            WHERE l.pid = m.pid) \
    FROM locks m WHERE m.key = hashtextextended($1, 0)";
/// The owner of the lock on the bigint in place of KEY.
const OWNER: &str = "\
    SELECT concat_ws(', ', a.application_name, 'pid ' || a.pid, 'from ' || host(a.client_addr), \
                     'connected since ' || \
                     to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"')) \
    FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
      AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(KEY, 0)";
/// The same, and true if the owner is an earlier session of this process.
const OWNER_IS_US: &str = "\
    SELECT owner, starts_with(owner, current_setting('application_name') || ', pid ') \
    FROM (OWNER LIMIT 1) AS owners (owner)";
const COMMITTED_OFFSETS: &str = "\
    SELECT o.sink, o.partition, o.next_offset, \
           extract(epoch FROM clock_timestamp() - o.updated_at)::float8, (OWNER LIMIT 1) \
    FROM sink_offsets o WHERE o.topic = $1 ORDER BY o.sink, o.partition";
/// The name of the lock for a row of `sink_offsets`, as [`name`] makes it.
const LOCK_NAME: &str = "concat_ws(e'\\x1f', o.sink, o.topic, o.partition)";

/// The advisory locks of this process, all on one connection outside of the pool.
#[derive(Debug)]
pub struct AdvisoryLocks {
    database: Arc<Database>,
    /// The settings of its sessions, with an application name that no other process has.
    settings: String,
    session: Mutex<Option<Session>>,
}

#[derive(Debug)]
struct Session {
    connection: Connection,
    /// The process that serves it.
    pid: i32,
    /// The names of the locks that it holds.
    held: BTreeSet<String>,
}

/// The state of the lock on a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lock {
    /// This process holds it.
    Held,
    /// Another sink holds it: its application name, process, address and time of connection.
    HeldBy(String),
}

/// A sink in a group of sinks that share partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its identity: the process id of its session in the server.
    pub id: i32,
    /// True for this sink.
    pub is_us: bool,
    /// The number of partitions that it holds.
    pub holds: usize,
}

/// The committed offset of a sink in a partition.
#[derive(Clone, Debug)]
pub struct CommittedOffset {
    /// The sink and the partition.
    pub source: Source,
    /// The first record that it has not written yet.
    pub next_offset: i64,
    /// Seconds since it moved, by the server's clock.
    pub moved_ago: f64,
    /// The owner of the lock, as in [`Lock::HeldBy`]; `None` if no sink writes the partition.
    pub writer: Option<String>,
}

/// The committed offsets of all sinks that read `topic`, by name and partition.
///
/// # Errors
/// A request to the server failed.
pub async fn committed_offsets(
    client: &Client,
    topic: &str,
) -> Result<Vec<CommittedOffset>, Error> {
    let owner = OWNER.replace("KEY", LOCK_NAME);
    let rows = client
        .query(&COMMITTED_OFFSETS.replace("OWNER", &owner), &[&topic])
        .await
        .context("cannot read the committed offsets of sinks")?;
    let offset = |row: &Row| CommittedOffset {
        source: Source {
            sink: row.get(0),
            topic: topic.to_owned(),
            partition: row.get(1),
        },
        next_offset: row.get(2),
        moved_ago: row.get(3),
        writer: row.get(4),
    };
    Ok(rows.iter().map(offset).collect())
}

impl AdvisoryLocks {
    /// Holds no lock yet. Connects when a lock is taken.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        let instance = format!("{:08x}", rand::random::<u32>());
        Self {
            database,
            settings: SESSION.replace("INSTANCE", &instance),
            session: Mutex::default(),
        }
    }

    /// Takes the lock on the partition of `source` if it is free, and checks a lock that this
    /// process holds already.
    ///
    /// # Errors
    /// A request to the server failed. All locks of the session are given up then, since it is not
    /// known which ones it holds.
    pub async fn take(&self, source: &Source) -> Result<Lock, Error> {
        let mut slot = self.session.lock().await;
        let taken = async {
            let session = self.open(&mut slot).await?;
            session.take(&name(source)).await
        };
        let taken = taken.await;
        close_on_error(&mut slot, taken)
    }

    /// Releases the lock on the partition of `source` if this process holds it.
    ///
    /// # Errors
    /// As [`AdvisoryLocks::take`].
    pub async fn release(&self, source: &Source) -> Result<(), Error> {
        self.release_lock(UNLOCK, &name(source)).await
    }

    /// Joins the group of sinks that share `partitions` and returns its members. Each is alive,
    /// since its membership ends with its session.
    ///
    /// # Errors
    /// As [`AdvisoryLocks::take`].
    pub async fn members(&self, group: &str, partitions: &[Source]) -> Result<Vec<Member>, Error> {
        let mut slot = self.session.lock().await;
        let members = async {
            let session = self.open(&mut slot).await?;
            session.members(group, partitions).await
        };
        let members = members.await;
        close_on_error(&mut slot, members)
    }

    /// Leaves `group`, so that the others share its partitions without this sink.
    ///
    /// # Errors
    /// As [`AdvisoryLocks::take`].
    pub async fn leave(&self, group: &str) -> Result<(), Error> {
        self.release_lock(LEAVE, group).await
    }

    async fn release_lock(&self, unlock: &str, name: &str) -> Result<(), Error> {
        let mut slot = self.session.lock().await;
        let Some(session) = slot.as_mut() else {
            return Ok(());
        };
        let released = session.release(unlock, name).await;
        close_on_error(&mut slot, released)
    }

    /// Closes the session, and with it all locks.
    pub async fn close(&self) {
        *self.session.lock().await = None;
    }

    async fn open<'s>(&self, slot: &'s mut Option<Session>) -> Result<&'s mut Session, Error> {
        let session = match slot.take().filter(|session| !session.client().is_closed()) {
            Some(session) => session,
            None => {
                let connection = self.database.open(&self.settings).await?;
                let session = Session {
                    pid: server_process(&connection.client, TIMEOUT).await?,
                    connection,
                    held: BTreeSet::new(),
                };
                session.end_earlier().await;
                session
            }
        };
        Ok(slot.insert(session))
    }
}

impl Session {
    fn client(&self) -> &Client {
        &self.connection.client
    }

    /// Ends sessions of this process whose connections broke. The server notices that only after
    /// the keepalives, and until then they hold their locks.
    async fn end_earlier(&self) {
        let ended = answer(TIMEOUT, self.client().query(END_EARLIER, &[])).await;
        if let Err(error) = ended {
            tracing::warn!("cannot end an earlier session with locks: {error}");
        }
    }

    /// Fails if a pooler has put another session under this connection: then its locks are not
    /// those of this process.
    async fn check_process(&self) -> Result<(), Error> {
        if server_process(self.client(), TIMEOUT).await? == self.pid {
            Ok(())
        } else {
            Err(Error::Pooled)
        }
    }

    async fn take(&mut self, name: &str) -> Result<Lock, Error> {
        let context = "cannot take the lock on a partition";
        // A second lock of the same name would have to be released twice. A lock is held for as
        // long as the session answers.
        if self.held.contains(name) {
            self.check_process().await?;
            return Ok(Lock::Held);
        }
        let taken = answer(TIMEOUT, self.client().query_one(LOCK, &[&name])).await;
        let taken: bool = taken.context(context)?.get(0);
        self.check_process().await?;
        if taken {
            self.held.insert(name.to_owned());
            return Ok(Lock::Held);
        }
        let query = OWNER_IS_US.replace("OWNER", &OWNER.replace("KEY", "$1"));
        let owner = answer(TIMEOUT, self.client().query_opt(&query, &[&name])).await;
        let Some(owner) = owner.context(context)? else {
            return Ok(Lock::HeldBy("a sink that has just ended".to_owned()));
        };
        // As long as the earlier session lives, no other sink can take the lock.
        if owner.get(1) {
            return Ok(Lock::Held);
        }
        Ok(Lock::HeldBy(owner.get(0)))
    }

    async fn release(&mut self, unlock: &str, name: &str) -> Result<(), Error> {
        if self.held.contains(name) {
            let released = answer(TIMEOUT, self.client().query_one(unlock, &[&name])).await;
            released.context("cannot release a lock")?;
            self.held.remove(name);
        }
        Ok(())
    }

    async fn members(&mut self, group: &str, partitions: &[Source]) -> Result<Vec<Member>, Error> {
        let context = "cannot find the sinks that share the partitions";
        if !self.held.contains(group) {
            let joined = answer(TIMEOUT, self.client().query_one(JOIN, &[&group])).await;
            if joined.context(context)?.get(0) {
                self.held.insert(group.to_owned());
            }
        }
        let names: Vec<String> = partitions.iter().map(name).collect();
        let rows = answer(TIMEOUT, self.client().query(MEMBERS, &[&group, &names])).await;
        let member = |row: &Row| Member {
            id: row.get(0),
            is_us: row.get(1),
            holds: usize::try_from(row.get::<_, i64>(2)).unwrap_or_default(),
        };
        Ok(rows.context(context)?.iter().map(member).collect())
    }
}

/// Closes the session after an error, with all its locks: it is not known whether it took the lock.
fn close_on_error<T>(slot: &mut Option<Session>, outcome: Result<T, Error>) -> Result<T, Error> {
    outcome.map_err(|error| {
        *slot = None;
        // A session loses no statement that it has prepared: this is another session.
        match error.sqlstate() {
            Some(&SqlState::INVALID_SQL_STATEMENT_NAME) => Error::Pooled,
            _ => error,
        }
    })
}

/// The name of the lock on the partition of `source`.
fn name(source: &Source) -> String {
    let Source {
        sink,
        topic,
        partition,
    } = source;
    format!("{sink}\u{1f}{topic}\u{1f}{partition}")
}

/// The name of the group of sinks called `sink` that share the same partitions of `topic`.
#[must_use]
pub fn group(sink: &str, topic: &str, wanted: &Partitions) -> String {
    let partitions = match wanted {
        Partitions::All => "all".to_owned(),
        Partitions::Some(named) => format!("{named:?}"),
    };
    format!("{sink}\u{1f}{topic}\u{1f}shared\u{1f}{partitions}")
}

/// The number of partitions that this sink may hold among sinks that share them. Partitions that
/// remain after an even division go to the sinks that hold the most, so that few partitions move.
///
/// Each sink computes it from the locks in PostgreSQL, which are the same for all of them. If two
/// sinks read the locks at different times, one of them has a partition too many or too few until
/// its next check.
#[must_use]
pub fn assigned(members: &[Member], partitions: usize) -> usize {
    let mut members = members.to_vec();
    members.sort_by_key(|member| (std::cmp::Reverse(member.holds), member.id));
    let Some(rank) = members.iter().position(|member| member.is_us) else {
        // A sink that is not a member gets nothing.
        return 0;
    };
    let each = partitions / members.len();
    let rest = partitions % members.len();
    each + usize::from(rank < rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(holds: &[usize], us: usize) -> Vec<Member> {
        let member = |(index, holds): (usize, &usize)| Member {
            id: i32::try_from(index).unwrap(),
            is_us: index == us,
            holds: *holds,
        };
        holds.iter().enumerate().map(member).collect()
    }

    fn assignments(holds: &[usize], partitions: usize) -> Vec<usize> {
        (0..holds.len())
            .map(|us| assigned(&members(holds, us), partitions))
            .collect()
    }

    #[test]
    fn all_partitions_are_assigned_and_none_twice() {
        for partitions in 0..9 {
            for holds in [vec![0], vec![3, 1], vec![0, 0, 0], vec![1, 2, 3, 4, 5]] {
                let all = assignments(&holds, partitions);
                assert_eq!(all.iter().sum::<usize>(), partitions, "{holds:?}");
                assert!(all.iter().max().unwrap() - all.iter().min().unwrap() <= 1);
            }
        }
        assert_eq!(assigned(&members(&[4], 1), 4), 0, "not a member");
    }

    #[test]
    fn partitions_that_remain_stay_where_they_are() {
        assert_eq!(assignments(&[4, 0], 4), [2, 2]);
        assert_eq!(assignments(&[2, 2, 0], 4), [2, 1, 1]);
        assert_eq!(
            assignments(&[1, 2, 1], 4),
            [1, 2, 1],
            "and nothing moves any more"
        );
        assert_eq!(assignments(&[0, 1, 1, 0, 0], 2), [0, 1, 1, 0, 0]);
    }
}
