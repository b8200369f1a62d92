//! The transaction: dimensions, new facts, rejected events and the offset reached, all or nothing.

use std::sync::Arc;

use chrono::Utc;
use serde::Serialize;
use tokio::sync::Notify;
use tokio_postgres::types::ToSql;

use crate::batch::Batch;
use crate::database::{Database, Lease};
use crate::dimension::Known;
use crate::errors::{DatabaseError, Doing, Remedy};
use crate::fact_partitions::FactPartitions;
use crate::metrics::Watch;
use crate::put::{Likely, Put, put};
use crate::statements::Work;

/// What a sink reads, and the name its offsets are kept under.
#[derive(Clone, Debug)]
pub struct Source {
    /// The sink's name: `meta.consumer.id` of its file, else `meta.name`.
    pub sink: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
}

/// Writes the batches of one partition, one after the other.
#[derive(Debug)]
pub struct Writer {
    database: Arc<Database>,
    source: Source,
    partitions: FactPartitions,
    likely: Likely,
    watch: Option<Watch>,
    wrote: Option<Arc<Notify>>,
}

/// What came of a batch's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Facts that are new.
    pub inserted: u64,
    /// Facts that were there with other content and have that of the batch now.
    pub updated: u64,
    /// Facts that were removed, since their event came again without the item.
    pub vanished: u64,
    /// Facts that were there already, in the table or twice in the batch, and stay as they are.
    pub duplicates: u64,
    /// Rejections that are new.
    pub rejected: u64,
    /// U+0000, which PostgreSQL can't hold, that the SmartModule removed from the texts of these events.
    pub nuls_removed: u64,
}

impl std::ops::AddAssign for Written {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.vanished += other.vanished;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.nuls_removed += other.nuls_removed;
    }
}

/// Why a batch was not written. In each case nothing of it is in the tables.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// PostgreSQL's own.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A partition can't be created. No fact is to blame, whatever the error.
    #[error("{0}")]
    Partition(DatabaseError),
    /// The stored offset is not the one that this batch follows: another sink under the same name
    /// reads the same partition.
    #[error(
        "the stored offset is {stored} and not {expected}: another sink of the same name has moved it"
    )]
    Fenced {
        /// The offset in the database.
        stored: i64,
        /// The offset that the batch follows.
        expected: i64,
    },
    /// The row of a dimension vanished between its lookup and its use.
    #[error(
        "a row of dim_product or dim_list was deleted while facts that point at it were written"
    )]
    DimensionVanished,
}

impl WriteError {
    /// What to do about it; `None` for a sink that was overtaken.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Database(error) => Some(error.remedy()),
            Self::Partition(error) if error.remedy() == Remedy::SetAside => Some(Remedy::Wait),
            Self::Partition(error) => Some(error.remedy()),
            Self::DimensionVanished => Some(Remedy::Retry),
            Self::Fenced { .. } => None,
        }
    }
}

const LOAD_OFFSET: &str =
    "SELECT next_offset FROM sink_offsets WHERE sink = $1 AND topic = $2 AND partition = $3";
const LOCK_OFFSET: &str = "SELECT next_offset FROM sink_offsets WHERE sink = $1 AND topic = $2 AND partition = $3 FOR UPDATE";
const BEGIN_OFFSET: &str = "INSERT INTO sink_offsets (sink, topic, partition, next_offset) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
const MOVE_OFFSET: &str = "UPDATE sink_offsets SET next_offset = $4, records = records + $5, \
     records_without_rows = records_without_rows + $6, updated_at = now() \
     WHERE sink = $1 AND topic = $2 AND partition = $3";

impl Writer {
    /// A writer for the batches of `source`.
    #[must_use]
    pub fn new(database: Arc<Database>, source: Source) -> Self {
        Self {
            database,
            source,
            partitions: FactPartitions::default(),
            likely: Likely::default(),
            watch: None,
            wrote: None,
        }
    }

    /// The same, seen by `watch`.
    #[must_use]
    pub fn watched(self, watch: Watch) -> Self {
        Self {
            watch: Some(watch),
            ..self
        }
    }

    /// The same, telling `wrote` whenever facts are written.
    #[must_use]
    pub fn telling(self, wrote: Arc<Notify>) -> Self {
        Self {
            wrote: Some(wrote),
            ..self
        }
    }

