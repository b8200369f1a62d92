//! Flattens rejected events again, after the reason for their rejection is fixed.
//!
//! A row leaves `rejected_events` in the transaction that writes its facts. An event that is stored
//! in a newer version changes nothing; else facts that exist already stay as they are, or with
//! [`OnConflict::Update`] the newer version replaces them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use connector_common::Backoff;
use fact_model::{Arena, Envelope, Options, flatten_in};
use tokio_postgres::types::ToSql;

use crate::batch::Batch;
use crate::database::Database;
use crate::dimension::DimensionCache;
use crate::error::{Context, Error, Remedy};
use crate::fact_partitions::FactPartitions;
use crate::rejected::{NOT_AN_ENVELOPE, REFUSED_BY_POSTGRES};
use crate::rows::OnConflict;
use crate::source::Record;
use crate::transaction::answer;
use crate::writer::{Hint, Written, write_rows};

/// Rows in one transaction. Payloads can have a megabyte each.
const ROWS_PER_TRANSACTION: usize = 100;
/// Retries of a transaction after transient errors.
const RETRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A selection of rows of `rejected_events`. `None` selects all.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Their numbers.
    pub ids: Option<Vec<i64>>,
    /// Their reasons.
    pub reasons: Option<Vec<String>>,
    /// The topic they came from.
    pub topic: Option<String>,
    /// Their minimum age, as an interval of PostgreSQL.
    pub older_than: Option<String>,
}

impl Selection {
    /// The condition of `WHERE`, with [`Selection::params`] as `$1` to `$4`.
    pub const SQL: &str = "\
        ($1::bigint[] IS NULL OR id = ANY ($1)) \
        AND ($2::text[] IS NULL OR reason = ANY ($2)) \
        AND ($3::text IS NULL OR source_topic = $3) \
        AND ($4::text IS NULL OR first_seen < now() - $4::text::interval)";

    /// The parameters of [`Selection::SQL`].
    #[must_use]
    pub fn params(&self) -> [&(dyn ToSql + Sync); 4] {
        [&self.ids, &self.reasons, &self.topic, &self.older_than]
    }
}

/// The result of a retry.
#[derive(Debug, Default)]
pub struct Retried {
    /// Rows that were removed, since all of their facts are in the tables.
    pub gone: u64,
    /// Rows that stay, by the reason that the flattener gives now.
    pub still: BTreeMap<String, u64>,
    /// Rows that stay because PostgreSQL refuses their facts, with its message.
    pub refused: Vec<(i64, String)>,
    /// The rows of their facts.
    pub written: Written,
}

/// Flattens rejected events again.
pub struct Retry {
    database: Arc<Database>,
    options: Options,
    on_conflict: OnConflict,
    partitions: FactPartitions,
}

/// A row of `rejected_events`.
struct Row {
    id: i64,
    reason: String,
    topic: String,
    partition: i32,
    record: Record,
    seen: DateTime<Utc>,
}

/// Rows after flattening.
#[derive(Default)]
struct Flattened {
    /// The facts, by topic and partition.
    batches: BTreeMap<(String, i32), Batch>,
    gone: Vec<i64>,
    still: Vec<String>,
}

impl Retry {
    /// A retry with these parameters of the flattener and this policy of the sink.
    #[must_use]
    pub fn new(database: Arc<Database>, options: Options, on_conflict: OnConflict) -> Self {
        Self {
            database,
            options,
            on_conflict,
            partitions: FactPartitions::default(),
        }
    }

    /// Flattens the selected rows again. Without `changes` it only finds out what would happen.
    ///
    /// # Errors
    /// A request to the server failed. Transactions before it stay committed.
    pub async fn run(&mut self, selection: &Selection, changes: bool) -> Result<Retried, Error> {
        let mut retried = Retried::default();
        let mut after = 0;
        loop {
            let rows = self.read(selection, after).await?;
            let Some(last) = rows.last() else {
                return Ok(retried);
            };
            after = last.id;
            if changes {
                self.bisect(&rows, &mut retried).await?;
            } else {
                let flattened = self.flatten(&rows);
                retried.count(&flattened);
            }
        }
    }

    async fn read(&self, selection: &Selection, after: i64) -> Result<Vec<Row>, Error> {
        let mut lease = self.database.lease().await?;
        let limit = i64::try_from(ROWS_PER_TRANSACTION).unwrap_or(i64::MAX);
        let mut params = selection.params().to_vec();
        params.extend([&after as &(dyn ToSql + Sync), &limit]);
        let query = format!(
            "SELECT id, reason, source_topic, source_partition, source_offset, source_key, \
                    raw, raw_encoding, first_seen \
             FROM rejected_events WHERE {} AND id > $5 ORDER BY id LIMIT $6",
            Selection::SQL
        );
        let timeout = lease.timeout();
        let rows = answer(timeout, lease.client().query(&query, &params)).await;
        let rows = rows.context("cannot read rejected events")?;
        lease.keep();
        Ok(rows.iter().map(Row::of).collect())
    }

