//! The metadata: topics, partitions, the SPU, SmartModules.
//!
//! It is kept on disk and in the stores of Fluvio's own SC, whose change listeners feed clients'
//! watches. A change is written to disk first. A topic exists from the moment its file is written
//! until the file is removed; its logs are created before and deleted after.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;
use fluvio_controlplane_metadata::core::{MetadataContext, Spec};
use fluvio_controlplane_metadata::partition::{PartitionSpec, ReplicaKey};
use fluvio_controlplane_metadata::smartmodule::SmartModuleSpec;
use fluvio_controlplane_metadata::spu::{Endpoint, IngressPort, SpuSpec, SpuStatus, SpuType};
use fluvio_controlplane_metadata::store::actions::LSUpdate;
use fluvio_controlplane_metadata::store::{LocalStore, MetadataStoreObject};
use fluvio_controlplane_metadata::topic::{
    CleanupPolicy, SegmentBasedPolicy, TopicResolution, TopicSpec, TopicStatus, TopicStorageConfig,
};
use fluvio_types::defaults::{CONSUMER_STORAGE_TOPIC, STORAGE_RETENTION_SECONDS};
use tokio::sync::{Mutex, MutexGuard};

use crate::data_dir::DataDir;
use crate::objects::ObjectDir;
use crate::replicas::{Replicas, SPU_ID};

/// A store of objects of one kind. The number is an object's revision.
pub(crate) type Store<S> = LocalStore<S, u32>;

/// The metadata of the node.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub topics: Arc<Store<TopicSpec>>,
    pub partitions: Arc<Store<PartitionSpec>>,
    pub spus: Arc<Store<SpuSpec>>,
    pub smartmodules: Arc<Store<SmartModuleSpec>>,
    pub replicas: Arc<Replicas>,
    topic_files: Arc<ObjectDir<TopicSpec>>,
    smartmodule_files: Arc<ObjectDir<SmartModuleSpec>>,
    revision: AtomicU32,
    changing: Mutex<()>,
}

/// Exclusive access to change metadata, so that a change's checks still hold when it is applied.
pub(crate) struct Change<'a> {
    metadata: &'a Metadata,
    _one_at_a_time: MutexGuard<'a, ()>,
}

impl Metadata {
    /// Reads the metadata from disk and opens all logs.
    pub async fn load(dir: &DataDir, spu_addr: SocketAddr) -> anyhow::Result<Self> {
        let metadata = Self {
            topics: Store::new_shared(),
            partitions: Store::new_shared(),
            spus: Store::new_shared(),
            smartmodules: Store::new_shared(),
            replicas: Arc::new(Replicas::new(dir.logs())),
            topic_files: Arc::new(ObjectDir::new(dir.topics())),
            smartmodule_files: Arc::new(ObjectDir::new(dir.smartmodules())),
            revision: AtomicU32::default(),
            changing: Mutex::default(),
        };
        let topics = metadata.topic_files.load()?;
        let smartmodules = metadata.smartmodule_files.load()?;

        let replicas = metadata.replicas.clone();
        let opened = topics.clone();
        tokio::task::spawn_blocking(move || {
            for (name, spec) in &opened {
                for (key, partition) in partitions_of(name, spec) {
                    replicas.open(key, &partition)?;
                }
            }
            replicas.delete_orphans()
        })
        .await??;

        let partitions = topics
            .iter()
            .flat_map(|(name, spec)| partitions_of(name, spec))
            .map(|(key, spec)| metadata.partition(key, spec))
            .collect();
        metadata.partitions.sync_all(partitions).await;
        let topics = topics
            .into_iter()
            .map(|(name, spec)| metadata.topic(name, spec))
            .collect();
        metadata.topics.sync_all(topics).await;
        let smartmodules = smartmodules
            .into_iter()
            .map(|(name, spec)| metadata.object(name, spec))
            .collect();
        metadata.smartmodules.sync_all(smartmodules).await;
        metadata.spus.sync_all(vec![metadata.spu(spu_addr)]).await;

        if !metadata.topics.contains_key(CONSUMER_STORAGE_TOPIC).await {
            // Clients find the SPU that keeps consumer offsets through this topic.
            metadata
                .change()
                .await
                .create_topic(CONSUMER_STORAGE_TOPIC.to_owned(), consumer_storage())
                .await?;
        }
        Ok(metadata)
    }

    /// Waits for the current change and begins a new one.
    pub async fn change(&self) -> Change<'_> {
        Change {
            metadata: self,
            _one_at_a_time: self.changing.lock().await,
        }
    }

    fn object<S: Spec>(&self, key: impl Into<S::IndexKey>, spec: S) -> MetadataStoreObject<S, u32> {
        let revision = self.revision.fetch_add(1, Ordering::Relaxed);
        MetadataStoreObject::new_with_context(key, spec, MetadataContext::new(revision))
    }

    fn topic(&self, name: String, spec: TopicSpec) -> MetadataStoreObject<TopicSpec, u32> {
        let status = TopicStatus {
            resolution: TopicResolution::Provisioned,
            replica_map: (0..spec.partitions())
                .map(|it| (it, vec![SPU_ID]))
                .collect(),
            ..TopicStatus::default()
        };
        let mut topic = self.object(name, spec);
        topic.set_status(status);
        topic
    }

    fn partition(
        &self,
        key: ReplicaKey,
        spec: PartitionSpec,
    ) -> MetadataStoreObject<PartitionSpec, u32> {
        let status = self.replicas.get(&key).map(|it| it.status());
        let mut partition = self.object(key, spec);
        partition.set_status(status.unwrap_or_default());
        partition
    }

    fn spu(&self, addr: SocketAddr) -> MetadataStoreObject<SpuSpec, u32> {
        let host = addr.ip().to_string();
        let spec = SpuSpec {
            id: SPU_ID,
            spu_type: SpuType::Custom,
            public_endpoint: IngressPort::from_port_host(addr.port(), host.clone()),
            // There is no replication, so the SPU has no private port and reports the public one.
            private_endpoint: Endpoint::from_port_host(addr.port(), host),
            ..SpuSpec::default()
        };
        let mut spu = self.object(format!("custom-spu-{SPU_ID}"), spec);
        let mut status = SpuStatus::default();
        status.set_online();
        spu.set_status(status);
        spu
    }
}

