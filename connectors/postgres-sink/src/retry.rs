//! Rejected events, sent through the flattener again once what they were rejected for is mended.
//!
//! A row leaves `rejected_events` only in the transaction in which its facts are in the tables. What
//! is there already stays as it is: an event that was rejected once is older than any correction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use fact_model::{Arena, Envelope, Options, flatten_in};
use tokio_postgres::types::ToSql;

use crate::backoff::Backoff;
use crate::batch::{Batch, Record};
use crate::database::Database;
use crate::dimension::Known;
use crate::errors::{DatabaseError, Doing, Remedy};
use crate::fact_partitions::FactPartitions;
use crate::put::{Likely, put};
use crate::rejected::{NOT_AN_ENVELOPE, REFUSED_BY_POSTGRES};
use crate::writer::{WriteError, Written};

/// Rows in one transaction. Payloads can have a megabyte each.
const AT_ONCE: usize = 100;
/// How often a transaction is tried that fails for what may pass.
const ATTEMPTS: u32 = 8;

/// Which rows of `rejected_events`. What is empty selects nothing out.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Their numbers.
    pub ids: Option<Vec<i64>>,
    /// Their reasons.
    pub reasons: Option<Vec<String>>,
    /// The topic they came from.
    pub topic: Option<String>,
    /// How long ago they were seen first, at least: an interval as PostgreSQL writes one.
    pub older_than: Option<String>,
}

impl Selection {
    /// What stands behind `WHERE`, with [`Selection::params`] as `$1` to `$4`.
    pub const SQL: &str = "($1::bigint[] IS NULL OR id = ANY ($1)) AND ($2::text[] IS NULL OR reason = ANY ($2)) \
         AND ($3::text IS NULL OR source_topic = $3) AND ($4::text IS NULL OR first_seen < now() - $4::text::interval)";

    /// The parameters of [`Selection::SQL`].
    #[must_use]
    pub fn params(&self) -> [&(dyn ToSql + Sync); 4] {
        [&self.ids, &self.reasons, &self.topic, &self.older_than]
    }
}

/// What came of a retry.
#[derive(Debug, Default)]
pub struct Retried {
    /// Rows that are gone, because all of them is in the tables.
    pub gone: u64,
    /// Rows that stay, by the reason that the flattener gives now.
    pub still: BTreeMap<String, u64>,
    /// Rows that stay because PostgreSQL refuses their facts, with its words.
    pub refused: Vec<(i64, String)>,
    /// What came of their facts.
    pub written: Written,
}

/// Sends rejected events through the flattener again.
pub struct Retry {
    database: Arc<Database>,
    options: Options,
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

/// What rows came to.
#[derive(Default)]
struct Flattened {
    /// The facts, by the topic and the partition that they came from.
    batches: BTreeMap<(String, i32), Batch>,
    gone: Vec<i64>,
    still: Vec<String>,
}

impl Retry {
    /// A retry with the flattener's parameters.
    #[must_use]
    pub fn new(database: Arc<Database>, options: Options) -> Self {
        Self {
            database,
            options,
            partitions: FactPartitions::default(),
        }
    }

