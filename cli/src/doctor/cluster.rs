//! The Fluvio cluster and the topic.

use connector_common::Partitions;
use connector_common::committed::announcements_of;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{Fluvio, FluvioClusterConfig};
use postgres_sink::sink::DEFAULT_MAX_BYTES;
use sqs_source::config::DeleteAfter;

use super::deployment::Deployment;
use super::report::Report;
use crate::topic::Topic;
use crate::units::period;

const CLUSTER: &str = "cluster";
const TOPIC: &str = "topic";
/// The release of the platform that this build was tested with, and the client that goes with it.
const PLATFORM: &str = "0.18.1";
const CLIENT: &str = "0.50.1";
/// What the client has as its `batch-size` unless the source's file says otherwise.
const DEFAULT_BATCH: u64 = 16_384;
/// The facts of a batch of small events, in JSON, are so many times its size at most, as far as was seen.
const GROWTH: u64 = 8;

/// The topic, with what was asked of it.
pub struct Found {
    /// A client of its cluster.
    pub client: Fluvio,
    /// The topic.
    pub topic: Topic,
    /// Where each partition begins and ends.
    pub ranges: Vec<(i64, i64)>,
    /// How long records are kept, in seconds.
    pub retention: u32,
}

/// Checks what there is; nothing comes back where there is no topic to ask further about.
pub async fn check(report: &mut Report, deployment: &Deployment) -> Option<Found> {
    let client = connect(report).await?;
    batches(report, deployment);
    let topics = client.admin().await.all::<TopicSpec>().await;
    let topics = match topics {
        Ok(topics) => topics,
        Err(error) => {
            let mend = "look at the logs of the cluster's controller (SC)";
            report.fail(
                TOPIC,
                "exists",
                format!("the cluster does not list its topics: {error:#}"),
                mend,
            );
            return None;
        }
    };
    let spec = |name: &str| {
        let mut all = topics.iter();
        all.find(|found| found.name == name)
            .map(|found| &found.spec)
    };
    let name = &deployment.topic;
    let Some(found) = spec(name) else {
        report.fail(
            TOPIC,
            "exists",
            format!("the cluster has no topic `{name}`"),
            "fluvio topic create --config deploy/cluster/topic.yaml, or correct `meta.topic`",
        );
        return None;
    };
    let (partitions, retention) = (found.partitions(), found.retention_secs());
    report.ok(
        TOPIC,
        "exists",
        format!(
            "`{name}` has {partitions} partition(s) and keeps records for {}",
            period(retention)
        ),
    );
    replication(report, deployment, found);
    named(report, deployment, partitions);
    if deployment.delete_after() == Some(DeleteAfter::Tables) {
        let announcements = announcements_of(name);
        if spec(&announcements).is_some() {
            report.ok(
                TOPIC,
                "announcements",
                format!("`{announcements}` is there"),
            );
        } else {
            report.warn(
                TOPIC,
                "announcements",
                format!("there is no topic `{announcements}`, on which the sink tells the source what to delete"),
                "start the sink: it makes it; no message is deleted until then",
            );
        }
    }
    let topic = Topic::connect(name).await.ok()?;
    let ranges = readable(report, &topic).await?;
    Some(Found {
        client,
        topic,
        ranges,
        retention,
    })
}

async fn connect(report: &mut Report) -> Option<Fluvio> {
    match FluvioClusterConfig::load() {
        Ok(cluster) => report.ok(
            CLUSTER,
            "profile",
            format!("names the cluster at {}", cluster.endpoint),
        ),
        Err(error) => {
            report.fail(
                CLUSTER,
                "profile",
                format!("there is no current Fluvio profile: {error:#}"),
                "fluvio profile add NAME HOST:PORT, or name a file with FLV_PROFILE_PATH",
            );
            return None;
        }
    }
    match connector_common::connect().await {
        Ok(client) => {
            let found = client.platform_version().to_string();
            match version(&found) {
                Ok(words) => report.ok(CLUSTER, "version", words),
                Err((words, mend)) => report.warn(CLUSTER, "version", words, mend),
            }
            Some(client)
        }
        Err(error) => {
            let mend = "start the cluster, or correct the profile (fluvio profile list)";
            report.fail(CLUSTER, "connection", format!("{error:#}"), mend);
            None
        }
    }
}

/// What to say of a cluster of this release; as an error with what mends it.
fn version(found: &str) -> Result<String, (String, String)> {
    if found == PLATFORM {
        return Ok(format!("platform {found}, client {CLIENT}"));
    }
    Err((
        format!(
            "the cluster is of release {found}; the client in this build, {CLIENT}, goes with {PLATFORM}, and nothing else was tested"
        ),
        format!(
            "run Fluvio {PLATFORM} (fvm install {PLATFORM}), or rehearse with `etl demo` and the end-to-end tests on this one"
        ),
    ))
}

