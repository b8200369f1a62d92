//! How many records a topic holds: the sum of its partitions' high watermarks, asked of the leaders.
//!
//! The cluster's administration tells them too, but on a real one some hundred milliseconds late,
//! and a topic that seems empty looks like one that is read to its end. Whole batches, whose heads
//! are what tells it, are to be had from the client's deprecated stream only.

use std::path::Path;

use anyhow::{Context, anyhow};
use fluvio::config::ConfigFile;
use fluvio::consumer::{ConsumerConfig, PartitionConsumer};
use fluvio::metadata::topic::TopicSpec;
use fluvio::{Fluvio, Offset};
use futures_util::{StreamExt, TryStreamExt, stream};

/// Only the batch's head is looked at; the rest may be cut off.
const MAX_BYTES: i32 = 64 << 10;

/// Asks for the end of one topic.
pub struct TopicEnd {
    partitions: Vec<PartitionConsumer>,
    // A client that is dropped closes its connections.
    _client: Fluvio,
}

impl TopicEnd {
    /// Connects to the cluster that the profile file at `profile` names, or that of the current
    /// profile.
    ///
    /// # Errors
    /// No cluster there, or no such topic.
    #[allow(deprecated)]
    pub async fn connect(profile: Option<&Path>, topic: &str) -> anyhow::Result<Self> {
        let file = ConfigFile::load(profile.map(|path| path.display().to_string()))
            .context("no current Fluvio profile")?;
        let cluster = file.config().current_cluster()?;
        let client = Fluvio::connect_with_config(cluster)
            .await
            .with_context(|| format!("no Fluvio cluster at {}", cluster.endpoint))?;
        let admin = client.admin().await;
        let topics = admin.list::<TopicSpec, _>(vec![topic.to_owned()]).await?;
        let found = topics
            .iter()
            .find(|found| found.name == topic)
            .ok_or_else(|| anyhow!("there is no topic `{topic}`"))?;
        let partitions = stream::iter(0..found.spec.partitions())
            .then(|partition| client.partition_consumer(topic, partition))
            .try_collect()
            .await?;
        Ok(Self {
            partitions,
            _client: client,
        })
    }

    /// The number of records in the topic.
    ///
    /// # Errors
    /// The cluster's own.
    pub async fn read(&self) -> anyhow::Result<i64> {
        stream::iter(&self.partitions)
            .then(high_watermark)
            .try_fold(0, |sum, next| async move { Ok(sum + next) })
            .await
    }
}

/// The offset behind the last record.
#[allow(deprecated)]
async fn high_watermark(partition: &PartitionConsumer) -> anyhow::Result<i64> {
    let config = ConsumerConfig::builder()
        .max_bytes(MAX_BYTES)
        .disable_continuous(true)
        .build()?;
    let batches = partition
        .stream_batches_with_config(Offset::from_end(1), config)
        .await?;
    let last = std::pin::pin!(batches).next().await;
    match last {
        Some(Ok(batch)) => Ok(batch.get_last_offset() + 1),
        Some(Err(code)) => Err(anyhow!("{code}")),
        None => Ok(0),
    }
}
