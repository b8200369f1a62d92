//! Clients of the Fluvio cluster, built from the configuration.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use fluvio::consumer::ConsumerConfig;
use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{
    Fluvio, FluvioAdmin, FluvioClusterConfig, Offset, TopicProducerConfigBuilder, TopicProducerPool,
};
use futures_util::StreamExt;

use crate::config::Meta;
use crate::keys::ByGroup;

/// How long the cluster may take to answer a first request. The client itself waits without end.
const FIRST_ANSWER: Duration = Duration::from_secs(15);

/// The largest request to produce: an SQS message has up to 1 MiB of body, and the client counts
/// the record's frame and key as well.
const MAX_REQUEST_BYTES: usize = 4 << 20;

/// Enough for a batch's head; the rest may be cut off.
const HEAD_BYTES: i32 = 64 << 10;

/// Connects to the cluster of the current Fluvio profile.
///
/// # Errors
/// No profile, or no cluster at its address.
pub async fn connect() -> anyhow::Result<Fluvio> {
    let cluster = current_cluster()?;
    bounded(&cluster, Fluvio::connect_with_config(&cluster)).await
}

/// Makes sure that a topic exists, as `spec` where it has to be created, and returns the number of
/// its partitions.
///
/// # Errors
/// The cluster can't be reached or refuses to create the topic.
pub async fn ensure_topic(name: &str, spec: &TopicSpec) -> anyhow::Result<u32> {
    let cluster = current_cluster()?;
    let admin = bounded(&cluster, FluvioAdmin::connect_with_config(&cluster)).await?;
    if let Some(partitions) = bounded(&cluster, partitions_of(&admin, name)).await? {
        return Ok(partitions);
    }
    let created = bounded(&cluster, admin.create(name.to_owned(), false, spec.clone())).await;
    // Two connectors that start together both find it missing; one of them creates it.
    let partitions = bounded(&cluster, partitions_of(&admin, name)).await?;
    match (created, partitions) {
        (_, Some(partitions)) => Ok(partitions),
        (Err(error), None) => Err(error.context(format!("cannot create the topic `{name}`"))),
        (Ok(()), None) => Err(anyhow!("the topic `{name}` was created and is not there")),
    }
}

/// The offset that the partition's next record will get, asked of its leader.
///
/// # Errors
/// The cluster can't be reached, or has no such partition.
pub async fn end_of_partition(topic: &str, partition: u32) -> anyhow::Result<i64> {
    let cluster = current_cluster()?;
    let end = async {
        let client = Fluvio::connect_with_config(&cluster).await?;
        end_with(&client, topic, partition).await
    };
    bounded(&cluster, end).await
}

/// The same through a client that is there already, for as long as the cluster takes.
///
/// # Errors
/// The cluster's own, or it has no such partition.
pub async fn end_with(client: &Fluvio, topic: &str, partition: u32) -> anyhow::Result<i64> {
    if let Some(end) = end_of_last_batch(client, topic, partition).await? {
        return Ok(end);
    }
    // Nothing came: the partition is empty, or was when it was asked.
    let known = known_end(client, topic, partition).await?;
    if known == 0 {
        return Ok(0);
    }
    let end = end_of_last_batch(client, topic, partition).await?;
    end.with_context(|| {
        format!(
            "the leader of `{topic}-{partition}` did not tell its end; the cluster has it at {known}"
        )
    })
}

/// `None` where the partition holds no batch.
// Whole batches, whose heads are what tells it, are to be had from the deprecated stream only.
#[allow(deprecated)]
async fn end_of_last_batch(
    client: &Fluvio,
    topic: &str,
    partition: u32,
) -> anyhow::Result<Option<i64>> {
    let config = ConsumerConfig::builder()
        .max_bytes(HEAD_BYTES)
        .disable_continuous(true)
        .build()?;
    let consumer = client.partition_consumer(topic, partition).await?;
    let batches = consumer
        .stream_batches_with_config(Offset::from_end(1), config)
        .await?;
    match std::pin::pin!(batches).next().await {
        Some(Ok(batch)) => Ok(Some(batch.get_last_offset() + 1)),
        Some(Err(code)) => Err(anyhow!("partition {partition} of `{topic}`: {code}")),
        None => Ok(None),
    }
}

/// The end as the cluster has it, which lags behind the leader's.
async fn known_end(client: &Fluvio, topic: &str, partition: u32) -> anyhow::Result<i64> {
    let name = format!("{topic}-{partition}");
    let partitions = client.admin().await.all::<PartitionSpec>().await?;
    let found = partitions.iter().find(|found| found.name == name);
    let end = found.map(|found| found.status.leader.leo);
    end.with_context(|| format!("the cluster has no partition `{name}`"))
}

/// A producer for the topic of `meta`, with what `meta.producer` says. Records of a group go to one partition: [`ByGroup`].
///
/// # Errors
/// The topic does not exist, or its compression and the producer's exclude each other.
pub async fn producer(fluvio: &Fluvio, meta: &Meta) -> anyhow::Result<TopicProducerPool> {
    let mut config = TopicProducerConfigBuilder::default();
    config.max_request_size(MAX_REQUEST_BYTES);
    config.partitioner(Arc::new(ByGroup));
    if let Some(linger) = meta.producer.linger {
        config.linger(linger);
    }
    if let Some(size) = meta.producer.batch_size {
        config.batch_size(usize::try_from(size.as_u64()).unwrap_or(MAX_REQUEST_BYTES));
    }
    if let Some(compression) = meta.producer.compression {
        config.compression(compression);
    }
    fluvio
        .topic_producer_with_config(&meta.topic.name, config.build()?)
        .await
        .with_context(|| format!("cannot produce to the topic `{}`", meta.topic.name))
}

fn current_cluster() -> anyhow::Result<FluvioClusterConfig> {
    FluvioClusterConfig::load()
        .context("no current Fluvio profile; make one with `fluvio profile add NAME HOST:PORT`, or name a file with FLV_PROFILE_PATH")
}

async fn partitions_of(admin: &FluvioAdmin, topic: &str) -> anyhow::Result<Option<u32>> {
    let topics = admin.list::<TopicSpec, _>(vec![topic.to_owned()]).await?;
    let found = topics.into_iter().find(|found| found.name == topic);
    Ok(found.map(|found| found.spec.partitions()))
}

async fn bounded<T>(
    cluster: &FluvioClusterConfig,
    request: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    match tokio::time::timeout(FIRST_ANSWER, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.context(format!(
            "the Fluvio cluster at {} (from the current profile) gave an error",
            cluster.endpoint
        ))),
        Err(_) => Err(anyhow!(
            "no answer from the Fluvio cluster at {} (from the current profile) in {FIRST_ANSWER:?}; is it running?",
            cluster.endpoint
        )),
    }
}
