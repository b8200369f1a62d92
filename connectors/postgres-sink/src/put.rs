//! The rows of a batch, put into the tables within a transaction that somebody else begins and commits.

use futures_util::{SinkExt, stream};
use tokio_postgres::types::ToSql;

use crate::batch::Batch;
use crate::config::OnConflict;
use crate::errors::{DatabaseError, Doing};
use crate::rejected;
use crate::rows::statements::{COPY_TO_STAGE, FROM_ARRAYS, FROM_STAGE};
use crate::statements::Work;
use crate::writer::{WriteError, Written};

/// Up to so many facts go in as arrays, more by COPY. Seen with prepared statements on two cores:
/// a batch of 100 takes 5 ms as arrays, and one of 1,000 takes 14 ms as arrays and 12 ms by COPY,
/// most of which does not depend on the number of rows.
const FEW_ROWS: usize = 200;

/// Puts dimensions, facts and rejections of `batch` into the tables. They came from `partition` of `topic`.
pub(crate) async fn put(
    transaction: &Work<'_>,
    topic: &str,
    partition: i32,
    batch: &Batch,
) -> Result<Written, WriteError> {
    let products = batch
        .products
        .resolve(transaction)
        .await?
        .ok_or(WriteError::DimensionVanished)?;
    let lists = batch
        .lists
        .resolve(transaction)
        .await?
        .ok_or(WriteError::DimensionVanished)?;
    let facts = Facts {
        transaction,
        source: [&topic, &partition],
        batch,
        products: &products,
        lists: &lists,
    };
    let (inserted, updated) = facts.put().await?;
    let mut rejected = 0;
    if !batch.rejected.is_empty() {
        rejected = rejected::insert(transaction, topic, partition, &batch.rejected).await?;
    }
    // Last, because every partition changes the rows of the same few products: until the commit
    // they are locked.
    batch.products.update(transaction).await?;
    batch.lists.update(transaction).await?;
    let all = (batch.rows.len() + batch.rows.duplicates()) as u64;
    Ok(Written {
        inserted,
        updated,
        duplicates: all.saturating_sub(inserted + updated),
        rejected,
        nuls_removed: batch.nuls_removed,
    })
}

/// The facts of a batch, and all that they need to become rows.
struct Facts<'a> {
    transaction: &'a Work<'a>,
    source: [&'a (dyn ToSql + Sync); 2],
    batch: &'a Batch,
    products: &'a [i64],
    lists: &'a [i64],
}

impl Facts<'_> {
    /// Returns how many were inserted, and how many replaced.
    async fn put(&self) -> Result<(u64, u64), DatabaseError> {
        let rows = &self.batch.rows;
        if rows.is_empty() {
            return Ok((0, 0));
        }
        let arrays;
        let (statements, params) = if rows.len() <= FEW_ROWS {
            arrays = rows.arrays(self.products, self.lists);
            let columns = arrays.iter().map(|array| array as &(dyn ToSql + Sync));
            let params: Vec<_> = self.source.into_iter().chain(columns).collect();
            (&*FROM_ARRAYS, params)
        } else {
            self.copy().await.doing("cannot copy facts to the server")?;
            (&*FROM_STAGE, self.source.to_vec())
        };
        let inserted = self
            .transaction
            .execute(&statements.insert, &params)
            .await
            .doing("cannot insert facts")?;
        if self.batch.on_conflict == OnConflict::Ignore || inserted == rows.len() as u64 {
            return Ok((inserted, 0));
        }
        let updated = self
            .transaction
            .execute(&statements.replace, &params)
            .await
            .doing("cannot replace facts")?;
        Ok((inserted, updated))
    }

    async fn copy(&self) -> Result<(), tokio_postgres::Error> {
        let data = self.batch.rows.copy_data(self.products, self.lists);
        let mut copy = std::pin::pin!(self.transaction.copy_in(COPY_TO_STAGE).await?);
        copy.send_all(&mut stream::iter(data.map(Ok))).await?;
        copy.finish().await?;
        Ok(())
    }
}