impl Change<'_> {
    /// Creates a topic, or adds partitions to it.
    pub async fn create_topic(&self, name: String, spec: TopicSpec) -> anyhow::Result<()> {
        let metadata = self.metadata;
        let existing = metadata.topics.spec(&name).await;
        let existing = existing.map_or(0, |it| it.partitions());
        let added: Vec<_> = partitions_of(&name, &spec)
            .filter(|(key, _)| key.partition >= existing)
            .collect();

        let (replicas, files) = (metadata.replicas.clone(), metadata.topic_files.clone());
        let made = (name.clone(), spec.clone(), added.clone());
        tokio::task::spawn_blocking(move || {
            let (name, spec, added) = made;
            let create = || {
                for (key, partition) in &added {
                    replicas.create(key.clone(), partition)?;
                }
                files
                    .put(&name, &spec)
                    .with_context(|| format!("can't store topic {name}"))
            };
            create().inspect_err(|_| {
                for (key, _) in &added {
                    if let Err(err) = replicas.delete(key) {
                        tracing::warn!("{err:#}");
                    }
                }
            })
        })
        .await??;

        let partitions = added
            .into_iter()
            .map(|(key, spec)| LSUpdate::Mod(metadata.partition(key, spec)))
            .collect();
        metadata.partitions.apply_changes(partitions).await;
        let topic = LSUpdate::Mod(metadata.topic(name, spec));
        metadata.topics.apply_changes(vec![topic]).await;
        Ok(())
    }

    /// Deletes a topic and its records.
    pub async fn delete_topic(&self, name: String) -> anyhow::Result<()> {
        let metadata = self.metadata;
        let spec = metadata.topics.spec(&name).await.unwrap_or_default();
        let keys: Vec<_> = partitions_of(&name, &spec).map(|(key, _)| key).collect();

        let files = metadata.topic_files.clone();
        let removed = name.clone();
        tokio::task::spawn_blocking(move || files.remove(&removed))
            .await?
            .with_context(|| format!("can't remove topic {name}"))?;

        let partitions = keys.iter().cloned().map(LSUpdate::Delete).collect();
        metadata
            .topics
            .apply_changes(vec![LSUpdate::Delete(name)])
            .await;
        metadata.partitions.apply_changes(partitions).await;

        let replicas = metadata.replicas.clone();
        tokio::task::spawn_blocking(move || {
            // An error in one partition must not keep the streams of others open.
            let outcomes: Vec<_> = keys.iter().map(|key| replicas.delete(key)).collect();
            outcomes.into_iter().collect()
        })
        .await?
    }

    /// Creates or replaces a SmartModule.
    pub async fn put_smartmodule(&self, name: String, spec: SmartModuleSpec) -> anyhow::Result<()> {
        let metadata = self.metadata;
        let files = metadata.smartmodule_files.clone();
        let stored = (name.clone(), spec.clone());
        tokio::task::spawn_blocking(move || files.put(&stored.0, &stored.1))
            .await?
            .with_context(|| format!("can't store SmartModule {name}"))?;
        let smartmodule = LSUpdate::Mod(metadata.object(name, spec));
        metadata.smartmodules.apply_changes(vec![smartmodule]).await;
        Ok(())
    }

    /// Deletes a SmartModule. Streams that run it continue.
    pub async fn delete_smartmodule(&self, name: String) -> anyhow::Result<()> {
        let metadata = self.metadata;
        let files = metadata.smartmodule_files.clone();
        let removed = name.clone();
        tokio::task::spawn_blocking(move || files.remove(&removed))
            .await?
            .with_context(|| format!("can't remove SmartModule {name}"))?;
        let deletion = LSUpdate::Delete(name);
        metadata.smartmodules.apply_changes(vec![deletion]).await;
        Ok(())
    }
}

/// Returns the system topic of consumer offsets as the real SC creates it.
fn consumer_storage() -> TopicSpec {
    let mut spec = TopicSpec::new_computed(1, 1, None);
    spec.set_system(true);
    spec.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy {
        time_in_seconds: STORAGE_RETENTION_SECONDS,
    }));
    spec.set_storage(TopicStorageConfig {
        segment_size: Some(512_000_000),
        max_partition_size: Some(2_048_000_000),
    });
    spec
}

/// Returns a topic's partitions, all led by the node's SPU.
fn partitions_of(
    topic: &str,
    spec: &TopicSpec,
) -> impl Iterator<Item = (ReplicaKey, PartitionSpec)> {
    (0..spec.partitions()).map(move |partition| {
        (
            ReplicaKey::new(topic, partition),
            PartitionSpec::from_replicas(vec![SPU_ID], spec, None),
        )
    })
}
