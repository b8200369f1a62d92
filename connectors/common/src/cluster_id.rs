//! The identity of a cluster, which tells two clusters with topics of the same names apart.
//!
//! Fluvio gives a cluster no identity: a profile has the name and the address by which one machine
//! knows it, and both may change or be those of another cluster tomorrow. So the first connector
//! that needs one makes it, and stores it in the cluster as the first record of a topic. If two
//! connectors do so at once, the first record counts for both.

use std::time::Duration;

use anyhow::Context;
use fluvio::metadata::topic::{CleanupPolicy, SegmentBasedPolicy, TopicSpec};
use fluvio::{Fluvio, Offset, RecordKey};

use crate::cluster::{connect, ensure_replicated_like, first_batch, of_leader};

/// The topic whose first record is the cluster's id.
pub const CLUSTER_ID_TOPIC: &str = "ecommerce-etl-cluster-id";
const TIMEOUT: Duration = Duration::from_secs(15);

/// The id of the cluster of the current Fluvio profile. Makes one if it has none, in a topic with
/// as many replicas as `topic` has, or as the cluster has SPUs.
///
/// # Errors
/// The cluster can't be reached, has no topic `topic`, or refuses to create the other.
pub async fn cluster_id(topic: &str) -> anyhow::Result<String> {
    ensure_replicated_like(topic, CLUSTER_ID_TOPIC, spec).await?;
    let client = connect().await?;
    if let Some(id) = first_record(&client).await? {
        return Ok(id);
    }
    let add = add_record(&client, format!("{:032x}", rand::random::<u128>()));
    let added = tokio::time::timeout(TIMEOUT, add).await;
    added.with_context(|| format!("timed out after {TIMEOUT:?} adding the cluster's id"))??;
    let id = first_record(&client).await?;
    id.with_context(|| format!("the topic `{CLUSTER_ID_TOPIC}` has no record"))
}

/// As long as retention can be: without its first record the cluster would be another one.
fn spec(replicas: u32) -> TopicSpec {
    let mut spec = TopicSpec::new_computed(1, replicas, None);
    spec.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy {
        time_in_seconds: u32::MAX,
    }));
    spec
}

async fn add_record(client: &Fluvio, id: String) -> anyhow::Result<()> {
    let producer = client.topic_producer(CLUSTER_ID_TOPIC).await?;
    let sent = producer.send(RecordKey::NULL, id).await?;
    producer.flush().await?;
    sent.wait().await?;
    Ok(())
}

async fn first_record(client: &Fluvio) -> anyhow::Result<Option<String>> {
    let first = async {
        let batch = first_batch(client, CLUSTER_ID_TOPIC, 0, Offset::beginning()).await?;
        let record = batch.as_ref().and_then(|batch| batch.records().first());
        Ok(record.map(|record| String::from_utf8_lossy(record.value.as_ref()).into_owned()))
    };
    let first = of_leader(client, CLUSTER_ID_TOPIC, 0, first).await;
    first.context("cannot read the cluster's id")
}
