//! The partitions that the node has, each with its log.

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

use super::SPU_ID;
use crate::log::{PartitionLog, log_dir};

/// A partition. The node leads it and has its only replica.
#[derive(Debug)]
pub(crate) struct Replica {
    pub key: ReplicaKey,
    pub log: PartitionLog,
    /// What the topic wants its batches to be compressed with.
    pub compression: CompressionAlgorithm,
    /// Cancelled when the topic is deleted.
    pub deleted: CancellationToken,
}

impl Replica {
    /// What `fluvio partition list` shows.
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
    /// No partitions yet, their logs to be in the folder `logs`.
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

    /// Makes a new partition, with an empty log whatever lay there before. Blocks on the file
    /// system.
    pub fn create(&self, key: ReplicaKey, spec: &PartitionSpec) -> anyhow::Result<()> {
        let dir = log_dir(&self.logs, &key.topic, key.partition);
        match std::fs::remove_dir_all(&dir) {
            Err(err) if err.kind() != ErrorKind::NotFound => {
                Err(err).with_context(|| format!("can't clear {}", dir.display()))
            }
            _ => self.open(key, spec),
        }
    }

    /// Opens a partition's log and makes the partition available. Blocks on the file system.
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

    /// Takes a partition away: ends its streams and deletes its log. Blocks on the file system.
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

    /// Deletes the folders of logs that no partition owns: a crash has left them between a
    /// topic's deletion and that of its logs, or while it was being created.
    pub fn delete_orphans(&self) -> anyhow::Result<()> {
        let owned: Vec<PathBuf> = self
            .all()
            .iter()
            .map(|it| log_dir(&self.logs, &it.key.topic, it.key.partition))
            .collect();
        let context = || format!("can't tidy up {}", self.logs.display());
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
