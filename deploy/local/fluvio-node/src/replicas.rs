//! The node's partitions with their logs.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use fluvio_controlplane_metadata::partition::{
    PartitionResolution, PartitionSpec, PartitionStatus, ReplicaKey,
};
use fluvio_controlplane_metadata::topic::CompressionAlgorithm;
use tokio_util::sync::CancellationToken;

use crate::log::{PartitionLog, log_dir};

/// The id of the node's SPU: that of the first SPU of `fluvio cluster start --local`.
pub(crate) const SPU_ID: i32 = 5001;

/// The only replica of a partition. The node leads it.
#[derive(Debug)]
pub(crate) struct Replica {
    pub key: ReplicaKey,
    pub log: PartitionLog,
    /// The topic's required compression.
    pub compression: CompressionAlgorithm,
    /// Cancelled when the topic is deleted.
    pub deleted: CancellationToken,
}

impl Replica {
    /// Returns the status that `fluvio partition list` shows.
    pub fn status(&self) -> PartitionStatus {
        let end = self.log.end_offset();
        PartitionStatus::new2(
            (SPU_ID, end, end),
            Vec::new(),
            self.log
                .size()
                .try_into()
                .unwrap_or(PartitionStatus::SIZE_ERROR),
            PartitionResolution::Online,
            self.log.start_offset(),
        )
    }
}

/// All partitions of the node.
#[derive(Debug)]
pub(crate) struct Replicas {
    logs: PathBuf,
    by_key: RwLock<HashMap<ReplicaKey, Arc<Replica>>>,
}

impl Replicas {
    /// Returns an empty set whose logs will be in the folder `logs`.
    pub fn new(logs: PathBuf) -> Self {
        Self {
            logs,
            by_key: RwLock::default(),
        }
    }

    pub fn get(&self, key: &ReplicaKey) -> Option<Arc<Replica>> {
        self.by_key
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }

    pub fn all(&self) -> Vec<Arc<Replica>> {
        self.by_key
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Creates a partition with an empty log, deleting an old one. Blocks on the file system.
    pub fn create(&self, key: ReplicaKey, spec: &PartitionSpec) -> anyhow::Result<()> {
        let dir = log_dir(&self.logs, &key.topic, key.partition);
        match std::fs::remove_dir_all(&dir) {
            Err(err) if err.kind() != ErrorKind::NotFound => {
                Err(err).with_context(|| format!("can't clear {}", dir.display()))
            }
            _ => self.open(key, spec),
        }
    }

    /// Opens a partition's log and adds the partition. Blocks on the file system.
    pub fn open(&self, key: ReplicaKey, spec: &PartitionSpec) -> anyhow::Result<()> {
        let dir = log_dir(&self.logs, &key.topic, key.partition);
        let segment_size = spec.storage.as_ref().and_then(|it| it.segment_size);
        let log = PartitionLog::open(dir, segment_size)
            .with_context(|| format!("can't open the log of {key}"))?;
        let replica = Arc::new(Replica {
            key: key.clone(),
            log,
            compression: spec.compression_type.clone(),
            deleted: CancellationToken::new(),
        });
        self.by_key
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, replica);
        Ok(())
    }

    /// Removes a partition: ends its streams and deletes its log. Blocks on the file system.
    pub fn delete(&self, key: &ReplicaKey) -> anyhow::Result<()> {
        let replica = self
            .by_key
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
        if let Some(replica) = replica {
            replica.deleted.cancel();
            replica
                .log
                .delete()
                .with_context(|| format!("can't delete the log of {key}"))?;
        }
        Ok(())
    }

    /// Deletes log folders without a partition, which a crash leaves while a topic is created, or
    /// between the deletion of a topic and of its logs.
    pub fn delete_orphans(&self) -> anyhow::Result<()> {
        let owned: Vec<PathBuf> = self
            .all()
            .iter()
            .map(|it| log_dir(&self.logs, &it.key.topic, it.key.partition))
            .collect();
        let context = || format!("can't clean up {}", self.logs.display());
        for entry in std::fs::read_dir(&self.logs).with_context(context)? {
            let path = entry.with_context(context)?.path();
            if !owned.contains(&path) {
                tracing::warn!(folder = %path.display(), "deleting the log of a deleted topic");
                std::fs::remove_dir_all(&path).with_context(context)?;
            }
        }
        Ok(())
    }
}
