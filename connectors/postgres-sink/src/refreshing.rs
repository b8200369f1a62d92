//! Refreshes the hourly aggregates of the schema `analytics`, on a connection of its own.
//!
//! No batch waits for it. While it fails or lags, questions compute the open hours from the facts: slower, with the same
//! answers. Several sinks may run it: an advisory lock lets one at a time do the work.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_postgres::Client;

use crate::backoff::Backoff;
use crate::database::Database;
use crate::errors::{DatabaseError, Doing};

/// Time between two rounds, in which facts gather.
const PAUSE: Duration = Duration::from_secs(10);
/// Ends a statement that a server without memory or disk would never finish.
const SESSION: &str =
    "SET statement_timeout = '10min'; SET lock_timeout = '10s'; SET client_min_messages = warning";
const REFRESH: &str = "SELECT stored, open FROM analytics.refresh()";

/// Refreshes the aggregates while a sink writes.
#[derive(Debug)]
pub struct Refreshing {
    database: Arc<Database>,
    written: Arc<Notify>,
}

/// The outcome of a round of [`REFRESH`].
enum Left {
    /// Hours that are due: the next round can follow at once.
    Due,
    /// Hours that are still being written to.
    Open,
    /// Nothing.
    Nothing,
    /// Another sink holds the lock.
    Unknown,
}

impl Refreshing {
    /// Refreshes at the start, and whenever `written` was notified of new facts.
    #[must_use]
    pub fn new(database: Arc<Database>, written: Arc<Notify>) -> Self {
        Self { database, written }
    }

    /// Runs until it is dropped; a round that is cut off is rolled back.
    pub async fn run(self) {
        let mut backoff = Backoff::new(PAUSE, Duration::from_secs(300));
        let mut connection = None;
        loop {
            match self.refresh(&mut connection).await {
                Ok(Left::Due) => backoff.reset(),
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
                    if backoff.is_news() {
                        tracing::warn!(
                            database = self.database.address(),
                            "cannot refresh the aggregates of the schema analytics, which makes questions slow: {error}"
                        );
                    }
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
    }

    async fn refresh(&self, connection: &mut Option<Client>) -> Result<Left, DatabaseError> {
        let doing = "cannot refresh aggregates";
        let client = match connection {
            Some(client) if !client.is_closed() => client,
            _ => {
                let client = self.database.connect().await?;
                client.batch_execute(SESSION).await.doing(doing)?;
                connection.insert(client)
            }
        };
        let row = client.query_one(REFRESH, &[]).await.doing(doing)?;
        let (stored, open): (Option<i32>, Option<i32>) = (row.get(0), row.get(1));
        Ok(match (stored, open) {
            (None, _) | (_, None) => Left::Unknown,
            (_, Some(0)) => Left::Nothing,
            (Some(0), _) => Left::Open,
            (Some(_), _) => Left::Due,
        })
    }
}
