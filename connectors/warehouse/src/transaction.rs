//! Transactions with prepared statements that their connection keeps.
//!
//! A batch of a hundred facts takes the server a few milliseconds. To parse and plan the dozen
//! statements around it for each batch would take as long, and a round trip for each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, stream};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};

use crate::error::{self, Context, ServerError};

/// The prepared statements of a connection, by their text.
#[derive(Debug, Default)]
pub(crate) struct PreparedStatements(Mutex<HashMap<&'static str, Statement>>);

/// A transaction on a connection with its prepared statements.
pub(crate) struct Transaction<'a> {
    inner: tokio_postgres::Transaction<'a>,
    statements: &'a PreparedStatements,
    /// Timeout for the answer to a statement.
    timeout: Duration,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(
        inner: tokio_postgres::Transaction<'a>,
        statements: &'a PreparedStatements,
        timeout: Duration,
    ) -> Self {
        Self {
            inner,
            statements,
            timeout,
        }
    }

    pub(crate) async fn query(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ServerError> {
        let query = async {
            let statement = self.prepare(sql).await?;
            self.inner.query(&statement, params).await
        };
        answer(self.timeout, query).await
    }

    /// Sets a savepoint, or rolls back to one.
    pub(crate) async fn savepoint(&self, sql: &'static str) -> Result<(), error::Error> {
        let set = self.execute(sql, &[]).await;
        set.context("cannot set a savepoint")?;
        Ok(())
    }

    /// Returns the number of rows that `sql` wrote.
    pub(crate) async fn execute(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, ServerError> {
        let execute = async {
            let statement = self.prepare(sql).await?;
            self.inner.execute(&statement, params).await
        };
        answer(self.timeout, execute).await
    }

    /// Sends `data` to the `COPY … FROM STDIN` in `sql`. Returns the number of rows.
    pub(crate) async fn copy_in(
        &self,
        sql: &'static str,
        data: impl Iterator<Item = Bytes>,
    ) -> Result<u64, ServerError> {
        let copy = async {
            let statement = self.prepare(sql).await?;
            let mut copy = std::pin::pin!(self.inner.copy_in(&statement).await?);
            copy.send_all(&mut stream::iter(data.map(Ok))).await?;
            copy.finish().await
        };
        answer(self.timeout, copy).await
    }

    pub(crate) async fn commit(self) -> Result<(), ServerError> {
        answer(self.timeout, self.inner.commit()).await
    }

    async fn prepare(&self, sql: &'static str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement);
        }
        let statement = self.inner.prepare(sql).await?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }
}

/// Waits this long for the answer to a request. A server that can't be reached doesn't enforce its
/// own timeouts, and the connection to it can look open for ever.
pub(crate) async fn answer<T>(
    within: Duration,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, ServerError> {
    match tokio::time::timeout(within, request).await {
        Ok(answered) => answered.map_err(ServerError::from),
        Err(_) => Err(ServerError::NoAnswer(within)),
    }
}

impl PreparedStatements {
    fn get(&self, sql: &'static str) -> Option<Statement> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(sql).cloned()
    }

    fn insert(&self, sql: &'static str, statement: Statement) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(sql, statement);
    }
}