    /// Writes `rows`, except those with facts that PostgreSQL refuses.
    async fn bisect(&mut self, rows: &[Row], retried: &mut Retried) -> Result<(), Error> {
        let mut waiting = vec![rows];
        while let Some(rows) = waiting.pop() {
            let flattened = self.flatten(rows);
            match (self.write_with_retries(&flattened).await, rows) {
                (Ok(written), _) => {
                    retried.count(&flattened);
                    retried.written += written;
                }
                (Err(error), [row]) if error.remedy() == Remedy::Reject => {
                    retried.refused.push((row.id, error.chain()));
                }
                (Err(error), rows) if error.remedy() == Remedy::Reject => {
                    let (first, second) = rows.split_at(rows.len() / 2);
                    waiting.extend([second, first]);
                }
                (Err(error), _) => return Err(error),
            }
        }
        Ok(())
    }

    fn flatten(&self, rows: &[Row]) -> Flattened {
        let mut flattened = Flattened::default();
        let mut arena = Arena::new();
        for row in rows {
            arena.reset();
            let (envelope, has_other_rows) = row.flatten(&arena, &self.options);
            let rejection = envelope.rejected.first();
            match rejection.filter(|_| !has_other_rows) {
                None => flattened.gone.push(row.id),
                Some(rejection) => flattened.still.push(rejection.reason.to_string()),
            }
            let partition = (row.topic.clone(), row.partition);
            let batch = flattened.batches.entry(partition);
            batch
                .or_insert_with(|| self.batch(row.record.offset))
                .push_facts(&envelope, row.record.clone());
        }
        let batches = std::mem::take(&mut flattened.batches);
        let finished = batches.into_iter();
        flattened.batches = finished
            .map(|(partition, batch)| (partition, batch.finish()))
            .collect();
        flattened
    }

    fn batch(&self, after: i64) -> Batch {
        let batch = Batch::after(after).on_conflict(self.on_conflict);
        if self.options.identifies_by_event_id() {
            batch.keeping_newer()
        } else {
            batch
        }
    }

    async fn write_with_retries(&mut self, flattened: &Flattened) -> Result<Written, Error> {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            match self.write(flattened).await {
                Err(error) if error.remedy() == Remedy::Retry && backoff.failures() < RETRIES => {
                    tokio::time::sleep(backoff.next_pause()).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn write(&mut self, flattened: &Flattened) -> Result<Written, Error> {
        let mut lease = self.database.lease().await?;
        for batch in flattened.batches.values() {
            self.partitions
                .create(&mut lease, batch.rows.times(), Utc::now())
                .await?;
        }
        let transaction = lease.begin().await?;
        transaction
            .execute(
                "DELETE FROM rejected_events WHERE id = ANY ($1)",
                &[&flattened.gone],
            )
            .await
            .context("cannot delete rejected events")?;
        let mut written = Written::default();
        let (mut hint, cache) = (Hint::default(), DimensionCache::default());
        for ((topic, partition), batch) in &flattened.batches {
            let rows = write_rows(&transaction, topic, *partition, batch, &mut hint, &cache);
            written += rows.await?.written;
        }
        transaction.commit().await.context("cannot commit")?;
        lease.keep();
        Ok(written)
    }
}

impl Retried {
    fn count(&mut self, flattened: &Flattened) {
        self.gone += flattened.gone.len() as u64;
        for reason in &flattened.still {
            *self.still.entry(reason.clone()).or_default() += 1;
        }
    }
}

impl Row {
    fn of(row: &tokio_postgres::Row) -> Self {
        let raw: String = row.get("raw");
        let encoding: Option<&str> = row.get("raw_encoding");
        // A text that is not base64 after all is flattened as it is, and rejected again.
        let value = encoding.and_then(|_| STANDARD.decode(&raw).ok());
        Self {
            id: row.get("id"),
            reason: row.get("reason"),
            topic: row.get("source_topic"),
            partition: row.get("source_partition"),
            record: Record {
                offset: row.get("source_offset"),
                key: Some(Bytes::from(row.get::<_, String>("source_key"))),
                value: value.map_or_else(|| Bytes::from(raw), Bytes::from),
            },
            seen: row.get("first_seen"),
        }
    }

    /// Returns the facts and rejections, and true if the rejections have rows of their own.
    fn flatten<'a>(&'a self, arena: &'a Arena, options: &Options) -> (Envelope<'a>, bool) {
        if [REFUSED_BY_POSTGRES, NOT_AN_ENVELOPE].contains(&self.reason.as_str())
            && let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(&self.record.value)
        {
            return (envelope, self.reason == REFUSED_BY_POSTGRES);
        }
        // The time of the record is not stored; the sink saw it soon after.
        let time = self.seen.timestamp_millis();
        let envelope = flatten_in(arena, options, &self.record.value, Some(time));
        (envelope, false)
    }
}
