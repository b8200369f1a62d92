//! Finds the records of a batch whose events PostgreSQL refuses.
//!
//! A server names the constraint or the value that it refuses, but not the row. So the rows of some
//! records are written and taken back, all in one transaction that is never committed. The number
//! of records halves after a refusal, down to a single one, and doubles after each success: if few
//! events are refused, few statements find them, and if all are, each is tried once.

use std::ops::Range;

use crate::batch::{Batch, Refused, RefusedRecord};
use crate::error::{Error, Remedy};
use crate::transaction::Transaction;
use crate::writer::{Writer, Written};

/// The outcome of writing some records, which is taken back.
pub enum Trial<'a> {
    /// PostgreSQL accepts them.
    Accepted(&'a Written),
    /// PostgreSQL refuses a single record.
    Refused(&'a Error),
}

impl Writer {
    /// Finds the records of `batch` that PostgreSQL refuses. `goes_on` gets each outcome in the
    /// order of the records; if it returns false, that record and those after it are not tried.
    ///
    /// # Errors
    /// PostgreSQL failed for another reason than the records.
    pub async fn find_refused(
        &self,
        batch: &Batch,
        mut goes_on: impl FnMut(Trial<'_>) -> bool + Send,
    ) -> Result<Refused, Error> {
        let mut lease = self.database().lease().await?;
        let transaction = lease.begin().await?;
        transaction.savepoint("SAVEPOINT trial").await?;
        let mut refused = Refused::default();
        let count = batch.record_count();
        let mut size = (count / 2).max(1);
        while refused.tried < count {
            let end = refused.tried.saturating_add(size).min(count);
            let records = refused.tried..end;
            let outcome = self.attempt(&transaction, batch, records.clone()).await;
            let outcome = match outcome {
                Err(error) if error.remedy() != Remedy::Reject => return Err(error),
                outcome => outcome,
            };
            transaction.savepoint("ROLLBACK TO SAVEPOINT trial").await?;
            let error = match outcome {
                Ok(written) => {
                    goes_on(Trial::Accepted(&written));
                    refused.tried = end;
                    size = size.saturating_mul(2);
                    continue;
                }
                Err(error) => error,
            };
            if records.len() > 1 {
                size = records.len() / 2;
            } else if goes_on(Trial::Refused(&error)) {
                let record = RefusedRecord::new(refused.tried, &error);
                refused.records.push(record);
                refused.tried = end;
            } else {
                break;
            }
        }
        drop(transaction);
        lease.keep();
        Ok(refused)
    }

    async fn attempt(
        &self,
        transaction: &Transaction<'_>,
        batch: &Batch,
        records: Range<usize>,
    ) -> Result<Written, Error> {
        let some = batch.part(records);
        let mut hint = self.hint();
        Ok(self
            .write_rows(transaction, &some, &mut hint)
            .await?
            .written)
    }
}
