//! Clients of the Fluvio cluster, built from the configuration.

use std::time::Duration;

use anyhow::{Context, anyhow};
use fluvio::config::TlsPolicy;
use fluvio::consumer::ConsumerConfig;
use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::record::Batch;
use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::spu::SpuSpec;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{
    DeliverySemantic, Fluvio, FluvioAdmin, FluvioClusterConfig, Isolation, Offset, RetryPolicy,
    TopicProducerConfig, TopicProducerConfigBuilder, TopicProducerPool,
};
use fluvio_sc_schema::ApiError;
use futures_util::StreamExt;

use crate::committed::{self, FewReplicas, notifications_spec, notifications_topic};
use crate::connection::PromptTcp;
use crate::error::Error;
use crate::meta::Meta;

/// Timeout of a request to the cluster. The client itself would wait forever.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Timeout for the look-up of a leader's address. The controller answered a moment ago.
const LEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest produce request: an SQS message has a body of up to 1 MiB, and the client also
/// counts the record's frame and key.
pub const MAX_REQUEST_BYTES: usize = 4 << 20;

/// Enough for a batch's header, or for the cluster's id; the rest may be cut off.
const HEADER_BYTES: i32 = 64 << 10;

/// Connects to the cluster of the current Fluvio profile.
///
/// # Errors
/// The profile is missing, or no cluster answers at its address.
pub async fn connect() -> anyhow::Result<Fluvio> {
    let cluster = current_cluster()?;
    let connected = async {
        match cluster.tls {
            TlsPolicy::Disabled => {
                Fluvio::connect_with_connector(Box::new(PromptTcp), &cluster).await
            }
            // The client's TLS opens sockets of its own.
            _ => Fluvio::connect_with_config(&cluster).await,
        }
    };
    bounded(&cluster, connected).await
}

/// Creates a topic as `spec` unless it exists. Returns the number of its partitions.
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
        (created, Some(partitions)) => {
            if created.is_ok() {
                tracing::info!(
                    topic = name,
                    partitions,
                    "created the topic, which did not exist"
                );
            }
            Ok(partitions)
        }
        (Err(error), None) => Err(error.context(format!("cannot create the topic `{name}`"))),
        (Ok(()), None) => Err(anyhow!("the topic `{name}` was created but does not exist")),
    }
}

/// The number of a topic's partitions; `None` if the topic does not exist.
///
/// # Errors
/// The cluster does not answer or returns an error.
pub async fn partition_count(client: &Fluvio, topic: &str) -> anyhow::Result<Option<u32>> {
    let cluster = current_cluster()?;
    let count = async { partitions_of(&client.admin().await, topic).await };
    bounded(&cluster, count).await
}

async fn partitions_of(admin: &FluvioAdmin, topic: &str) -> anyhow::Result<Option<u32>> {
    Ok(spec_of(admin, topic).await?.map(|spec| spec.partitions()))
}

async fn spec_of(admin: &FluvioAdmin, topic: &str) -> anyhow::Result<Option<TopicSpec>> {
    let topics = admin.list::<TopicSpec, _>(vec![topic.to_owned()]).await?;
    let found = topics.into_iter().find(|found| found.name == topic);
    Ok(found.map(|found| found.spec))
}

/// Creates the topic of the commit notifications for `topic` unless it exists: with as many
/// replicas as `topic` has, or as the cluster has SPUs. Returns the reason if those are too few.
///
/// # Errors
/// The cluster can't be reached, has no topic `topic`, or refuses to create the other.
pub async fn ensure_notifications(topic: &str) -> anyhow::Result<Option<FewReplicas>> {
    let name = notifications_topic(topic);
    let (records, notifications) = ensure_replicated_like(topic, &name, notifications_spec).await?;
    Ok(FewReplicas::find(topic, &records, &notifications))
}

/// Creates the topic `name` unless it exists: with as many replicas as `topic` has, or as the
/// cluster has SPUs. Returns the settings of both.
///
/// # Errors
/// The cluster can't be reached, has no topic `topic`, or refuses to create the other.
pub(crate) async fn ensure_replicated_like(
    topic: &str,
    name: &str,
    spec: fn(u32) -> TopicSpec,
) -> anyhow::Result<(TopicSpec, TopicSpec)> {
    let cluster = current_cluster()?;
    let admin = bounded(&cluster, FluvioAdmin::connect_with_config(&cluster)).await?;
    let state = async {
        let records = spec_of(&admin, topic).await?;
        let records = records.with_context(|| format!("the topic `{topic}` does not exist"))?;
        let spus = admin.all::<SpuSpec>().await?.len();
        anyhow::Ok((records, spec_of(&admin, name).await?, spus))
    };
    let (records, found, spus) = bounded(&cluster, state).await?;
    if let Some(found) = found {
        return Ok((records, found));
    }
    let most = u32::try_from(spus).unwrap_or(u32::MAX).max(1);
    let created = spec(committed::replicas(&records).min(most));
    ensure_topic(name, &created).await?;
    Ok((records, created))
}

