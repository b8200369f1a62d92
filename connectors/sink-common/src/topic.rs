//! The topic: its partitions, and a stream of batches from each.
//!
//! The stream in use is deprecated upstream in favour of one that retries by itself and stores
//! offsets in the cluster. That one hides gaps, returns single records without their batch, and
//! commits a record before it is written. This one returns whole batches with exact offsets.

use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use connector_common::{Backoff, Partitions, Start};
use fluvio::consumer::ConsumerConfig;
use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::record::Batch;
use fluvio::{Fluvio, Isolation, Offset, SmartModuleInvocation};
use futures_util::{Stream, StreamExt};

const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
const PROBE_BYTES: i32 = 1 << 20;
/// The largest response to request for one batch.
const MAX_BATCH_BYTES: i32 = 1 << 30;
/// The SPU has no code for a trap, only this text.
const TRAP: &str = "SmartModule err";
/// The time that an attempt to find the topic gets, even if the start has taken long.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(5);
/// The pauses while waiting for the topic.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Waits until the cluster answers and the topic exists, and returns the number of its partitions.
///
/// # Errors
/// The deadline passed, or the topic lacks a wanted partition.
pub async fn wait_for_topic(
    topic: &str,
    wanted: &Partitions,
    deadline: Instant,
) -> anyhow::Result<u32> {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut last = None;
    let count = loop {
        let limit = deadline.saturating_duration_since(Instant::now());
        let limit = limit.max(SHORTEST_ATTEMPT);
        let counted = match tokio::time::timeout(limit, partition_count(topic)).await {
            Ok(counted) => counted,
            // The error before it has the reason.
            Err(_) => Err(last.take().unwrap_or_else(|| {
                anyhow!("no answer from the Fluvio cluster within {limit:?}; is it running?")
            })),
        };
        let error = match counted {
            Ok(Some(count)) => break count,
            Ok(None) => anyhow!(
                "the topic `{topic}` does not exist; create it with `fluvio topic create {topic}`, \
                 or correct `meta.topic`"
            ),
            Err(error) => error,
        };
        if Instant::now() >= deadline {
            return Err(error);
        }
        if backoff.warning_due().is_some() {
            tracing::warn!("waiting for the topic: {error:#}");
        }
        last = Some(error);
        tokio::time::sleep(backoff.next_pause()).await;
    };
    if let Partitions::Some(named) = wanted
        && let Some(missing) = named.iter().find(|number| **number >= count)
    {
        let last = count.saturating_sub(1);
        bail!(
            "`meta.consumer.partition` names {missing}, and the topic `{topic}` has \
             partitions 0 to {last}"
        );
    }
    Ok(count)
}

/// The number of partitions; `None` if the topic does not exist.
///
/// # Errors
/// The cluster can't be reached or gives an error.
pub async fn partition_count(topic: &str) -> anyhow::Result<Option<u32>> {
    let client = connector_common::connect().await?;
    connector_common::partition_count(&client, topic).await
}

/// A partition, and the SmartModules that its records pass.
#[derive(Clone, Debug)]
pub struct Partition {
    /// The topic.
    pub topic: String,
    /// The number of the partition.
    pub number: u32,
    /// The SmartModules, in order.
    pub smartmodules: Vec<SmartModuleInvocation>,
}

/// An open stream. It holds its client, since a dropped client closes its streams.
pub struct BatchStream {
    batches: Pin<Box<dyn Stream<Item = Result<Batch, ErrorCode>> + Send>>,
    _client: Fluvio,
}

/// The reason why a stream ended.
#[derive(Debug)]
pub enum Fault {
    /// The cluster is away, or moves the partition: open the stream again.
    Transient(String),
    /// The SmartModules can't run.
    SmartModule(ErrorCode),
    /// The SmartModules fail on a record.
    Trapped(String),
    /// The topic was deleted.
    TopicDeleted,
    /// The topic's retention removed the records up to this offset.
    Evicted {
        /// The first record in the topic.
        next_available: i64,
    },
    /// The partition ends before the requested offset.
    BeyondEnd(String),
}

