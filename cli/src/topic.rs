//! Reads a topic as the sink does: whole batches at their exact offsets, without missing a gap.
//!
//! The stream of whole batches is deprecated upstream in favour of one that hides gaps. It reads
//! the raw records, without a SmartModule; [`follow`] takes care of responses that are cut.

pub mod follow;

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use chrono::{DateTime, TimeDelta, Utc};
use connector_common::{end_with, of_leader};
use fluvio::consumer::{ConsumerConfig, ConsumerConfigBuilder};
use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::record::Batch;
use fluvio::{Fluvio, Isolation, Offset};
use futures_util::{Stream, StreamExt};

use self::follow::Follower;

/// The largest response to request.
const MAX_BYTES: i32 = 1 << 30;
/// The size of a response for the header of a batch.
const HEAD_BYTES: i32 = 64 << 10;
/// Timeout for the first batch of a stream.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The time by which a record may be behind one with a later time: the delay of a producer that
/// retries, and the difference between the clocks of two sources.
const DISORDER: TimeDelta = TimeDelta::minutes(5);

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
    /// Its time in ms of Unix time, if the producer set one.
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
    /// Fails if the cluster is unreachable or the topic does not exist.
    pub async fn connect(name: &str) -> anyhow::Result<Self> {
        let client = connector_common::connect().await?;
        let partitions = connector_common::partition_count(&client, name).await?;
        let partitions = partitions.with_context(|| {
            format!(
                "the cluster does not have a topic `{name}`; create it, or name another with \
                 --topic"
            )
        })?;
        Ok(Self {
            name: name.to_owned(),
            partitions,
            client,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The partitions' numbers.
    pub fn partitions(&self) -> std::ops::Range<u32> {
        0..self.partitions
    }

    /// Checks the number of a partition.
    ///
    /// # Errors
    /// Fails if the topic does not have the partition.
    pub fn check(&self, partition: u32) -> anyhow::Result<()> {
        if partition < self.partitions {
            return Ok(());
        }
        let (name, last) = (&self.name, self.partitions.saturating_sub(1));
        bail!("the topic `{name}` does not have a partition {partition}; its last one is {last}")
    }

    /// The offset of the partition's next record.
    ///
    /// # Errors
    /// Fails if the cluster does.
    pub async fn end(&self, partition: u32) -> anyhow::Result<i64> {
        let end = end_with(&self.client, &self.name, partition);
        of_leader(&self.client, &self.name, partition, end).await
    }

    /// The first offset that the partition still holds.
    ///
    /// # Errors
    /// Fails if the cluster does.
    pub async fn start(&self, partition: u32) -> anyhow::Result<i64> {
        match self.first_batch(partition, 0).await {
            Ok(_) => Ok(0),
            Err(error) => match error.downcast_ref::<Evicted>() {
                Some(Evicted(next)) => Ok(*next),
                None => Err(error),
            },
        }
    }

    /// The time of the batch with the record at `offset`; `None` if the producer set none, or there
    /// is no such record yet.
    ///
    /// # Errors
    /// Fails if the cluster does, or the record is removed.
    pub async fn time(&self, partition: u32, offset: i64) -> anyhow::Result<Option<DateTime<Utc>>> {
        let first = self.first_batch(partition, offset).await?;
        let first = first.map(|batch| batch.header.first_timestamp);
        Ok(first
            .filter(|millis| *millis > 0)
            .and_then(DateTime::from_timestamp_millis))
    }

    /// The offset of the first record that is not older than `time`; the end offset if all are.
    ///
    /// A record's time is the one when it was produced. Times are almost in the order of offsets:
    /// this searches for the time by [`DISORDER`] earlier, and reads the records from there.
    ///
    /// # Errors
    /// Fails if the cluster does, or the records have no times.
    pub async fn offset_at(&self, partition: u32, time: DateTime<Utc>) -> anyhow::Result<i64> {
        let no_time =
            || format!("the records of partition {partition} have no times; use an offset instead");
        let end = self.end(partition).await?;
        let (mut low, mut high) = (self.start(partition).await?, end);
        let early = time.checked_sub_signed(DISORDER).unwrap_or(time);
        while low < high {
            let middle = low + (high - low) / 2;
            let there = self.time(partition, middle).await?;
            if there.with_context(no_time)? < early {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut follower = self.follow(partition, low).give_up();
        while follower.position() < end {
            for record in follower.next().await? {
                let there = record.time.and_then(DateTime::from_timestamp_millis);
                if record.offset >= end || there.with_context(no_time)? >= time {
                    return Ok(record.offset);
                }
            }
        }
        Ok(end)
    }

    /// A reader of the partition's records from the offset `from` on.
    pub fn follow(&self, partition: u32, from: i64) -> Follower {
        Follower::new(&self.name, partition, from)
    }

    /// The first batch at or behind the offset `from`; `None` if there is none.
    async fn first_batch(&self, partition: u32, from: i64) -> anyhow::Result<Option<Batch>> {
        let mut max_bytes = HEAD_BYTES;
        loop {
            let config = consumer_config(max_bytes)
                .disable_continuous(true)
                .build()?;
            let mut stream = open(&self.client, &self.name, partition, from, config).await?;
            match tokio::time::timeout(TIMEOUT, stream.next()).await {
                Ok(batch) => match batch.transpose() {
                    Ok(batch) => return Ok(batch),
                    // A compressed batch that is cut can't be read.
                    Err(ErrorCode::Other(_)) if max_bytes < MAX_BYTES => {
                        max_bytes = grown(max_bytes);
                    }
                    Err(code) => return Err(refused(&self.name, partition, code)),
                },
                Err(_) => bail!(
                    "timed out after {TIMEOUT:?} waiting for the record at offset {from} of \
                     partition {partition} of `{}`",
                    self.name
                ),
            }
        }
    }
}

/// The configuration of a stream that reads committed records.
fn consumer_config(max_bytes: i32) -> ConsumerConfigBuilder {
    let mut config = ConsumerConfig::builder();
    config
        .max_bytes(max_bytes)
        .isolation(Isolation::ReadCommitted);
    config
}

/// The next larger size of a response.
fn grown(max_bytes: i32) -> i32 {
    max_bytes.saturating_mul(4).min(MAX_BYTES)
}

type BatchStream = Pin<Box<dyn Stream<Item = Result<Batch, ErrorCode>> + Send>>;

/// Opens a stream of whole batches.
#[allow(deprecated)]
async fn open(
    client: &Fluvio,
    topic: &str,
    partition: u32,
    from: i64,
    config: ConsumerConfig,
) -> anyhow::Result<BatchStream> {
    let opening = async {
        let consumer = client.partition_consumer(topic, partition).await?;
        let from = Offset::absolute(from)?;
        anyhow::Ok(consumer.stream_batches_with_config(from, config).await?)
    };
    let stream = of_leader(client, topic, partition, opening).await?;
    Ok(Box::pin(stream))
}

/// The requested records are removed, up to this offset.
#[derive(Debug)]
struct Evicted(i64);

impl fmt::Display for Evicted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the topic's retention has removed these records; the first remaining offset is {}",
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
