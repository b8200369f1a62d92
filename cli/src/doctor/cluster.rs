//! The Fluvio cluster: its version, the topic, and the SmartModules of the sink.

use std::path::Path;

use chrono::Utc;
use connector_common::committed::{FewReplicas, notifications_topic};
use connector_common::{Partitions, chain};
use fluvio::metadata::smartmodule::SmartModuleSpec;
use fluvio::metadata::spu::SpuSpec;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{Fluvio, FluvioClusterConfig};
use local_stack::artefacts;
use sink_common::DEFAULT_MAX_BYTES;
use sink_common::flattener::{FLATTEN_ITEMS, is_flattener};
use sqs_source::config::DeleteAfter;

use super::deployment::Deployment;
use super::replicas;
use super::report::Report;
use crate::display::{counted, period};
use crate::topic::Topic;

const CLUSTER: &str = "cluster";
const TOPIC: &str = "topic";
const SMARTMODULE: &str = "smartmodule";
/// The release of the platform that this build was tested with, and the client that goes with it.
const PLATFORM: &str = "0.18.1";
const CLIENT: &str = "0.50.1";
/// The client's default `batch-size`.
const DEFAULT_BATCH: u64 = 16_384;
/// The largest ratio seen between the facts of a batch of small events, in JSON, and its size.
const GROWTH: u64 = 8;

/// The topic and its state.
pub struct Found {
    /// A client of its cluster.
    pub client: Fluvio,
    /// The topic.
    pub topic: Topic,
    /// The first and the end offset of each partition.
    pub ranges: Vec<(i64, i64)>,
    /// The retention in seconds; [`u32::MAX`] for the embedded node, which has none.
    pub retention: u32,
}

/// The place of a committed offset in its partition.
pub enum Place {
    /// The partition ends before it.
    Beyond {
        /// The end offset.
        end: i64,
    },
    /// Retention has removed records after it.
    Removed {
        /// The first offset that is left.
        start: i64,
    },
    /// The partition has all records after it.
    Inside {
        /// The age in seconds of the first of them; 0 if there is none or its age is not known.
        oldest: f64,
    },
}

impl Found {
    /// The place of the offset `next` of a partition; `None` if the topic does not have the
    /// partition.
    pub async fn place(&self, partition: u32, next: i64) -> Option<Place> {
        let (start, end) = *self.ranges.get(partition as usize)?;
        if next > end {
            return Some(Place::Beyond { end });
        }
        if next < start {
            return Some(Place::Removed { start });
        }
        let mut oldest: f64 = 0.0;
        if next < end
            && let Ok(Some(time)) = self.topic.time(partition, next).await
        {
            oldest = oldest.max((Utc::now() - time).as_seconds_f64());
        }
        Some(Place::Inside { oldest })
    }
}