/// The end offset of a partition, which the next record will get, from its leader.
///
/// # Errors
/// The cluster can't be reached, or has no such partition.
pub async fn end_of_partition(topic: &str, partition: u32) -> anyhow::Result<i64> {
    let client = connect().await?;
    let end = end_with(&client, topic, partition);
    of_leader(&client, topic, partition, end).await
}

/// Limits the time of a request to a partition's leader.
///
/// # Errors
/// The request's own; or the leader does not answer, with its address: the cluster's controller,
/// whose address the profile has, did.
pub async fn of_leader<T>(
    client: &Fluvio,
    topic: &str,
    partition: u32,
    request: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    if let Ok(answer) = tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        return answer;
    }
    let leader = tokio::time::timeout(LEADER_TIMEOUT, leader(client, topic, partition)).await;
    let leader = leader.ok().and_then(Result::ok).unwrap_or_default();
    Err(anyhow!(
        "no answer from the SPU{leader} that leads `{topic}-{partition}` within {REQUEST_TIMEOUT:?}"
    ))
}

/// The id and address of a partition's leader, for errors.
async fn leader(client: &Fluvio, topic: &str, partition: u32) -> anyhow::Result<String> {
    let name = format!("{topic}-{partition}");
    let admin = client.admin().await;
    let partitions = admin.all::<PartitionSpec>().await?;
    let found = partitions.iter().find(|found| found.name == name);
    let leader = found.context("no such partition")?.spec.leader;
    let spus = admin.all::<SpuSpec>().await?;
    let spu = spus.iter().find(|spu| spu.spec.id == leader);
    let address = spu.context("no such SPU")?.spec.public_endpoint.addr();
    Ok(format!(" {leader} at {address}"))
}

/// The same through an open client and without a timeout.
///
/// # Errors
/// The cluster's own, or it has no such partition.
pub async fn end_with(client: &Fluvio, topic: &str, partition: u32) -> anyhow::Result<i64> {
    if let Some(end) = end_of_last_batch(client, topic, partition).await? {
        return Ok(end);
    }
    // The partition is empty, or was until a moment ago.
    let known = known_end(client, topic, partition).await?;
    if known == 0 {
        return Ok(0);
    }
    let end = end_of_last_batch(client, topic, partition).await?;
    end.with_context(|| {
        format!(
            "the leader of `{topic}-{partition}` did not return its end offset; by the cluster's \
             metadata it is {known}"
        )
    })
}

/// The end offset by the partition's last batch; `None` if the partition has no batch.
async fn end_of_last_batch(
    client: &Fluvio,
    topic: &str,
    partition: u32,
) -> anyhow::Result<Option<i64>> {
    let last = first_batch(client, topic, partition, Offset::from_end(1)).await?;
    Ok(last.map(|batch| batch.get_last_offset() + 1))
}

/// The first batch from an offset on; `None` if the partition ends there.
// Only the deprecated stream ends at the end of the partition, and returns whole batches, whose
// headers hold the offsets.
#[allow(deprecated)]
pub(crate) async fn first_batch(
    client: &Fluvio,
    topic: &str,
    partition: u32,
    from: Offset,
) -> anyhow::Result<Option<Batch>> {
    let config = ConsumerConfig::builder()
        .max_bytes(HEADER_BYTES)
        .disable_continuous(true)
        .build()?;
    let consumer = client.partition_consumer(topic, partition).await?;
    let batches = consumer.stream_batches_with_config(from, config).await?;
    match std::pin::pin!(batches).next().await {
        Some(Ok(batch)) => Ok(Some(batch)),
        Some(Err(code)) => Err(anyhow!("partition {partition} of `{topic}`: {code}")),
        None => Ok(None),
    }
}

/// The end offset by the cluster's metadata, which lags behind the leader.
async fn known_end(client: &Fluvio, topic: &str, partition: u32) -> anyhow::Result<i64> {
    let name = format!("{topic}-{partition}");
    let partitions = client.admin().await.all::<PartitionSpec>().await?;
    let found = partitions.iter().find(|found| found.name == name);
    let end = found.map(|found| found.status.leader.leo);
    end.with_context(|| format!("the cluster has no partition `{name}`"))
}

/// Checks that the leader of a partition answers, on a connection of its own.
///
/// # Errors
/// It can't be reached; if it is silent, the error has its address.
// Opening the deprecated stream requests the partition's offsets from the leader.
#[allow(deprecated)]
pub async fn leader_answers(topic: &str, partition: u32) -> anyhow::Result<()> {
    let client = connect().await?;
    let opening = async {
        let config = ConsumerConfig::builder()
            .max_bytes(HEADER_BYTES)
            .disable_continuous(true)
            .build()?;
        let consumer = client.partition_consumer(topic, partition).await?;
        let opened = consumer.stream_batches_with_config(Offset::from_end(0), config);
        opened.await.map(drop)
    };
    of_leader(&client, topic, partition, opening)
        .await
        .with_context(|| format!("cannot reach the leader of `{topic}-{partition}`"))
}

