//! One partition of the topic, as the cluster hands it out.
//!
//! The stream in use is marked deprecated upstream in favour of one that retries by itself and
//! keeps offsets in the cluster. That one hides gaps, hands out single records without their
//! batch, and commits a record before it is stored. This one hands out whole batches at their
//! exact offsets.

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, anyhow};
use connector_common::Start;
use fluvio::consumer::ConsumerConfig;
use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::record::Batch;
use fluvio::{Fluvio, Isolation, Offset, SmartModuleInvocation};
use futures_util::{Stream, StreamExt};

const OPEN_LIMIT: Duration = Duration::from_secs(30);
const PROBE_LIMIT: Duration = Duration::from_secs(10);
const PROBE_BYTES: i32 = 1 << 20;

/// A partition, and the SmartModules it is read through.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    pub(crate) topic: String,
    pub(crate) number: u32,
    pub(crate) smartmodules: Vec<SmartModuleInvocation>,
}

/// An open stream. Holds its client: a dropped client closes its streams.
pub(crate) struct Open {
    batches: Pin<Box<dyn Stream<Item = Result<Batch, ErrorCode>> + Send>>,
    _client: Fluvio,
}

/// Why a stream brings nothing more.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The cluster is away, or moves the partition: open the stream again.
    Passing(String),
    /// The SmartModules can't be run.
    SmartModule(ErrorCode),
    /// The topic was deleted.
    TopicDeleted,
    /// The topic's retention has removed the records up to here.
    Evicted { next_available: i64 },
    /// The partition ends before the offset asked for.
    BeyondEnd(String),
}

impl Open {
    pub(crate) async fn next(&mut self) -> Result<Batch, Fault> {
        match self.batches.next().await {
            Some(Ok(batch)) => Ok(batch),
            Some(Err(code)) => Err(Fault::of(code)),
            None => Err(Fault::Passing("the cluster ended the stream".to_owned())),
        }
    }
}

impl Partition {
    /// Opens a stream at `offset`, on a connection of its own. Reads what is committed only: the
    /// offset in the database must never be ahead of what a change of leader leaves in the topic.
    pub(crate) async fn open(&self, offset: i64, max_bytes: i32) -> Result<Open, Fault> {
        let config = ConsumerConfig::builder()
            .max_bytes(max_bytes)
            .isolation(Isolation::ReadCommitted)
            .smartmodule(self.smartmodules.clone())
            .build();
        self.stream(offset, config).await
    }

    /// Whether the partition holds a record at `offset`. Asks without the SmartModules, for a
    /// stream with them is silent about a batch that got too large.
    pub(crate) async fn holds(&self, offset: i64) -> Result<bool, Fault> {
        let config = ConsumerConfig::builder()
            .max_bytes(PROBE_BYTES)
            .isolation(Isolation::ReadCommitted)
            .disable_continuous(true)
            .build();
        let mut open = self.stream(offset, config).await?;
        match tokio::time::timeout(PROBE_LIMIT, open.batches.next()).await {
            Ok(None) => Ok(false),
            Ok(Some(Ok(_))) => Ok(true),
            Ok(Some(Err(code))) => Err(Fault::of(code)),
            Err(_) => Err(Fault::Passing(format!("no answer in {PROBE_LIMIT:?}"))),
        }
    }

    /// The offset that `start` means now.
    pub(crate) async fn find(&self, start: Start) -> anyhow::Result<i64> {
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

    /// The first offset that the partition still holds.
    async fn beginning(&self) -> anyhow::Result<i64> {
        match self.holds(0).await {
            Ok(_) => Ok(0),
            Err(Fault::Evicted { next_available }) => Ok(next_available),
            Err(fault) => Err(anyhow!(
                "cannot find the first record of partition {}: {fault:?}",
                self.number
            )),
        }
    }

    /// The high watermark: the first offset that no committed record has yet.
    pub(crate) async fn end(&self) -> anyhow::Result<i64> {
        connector_common::end_of_partition(&self.topic, self.number).await
    }

    // The module's documentation says why.
    #[allow(deprecated)]
    async fn stream(
        &self,
        offset: i64,
        config: anyhow::Result<ConsumerConfig>,
    ) -> Result<Open, Fault> {
        let passing = |error: anyhow::Error| Fault::Passing(format!("{error:#}"));
        let opening = async {
            let config = config?;
            let client = connector_common::connect().await?;
            let consumer = client.partition_consumer(&self.topic, self.number).await?;
            let batches = consumer
                .stream_batches_with_config(Offset::absolute(offset)?, config)
                .await?;
            Ok(Open {
                batches: Box::pin(batches),
                _client: client,
            })
        };
        match tokio::time::timeout(OPEN_LIMIT, opening).await {
            Ok(opened) => opened.map_err(passing),
            Err(_) => Err(Fault::Passing(format!(
                "no stream was opened in {OPEN_LIMIT:?}"
            ))),
        }
    }
}

impl Fault {
    fn of(code: ErrorCode) -> Self {
        match code {
            ErrorCode::OffsetEvicted { next_available, .. } => Self::Evicted { next_available },
            ErrorCode::TopicDeleted => Self::TopicDeleted,
            // The server's words for it; it has no code of its own.
            ErrorCode::Other(text) if text.contains("is greater than leo") => Self::BeyondEnd(text),
            ErrorCode::SmartModuleError
            | ErrorCode::SmartModuleNotFound { .. }
            | ErrorCode::SmartModuleInvalid { .. }
            | ErrorCode::SmartModuleInvalidExports { .. }
            | ErrorCode::SmartModuleChainInitError(_)
            | ErrorCode::SmartModuleInitError(_)
            | ErrorCode::SmartModuleRuntimeError(_)
            | ErrorCode::SmartModuleLookBackError(_)
            | ErrorCode::SmartModuleMemoryLimitExceeded { .. } => Self::SmartModule(code),
            ErrorCode::Other(text) => Self::Passing(text),
            code => Self::Passing(code.to_string()),
        }
    }
}
