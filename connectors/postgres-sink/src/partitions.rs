//! The partitions of the topic.

use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use connector_common::Partitions;
use fluvio::metadata::topic::TopicSpec;

use crate::backoff::Backoff;

/// How many partitions the topic has, once it has those that are wanted; waits for a cluster that does not answer
/// yet, and for a topic that somebody is about to make.
///
/// # Errors
/// Neither comes in time, or the topic lacks what is wanted.
pub(crate) async fn find(topic: &str, wanted: &Partitions, until: Instant) -> anyhow::Result<u32> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
    let count = loop {
        let error = match partition_count(topic).await {
            Ok(Some(count)) => break count,
            Ok(None) => anyhow!(
                "there is no topic `{topic}`; make it with `fluvio topic create {topic}`, or correct `meta.topic`"
            ),
            Err(error) => error,
        };
        if Instant::now() >= until {
            return Err(error);
        }
        if backoff.is_news() {
            tracing::warn!("waiting for the topic: {error:#}");
        }
        tokio::time::sleep(backoff.next()).await;
    };
    if let Partitions::Some(named) = wanted
        && let Some(beyond) = named.iter().find(|number| **number >= count)
    {
        bail!(
            "`meta.consumer.partition` names {beyond}, and the topic `{topic}` has partitions 0 to {}",
            count.saturating_sub(1)
        );
    }
    Ok(count)
}

/// How many partitions the topic has; `None` where there is no such topic.
///
/// # Errors
/// The cluster's own.
pub(crate) async fn partition_count(topic: &str) -> anyhow::Result<Option<u32>> {
    let client = connector_common::connect().await?;
    let topics = client
        .admin()
        .await
        .list::<TopicSpec, _>(vec![topic.to_owned()])
        .await?;
    Ok(topics
        .into_iter()
        .find(|found| found.name == topic)
        .map(|found| found.spec.partitions()))
}
