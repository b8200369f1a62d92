//! The partitions that records come from, and the committed offsets of sinks in `sink_offsets`.

pub use sink_common::{LastRecord, Record};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error as ClientError};

use crate::error::{Context, Error};
use crate::transaction::Transaction;

const LOAD_OFFSET: &str = "\
    SELECT next_offset FROM sink_offsets WHERE sink = $1 AND topic = $2 AND partition = $3";
const LOCK_OFFSET: &str = "\
    SELECT next_offset FROM sink_offsets WHERE sink = $1 AND topic = $2 AND partition = $3 \
    FOR UPDATE";
const INSERT_OFFSET: &str = "\
    INSERT INTO sink_offsets (sink, topic, partition, next_offset) VALUES ($1, $2, $3, $4) \
    ON CONFLICT DO NOTHING";
const MOVE_OFFSET: &str = "\
    UPDATE sink_offsets SET next_offset = $4, records = records + $5, \
           records_without_rows = records_without_rows + $6, updated_at = now(), \
           last_record = $7, set_aside = CASE WHEN set_aside >= $4 THEN set_aside END \
    WHERE sink = $1 AND topic = $2 AND partition = $3";
const LOAD_LAST_RECORD: &str = "\
    SELECT last_record FROM sink_offsets WHERE sink = $1 AND topic = $2 AND partition = $3";
const LOAD_SET_ASIDE: &str = "\
    SELECT set_aside FROM sink_offsets WHERE sink = $1 AND topic = $2 AND partition = $3";
const SET_ASIDE: &str = "\
    UPDATE sink_offsets SET set_aside = $3 \
    WHERE topic = $1 AND partition = $2 AND next_offset <= $3 AND ($4::text IS NULL OR sink = $4) \
    RETURNING sink";
/// A claim is void if no offset is committed a minute after it. Until then its sink may start.
const CLAIM: &str = "\
    INSERT INTO sink_clusters AS c (sink, topic, cluster) VALUES ($1, $2, $3) \
    ON CONFLICT (sink, topic) DO UPDATE SET cluster = excluded.cluster, since = now() \
    WHERE c.cluster = excluded.cluster \
       OR (c.since < now() - interval '1 minute' \
           AND NOT EXISTS (SELECT FROM sink_offsets o WHERE o.sink = $1 AND o.topic = $2)) \
    RETURNING cluster";
const OTHER_CLUSTER: &str = "\
    SELECT c.cluster, \
           coalesce((SELECT to_char(max(o.updated_at) AT TIME ZONE 'UTC', \
                                    'YYYY-MM-DD HH24:MI:SS \"UTC\"') \
                     FROM sink_offsets o WHERE o.sink = $1 AND o.topic = $2), 'none yet') \
    FROM sink_clusters c WHERE c.sink = $1 AND c.topic = $2";
const RESTART: &str = "\
    UPDATE sink_offsets SET next_offset = $4, updated_at = now(), last_record = NULL \
    WHERE sink = $1 AND topic = $2 AND partition = $3 AND next_offset = $5";

/// A partition that a sink reads.
#[derive(Clone, Debug)]
pub struct Source {
    /// The sink's name: `meta.consumer.id` of its file, else `meta.name`.
    pub sink: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
}

/// Records that the offsets of `sink` in `topic` belong to `cluster`.
///
/// # Errors
/// They belong to another cluster, or a request to the server failed.
pub async fn claim(client: &Client, sink: &str, topic: &str, cluster: &str) -> Result<(), Error> {
    let context = "cannot check the cluster of the committed offsets";
    let claimed = client.query_opt(CLAIM, &[&sink, &topic, &cluster]).await;
    if claimed.context(context)?.is_some() {
        return Ok(());
    }
    let other = client.query_one(OTHER_CLUSTER, &[&sink, &topic]).await;
    let other = other.context(context)?;
    Err(Error::OtherCluster {
        sink: sink.to_owned(),
        topic: topic.to_owned(),
        cluster: cluster.to_owned(),
        other: other.get(0),
        committed: other.get(1),
    })
}

