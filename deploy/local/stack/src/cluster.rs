//! Topic and SmartModules of a Fluvio cluster, created like `fluvio topic create` and `smdk load`
//! do.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use fluvio::config::ConfigFile;
use fluvio::consumer::{ConsumerConfig, PartitionConsumer};
use fluvio::metadata::topic::TopicSpec;
use fluvio::metadata::topic::config::TopicConfig;
use fluvio::{Fluvio, FluvioAdmin, Offset};
use fluvio_controlplane_metadata::smartmodule::{
    SmartModuleMetadata, SmartModuleSpec, SmartModuleWasm,
};
use fluvio_controlplane_metadata::topic::{AddPartition, UpdateTopicAction};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::files::{TOPIC, TOPIC_FILE};

/// Creates the topic of `deploy/cluster/topic.yaml` as `name` if it doesn't exist. `partitions`
/// overrides the file's number.
///
/// # Errors
/// The cluster refuses the topic.
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

/// Adds partitions to a topic, like `fluvio topic add-partition`.
///
/// # Errors
/// The cluster refuses the change.
pub async fn add_partitions(admin: &FluvioAdmin, name: &str, count: u32) -> anyhow::Result<()> {
    let more = UpdateTopicAction::AddPartition(AddPartition { count });
    admin
        .update::<TopicSpec>(name.to_owned(), more)
        .await
        .with_context(|| format!("cannot add partitions to the topic `{name}`"))
}

/// Creates or replaces the SmartModule with the `SmartModule.toml` in `manifest`.
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

/// Connects an admin client to the cluster of the profile file at `path`.
///
/// # Errors
/// The profile can't be read, or there is no cluster at its address.
pub async fn admin(path: &Path) -> anyhow::Result<FluvioAdmin> {
    let file = ConfigFile::load(Some(path.display().to_string()))?;
    let cluster = file.config().current_cluster()?;
    FluvioAdmin::connect_with_config(cluster)
        .await
        .with_context(|| format!("no Fluvio cluster at {}", cluster.endpoint))
}

/// Copies the current Fluvio profile to `path` and returns its address.
///
/// # Errors
/// There is no profile, or it can't be copied.
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

/// Returns a unique topic name, since a cluster may have several stacks.
pub(crate) fn unused_topic_name() -> anyhow::Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(format!("{TOPIC}-{:x}", now.as_micros()))
}

/// The bytes requested to read a batch's header. The rest of the batch may be cut off.
const MAX_BYTES: i32 = 64 << 10;

/// Reads a topic's end offset, the number of its records: the sum of its partitions' high
/// watermarks, requested from the leaders.
///
/// The cluster's metadata has them too, but a real cluster updates it some hundred milliseconds
/// late, so a topic with unread records could look read to its end. Only the client's deprecated
/// stream returns whole batches with their headers.
pub struct TopicEnd {
    partitions: Vec<PartitionConsumer>,
    // A client that is dropped closes its connections.
    _client: Fluvio,
}

impl TopicEnd {
    /// Connects to the cluster of the profile file at `profile`, or of the current profile.
    ///
    /// # Errors
    /// There is no cluster, or the topic doesn't exist.
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
            .ok_or_else(|| anyhow!("the topic `{topic}` does not exist"))?;
        let partitions = stream::iter(0..found.spec.partitions())
            .then(|partition| client.partition_consumer(topic, partition))
            .try_collect()
            .await?;
        Ok(Self {
            partitions,
            _client: client,
        })
    }

    /// Returns the number of records in the topic.
    ///
    /// # Errors
    /// The cluster doesn't answer.
    pub async fn read(&self) -> anyhow::Result<i64> {
        stream::iter(&self.partitions)
            .then(high_watermark)
            .try_fold(0, |sum, next| async move { Ok(sum + next) })
            .await
    }
}

/// Returns the last record's offset plus one.
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