/// A producer for a partition of the topic of `meta`, with the settings of `meta.producer`.
///
/// With [`Isolation::ReadCommitted`] a record is acknowledged when all replicas have it. If that
/// takes longer than `timeout`, the topic answers with an error and keeps the record.
///
/// # Errors
/// The topic does not exist, or its compression and the producer's exclude each other.
pub async fn producer(
    fluvio: &Fluvio,
    meta: &Meta,
    partition: u32,
    isolation: Isolation,
    timeout: Duration,
) -> anyhow::Result<TopicProducerPool> {
    let config = producer_config(meta, partition, isolation, timeout)?;
    fluvio
        .topic_producer_with_config(&meta.topic.name, config)
        .await
        .with_context(|| format!("cannot produce to the topic `{}`", meta.topic.name))
}

fn producer_config(
    meta: &Meta,
    partition: u32,
    isolation: Isolation,
    timeout: Duration,
) -> anyhow::Result<TopicProducerConfig> {
    let mut config = TopicProducerConfigBuilder::default();
    config.max_request_size(MAX_REQUEST_BYTES);
    config.set_specific_partitioner(partition);
    config.isolation(isolation);
    config.timeout(timeout);
    config.delivery_semantic(no_retries());
    if let Some(linger) = meta.producer.linger {
        config.linger(linger);
    }
    if let Some(size) = meta.producer.batch_size {
        config.batch_size(usize::try_from(size.as_u64()).unwrap_or(MAX_REQUEST_BYTES));
    }
    if let Some(compression) = meta.producer.compression {
        config.compression(compression);
    }
    Ok(config.build()?)
}

/// Waits for acknowledgements, and lets the first error be one.
///
/// The client's retries, the default, use the connection that failed: if its other end is gone, the
/// second attempt is written into it and answered never, and the new leader gets no record until
/// somebody's timeout. `AtMostOnce` does not retry either, but takes the topic's errors for
/// acknowledgements.
#[must_use]
pub fn no_retries() -> DeliverySemantic {
    DeliverySemantic::AtLeastOnce(RetryPolicy {
        max_retries: 0,
        ..RetryPolicy::default()
    })
}

/// True unless an operator has to mend the cause of an error of this module: no profile, a denied
/// request or a topic that the cluster refuses to create.
#[must_use]
pub fn is_transient(error: &anyhow::Error) -> bool {
    let is_refused = match error.downcast_ref::<ApiError>() {
        Some(ApiError::Code(code, _)) => matches!(
            code,
            ErrorCode::PermissionDenied
                | ErrorCode::InvalidCreateRequest
                | ErrorCode::TopicInvalidConfiguration
                | ErrorCode::TopicInvalidName
                | ErrorCode::TopicInvalidReplicaType
        ),
        _ => false,
    };
    !is_refused && !error.is::<Error>()
}

fn current_cluster() -> Result<FluvioClusterConfig, Error> {
    FluvioClusterConfig::load().map_err(|source| Error::Profile(Box::new(source)))
}

async fn bounded<T>(
    cluster: &FluvioClusterConfig,
    request: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.context(format!(
            "the Fluvio cluster at {} (from the current profile) returned an error",
            cluster.endpoint
        ))),
        Err(_) => Err(anyhow!(
            "no answer from the Fluvio cluster at {} (from the current profile) within \
             {REQUEST_TIMEOUT:?}; is it running?",
            cluster.endpoint
        )),
    }
}

#[cfg(test)]
mod tests {
    use fluvio::FluvioError;

    use super::*;
    use crate::meta::{Consumer, Producer, Topic};

    #[test]
    fn the_producer_waits_for_the_replicas_as_long_as_for_its_acknowledgement() {
        let meta = Meta {
            name: "source".to_owned(),
            type_: "sqs-source".to_owned(),
            version: "0.1.0".to_owned(),
            topic: Topic {
                name: "events".to_owned(),
                spec: TopicSpec::new_computed(1, 2, None),
            },
            consumer: Consumer::default(),
            producer: Producer::default(),
        };
        let timeout = Duration::from_secs(30);
        let config = producer_config(&meta, 0, Isolation::ReadCommitted, timeout).unwrap();
        assert_eq!(config.isolation(), Isolation::ReadCommitted);
        assert_eq!(config.timeout(), timeout);
        // It retries on the connection that failed.
        let DeliverySemantic::AtLeastOnce(retries) = config.delivery_semantic() else {
            panic!("the topic's errors are lost");
        };
        assert_eq!(retries.max_retries, 0);
    }

    #[test]
    fn only_errors_that_an_operator_has_to_mend_are_permanent() {
        let of = |code| anyhow::Error::from(ApiError::Code(code, None)).context("cannot create");
        assert!(!is_transient(&of(ErrorCode::PermissionDenied)));
        assert!(!is_transient(&of(ErrorCode::TopicInvalidName)));
        assert!(is_transient(&of(ErrorCode::SpuOffline)));
        let cut = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "connection is closed");
        let cut = FluvioError::Socket(cut.into());
        assert!(is_transient(&anyhow::Error::from(cut).context("at host")));
        let missing = FluvioError::Other("no profile".to_owned());
        let missing = anyhow::Error::from(Error::Profile(Box::new(missing)));
        assert!(!is_transient(&missing.context("cannot start")));
    }
}
