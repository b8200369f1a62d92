//! Writes a batch: dimensions, new facts, rejected events and the committed offset, in one
//! transaction.
//!
//! COPY is the fastest way to insert facts and has no `ON CONFLICT`, so the writer looks up stored
//! facts first if the previous batch had any. Else it copies all of them: if one is stored already,
//! COPY fails, the writer rolls back to a savepoint, looks up the stored facts, and copies the
//! others.

use std::sync::Arc;

use chrono::Utc;
use hashbrown::HashMap;
use serde::Serialize;
use tokio::sync::Notify;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::batch::Batch;
use crate::database::Database;
use crate::dimension::{self, DimensionCache};
use crate::error::{Context, Error, ServerError};
use crate::fact_partitions::FactPartitions;
use crate::rejected;
use crate::removed_items::{Settled, Versions};
use crate::rows::{
    COPY, COUNT_CONFLICTS, FIND_STORED, NOTE_HOURS, OnConflict, REPLACE, RowEnds, Stored,
};
use crate::source::{LastRecord, Progress, Source};
use crate::transaction::{Transaction, answer};

const COPYING: &str = "cannot copy facts into the table";

/// Writes the batches of one partition, one after the other.
#[derive(Debug)]
pub struct Writer {
    database: Arc<Database>,
    source: Source,
    partitions: FactPartitions,
    hint: Hint,
    written: Option<Arc<Notify>>,
}

/// The changes in the tables after a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// New facts.
    pub inserted: u64,
    /// Stored facts that were replaced: those of the batch are newer, or of the same version with
    /// other content.
    pub updated: u64,
    /// Facts that were removed, since a corrected event no longer has the item.
    pub removed: u64,
    /// Facts that were stored already, twice in the batch, or of an event that is stored in a newer
    /// version, and changed nothing but perhaps its `sent_at`.
    pub duplicates: u64,
    /// Those among them with an event id whose content differs from that of the fact that stays.
    pub conflicts: u64,
    /// New rejected events.
    pub rejected: u64,
    /// U+0000, which PostgreSQL can't store, that the SmartModule removed from texts.
    pub nuls_removed: u64,
}

impl std::ops::AddAssign for Written {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.removed += other.removed;
        self.duplicates += other.duplicates;
        self.conflicts += other.conflicts;
        self.rejected += other.rejected;
        self.nuls_removed += other.nuls_removed;
    }
}

impl Writer {
    /// A writer for the batches of `source`.
    #[must_use]
    pub fn new(database: Arc<Database>, source: Source) -> Self {
        Self {
            database,
            source,
            partitions: FactPartitions::default(),
            hint: Hint::default(),
            written: None,
        }
    }

    /// The same writer, which notifies `written` after it has written facts.
    #[must_use]
    pub fn notifying(self, written: Arc<Notify>) -> Self {
        Self {
            written: Some(written),
            ..self
        }
    }

    /// The partition whose records it writes.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The committed offset: the first record that is not written yet. `None` for a partition that
    /// was never read.
    ///
    /// # Errors
    /// A request to the server failed.
    pub async fn committed_offset(&self) -> Result<Option<i64>, Error> {
        let mut lease = self.database.lease().await?;
        let timeout = lease.timeout();
        let offset = answer(timeout, self.source.load_offset(lease.client())).await;
        let offset = offset.context("cannot read the committed offset")?;
        lease.keep();
        Ok(offset)
    }

    /// The last record that was written; `None` if it has no key.
    ///
    /// # Errors
    /// A request to the server failed.
    pub async fn last_record(&self) -> Result<Option<LastRecord>, Error> {
        let mut lease = self.database.lease().await?;
        let timeout = lease.timeout();
        let last = answer(timeout, self.source.load_last_record(lease.client())).await;
        let last = last.context("cannot read the last record")?;
        lease.keep();
        Ok(last)
    }

