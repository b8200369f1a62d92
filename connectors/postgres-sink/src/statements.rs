//! A transaction whose statements the connection prepares once and keeps.
//!
//! A batch of a hundred facts takes the server a few milliseconds; to parse and plan the dozen
//! statements around it again for each batch would take as long, and a round trip for each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio_postgres::types::ToSql;
use tokio_postgres::{CopyInSink, Error, Row, Statement, Transaction};

/// The statements that one connection has prepared, by their text.
#[derive(Debug, Default)]
pub(crate) struct Prepared(Mutex<HashMap<&'static str, Statement>>);

/// A transaction on a connection and the statements prepared on it.
pub(crate) struct Work<'a> {
    transaction: Transaction<'a>,
    prepared: &'a Prepared,
}

impl<'a> Work<'a> {
    pub(crate) fn new(transaction: Transaction<'a>, prepared: &'a Prepared) -> Self {
        Self {
            transaction,
            prepared,
        }
    }

    /// The rows that `sql` returns.
    pub(crate) async fn query(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let statement = self.prepare(sql).await?;
        self.transaction.query(&statement, params).await
    }

    /// How many rows `sql` wrote.
    pub(crate) async fn execute(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        let statement = self.prepare(sql).await?;
        self.transaction.execute(&statement, params).await
    }

    /// Begins a COPY.
    pub(crate) async fn copy_in(
        &self,
        sql: &'static str,
    ) -> Result<CopyInSink<bytes::Bytes>, Error> {
        let statement = self.prepare(sql).await?;
        self.transaction.copy_in(&statement).await
    }

    pub(crate) async fn commit(self) -> Result<(), Error> {
        self.transaction.commit().await
    }

    async fn prepare(&self, sql: &'static str) -> Result<Statement, Error> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement);
        }
        let statement = self.transaction.prepare(sql).await?;
        self.prepared.put(sql, statement.clone());
        Ok(statement)
    }
}

impl Prepared {
    fn get(&self, sql: &'static str) -> Option<Statement> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(sql).cloned()
    }

    fn put(&self, sql: &'static str, statement: Statement) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(sql, statement);
    }
}
