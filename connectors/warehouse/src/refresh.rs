//! Refreshes the hourly aggregates of the schema `analytics`, on a connection outside of the pool.
//!
//! Writers don't wait for it. While it fails or lags, queries compute the open hours from the
//! facts: slower, with the same results. Several sinks may run it; an advisory lock lets one at a
//! time work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use connector_common::{Backoff, Warnings};
use tokio::sync::Notify;
use tokio_postgres::Client;

use crate::database::{Connection, Database};
use crate::error::{Context, Error};
use crate::transaction::answer;

/// The time between two rounds, in which facts accumulate.
const PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The statement timeout ends a refresh that a server without memory or disk would never finish. An
/// hour is stored as a whole, and one that takes longer than an hour can't keep up anyway.
const SESSION: &str = "\
    SET statement_timeout = '1h'; SET lock_timeout = '10s'; SET client_min_messages = warning";
/// Timeout for the answer of a server that does not enforce the statement timeout.
const TIMEOUT: Duration = Duration::from_secs(61 * 60);
const STATE_TIMEOUT: Duration = Duration::from_secs(60);
const REFRESH: &str = "SELECT stored, open FROM analytics.refresh()";
const STATE: &str = "\
    SELECT extract(epoch FROM s.age)::bigint, s.failed, s.error, s.open_hours, s.open_days \
    FROM analytics.refresh_state() s";

/// The state of the aggregates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The time for which the oldest change has been due in the aggregates and is not in them.
    pub age: Duration,
    /// Hours whose aggregates are not stored yet; queries compute them from the facts.
    pub open_hours: u32,
    /// As [`Self::open_hours`], of days.
    pub open_days: u32,
    /// The hours and days that could not be stored, and the error of the first.
    pub failure: Option<String>,
}

/// Reads the state of the aggregates.
///
/// # Errors
/// A request to the server failed.
pub async fn state(client: &Client) -> Result<State, Error> {
    let row = answer(STATE_TIMEOUT, client.query_one(STATE, &[])).await;
    let row = row.context("cannot read the state of the aggregates")?;
    let seconds = u64::try_from(row.get::<_, i64>(0));
    let (failed, error): (i32, Option<String>) = (row.get(1), row.get(2));
    let count = |column: usize| u32::try_from(row.get::<_, i32>(column)).unwrap_or_default();
    Ok(State {
        age: Duration::from_secs(seconds.unwrap_or_default()),
        open_hours: count(3),
        open_days: count(4),
        failure: error.map(|error| format!("{failed} hours or days can't be stored: {error}")),
    })
}

/// Refreshes the aggregates while a sink writes.
#[derive(Debug)]
pub struct Refresher {
    database: Arc<Database>,
    written: Arc<Notify>,
}

/// The hours that a round of [`REFRESH`] left.
enum Left {
    /// Hours that are due: the next round can follow at once.
    Due,
    /// Hours that facts are still written to.
    Open,
    /// None.
    Nothing,
    /// Another sink holds the lock.
    Unknown,
}

impl Refresher {
    /// Refreshes at the start, and after `written` was notified of new facts.
    #[must_use]
    pub fn new(database: Arc<Database>, written: Arc<Notify>) -> Self {
        Self { database, written }
    }

    /// Runs until it is dropped. PostgreSQL rolls an unfinished round back. Calls `report` after
    /// each round with the age of the aggregates; while rounds fail, it grows from the last one
    /// that is known.
    pub async fn run(self, report: impl Fn(Duration)) {
        let mut backoff = Backoff::new(PAUSE, LONGEST_PAUSE);
        let failures = Warnings::default();
        let mut connection = None;
        let (mut known_age, mut known_at) = (Duration::ZERO, Instant::now());
        loop {
            let round = self.refresh(&mut connection).await;
            if let Ok((_, state)) = &round {
                (known_age, known_at) = (state.age, Instant::now());
                if let Some(failure) = &state.failure
                    && failures.due().is_some()
                {
                    tracing::warn!(
                        database = self.database.address(),
                        "the aggregates of some hours are computed for each query: {failure}"
                    );
                }
            }
            report(known_age + known_at.elapsed());
            match round.map(|(left, _)| left) {
                Ok(Left::Due) => {
                    backoff.reset();
                }
                Ok(Left::Open | Left::Unknown) => {
                    backoff.reset();
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(Left::Nothing) => {
                    backoff.reset();
                    self.written.notified().await;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    connection = None;
                    if backoff.warning_due().is_some() {
                        tracing::warn!(
                            database = self.database.address(),
                            "cannot refresh the aggregates of the schema analytics, \
                             which makes queries slow: {}",
                            error.chain()
                        );
                    }
                    tokio::time::sleep(backoff.next_pause()).await;
                }
            }
        }
    }

    async fn refresh(&self, connection: &mut Option<Connection>) -> Result<(Left, State), Error> {
        let context = "cannot refresh aggregates";
        let client = match connection {
            Some(Connection { client, .. }) if !client.is_closed() => client,
            _ => &mut connection.insert(self.database.open(SESSION).await?).client,
        };
        let refreshed = answer(TIMEOUT, client.query_one(REFRESH, &[])).await;
        let row = refreshed.context(context)?;
        let (stored, open): (Option<i32>, Option<i32>) = (row.get(0), row.get(1));
        let left = match (stored, open) {
            (None, _) | (_, None) => Left::Unknown,
            (_, Some(0)) => Left::Nothing,
            (Some(0), _) => Left::Open,
            (Some(_), _) => Left::Due,
        };
        Ok((left, state(client).await?))
    }
}
