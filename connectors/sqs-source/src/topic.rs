//! The topic that records are produced to, and its implementation with the `fluvio` client.
//!
//! Four properties of that client (0.50.1, `src/producer/`, `src/spu.rs`) shape this:
//!
//! - When its queue of batches is full, `send` spins without ever yielding (`wait_for_space`). So
//!   [`Producer::window`] keeps the unacknowledged bytes below what can fill it.
//! - It packs all waiting batches into one request, regardless of `max_request_size`; the window
//!   bounds that as well.
//! - It retries a lost connection internally, with pauses of up to minutes, and its metadata does
//!   not recover at all after the cluster's controller was unreachable. So after an error the
//!   producer is dropped together with its client, and both are created anew.
//! - All partitions of a client share a lock while it connects to an SPU, and one connection to
//!   each SPU, on which a request that waits for a replica holds up the next. So each partition has
//!   a producer with a client of its own.

use std::time::Duration;

use anyhow::{Context, anyhow};
use async_trait::async_trait;
use connector_common::Meta;
use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::record::RecordData;
use fluvio::{
    Fluvio, FluvioError, Isolation, ProducerError, RecordKey, TopicProducerConfig,
    TopicProducerPool,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::record::{Record, RecordPosition};

/// A topic that producers can be created for.
#[async_trait]
pub trait Topic: Send + Sync + 'static {
    /// The topic's name.
    fn name(&self) -> &str;

    /// The number of its partitions.
    async fn partitions(&self) -> anyhow::Result<u32>;

    /// Creates a producer for a partition, with its own connections.
    async fn producer(&self, partition: u32) -> anyhow::Result<Box<dyn Producer>>;

    /// The partition's end offset, which its next record will get.
    async fn end(&self, partition: u32) -> anyhow::Result<i64>;
}

/// A producer. It is not used again after [`ProduceError::Broken`].
#[async_trait]
pub trait Producer: Send {
    /// The most bytes of records that may be unacknowledged.
    fn window(&self) -> usize;

    /// Sends a record. The acknowledgement is for this record alone.
    async fn send(&mut self, record: &Record) -> Result<Acknowledgement, ProduceError>;
}

/// Resolves when the topic has the record, or refuses it.
pub type Acknowledgement = BoxFuture<'static, Result<RecordPosition, ProduceError>>;

/// The reason why a record is not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// The record, or the batch that it was part of, is too large for the topic.
    #[error("it is too large for the topic: {0}")]
    TooLarge(String),
    /// The producer has failed. The topic may have the record or not.
    #[error("the producer failed")]
    Broken(#[source] anyhow::Error),
}

/// Timeout for topic metadata. The client itself would wait forever.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(15);

/// The largest window, which the partitions share. A larger one is not faster and costs memory:
/// each byte is held three times, in the message, in a batch and in a request.
pub(crate) const LARGEST_WINDOW: usize = 2 << 20;

/// A topic of the current Fluvio profile's cluster.
pub struct FluvioTopic {
    meta: Meta,
    isolation: Isolation,
    acknowledgement_timeout: Duration,
}

impl FluvioTopic {
    /// The topic that `meta` names.
    #[must_use]
    pub fn new(meta: Meta, isolation: Isolation, acknowledgement_timeout: Duration) -> Self {
        Self {
            meta,
            isolation,
            acknowledgement_timeout,
        }
    }
}

#[async_trait]
impl Topic for FluvioTopic {
    fn name(&self) -> &str {
        &self.meta.topic.name
    }

    async fn partitions(&self) -> anyhow::Result<u32> {
        let client = connector_common::connect().await?;
        let topic = &self.meta.topic.name;
        let count = connector_common::partition_count(&client, topic).await?;
        count.with_context(|| format!("the topic `{topic}` does not exist"))
    }

    async fn producer(&self, partition: u32) -> anyhow::Result<Box<dyn Producer>> {
        // The producer itself would wait for an SPU that is away, and its error has no address.
        connector_common::leader_answers(&self.meta.topic.name, partition).await?;
        let client = connector_common::connect().await?;
        let pool = connector_common::producer(
            &client,
            &self.meta,
            partition,
            self.isolation,
            self.acknowledgement_timeout,
        );
        let pool = tokio::time::timeout(TOPIC_TIMEOUT, pool)
            .await
            .with_context(|| {
                format!("timed out after {TOPIC_TIMEOUT:?} waiting for topic metadata")
            })??;
        let window = window(pool.config());
        Ok(Box::new(FluvioProducer {
            pool,
            window,
            _client: client,
        }))
    }

