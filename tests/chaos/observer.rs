//! The connection to the database with which the run watches and disturbs it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use end_to_end::found;
use tokio_postgres::Client;

/// The time for the database to accept a connection, for example while it recovers.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// The time for a statement.
const STATEMENT_LIMIT: Duration = Duration::from_secs(110);

/// A transaction of a sink whose connection was cut stays until PostgreSQL has noticed.
const SETTINGS: &str = "SET default_transaction_read_only = off; SET lock_timeout = '100s'";

/// A superuser's connection that is made again when it breaks.
pub struct Observer {
    url: String,
    client: Option<Client>,
}

impl Observer {
    pub fn new(url: String) -> Self {
        Self { url, client: None }
    }

    /// Returns a connection.
    ///
    /// # Errors
    /// The database accepts none for a minute.
    async fn client(&mut self) -> anyhow::Result<&Client> {
        let is_open = self.client.as_ref().is_some_and(|one| !one.is_closed());
        if !is_open {
            self.client = Some(self.connect().await?);
        }
        self.client.as_ref().context("no connection")
    }

    /// Makes another connection that can write while the database is read-only.
    ///
    /// # Errors
    /// The database accepts none for a minute.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        let began = Instant::now();
        loop {
            let opened = async {
                let client = found::connect(&self.url).await?;
                client.batch_execute(SETTINGS).await?;
                anyhow::Ok(client)
            };
            let error = match tokio::time::timeout(Duration::from_secs(10), opened).await {
                Ok(Ok(client)) => return Ok(client),
                Ok(Err(error)) => format!("{error:#}"),
                Err(_) => "no answer".to_owned(),
            };
            if began.elapsed() > CONNECT_LIMIT {
                bail!("the database accepts no connection: {error}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Runs a statement outside of a transaction.
    ///
    /// # Errors
    /// The database refuses it.
    pub async fn execute(&mut self, statement: &str) -> anyhow::Result<()> {
        let client = self.client().await?;
        tokio::time::timeout(STATEMENT_LIMIT, client.execute(statement, &[]))
            .await
            .with_context(|| format!("no answer to `{statement}`"))?
            .with_context(|| format!("the database refuses `{statement}`"))?;
        Ok(())
    }

    /// Returns the first column of each row, which is a number.
    ///
    /// # Errors
    /// The database refuses the query.
    pub async fn numbers(&mut self, query: &str) -> anyhow::Result<Vec<i64>> {
        let client = self.client().await?;
        let rows = tokio::time::timeout(STATEMENT_LIMIT, client.query(query, &[]))
            .await
            .with_context(|| format!("no answer to `{query}`"))?
            .with_context(|| format!("the database refuses `{query}`"))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Returns the number of records that are committed to PostgreSQL.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn committed(&mut self) -> anyhow::Result<i64> {
        let query = "SELECT coalesce(sum(next_offset), 0)::bigint FROM sink_offsets";
        Ok(self.numbers(query).await?.into_iter().sum())
    }

    /// Returns the sessions and what they wait for, a line each.
    pub async fn sessions(&mut self) -> String {
        let query = "SELECT concat_ws(' ', pid, usename, application_name, state, wait_event_type, \
                     wait_event, pg_blocking_pids(pid), now() - xact_start, left(query, 80)) \
                     FROM pg_stat_activity WHERE backend_type = 'client backend' ORDER BY pid";
        let rows = match self.client().await {
            Ok(client) => client.query(query, &[]).await.map_err(Into::into),
            Err(error) => Err(error),
        };
        match rows {
            Ok(rows) => rows
                .iter()
                .map(|row| row.get::<_, String>(0) + "\n")
                .collect(),
            Err(error) => format!("{error:#}\n"),
        }
    }
}