    /// The offset of the record that an operator wants to set aside.
    ///
    /// # Errors
    /// A request to the server failed.
    pub async fn set_aside(&self) -> Result<Option<i64>, Error> {
        let mut lease = self.database.lease().await?;
        let timeout = lease.timeout();
        let offset = answer(timeout, self.source.load_set_aside(lease.client())).await;
        let offset = offset.context("cannot read the offset of a record to set aside")?;
        lease.keep();
        Ok(offset)
    }

    /// Sets the committed offset back to `offset`, unless it is not `expected` any more.
    ///
    /// # Errors
    /// A request to the server failed.
    pub async fn set_offset_back(&self, expected: i64, offset: i64) -> Result<(), Error> {
        let mut lease = self.database.lease().await?;
        let timeout = lease.timeout();
        let set = self
            .source
            .set_offset_back(lease.client(), expected, offset);
        let set = answer(timeout, set).await;
        set.context("cannot set the committed offset back")?;
        lease.keep();
        Ok(())
    }

    /// Stores the offset to begin at, unless another sink has stored one meanwhile. Returns the
    /// stored one.
    ///
    /// # Errors
    /// A request to the server failed.
    pub async fn begin(&self, offset: i64) -> Result<i64, Error> {
        let mut lease = self.database.lease().await?;
        let timeout = lease.timeout();
        let stored = answer(timeout, self.source.insert_offset(lease.client(), offset)).await;
        let stored = stored.context("cannot store the offset to begin at")?;
        lease.keep();
        Ok(stored)
    }

    /// Writes `batch` in a transaction. A batch that is committed already, since the answer to its
    /// commit got lost, is a success without rows.
    ///
    /// # Errors
    /// The batch was not written. [`Error::remedy`] says how to go on.
    pub async fn write(&mut self, batch: &Batch) -> Result<Written, Error> {
        let mut lease = self.database.lease().await?;
        self.partitions
            .create(&mut lease, batch.rows.times(), Utc::now())
            .await?;
        let transaction = lease.begin().await?;
        let committed = self.source.lock_offset(&transaction).await?;
        if committed == batch.next_offset() {
            drop(transaction);
            lease.keep();
            return Ok(Written::default());
        }
        if committed != batch.follows() {
            return Err(Error::Fenced {
                committed,
                expected: batch.follows(),
            });
        }
        let mut hint = self.hint;
        let rows = self.write_rows(&transaction, batch, &mut hint).await?;
        self.hint = hint;
        let progress = Progress {
            next_offset: batch.next_offset(),
            // The size of a batch is limited far below what an i64 holds.
            records: batch.record_count() as i64,
            records_without_rows: rows.records_without_rows as i64,
            last_record: match batch.records.last() {
                Some(record) if !batch.ends_untransformed => LastRecord::of(record),
                _ => None,
            },
        };
        self.source.move_offset(&transaction, &progress).await?;
        transaction.commit().await.context("cannot commit")?;
        let cache = self.database.dimension_cache();
        cache.add([&batch.products, &batch.lists]);
        if self.partitions.create_ahead(&mut lease, Utc::now()).await {
            lease.keep();
        }
        let written = rows.written;
        if let Some(notify) = &self.written
            && written.inserted + written.updated + written.removed > 0
        {
            notify.notify_one();
        }
        Ok(written)
    }

    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    pub(crate) fn hint(&self) -> Hint {
        self.hint
    }

    /// Writes the rows of `batch`, without its offset.
    pub(crate) async fn write_rows(
        &self,
        transaction: &Transaction<'_>,
        batch: &Batch,
        hint: &mut Hint,
    ) -> Result<WrittenRows, Error> {
        let Source {
            topic, partition, ..
        } = &self.source;
        let cache = self.database.dimension_cache();
        write_rows(transaction, topic, *partition, batch, hint, cache).await
    }
}