/// Has the sinks that read `partition` of `topic`, or the named one of them, set aside the record
/// at `offset` if the cluster can't transform it. Returns their names.
///
/// # Errors
/// A request to the server failed.
pub async fn set_aside(
    client: &Client,
    topic: &str,
    partition: i32,
    offset: i64,
    sink: Option<&str>,
) -> Result<Vec<String>, Error> {
    let params: [&(dyn ToSql + Sync); 4] = [&topic, &partition, &offset, &sink];
    let sinks = client.query(SET_ASIDE, &params).await;
    let sinks = sinks.context("cannot set a record aside")?;
    Ok(sinks.iter().map(|row| row.get(0)).collect())
}

/// The records of a batch, for the counters beside the offset.
pub(crate) struct Progress {
    pub(crate) next_offset: i64,
    pub(crate) records: i64,
    pub(crate) records_without_rows: i64,
    pub(crate) last_record: Option<LastRecord>,
}

impl Source {
    fn key(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.sink, &self.topic, &self.partition]
    }

    /// Loads the committed offset: the first record that is not written yet. `None` for a partition
    /// that was never read.
    pub(crate) async fn load_offset(&self, client: &Client) -> Result<Option<i64>, ClientError> {
        let row = client.query_opt(LOAD_OFFSET, &self.key()).await?;
        Ok(row.map(|row| row.get(0)))
    }

    /// Loads the last record that was written; `None` if it has no key.
    pub(crate) async fn load_last_record(
        &self,
        client: &Client,
    ) -> Result<Option<LastRecord>, ClientError> {
        let row = client.query_opt(LOAD_LAST_RECORD, &self.key()).await?;
        let stored: Option<String> = row.and_then(|row| row.get(0));
        Ok(stored.as_deref().and_then(LastRecord::parse))
    }

    /// Loads the offset of the record to set aside.
    pub(crate) async fn load_set_aside(&self, client: &Client) -> Result<Option<i64>, ClientError> {
        let row = client.query_opt(LOAD_SET_ASIDE, &self.key()).await?;
        Ok(row.and_then(|row| row.get(0)))
    }

    /// Sets the committed offset from `expected` back to `offset`.
    pub(crate) async fn set_offset_back(
        &self,
        client: &Client,
        expected: i64,
        offset: i64,
    ) -> Result<(), ClientError> {
        let [sink, topic, partition] = self.key();
        let params = [sink, topic, partition, &offset, &expected];
        client.execute(RESTART, &params).await?;
        Ok(())
    }

    /// Stores the first offset to read, unless there is one already. Returns the stored one.
    pub(crate) async fn insert_offset(
        &self,
        client: &Client,
        offset: i64,
    ) -> Result<i64, ClientError> {
        let [sink, topic, partition] = self.key();
        let params = [sink, topic, partition, &offset];
        client.execute(INSERT_OFFSET, &params).await?;
        let row = client.query_one(LOAD_OFFSET, &self.key()).await?;
        Ok(row.get(0))
    }

    /// Locks the committed offset for this transaction. A second sink waits here before it does any
    /// work, and is then fenced. A missing row means that somebody wants the partition to be read
    /// from its start.
    pub(crate) async fn lock_offset(&self, transaction: &Transaction<'_>) -> Result<i64, Error> {
        let context = "cannot lock the committed offset";
        let locked = transaction.query(LOCK_OFFSET, &self.key()).await;
        if let Some(row) = locked.context(context)?.first() {
            return Ok(row.get(0));
        }
        let [sink, topic, partition] = self.key();
        let params = [sink, topic, partition, &0_i64];
        let inserted = transaction.execute(INSERT_OFFSET, &params).await;
        inserted.context(context)?;
        let locked = transaction.query(LOCK_OFFSET, &self.key()).await;
        Ok(locked.context(context)?.first().map_or(0, |row| row.get(0)))
    }

    pub(crate) async fn move_offset(
        &self,
        transaction: &Transaction<'_>,
        progress: &Progress,
    ) -> Result<(), Error> {
        let [sink, topic, partition] = self.key();
        let Progress {
            next_offset,
            records,
            records_without_rows,
            last_record,
        } = progress;
        let last_record = last_record.as_ref().map(ToString::to_string);
        let params = [
            sink,
            topic,
            partition,
            next_offset,
            records,
            records_without_rows,
            &last_record,
        ];
        let moved = transaction.execute(MOVE_OFFSET, &params).await;
        moved.context("cannot move the committed offset")?;
        Ok(())
    }
}