    /// Sends what is selected through again; `changes` says whether to write and delete, or only to
    /// find out what would happen.
    ///
    /// # Errors
    /// PostgreSQL's own. What was done before it stays done.
    pub async fn run(
        &mut self,
        selection: &Selection,
        changes: bool,
    ) -> Result<Retried, WriteError> {
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

    async fn read(&self, selection: &Selection, after: i64) -> Result<Vec<Row>, DatabaseError> {
        let mut lease = self.database.lease().await?;
        let limit = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
        let mut params = selection.params().to_vec();
        params.extend([&after as &(dyn ToSql + Sync), &limit]);
        let query = format!(
            "SELECT id, reason, source_topic, source_partition, source_offset, raw, raw_encoding, first_seen \
             FROM rejected_events WHERE {} AND id > $5 ORDER BY id LIMIT $6",
            Selection::SQL
        );
        let rows = lease
            .client()
            .query(&query, &params)
            .await
            .doing("cannot read rejected events")?;
        lease.keep();
        Ok(rows.iter().map(Row::of).collect())
    }

    /// Writes `rows`; where PostgreSQL refuses a fact, all but the row that it is of.
    async fn bisect(&mut self, rows: &[Row], retried: &mut Retried) -> Result<(), WriteError> {
        let mut waiting = vec![rows];
        while let Some(rows) = waiting.pop() {
            let flattened = self.flatten(rows);
            let error = match self.write_patiently(&flattened).await {
                Ok(written) => {
                    retried.count(&flattened);
                    retried.written += written;
                    continue;
                }
                Err(error) => error,
            };
            match (error.remedy(), rows) {
                (Some(Remedy::SetAside), [row]) => {
                    retried.refused.push((row.id, error.to_string()));
                }
                (Some(Remedy::SetAside), rows) => {
                    let (first, second) = rows.split_at(rows.len() / 2);
                    waiting.extend([second, first]);
                }
                _ => return Err(error),
            }
        }
        Ok(())
    }

    fn flatten(&self, rows: &[Row]) -> Flattened {
        let mut flattened = Flattened::default();
        let mut arena = Arena::new();
        for row in rows {
            arena.reset();
            let envelope = row.flatten(&arena, &self.options);
            match envelope.rejected.first() {
                None => flattened.gone.push(row.id),
                Some(rejection) => flattened.still.push(rejection.reason.to_string()),
            }
            let facts = Envelope {
                rejected: Vec::new(),
                ..envelope
            };
            let place = (row.topic.clone(), row.partition);
            let batch = flattened.batches.entry(place);
            batch
                .or_insert_with(|| Batch::after(row.record.offset))
                .add(&facts, row.record.clone());
        }
        let batches = std::mem::take(&mut flattened.batches);
        let finished = batches.into_iter();
        flattened.batches = finished
            .map(|(place, batch)| (place, batch.finish()))
            .collect();
        flattened
    }

    async fn write_patiently(&mut self, flattened: &Flattened) -> Result<Written, WriteError> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            match self.write(flattened).await {
                Err(error)
                    if error.remedy() == Some(Remedy::Retry) && backoff.failures() < ATTEMPTS =>
                {
                    tokio::time::sleep(backoff.next()).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn write(&mut self, flattened: &Flattened) -> Result<Written, WriteError> {
        let mut lease = self.database.lease().await?;
        for batch in flattened.batches.values() {
            self.partitions
                .create(lease.client(), batch.rows.times(), Utc::now())
                .await
                .map_err(WriteError::Partition)?;
        }
        let transaction = lease.begin().await?;
        transaction
            .execute(
                "DELETE FROM rejected_events WHERE id = ANY ($1)",
                &[&flattened.gone],
            )
            .await
            .doing("cannot delete rejected events")?;
        let mut written = Written::default();
        let (mut likely, known) = (Likely::default(), Known::default());
        for ((topic, partition), batch) in &flattened.batches {
            let put = put(&transaction, topic, *partition, batch, &mut likely, &known).await?;
            written += put.written;
        }
        transaction.commit().await.doing("cannot commit")?;
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
        // What is no base64 after all is sent through as it stands, and rejected again.
        let value = encoding.and_then(|_| STANDARD.decode(&raw).ok());
        Self {
            id: row.get("id"),
            reason: row.get("reason"),
            topic: row.get("source_topic"),
            partition: row.get("source_partition"),
            record: Record {
                offset: row.get("source_offset"),
                key: None,
                value: value.map_or_else(|| Bytes::from(raw), Bytes::from),
            },
            seen: row.get("first_seen"),
        }
    }

    fn flatten<'a>(&'a self, arena: &'a Arena, options: &Options) -> Envelope<'a> {
        if [REFUSED_BY_POSTGRES, NOT_AN_ENVELOPE].contains(&self.reason.as_str())
            && let Ok(mut envelope) = serde_json::from_slice::<Envelope<'_>>(&self.record.value)
        {
            // What the SmartModule has rejected of this record has rows of its own.
            if self.reason == REFUSED_BY_POSTGRES {
                envelope.rejected.clear();
            }
            return envelope;
        }
        // The record's own time is not kept; the sink saw it soon after.
        let time = self.seen.timestamp_millis();
        flatten_in(arena, options, &self.record.value, Some(time))
    }
}