fn replication(report: &mut Report, deployment: &Deployment, topic: &TopicSpec) {
    let copies = topic.replication_factor().unwrap_or(1);
    match (copies, deployment.delete_after()) {
        (..=1, Some(DeleteAfter::Topic)) => report.warn(
            TOPIC,
            "replication",
            "there is one copy of each record, and the source deletes a message as soon as the topic has it: \
             a disk or a power supply that fails takes events with it",
            "delete-after: tables in the source's file, or a topic with `replication: 3`",
        ),
        (..=1, Some(DeleteAfter::Tables)) => report.ok(
            TOPIC,
            "replication",
            "one copy of each record; messages are kept until their facts are committed",
        ),
        (..=1, Some(DeleteAfter::Never)) => report.ok(
            TOPIC,
            "replication",
            "one copy of each record; messages stay in the queue, and are produced again when the source is restarted",
        ),
        (..=1, None) => report.ok(
            TOPIC,
            "replication",
            "one copy of each record, which is enough with `delete-after: tables` (--source-config tells)",
        ),
        (copies, _) => report.ok(TOPIC, "replication", format!("{copies} copies of each record")),
    }
}

/// Whether the partitions that the sink's file names are those that the topic has.
fn named(report: &mut Report, deployment: &Deployment, partitions: u32) {
    let Partitions::Some(named) = deployment.partitions() else {
        return;
    };
    if let Some(beyond) = named.iter().find(|number| **number >= partitions) {
        report.fail(
            TOPIC,
            "partitions",
            format!(
                "the sink's file names partition {beyond}, and the topic has 0 to {}",
                partitions.saturating_sub(1)
            ),
            "correct `meta.consumer.partition`, or fluvio topic add-partition",
        );
        return;
    }
    let others: Vec<String> = (0..partitions)
        .filter(|number| !named.contains(number))
        .map(|number| number.to_string())
        .collect();
    if others.is_empty() {
        report.ok(TOPIC, "partitions", "the sink's file names all of them");
    } else {
        report.warn(
            TOPIC,
            "partitions",
            format!("the sink's file leaves out {}", others.join(", ")),
            "see that another sink of the same name has them, or write `partition: all` and `share-partitions: true`",
        );
    }
}

async fn readable(report: &mut Report, topic: &Topic) -> Option<Vec<(i64, i64)>> {
    let mut ranges = Vec::new();
    for partition in topic.partitions() {
        let range = async {
            Ok::<_, anyhow::Error>((topic.start(partition).await?, topic.end(partition).await?))
        };
        match range.await {
            Ok(range) => ranges.push(range),
            Err(error) => {
                let mend = "look at its leader: fluvio partition list, fluvio cluster spu list";
                report.fail(
                    TOPIC,
                    "readable",
                    format!("partition {partition}: {error:#}"),
                    mend,
                );
                return None;
            }
        }
    }
    let records: i64 = ranges.iter().map(|(start, end)| end - start).sum();
    report.ok(TOPIC, "readable", format!("it holds {records} records"));
    Some(ranges)
}

/// Whether the facts of a batch fit into a response.
fn batches(report: &mut Report, deployment: &Deployment) {
    let (Some(source), Some(sink)) = (&deployment.source, &deployment.sink) else {
        return;
    };
    let batch = source
        .meta
        .producer
        .batch_size
        .map_or(DEFAULT_BATCH, |size| size.as_u64());
    let response = sink
        .meta
        .consumer
        .max_bytes
        .map_or(DEFAULT_MAX_BYTES.unsigned_abs().into(), |size| {
            size.as_u64()
        });
    let found = format!(
        "the source's batches have up to {batch} bytes, and the sink asks for responses of {response}"
    );
    if response >= batch.saturating_mul(GROWTH) {
        report.ok(TOPIC, "max-bytes", found);
    } else {
        report.warn(
            TOPIC,
            "max-bytes",
            format!("{found}; the facts of a batch can be several times its size, and each that does not fit costs a pause of seconds"),
            format!(
                "set the sink's `meta.consumer.max-bytes` to {} or more, or the source's `batch-size` lower",
                batch.saturating_mul(GROWTH)
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_release_is_told_with_what_differs() {
        assert_eq!(version("0.18.1").unwrap(), "platform 0.18.1, client 0.50.1");
        let (words, mend) = version("0.17.3").unwrap_err();
        assert!(words.contains("0.17.3") && words.contains("0.50.1") && mend.contains("0.18.1"));
    }
}
