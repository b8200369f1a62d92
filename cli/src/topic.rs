//! A topic of the current cluster, read as the sink reads it: whole batches at their exact offsets, and no gap unnoticed.
//!
//! The stream that hands out whole batches is marked deprecated upstream in favour of one that hides gaps.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use chrono::{DateTime, Utc};
use fluvio::consumer::ConsumerConfig;
use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::record::Batch;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{Fluvio, Isolation, Offset};
use futures_util::StreamExt;

/// The response that is asked for first. Where a batch does not fit, larger ones are.
const FIRST_BYTES: i32 = 4 << 20;
const MOST_BYTES: i32 = 1 << 30;
/// Enough for a batch's head.
const HEAD_BYTES: i32 = 64 << 10;
/// How long a leader may take to tell the end of its partition.
const PATIENCE: Duration = Duration::from_secs(15);
/// Records that are handed out at a time, about.
const CHUNK: usize = 4_000;

/// A topic and a connection to its cluster.
pub struct Topic {
    name: String,
    client: Fluvio,
    partitions: u32,
}

/// A record as it was produced.
pub struct Record {
    /// Its offset.
    pub offset: i64,
    /// When it was produced, in ms of Unix time, where the producer said so.
    pub time: Option<i64>,
    /// Its key, the id of the SQS message.
    pub key: Option<Vec<u8>>,
    /// Its value, the message's body.
    pub value: Vec<u8>,
}

impl Topic {
    /// Connects to the cluster of the current profile.
    ///
    /// # Errors
    /// No cluster there, or no such topic.
    pub async fn connect(name: &str) -> anyhow::Result<Self> {
        let client = connector_common::connect().await?;
        let topics = client
            .admin()
            .await
            .list::<TopicSpec, _>(vec![name.to_owned()])
            .await?;
        let found = topics
            .iter()
            .find(|found| found.name == name)
            .ok_or_else(|| {
                anyhow!(
                    "the cluster has no topic `{name}`; create it, or name another with --topic"
                )
            })?;
        Ok(Self {
            name: name.to_owned(),
            partitions: found.spec.partitions(),
            client,
        })
    }

    /// The partitions' numbers.
    pub fn partitions(&self) -> std::ops::Range<u32> {
        0..self.partitions
    }

    /// Makes sure that there is such a partition.
    ///
    /// # Errors
    /// There is not.
    pub fn check(&self, partition: u32) -> anyhow::Result<()> {
        if partition < self.partitions {
            return Ok(());
        }
        let (name, last) = (&self.name, self.partitions.saturating_sub(1));
        bail!("the topic `{name}` has no partition {partition}; its last one is {last}")
    }

    /// The offset that the partition's next record will get.
    ///
    /// # Errors
    /// The cluster's own.
    pub async fn end(&self, partition: u32) -> anyhow::Result<i64> {
        let end = connector_common::end_with(&self.client, &self.name, partition);
        tokio::time::timeout(PATIENCE, end).await.with_context(|| {
            format!(
                "the leader of partition {partition} of `{}` did not tell its end in {PATIENCE:?}",
                self.name
            )
        })?
    }

    /// The first offset that the partition still holds.
    ///
    /// # Errors
    /// The cluster's own.
    pub async fn start(&self, partition: u32) -> anyhow::Result<i64> {
        match self.batches(partition, 0, HEAD_BYTES).await {
            Ok(_) => Ok(0),
            Err(error) => match error.downcast_ref::<Evicted>() {
                Some(Evicted(next)) => Ok(*next),
                None => Err(error),
            },
        }
    }

    /// When the record at `offset` was produced, to the batch; `None` where nobody said so, or no such record is there.
    ///
    /// # Errors
    /// The cluster's own, or the record is gone.
    pub async fn time(&self, partition: u32, offset: i64) -> anyhow::Result<Option<DateTime<Utc>>> {
        let batches = self.batches(partition, offset, HEAD_BYTES).await?;
        let first = batches.first().map(|batch| batch.header.first_timestamp);
        Ok(first
            .filter(|millis| *millis > 0)
            .and_then(DateTime::from_timestamp_millis))
    }

    /// The first offset whose batch is not older than `time`; the end where all are.
    ///
    /// # Errors
    /// The cluster's own, or the records carry no times.
    pub async fn offset_at(&self, partition: u32, time: DateTime<Utc>) -> anyhow::Result<i64> {
        let (mut low, mut high) = (self.start(partition).await?, self.end(partition).await?);
        while low < high {
            let middle = low + (high - low) / 2;
            let there = self.time(partition, middle).await?.with_context(|| {
                format!(
                    "the records of partition {partition} carry no times; name an offset instead"
                )
            })?;
            if there < time {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Some records from `from` on, at least one and none at or behind `to`.
    ///
    /// # Errors
    /// The cluster's own, or a record that it does not hand out.
    pub async fn read(&self, partition: u32, from: i64, to: i64) -> anyhow::Result<Vec<Record>> {
        let mut max_bytes = FIRST_BYTES;
        loop {
            let batches = self.batches(partition, from, max_bytes).await?;
            let records = contiguous(batches, from, to);
            if !records.is_empty() {
                return Ok(records);
            }
            // A response that was cut off within its first batch holds nothing.
            if max_bytes == MOST_BYTES {
                bail!(
                    "the cluster does not hand out the record at offset {from} of partition {partition}"
                );
            }
            max_bytes = max_bytes.saturating_mul(4).min(MOST_BYTES);
        }
    }

    #[allow(deprecated)]
    async fn batches(
        &self,
        partition: u32,
        from: i64,
        max_bytes: i32,
    ) -> anyhow::Result<Vec<Batch>> {
        let config = ConsumerConfig::builder()
            .max_bytes(max_bytes)
            .isolation(Isolation::ReadCommitted)
            .disable_continuous(true)
            .build()?;
        let consumer = self
            .client
            .partition_consumer(&self.name, partition)
            .await?;
        let stream = consumer
            .stream_batches_with_config(Offset::absolute(from)?, config)
            .await?;
        let mut stream = pin!(stream);
        let mut batches = Vec::new();
        let mut records = 0;
        while records < CHUNK
            && let Some(batch) = stream.next().await
        {
            let batch = batch.map_err(|code| refused(&self.name, partition, code))?;
            records += batch.records_len();
            batches.push(batch);
            if max_bytes == HEAD_BYTES {
                break;
            }
        }
        Ok(batches)
    }
}

/// The records from `from` on, up to the first that is missing.
fn contiguous(batches: Vec<Batch>, from: i64, to: i64) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut next = from;
    for batch in batches {
        let (base, time) = (batch.get_base_offset(), batch.header.first_timestamp);
        if base > next {
            break;
        }
        for (offset, record) in (base..).zip(batch.own_records()) {
            if offset == next && offset < to {
                next += 1;
                records.push(Record {
                    offset,
                    time: (time > 0).then(|| time + record.timestamp_delta()),
                    key: record.key.as_deref().map(|key| key.to_vec()),
                    value: record.value.to_vec(),
                });
            }
        }
    }
    records
}

/// The records that were asked for are gone, up to here.
#[derive(Debug)]
struct Evicted(i64);

impl fmt::Display for Evicted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the topic's retention has removed these records; the first that is there has offset {}",
            self.0
        )
    }
}

impl std::error::Error for Evicted {}

fn refused(topic: &str, partition: u32, code: ErrorCode) -> anyhow::Error {
    match code {
        ErrorCode::OffsetEvicted { next_available, .. } => Evicted(next_available).into(),
        code => anyhow!("partition {partition} of `{topic}`: {code}"),
    }
}