/// A guess about the facts of the next batch of a partition. A wrong one costs time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hint {
    /// All of them are new.
    #[default]
    New,
    /// Some of them are stored: the topic is read again, or messages were delivered twice.
    Stored,
}

/// The changes by the rows of a batch.
pub(crate) struct WrittenRows {
    pub(crate) written: Written,
    /// The number of records without a change.
    pub(crate) records_without_rows: usize,
}

/// Writes the dimensions, facts and rejected events of `batch`, whose records are from `partition`
/// of `topic`. After the commit the caller adds the dimensions to `cache`.
pub(crate) async fn write_rows(
    transaction: &Transaction<'_>,
    topic: &str,
    partition: i32,
    batch: &Batch,
    hint: &mut Hint,
    cache: &DimensionCache,
) -> Result<WrittenRows, Error> {
    let [product_cache, list_cache] = cache.parts();
    let products = batch.products.resolve(transaction, product_cache).await?;
    let products = products.ok_or(Error::DimensionDeleted)?;
    let lists = batch.lists.resolve(transaction, list_cache).await?;
    let lists = lists.ok_or(Error::DimensionDeleted)?;
    let facts = Facts {
        transaction,
        batch,
        topic,
        partition,
        ends: RowEnds::new(&products, &lists, topic, partition),
    };
    let (inserted, stored) = facts.insert(*hint).await?;
    *hint = if stored.count() > 0 {
        Hint::Stored
    } else {
        Hint::New
    };
    if inserted > 0 {
        facts.note_hours(&stored).await?;
    }
    let mut replaced = Vec::new();
    let mut settled = Settled::default();
    let updates = batch.on_conflict == OnConflict::Update;
    if !batch.versions.is_empty() {
        Versions::lock(transaction).await?;
    }
    if updates && stored.count() > 0 {
        replaced = facts.replace(&stored).await?;
        // A fact that was deleted meanwhile is inserted again.
        facts.note_hours(&Stored::default()).await?;
    }
    if !batch.versions.is_empty() {
        let versions = &batch.versions;
        settled = versions
            .settle(transaction, topic, partition, updates)
            .await?;
    }
    let mut conflicts = batch.rows.conflicts() as u64;
    if batch.on_conflict == OnConflict::Ignore && !stored.of_other_records.is_empty() {
        conflicts += facts.count_conflicts(&stored).await?;
    }
    let mut rejected = Vec::new();
    if !batch.rejected.is_empty() {
        rejected = rejected::insert(transaction, topic, partition, &batch.rejected).await?;
    }
    // Last, since other transactions can't update dimensions until this one ends.
    let dimensions = [&batch.products, &batch.lists];
    dimension::update(transaction, dimensions, cache).await?;
    let all = (batch.rows.len() + batch.rows.duplicates()) as u64;
    let inserted = inserted.saturating_sub(settled.outdated.len() as u64);
    let updated = replaced.len() as u64;
    let written = Written {
        inserted,
        updated,
        removed: settled.removed.len() as u64,
        duplicates: all.saturating_sub(inserted + updated),
        conflicts,
        rejected: rejected.len() as u64,
        nuls_removed: batch.nuls_removed,
    };
    let mut with_rows: Vec<i64> = batch.rows.offsets(&stored).collect();
    let mut outdated: HashMap<i64, usize> = HashMap::new();
    for offset in settled.outdated {
        *outdated.entry(offset).or_default() += 1;
    }
    with_rows.retain(|offset| match outdated.get_mut(offset) {
        Some(facts) if *facts > 0 => {
            *facts -= 1;
            false
        }
        _ => true,
    });
    with_rows.append(&mut replaced);
    with_rows.append(&mut settled.removed);
    with_rows.append(&mut rejected);
    with_rows.sort_unstable();
    with_rows.dedup();
    Ok(WrittenRows {
        written,
        records_without_rows: batch.record_count().saturating_sub(with_rows.len()),
    })
}