    async fn end(&self, partition: u32) -> anyhow::Result<i64> {
        connector_common::end_of_partition(&self.meta.topic.name, partition).await
    }
}

struct FluvioProducer {
    pool: TopicProducerPool,
    window: usize,
    _client: Fluvio,
}

#[async_trait]
impl Producer for FluvioProducer {
    fn window(&self) -> usize {
        self.window
    }

    async fn send(&mut self, record: &Record) -> Result<Acknowledgement, ProduceError> {
        let key = RecordKey::from(RecordData::from(&*record.key));
        let output = self
            .pool
            .send(key, record.value.clone())
            .await
            .map_err(produce_error)?;
        Ok(async move {
            let produced = output.wait().await.map_err(produce_error)?;
            Ok(RecordPosition {
                partition: produced.partition_id(),
                offset: produced.offset(),
            })
        }
        .boxed())
    }
}

/// The bytes that fill at most half of the client's queue of batches. Two adjacent batches hold
/// more than one batch's size, else they would be one.
fn window(config: &TopicProducerConfig) -> usize {
    let batches = (config.batch_queue_size() / 2).saturating_sub(2).max(1);
    config
        .batch_size()
        .saturating_mul(batches)
        .clamp(1, LARGEST_WINDOW)
}

fn produce_error(error: impl Into<anyhow::Error>) -> ProduceError {
    let error = error.into();
    let cause =
        error
            .downcast_ref::<ProducerError>()
            .or(match error.downcast_ref::<FluvioError>() {
                Some(FluvioError::Producer(cause)) => Some(cause),
                _ => None,
            });
    match cause {
        Some(ProducerError::RecordTooLarge(size, limit)) => ProduceError::TooLarge(format!(
            "{size} bytes in a request, at most {limit} are allowed"
        )),
        Some(ProducerError::SpuErrorCode(code @ ErrorCode::MessageTooLarge)) => {
            ProduceError::TooLarge(code.to_string())
        }
        // The client gives no other error when the connection was lost while a batch was sent.
        Some(ProducerError::GetRecordMetadata(_)) => ProduceError::Broken(anyhow!(
            "the connection was lost before the record was acknowledged"
        )),
        _ => ProduceError::Broken(error),
    }
}

#[cfg(test)]
mod tests {
    use fluvio::TopicProducerConfigBuilder;

    use super::*;

    #[test]
    fn the_window_cannot_fill_the_clients_queue_of_batches() {
        let config = TopicProducerConfigBuilder::default()
            .batch_size(16_384)
            .batch_queue_size(100)
            .build()
            .unwrap();
        // A batch is closed when the next record doesn't fit: two neighbours exceed one batch's
        // size.
        let most_batches = 2 * window(&config) / config.batch_size() + 1;
        assert!(
            most_batches < config.batch_queue_size(),
            "{most_batches} batches"
        );
        let smallest = TopicProducerConfigBuilder::default()
            .batch_size(1)
            .batch_queue_size(1)
            .build()
            .unwrap();
        assert_eq!(window(&smallest), 1);
    }

    #[test]
    fn only_a_too_large_record_is_refused_for_good() {
        let too_large = produce_error(ProducerError::RecordTooLarge(9, 8));
        assert!(matches!(too_large, ProduceError::TooLarge(_)));
        let too_large = produce_error(FluvioError::Producer(ProducerError::SpuErrorCode(
            ErrorCode::MessageTooLarge,
        )));
        assert!(matches!(too_large, ProduceError::TooLarge(_)));
        assert!(matches!(
            produce_error(ProducerError::GetRecordMetadata(None)),
            ProduceError::Broken(_)
        ));
        assert!(matches!(
            produce_error(FluvioError::TopicNotFound("t".to_owned())),
            ProduceError::Broken(_)
        ));
    }
}