/// Checks the cluster and the topic. Returns `None` without a readable topic.
pub async fn check(report: &mut Report, deployment: &Deployment) -> Option<Found> {
    let client = connect(report).await?;
    batches(report, deployment);
    let topics = client.admin().await.all::<TopicSpec>().await;
    let topics = match topics {
        Ok(topics) => topics,
        Err(error) => {
            let fix = "see the logs of the cluster's controller (SC)";
            report.fail(
                TOPIC,
                "exists",
                format!(
                    "the cluster does not list its topics: {}",
                    chain(error.as_ref())
                ),
                fix,
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
            format!("the cluster does not have a topic `{name}`"),
            "fluvio topic create --config deploy/cluster/topic.yaml, or correct `meta.topic`",
        );
        return None;
    };
    let partitions = found.partitions();
    let spus = client.admin().await.all::<SpuSpec>().await;
    let spus = spus.unwrap_or_default();
    let is_embedded = spus.iter().any(|spu| has_one_port(&spu.spec));
    let (retention, kept) = if is_embedded {
        (u32::MAX, "the embedded node keeps all records".to_owned())
    } else {
        let retention = found.retention_secs();
        let kept = format!("keeps records for {}", period(retention));
        (retention, kept)
    };
    report.ok(
        TOPIC,
        "exists",
        format!(
            "`{name}` has {}, and {kept}",
            counted(partitions.into(), "partition")
        ),
    );
    replication(report, deployment, found);
    replicas::check(report, &client, name).await;
    named(report, deployment, partitions);
    if deployment.waits_for_sinks() {
        notifications(report, name, found, spec(&notifications_topic(name)));
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

/// True for the SPU of the embedded node, which replicates nothing. That of a cluster has a port of
/// its own for replicas.
fn has_one_port(spu: &SpuSpec) -> bool {
    spu.public_endpoint.port == spu.private_endpoint.port
}

async fn connect(report: &mut Report) -> Option<Fluvio> {
    match FluvioClusterConfig::load() {
        Ok(cluster) => report.ok(
            CLUSTER,
            "profile",
            format!("the cluster at {}", cluster.endpoint),
        ),
        Err(error) => {
            report.fail(
                CLUSTER,
                "profile",
                format!("cannot load the current Fluvio profile: {}", chain(&error)),
                "fluvio profile add NAME HOST:PORT, or set FLV_PROFILE_PATH to a file",
            );
            return None;
        }
    }
    match connector_common::connect().await {
        Ok(client) => {
            version(report, &client.platform_version().to_string());
            Some(client)
        }
        Err(error) => {
            let fix = "start the cluster, or correct the profile (fluvio profile list)";
            report.fail(CLUSTER, "connection", chain(error.as_ref()), fix);
            None
        }
    }
}

/// Checks the release of the cluster.
fn version(report: &mut Report, found: &str) {
    if found == PLATFORM {
        report.ok(
            CLUSTER,
            "version",
            format!("platform {found}, client {CLIENT}"),
        );
        return;
    }
    report.warn(
        CLUSTER,
        "version",
        format!(
            "the cluster has release {found}; this build's client {CLIENT} belongs to {PLATFORM}, \
             the only release tested"
        ),
        format!(
            "run Fluvio {PLATFORM} (fvm install {PLATFORM}), or run the end-to-end tests against \
             this one"
        ),
    );
}

fn replication(report: &mut Report, deployment: &Deployment, topic: &TopicSpec) {
    let copies = topic.replication_factor().unwrap_or(1);
    match (copies, deployment.delete_after()) {
        (..=1, Some(DeleteAfter::Topic)) => report.warn(
            TOPIC,
            "replication",
            "there is one copy of each record, and the source deletes a message as soon as the \
             topic has acknowledged it: a failure of disk or power loses events",
            "delete-after: tables in the source's file, or a topic with `replication: 3`",
        ),
        (..=1, Some(DeleteAfter::Tables | DeleteAfter::Lake | DeleteAfter::Sinks(_))) => report.ok(
            TOPIC,
            "replication",
            "one copy of each record; messages are kept until their facts are committed",
        ),
        (..=1, Some(DeleteAfter::Never)) => report.ok(
            TOPIC,
            "replication",
            "one copy of each record; messages stay in the queue, and are produced again when the \
             source restarts",
        ),
        (..=1, None) => report.ok(
            TOPIC,
            "replication",
            "one copy of each record, which suffices with `delete-after: tables`; use \
             --source-config to check it",
        ),
        (copies, _) => report.ok(
            TOPIC,
            "replication",
            format!("{copies} copies of each record"),
        ),
    }
}

/// Checks the topic of the commit notifications for the topic `name`.
fn notifications(
    report: &mut Report,
    name: &str,
    records: &TopicSpec,
    notifications: Option<&TopicSpec>,
) {
    let topic = notifications_topic(name);
    let Some(notifications) = notifications else {
        report.warn(
            TOPIC,
            "commit-notifications",
            format!(
                "the topic `{topic}` does not exist; through it the sink notifies the source of \
                 commits"
            ),
            "start the sink, which creates it; until then no message is deleted",
        );
        return;
    };
    match FewReplicas::find(name, records, notifications) {
        None => report.ok(
            TOPIC,
            "commit-notifications",
            format!("the topic `{topic}` exists"),
        ),
        Some(few) => report.warn(TOPIC, "commit-notifications", few.to_string(), few.remedy()),
    }
}

/// Checks that the partitions of the sink's file are those of the topic.
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
            "assign them to another sink of the same name, or set `partition: all` and \
             `share-partitions: true`",
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
                let fix = "check its leader: fluvio partition list, fluvio cluster spu list";
                report.fail(
                    TOPIC,
                    "readable",
                    format!("partition {partition}: {}", chain(error.as_ref())),
                    fix,
                );
                return None;
            }
        }
    }
    let records: i64 = ranges.iter().map(|(start, end)| end - start).sum();
    let records = counted(records.unsigned_abs(), "record");
    report.ok(TOPIC, "readable", format!("it holds {records}"));
    Some(ranges)
}

/// Checks that the facts of a batch fit into a response.
fn batches(report: &mut Report, deployment: &Deployment) {
    let (Some(source), Some(sink)) = (&deployment.source, &deployment.sink) else {
        return;
    };
    let batch = source
        .meta
        .producer
        .batch_size
        .map_or(DEFAULT_BATCH, |size| size.as_u64());
    let response = sink.meta.consumer.response_bytes();
    let response = u64::from(response.unwrap_or(DEFAULT_MAX_BYTES).unsigned_abs());
    let found = format!(
        "the source's batches have up to {batch} bytes, and the sink requests {response} bytes"
    );
    if response >= batch.saturating_mul(GROWTH) {
        report.ok(TOPIC, "max-bytes", found);
    } else {
        report.warn(
            TOPIC,
            "max-bytes",
            format!(
                "{found}; the facts of a batch can be several times its size, and each batch that \
                 does not fit delays the sink for seconds"
            ),
            format!(
                "set the sink's `meta.consumer.max-bytes` to {} or more, or the source's \
                 `batch-size` lower",
                batch.saturating_mul(GROWTH)
            ),
        );
    }
}

