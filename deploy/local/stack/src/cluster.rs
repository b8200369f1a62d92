//! Topic and SmartModule, loaded into a Fluvio cluster as `fluvio topic create` and `smdk load` do.

use std::path::Path;

use anyhow::{Context, anyhow};
use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::topic::TopicSpec;
use fluvio::metadata::topic::config::TopicConfig;
use fluvio::{FluvioAdmin, FluvioClusterConfig};
use fluvio_controlplane_metadata::smartmodule::{
    SmartModuleMetadata, SmartModuleSpec, SmartModuleWasm,
};

use crate::files::{SMART_MODULE_FILE, TOPIC_FILE};

/// Creates the topic of `deploy/cluster/topic.yaml` unless it is there. `partitions` overrides the
/// file's number.
///
/// # Errors
/// The cluster's own, with the topic's name.
pub async fn create_topic(admin: &FluvioAdmin, partitions: Option<u32>) -> anyhow::Result<()> {
    let mut topic: TopicConfig = serde_saphyr::from_str(TOPIC_FILE)
        .map_err(|error| anyhow!("deploy/cluster/topic.yaml: {error}"))?;
    topic.partition.count = partitions.or(topic.partition.count);
    let name = topic.meta.name.clone();
    let there = admin.list::<TopicSpec, _>(vec![name.clone()]).await?;
    if there.iter().all(|found| found.name != name) {
        admin
            .create(name.clone(), false, TopicSpec::from(topic))
            .await
            .with_context(|| format!("cannot create the topic `{name}`"))?;
    }
    Ok(())
}

/// Loads the SmartModule `flatten-items`; one that is there already is replaced.
///
/// # Errors
/// The file can't be read, or the cluster refuses the module.
pub async fn load_smart_module(admin: &FluvioAdmin, wasm: &Path) -> anyhow::Result<()> {
    let metadata: SmartModuleMetadata =
        SmartModuleMetadata::from_bytes(SMART_MODULE_FILE.as_bytes())
            .context("smartmodules/flatten-items/SmartModule.toml")?;
    let bytes = std::fs::read(wasm).with_context(|| format!("cannot read {}", wasm.display()))?;
    let name = metadata.package.name.clone();
    let spec = SmartModuleSpec {
        meta: Some(metadata),
        wasm: SmartModuleWasm::from_raw_wasm_bytes(&bytes)?,
        ..SmartModuleSpec::default()
    };
    admin
        .create(name.clone(), false, spec)
        .await
        .with_context(|| format!("cannot load the SmartModule `{name}`"))
}

/// How many records `topic` holds, over all its partitions: the sum of their high watermarks.
///
/// # Errors
/// The cluster's own.
pub async fn topic_end(admin: &FluvioAdmin, topic: &str) -> anyhow::Result<i64> {
    let partitions = admin.all::<PartitionSpec>().await?;
    let prefix = format!("{topic}-");
    let of_topic = partitions.iter().filter(|partition| {
        partition
            .name
            .strip_prefix(&prefix)
            .is_some_and(|id| id.parse::<u32>().is_ok())
    });
    Ok(of_topic
        .map(|partition| partition.status.leader.hw.max(0))
        .sum())
}

/// A client for administration at `address`.
///
/// # Errors
/// No cluster there.
pub async fn admin(address: &str) -> anyhow::Result<FluvioAdmin> {
    FluvioAdmin::connect_with_config(&FluvioClusterConfig::new(address))
        .await
        .with_context(|| format!("no Fluvio node at {address}"))
}