impl BatchStream {
    /// The next batch.
    ///
    /// # Errors
    /// The stream ended.
    pub async fn next(&mut self) -> Result<Batch, Fault> {
        match self.batches.next().await {
            Some(Ok(batch)) => Ok(batch),
            Some(Err(code)) => Err(Fault::of(code)),
            None => Err(Fault::Transient("the cluster ended the stream".to_owned())),
        }
    }
}

impl Partition {
    /// Opens a stream at `offset`, on a connection of its own. It reads committed records only: the
    /// committed offset must not be ahead of the records that survive a change of leader.
    ///
    /// # Errors
    /// The stream can't be opened.
    pub async fn open(&self, offset: i64, max_bytes: i32) -> Result<BatchStream, Fault> {
        let config = ConsumerConfig::builder()
            .max_bytes(max_bytes)
            .isolation(Isolation::ReadCommitted)
            .smartmodule(self.smartmodules.clone())
            .build();
        self.stream(offset, config).await
    }

    /// Returns true if the partition has a record at `offset`. It reads without the SmartModules,
    /// since a stream with them sends nothing for a batch that they made too large.
    ///
    /// # Errors
    /// The partition can't be read.
    pub async fn has_record(&self, offset: i64) -> Result<bool, Fault> {
        let config = ConsumerConfig::builder()
            .max_bytes(PROBE_BYTES)
            .isolation(Isolation::ReadCommitted)
            .disable_continuous(true)
            .build();
        let mut stream = self.stream(offset, config).await?;
        match tokio::time::timeout(PROBE_TIMEOUT, stream.batches.next()).await {
            Ok(None) => Ok(false),
            Ok(Some(Ok(_))) => Ok(true),
            Ok(Some(Err(code))) => Err(Fault::of(code)),
            Err(_) => Err(Fault::Transient(format!("no answer in {PROBE_TIMEOUT:?}"))),
        }
    }

    /// The batch that holds the record at `offset`, as it is in the topic.
    ///
    /// # Errors
    /// The cluster has no such record or can't be reached.
    pub async fn stored_batch(&self, offset: i64) -> anyhow::Result<Batch> {
        let mut max_bytes = PROBE_BYTES;
        loop {
            let config = ConsumerConfig::builder()
                .max_bytes(max_bytes)
                .isolation(Isolation::ReadCommitted)
                .disable_continuous(true)
                .build();
            let failed = |fault: Fault| anyhow!("cannot read offset {offset}: {fault:?}");
            let mut stream = self.stream(offset, config).await.map_err(failed)?;
            let batch = tokio::time::timeout(PROBE_TIMEOUT, stream.next()).await;
            let batch = batch.with_context(|| format!("no answer in {PROBE_TIMEOUT:?}"))?;
            let batch = batch.map_err(failed)?;
            // The client drops records that were cut off.
            if batch.records().len() == batch.records_len() {
                return Ok(batch);
            }
            if max_bytes == MAX_BATCH_BYTES {
                bail!("the batch at offset {offset} exceeds {MAX_BATCH_BYTES} bytes");
            }
            max_bytes = max_bytes.saturating_mul(4).min(MAX_BATCH_BYTES);
        }
    }

    /// The first and the last offset of a batch that the SmartModules fail on, if they fail on a
    /// read of `max_bytes` at `from`. A failure loses all output of a read, so only a read behind
    /// the batch succeeds.
    ///
    /// # Errors
    /// The cluster can't be reached or gives another error.
    pub async fn failing_batch(&self, from: i64, max_bytes: i32) -> anyhow::Result<(i64, i64)> {
        let (mut fails, mut succeeds) = (from, self.end().await?);
        while succeeds - fails > 1 {
            let middle = fails + (succeeds - fails) / 2;
            if self.fails_at(middle, max_bytes).await? {
                fails = middle;
            } else {
                succeeds = middle;
            }
        }
        let batch = self.stored_batch(fails).await?;
        Ok((batch.get_base_offset(), batch.get_last_offset()))
    }