    /// What this writer writes.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The stored offset: the first record that is not written yet. `None` for a partition that was never read.
    ///
    /// # Errors
    /// PostgreSQL's own.
    pub async fn position(&self) -> Result<Option<i64>, DatabaseError> {
        let mut lease = self.database.lease().await?;
        let row = lease
            .client()
            .query_opt(LOAD_OFFSET, &self.source.key())
            .await
            .doing("cannot read the stored offset")?;
        lease.keep();
        Ok(row.map(|row| row.get(0)))
    }

    /// Stores the offset to begin at, unless another sink has stored one meanwhile. Returns what is stored.
    ///
    /// # Errors
    /// PostgreSQL's own.
    pub async fn begin(&self, offset: i64) -> Result<i64, DatabaseError> {
        let doing = "cannot store the offset to begin at";
        let mut lease = self.database.lease().await?;
        let client = lease.client();
        let [sink, topic, partition] = self.source.key();
        client
            .execute(BEGIN_OFFSET, &[sink, topic, partition, &offset])
            .await
            .doing(doing)?;
        let row = client
            .query_one(LOAD_OFFSET, &self.source.key())
            .await
            .doing(doing)?;
        lease.keep();
        Ok(row.get(0))
    }

    /// Writes `batch`, or nothing of it.
    ///
    /// A batch that is stored already, because the answer to its commit got lost, is a success
    /// without rows.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn write(&mut self, batch: &Batch) -> Result<Written, WriteError> {
        let began = self.watch.as_ref().map(Watch::begins);
        let outcome = self.try_to_write(batch).await;
        if let (Some(watch), Some(began)) = (&self.watch, began) {
            watch.ended(began, batch, &outcome);
        }
        outcome
    }

    async fn try_to_write(&mut self, batch: &Batch) -> Result<Written, WriteError> {
        let mut lease = self.database.lease().await?;
        self.partitions
            .create(lease.client(), batch.rows.times(), Utc::now())
            .await
            .map_err(WriteError::Partition)?;
        let written = self
            .source
            .write(&mut lease, batch, &mut self.likely, self.database.known())
            .await?;
        lease.keep();
        if let Some(wrote) = &self.wrote
            && written.inserted + written.updated + written.vanished > 0
        {
            wrote.notify_one();
        }
        Ok(written)
    }
}

impl Source {
    fn key(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.sink, &self.topic, &self.partition]
    }

    /// Writes `batch` where it follows the stored offset.
    async fn write(
        &self,
        lease: &mut Lease,
        batch: &Batch,
        likely: &mut Likely,
        known: &Known,
    ) -> Result<Written, WriteError> {
        let transaction = lease.begin().await?;
        let stored = self.lock_offset(&transaction).await?;
        if stored == batch.next_offset() {
            return Ok(Written::default());
        }
        if stored != batch.follows() {
            return Err(WriteError::Fenced {
                stored,
                expected: batch.follows(),
            });
        }
        let put = put(
            &transaction,
            &self.topic,
            self.partition,
            batch,
            likely,
            known,
        )
        .await?;
        self.move_offset(&transaction, batch, &put).await?;
        transaction.commit().await.doing("cannot commit")?;
        known.learn([&batch.products, &batch.lists]);
        Ok(put.written)
    }

    /// Locks the partition's offset for this transaction, so that a second sink waits here, before
    /// it has done any work, and then finds that it was overtaken. Where the row is gone, somebody
    /// wants the partition read from its start.
    async fn lock_offset(&self, transaction: &Work<'_>) -> Result<i64, DatabaseError> {
        let doing = "cannot lock the stored offset";
        let locked = transaction.query(LOCK_OFFSET, &self.key()).await;
        if let Some(row) = locked.doing(doing)?.first() {
            return Ok(row.get(0));
        }
        let [sink, topic, partition] = self.key();
        transaction
            .execute(BEGIN_OFFSET, &[sink, topic, partition, &0_i64])
            .await
            .doing(doing)?;
        let locked = transaction.query(LOCK_OFFSET, &self.key()).await;
        Ok(locked.doing(doing)?.first().map_or(0, |row| row.get(0)))
    }

    async fn move_offset(
        &self,
        transaction: &Work<'_>,
        batch: &Batch,
        put: &Put,
    ) -> Result<(), DatabaseError> {
        let [sink, topic, partition] = self.key();
        // A batch is bounded far below what an i64 holds.
        let read = batch.volume().records as i64;
        let without_rows = put.records_without_rows as i64;
        transaction
            .execute(
                MOVE_OFFSET,
                &[
                    sink,
                    topic,
                    partition,
                    &batch.next_offset(),
                    &read,
                    &without_rows,
                ],
            )
            .await
            .doing("cannot move the stored offset")?;
        Ok(())
    }
}
