//! The topic as Fluvio has it, through the `fluvio` client.
//!
//! Three things about that client (0.50.1, `src/producer/`) shape this:
//!
//! - When its queue of batches is full, `send` spins without ever yielding (`wait_for_space`). So the
//!   [`window`] keeps the unacknowledged bytes below what can fill it.
//! - It packs all waiting batches into one request, whatever `max_request_size` says; the window
//!   bounds that as well.
//! - A lost connection is retried inside, with pauses of up to minutes, and its metadata does not
//!   recover at all when the cluster's controller was away. So a producer in doubt is thrown away
//!   with its client, and both are made anew.

use std::time::Duration;

use anyhow::{Context, anyhow};
use async_trait::async_trait;
use connector_common::Meta;
use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::record::RecordData;
use fluvio::{
    Fluvio, FluvioError, ProducerError, RecordKey, TopicProducerConfig, TopicProducerPool,
};
use futures_util::FutureExt;

use crate::custody::Message;
use crate::topic::{Acknowledgement, NotProduced, Place, Producer, Topic};

/// How long a producer may take to find its topic. The client would wait for ever.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(15);

/// More than this in one window gains no speed and only costs memory: each byte of it is there three times, in the
/// message, in a batch and in a request.
const LARGEST_WINDOW: usize = 2 << 20;

/// A topic of the current Fluvio profile's cluster.
pub struct FluvioTopic {
    meta: Meta,
}

impl FluvioTopic {
    /// The topic that `meta` names.
    #[must_use]
    pub fn new(meta: Meta) -> Self {
        Self { meta }
    }
}

#[async_trait]
impl Topic for FluvioTopic {
    fn name(&self) -> &str {
        &self.meta.topic.name
    }

    async fn producer(&self) -> anyhow::Result<Box<dyn Producer>> {
        let client = connector_common::connect().await?;
        let pool = tokio::time::timeout(
            TOPIC_TIMEOUT,
            connector_common::producer(&client, &self.meta),
        )
        .await
        .with_context(|| {
            format!("the cluster did not tell about the topic within {TOPIC_TIMEOUT:?}")
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

    async fn send(&mut self, message: &Message) -> Result<Acknowledgement, NotProduced> {
        let key = RecordKey::from(RecordData::from(&*message.key));
        let output = self
            .pool
            .send(key, message.body.clone())
            .await
            .map_err(not_produced)?;
        Ok(async move {
            let record = output.wait().await.map_err(not_produced)?;
            Ok(Place {
                partition: record.partition_id(),
                offset: record.offset(),
            })
        }
        .boxed())
    }
}

/// Each two neighbouring batches hold more than one batch's size, else they would be one. So this
/// many bytes leave the queue of batches half empty, even if all go to one partition.
fn window(config: &TopicProducerConfig) -> usize {
    let batches = (config.batch_queue_size() / 2).saturating_sub(2).max(1);
    config
        .batch_size()
        .saturating_mul(batches)
        .clamp(1, LARGEST_WINDOW)
}

fn not_produced(error: impl Into<anyhow::Error>) -> NotProduced {
    let error = error.into();
    let cause =
        error
            .downcast_ref::<ProducerError>()
            .or(match error.downcast_ref::<FluvioError>() {
                Some(FluvioError::Producer(cause)) => Some(cause),
                _ => None,
            });
    match cause {
        Some(ProducerError::RecordTooLarge(size, limit)) => NotProduced::TooLarge(format!(
            "{size} bytes in a request, of which at most {limit} are allowed"
        )),
        Some(ProducerError::SpuErrorCode(code @ ErrorCode::MessageTooLarge)) => {
            NotProduced::TooLarge(code.to_string())
        }
        // The client says no more than this when the connection was lost with the batch on it.
        Some(ProducerError::GetRecordMetadata(_)) => NotProduced::Broken(anyhow!(
            "the connection was lost before the record was acknowledged"
        )),
        _ => NotProduced::Broken(error),
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
        // A batch is closed when the next record doesn't fit: two neighbours exceed one batch's size.
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
    fn only_what_is_too_large_is_blamed_on_the_record() {
        let too_large = not_produced(ProducerError::RecordTooLarge(9, 8));
        assert!(matches!(too_large, NotProduced::TooLarge(_)));
        let too_large = not_produced(FluvioError::Producer(ProducerError::SpuErrorCode(
            ErrorCode::MessageTooLarge,
        )));
        assert!(matches!(too_large, NotProduced::TooLarge(_)));
        assert!(matches!(
            not_produced(ProducerError::GetRecordMetadata(None)),
            NotProduced::Broken(_)
        ));
        assert!(matches!(
            not_produced(FluvioError::TopicNotFound("t".to_owned())),
            NotProduced::Broken(_)
        ));
    }
}