    async fn fails_at(&self, offset: i64, max_bytes: i32) -> anyhow::Result<bool> {
        let opened = self.open(offset, max_bytes).await;
        let mut stream = opened.map_err(|fault| anyhow!("{fault:?}"))?;
        let answer = tokio::time::timeout(PROBE_TIMEOUT, stream.next()).await;
        match answer.with_context(|| format!("no answer in {PROBE_TIMEOUT:?}"))? {
            Ok(_) => Ok(false),
            Err(Fault::Trapped(_)) => Ok(true),
            Err(fault) => Err(anyhow!("{fault:?}")),
        }
    }

    /// The offset of `start` at this moment.
    ///
    /// # Errors
    /// The cluster can't be reached, or the offset is too large.
    pub async fn find(&self, start: Start) -> anyhow::Result<i64> {
        match start {
            Start::Absolute(offset) => {
                i64::try_from(offset).context("`meta.consumer.offset.start.absolute` is too large")
            }
            Start::End => self.end().await,
            Start::FromEnd(records) => {
                let begin = self.beginning().await?;
                Ok((self.end().await? - i64::from(records)).max(begin))
            }
            Start::Beginning => self.beginning().await,
            Start::FromBeginning(records) => {
                let from = self.beginning().await? + i64::from(records);
                Ok(from.min(self.end().await?))
            }
        }
    }

    /// The offset of the partition's first record.
    ///
    /// # Errors
    /// The cluster can't be reached or gives an error.
    pub async fn beginning(&self) -> anyhow::Result<i64> {
        match self.has_record(0).await {
            Ok(_) => Ok(0),
            Err(Fault::Evicted { next_available }) => Ok(next_available),
            Err(fault) => Err(anyhow!(
                "cannot find the first record of partition {}: {fault:?}",
                self.number
            )),
        }
    }

    /// The topic's end offset: the first one that no committed record has yet.
    ///
    /// # Errors
    /// As [`partition_count`].
    pub async fn end(&self) -> anyhow::Result<i64> {
        connector_common::end_of_partition(&self.topic, self.number).await
    }

    // The documentation of the module gives the reason.
    #[allow(deprecated)]
    async fn stream(
        &self,
        offset: i64,
        config: anyhow::Result<ConsumerConfig>,
    ) -> Result<BatchStream, Fault> {
        let opening = async {
            let config = config?;
            let client = connector_common::connect().await?;
            let consumer = client.partition_consumer(&self.topic, self.number).await?;
            let batches = consumer
                .stream_batches_with_config(Offset::absolute(offset)?, config)
                .await?;
            Ok(BatchStream {
                batches: Box::pin(batches),
                _client: client,
            })
        };
        let transient = |error: anyhow::Error| Fault::Transient(format!("{error:#}"));
        match tokio::time::timeout(OPEN_TIMEOUT, opening).await {
            Ok(opened) => opened.map_err(transient),
            Err(_) => Err(Fault::Transient(format!(
                "timed out after {OPEN_TIMEOUT:?} opening a stream"
            ))),
        }
    }
}

impl Fault {
    fn of(code: ErrorCode) -> Self {
        match code {
            ErrorCode::OffsetEvicted { next_available, .. } => Self::Evicted { next_available },
            ErrorCode::TopicDeleted => Self::TopicDeleted,
            // The server has no code for it, only this text.
            ErrorCode::Other(text) if text.contains("is greater than leo") => Self::BeyondEnd(text),
            ErrorCode::Other(text) if text.starts_with(TRAP) => Self::Trapped(text),
            // Its text shows the record's value.
            ErrorCode::SmartModuleRuntimeError(error) => {
                Self::Trapped(format!("the SmartModule fails at offset {}", error.offset))
            }
            ErrorCode::SmartModuleError
            | ErrorCode::SmartModuleNotFound { .. }
            | ErrorCode::SmartModuleInvalid { .. }
            | ErrorCode::SmartModuleInvalidExports { .. }
            | ErrorCode::SmartModuleChainInitError(_)
            | ErrorCode::SmartModuleInitError(_)
            | ErrorCode::SmartModuleLookBackError(_)
            | ErrorCode::SmartModuleMemoryLimitExceeded { .. } => Self::SmartModule(code),
            ErrorCode::Other(text) => Self::Transient(text),
            code => Self::Transient(code.to_string()),
        }
    }
}
