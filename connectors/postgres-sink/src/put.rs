//! The rows of a batch, put into the tables within a transaction that somebody else begins and commits.
//!
//! Facts go straight into the table by COPY, the fastest way in, which knows no `ON CONFLICT`. So it is guessed whether some are there
//! already: as in the batch before. If not, all are copied; a fact that is there after all ends the COPY, a savepoint
//! takes back what it did, the stored ones are looked for, and the others copied. Batches that follow begin with
//! looking, until one finds nothing.

use futures_util::{SinkExt, stream};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::batch::Batch;
use crate::config::OnConflict;
use crate::dimension::{self, Known};
use crate::errors::{DatabaseError, Doing};
use crate::rejected;
use crate::rows::statements::{COPY, FIND_STORED, NOTE_HOURS, REPLACE};
use crate::rows::{Ends, Stored};
use crate::statements::Work;
use crate::writer::{WriteError, Written};

const COPYING: &str = "cannot copy facts into the table";

/// What the facts of a partition's next batch most likely are: a guess that costs time where it is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Likely {
    /// All of them new.
    #[default]
    New,
    /// Some of them in the table: the topic is read again, or messages were delivered twice.
    Stored,
}

/// What came of a batch.
pub(crate) struct Put {
    pub(crate) written: Written,
    /// Of its records, those that brought nothing new.
    pub(crate) records_without_rows: usize,
}

/// Puts dimensions, facts and rejections of `batch` into the tables. They came from `partition` of `topic`.
/// Once the transaction has committed, `known` has to learn of the batch's dimensions.
pub(crate) async fn put(
    transaction: &Work<'_>,
    topic: &str,
    partition: i32,
    batch: &Batch,
    likely: &mut Likely,
    known: &Known,
) -> Result<Put, WriteError> {
    let [known_products, known_lists] = known.parts();
    let products = batch
        .products
        .resolve(transaction, known_products)
        .await?
        .ok_or(WriteError::DimensionVanished)?;
    let lists = batch
        .lists
        .resolve(transaction, known_lists)
        .await?
        .ok_or(WriteError::DimensionVanished)?;
    let facts = Facts {
        transaction,
        batch,
        ends: Ends::new(&products, &lists, topic, partition),
    };
    let (inserted, stored) = facts.insert(*likely).await?;
    *likely = if stored.count() > 0 {
        Likely::Stored
    } else {
        Likely::New
    };
    if inserted > 0 {
        facts.note_hours(&stored).await?;
    }
    let (mut replaced, mut removed) = (Vec::new(), Vec::new());
    if batch.on_conflict == OnConflict::Update {
        if stored.count() > 0 {
            replaced = facts.replace(topic, partition, &stored).await?;
            // One that was deleted meanwhile is inserted again.
            facts.note_hours(&Stored::default()).await?;
        }
        removed = batch.versions.remove_vanished(transaction).await?;
    }
    let mut rejected = Vec::new();
    if !batch.rejected.is_empty() {
        rejected = rejected::insert(transaction, topic, partition, &batch.rejected).await?;
    }
    // Last, because no other transaction changes dimensions until this one ends.
    let dimensions = [&batch.products, &batch.lists];
    dimension::update(transaction, dimensions, known).await?;
    let all = (batch.rows.len() + batch.rows.duplicates()) as u64;
    let (updated, new_rejected) = (replaced.len() as u64, rejected.len() as u64);
    let vanished = removed.len() as u64;
    let mut with_rows: Vec<i64> = batch.rows.offsets(&stored).collect();
    with_rows.append(&mut replaced);
    with_rows.append(&mut removed);
    with_rows.append(&mut rejected);
    with_rows.sort_unstable();
    with_rows.dedup();
    Ok(Put {
        written: Written {
            inserted,
            updated,
            vanished,
            duplicates: all.saturating_sub(inserted + updated),
            rejected: new_rejected,
            nuls_removed: batch.nuls_removed,
        },
        records_without_rows: batch.records.len().saturating_sub(with_rows.len()),
    })
}

/// The facts of a batch, and all that they need to become rows.
struct Facts<'a> {
    transaction: &'a Work<'a>,
    batch: &'a Batch,
    ends: Ends<'a>,
}

impl Facts<'_> {
    /// Returns how many were inserted, and which were there.
    async fn insert(&self, likely: Likely) -> Result<(u64, Stored), DatabaseError> {
        let all = self.batch.rows.len();
        let mut stored = match likely {
            Likely::New => Stored::default(),
            Likely::Stored => self.find_stored().await?,
        };
        if stored.count() == all {
            return Ok((0, stored));
        }
        self.run("SAVEPOINT facts").await?;
        loop {
            let refused = match self.copy(&stored).await {
                Ok(inserted) => return Ok((inserted, stored)),
                Err(error) => error,
            };
            if refused.code() != Some(&SqlState::UNIQUE_VIOLATION) {
                return Err(refused).doing(COPYING);
            }
            self.run("ROLLBACK TO SAVEPOINT facts").await?;
            let found = self.find_stored().await?;
            // Whatever else is unique in the table, it is not the key of a fact.
            if found.count() <= stored.count() {
                return Err(refused).doing(COPYING);
            }
            if found.count() == all {
                return Ok((0, found));
            }
            stored = found;
        }
    }

    async fn copy(&self, stored: &Stored) -> Result<u64, tokio_postgres::Error> {
        let data = self.batch.rows.copy_data(stored, &self.ends);
        let mut copy = std::pin::pin!(self.transaction.copy_in(&COPY).await?);
        copy.send_all(&mut stream::iter(data.map(Ok))).await?;
        copy.finish().await
    }

    async fn find_stored(&self) -> Result<Stored, DatabaseError> {
        let [times, hashes] = self.batch.rows.keys();
        let rows = self
            .transaction
            .query(FIND_STORED, &[&times, &hashes])
            .await
            .doing("cannot look for facts that are there")?;
        let places: Vec<i32> = rows.first().map(|row| row.get(0)).unwrap_or_default();
        Ok(Stored::at(&places, self.batch.rows.len()))
    }

    /// Returns the offsets of those that took the place of others.
    async fn replace(
        &self,
        topic: &str,
        partition: i32,
        stored: &Stored,
    ) -> Result<Vec<i64>, DatabaseError> {
        let arrays = self.batch.rows.arrays(stored, &self.ends);
        let source: [&(dyn ToSql + Sync); 2] = [&topic, &partition];
        let columns = arrays.iter().map(|array| array as &(dyn ToSql + Sync));
        let params: Vec<_> = source.into_iter().chain(columns).collect();
        let replaced = self
            .transaction
            .query(&REPLACE, &params)
            .await
            .doing("cannot replace facts")?;
        Ok(replaced.iter().map(|row| row.get(0)).collect())
    }

    /// Opens the hours of the new facts. Those of replaced and removed facts are opened by a trigger.
    async fn note_hours(&self, stored: &Stored) -> Result<(), DatabaseError> {
        let hours = self.batch.rows.touched_hours(stored);
        self.transaction
            .execute(NOTE_HOURS, &[&hours])
            .await
            .doing("cannot note the hours that facts touch")?;
        Ok(())
    }

    async fn run(&self, sql: &'static str) -> Result<(), DatabaseError> {
        self.transaction
            .execute(sql, &[])
            .await
            .doing("cannot set a savepoint")?;
        Ok(())
    }
}
