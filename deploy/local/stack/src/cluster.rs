//! Topic and SmartModules, loaded into a Fluvio cluster as `fluvio topic create` and `smdk load` do.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use fluvio::FluvioAdmin;
use fluvio::config::ConfigFile;
use fluvio::metadata::topic::TopicSpec;
use fluvio::metadata::topic::config::TopicConfig;
use fluvio_controlplane_metadata::smartmodule::{
    SmartModuleMetadata, SmartModuleSpec, SmartModuleWasm,
};
use fluvio_controlplane_metadata::topic::{AddPartition, UpdateTopicAction};

use crate::files::{TOPIC, TOPIC_FILE};

/// Creates the topic of `deploy/cluster/topic.yaml` as `name`, unless it is there. `partitions`
/// overrides the file's number.
///
/// # Errors
/// The cluster's own, with the topic's name.
pub async fn create_topic(
    admin: &FluvioAdmin,
    name: &str,
    partitions: Option<u32>,
) -> anyhow::Result<()> {
    let mut topic: TopicConfig = serde_saphyr::from_str(TOPIC_FILE)
        .map_err(|error| anyhow!("deploy/cluster/topic.yaml: {error}"))?;
    topic.partition.count = partitions.or(topic.partition.count);
    let there = admin.list::<TopicSpec, _>(vec![name.to_owned()]).await?;
    if there.iter().all(|found| found.name != name) {
        admin
            .create(name.to_owned(), false, TopicSpec::from(topic))
            .await
            .with_context(|| format!("cannot create the topic `{name}`"))?;
    }
    Ok(())
}

/// Adds partitions to a topic, as `fluvio topic add-partition` does.
///
/// # Errors
/// The cluster's own, with the topic's name.
pub async fn add_partitions(admin: &FluvioAdmin, name: &str, count: u32) -> anyhow::Result<()> {
    let more = UpdateTopicAction::AddPartition(AddPartition { count });
    admin
        .update::<TopicSpec>(name.to_owned(), more)
        .await
        .with_context(|| format!("cannot add partitions to the topic `{name}`"))
}

/// Loads the SmartModule whose `SmartModule.toml` is `manifest`; one that is there already is replaced.
///
/// # Errors
/// The file can't be read, or the cluster refuses the module.
pub async fn load_smart_module(
    admin: &FluvioAdmin,
    manifest: &str,
    wasm: &Path,
) -> anyhow::Result<()> {
    let metadata = SmartModuleMetadata::from_bytes(manifest.as_bytes())
        .with_context(|| format!("the SmartModule.toml of {}", wasm.display()))?;
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

/// A client for the administration of the cluster that the profile file at `path` names.
///
/// # Errors
/// No profile there, or no cluster at its address.
pub async fn admin(path: &Path) -> anyhow::Result<FluvioAdmin> {
    let file = ConfigFile::load(Some(path.display().to_string()))?;
    let cluster = file.config().current_cluster()?;
    FluvioAdmin::connect_with_config(cluster)
        .await
        .with_context(|| format!("no Fluvio cluster at {}", cluster.endpoint))
}

/// Copies the current Fluvio profile to `path`, and returns the address in it.
///
/// # Errors
/// There is none, or it can't be copied.
pub(crate) fn copy_current_profile(path: &Path) -> anyhow::Result<String> {
    let from = match std::env::var_os("FLV_PROFILE_PATH") {
        Some(file) => PathBuf::from(file),
        None => std::env::home_dir()
            .context("no home folder, and no FLV_PROFILE_PATH")?
            .join(".fluvio/config"),
    };
    std::fs::copy(&from, path)
        .with_context(|| format!("cannot copy the Fluvio profile {}", from.display()))?;
    let file = ConfigFile::load(Some(path.display().to_string()))?;
    Ok(file.config().current_cluster()?.endpoint.clone())
}

/// A topic name for a stack among others on one cluster.
pub(crate) fn unused_topic_name() -> anyhow::Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(format!("{TOPIC}-{:x}", now.as_micros()))
}