/// Checks the SmartModules of the sink's file, or flatten-items without a file: loaded, of this
/// build, and alone.
pub async fn check_smartmodules(
    report: &mut Report,
    deployment: &Deployment,
    found: &Found,
    wasm: Option<&Path>,
) {
    let names = match &deployment.sink {
        Some(sink) => sink
            .transforms
            .iter()
            .map(|step| step.uses.clone())
            .collect(),
        None => vec![FLATTEN_ITEMS.to_owned()],
    };
    for name in names {
        let loaded = found.client.admin().await;
        let loaded = loaded.list::<SmartModuleSpec, _>(vec![name.clone()]).await;
        match loaded {
            Ok(all) => match all.as_slice() {
                [module] => compare(report, &name, &module.spec, wasm),
                [_, _, ..] => report.fail(
                    SMARTMODULE,
                    "loaded",
                    format!(
                        "{} SmartModules answer to `{name}`, and the cluster takes any of them",
                        all.len()
                    ),
                    "keep one: fluvio smartmodule list, and fluvio smartmodule delete NAME; then \
                     restart the sink",
                ),
                [] => report.fail(
                    SMARTMODULE,
                    "loaded",
                    format!("the cluster does not have a SmartModule `{name}`"),
                    "deploy/cluster/deploy.sh smartmodule, or fluvio smartmodule create NAME \
                     --wasm-file FILE",
                ),
            },
            Err(error) => report.fail(
                SMARTMODULE,
                "loaded",
                format!(
                    "the cluster does not list SmartModules: {}",
                    chain(error.as_ref())
                ),
                "see the logs of the cluster's controller (SC)",
            ),
        }
    }
    warn_of_chain(report, deployment);
}

fn compare(report: &mut Report, name: &str, module: &SmartModuleSpec, wasm: Option<&Path>) {
    let loaded = match module.wasm.as_raw_wasm() {
        Ok(loaded) => loaded,
        Err(error) => {
            let fix = "load it again: deploy/cluster/deploy.sh smartmodule";
            report.fail(
                SMARTMODULE,
                "loaded",
                format!("`{name}` is loaded and can't be unpacked: {error}"),
                fix,
            );
            return;
        }
    };
    report.ok(
        SMARTMODULE,
        "loaded",
        format!("`{name}`, {} bytes", loaded.len()),
    );
    if !is_flattener(name) {
        return;
    }
    let Some(file) = wasm.map(Path::to_owned).or_else(artefacts::flatten_items) else {
        report.skip(
            SMARTMODULE,
            "build",
            "not compared, for lack of a flatten-items.wasm; use --wasm FILE",
        );
        return;
    };
    match std::fs::read(&file) {
        Ok(ours) if ours == loaded => {
            report.ok(
                SMARTMODULE,
                "build",
                format!("`{name}` is identical to {}", file.display()),
            );
        }
        Ok(ours) => report.warn(
            SMARTMODULE,
            "build",
            format!(
                "the cluster's `{name}` ({} bytes) is another build than {} ({} bytes)",
                loaded.len(),
                file.display(),
                ours.len()
            ),
            "deploy/cluster/deploy.sh smartmodule loads this one; then restart the sink",
        ),
        Err(error) => report.fail(
            SMARTMODULE,
            "build",
            format!("cannot read {}: {error}", file.display()),
            "correct --wasm",
        ),
    }
}

fn warn_of_chain(report: &mut Report, deployment: &Deployment) {
    let Some(sink) = &deployment.sink else {
        return;
    };
    let steps = sink.transforms.len();
    if steps > 1 {
        report.warn(
            SMARTMODULE,
            "chain",
            format!("the sink reads through {steps} SmartModules"),
            "each must return exactly one record for each input, and flatten-items must be the \
             last",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_with_fewer_replicas_than_the_records_are_reported() {
        let text = |replicas| {
            let mut report = Report::default();
            let records = TopicSpec::new_computed(4, 3, None);
            let notified = TopicSpec::new_computed(1, replicas, None);
            notifications(&mut report, "events", &records, Some(&notified));
            report.to_string()
        };
        assert!(text(3).starts_with("ok    topic commit-notifications: "));
        let few = text(1);
        assert!(
            few.starts_with("warn  topic commit-notifications: "),
            "{few}"
        );
        assert!(
            few.contains("fluvio topic delete events-committed"),
            "{few}"
        );
    }

    #[test]
    fn another_release_is_named_with_the_tested_one() {
        let text = |found: &str| {
            let mut report = Report::default();
            version(&mut report, found);
            report.to_string()
        };
        let same = "ok    cluster version: platform 0.18.1, client 0.50.1";
        assert!(text("0.18.1").starts_with(same));
        let other = text("0.17.3");
        assert!(other.starts_with("warn  cluster version: the cluster has release 0.17.3"));
        assert!(other.contains("0.50.1") && other.contains("run Fluvio 0.18.1"));
    }
}