/// The facts of a batch, with all that makes rows of them.
struct Facts<'a> {
    transaction: &'a Transaction<'a>,
    batch: &'a Batch,
    topic: &'a str,
    partition: i32,
    ends: RowEnds<'a>,
}

impl Facts<'_> {
    /// Returns the number of inserted facts, and the facts that were stored already.
    async fn insert(&self, hint: Hint) -> Result<(u64, Stored), Error> {
        let all = self.batch.rows.len();
        let mut stored = match hint {
            Hint::New => Stored::default(),
            Hint::Stored => self.find_stored().await?,
        };
        if stored.count() == all {
            return Ok((0, stored));
        }
        self.transaction.savepoint("SAVEPOINT facts").await?;
        loop {
            let refused = match self.copy(&stored).await {
                Ok(inserted) => return Ok((inserted, stored)),
                Err(error) => error,
            };
            if refused.sqlstate() != Some(&SqlState::UNIQUE_VIOLATION) {
                return Err(refused).context(COPYING);
            }
            self.transaction
                .savepoint("ROLLBACK TO SAVEPOINT facts")
                .await?;
            let found = self.find_stored().await?;
            // Another unique constraint than the key of facts failed.
            if found.count() <= stored.count() {
                return Err(refused).context(COPYING);
            }
            if found.count() == all {
                return Ok((0, found));
            }
            stored = found;
        }
    }

    async fn copy(&self, stored: &Stored) -> Result<u64, ServerError> {
        let data = self.batch.rows.copy_data(stored, &self.ends);
        self.transaction.copy_in(&COPY, data).await
    }

    async fn find_stored(&self) -> Result<Stored, Error> {
        let [times, hashes, offsets] = self.batch.rows.keys();
        let params: [&(dyn ToSql + Sync); 5] =
            [&times, &hashes, &offsets, &self.topic, &self.partition];
        let rows = self.transaction.query(FIND_STORED, &params).await;
        let rows = rows.context("cannot look up stored facts")?;
        let [stored, of_other_records]: [Vec<i32>; 2] = match rows.first() {
            Some(row) => [row.get(0), row.get(1)],
            None => Default::default(),
        };
        Ok(Stored::at(&stored, of_other_records, self.batch.rows.len()))
    }

    /// Returns the number of stored facts of other records with other content.
    async fn count_conflicts(&self, stored: &Stored) -> Result<u64, Error> {
        let arrays = self.batch.rows.compared_arrays(stored, &self.ends);
        let columns: Vec<_> = arrays
            .iter()
            .map(|array| array as &(dyn ToSql + Sync))
            .collect();
        let rows = self.transaction.query(&COUNT_CONFLICTS, &columns).await;
        let rows = rows.context("cannot compare facts with stored ones")?;
        let count: i64 = rows.first().map(|row| row.get(0)).unwrap_or_default();
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// Returns the offsets of the facts that replaced stored ones.
    async fn replace(&self, stored: &Stored) -> Result<Vec<i64>, Error> {
        let arrays = self.batch.rows.arrays(stored, &self.ends);
        let source: [&(dyn ToSql + Sync); 2] = [&self.topic, &self.partition];
        let columns = arrays.iter().map(|array| array as &(dyn ToSql + Sync));
        let params: Vec<_> = source.into_iter().chain(columns).collect();
        let replaced = self.transaction.query(&REPLACE, &params).await;
        let replaced = replaced.context("cannot replace facts")?;
        Ok(replaced.iter().map(|row| row.get(0)).collect())
    }

    /// Opens the hours of the new facts. A trigger opens those of replaced and removed facts.
    async fn note_hours(&self, stored: &Stored) -> Result<(), Error> {
        let hours = self.batch.rows.touched_hours(stored);
        let noted = self.transaction.execute(NOTE_HOURS, &[&hours]).await;
        noted.context("cannot note the hours of new facts")?;
        Ok(())
    }
}
