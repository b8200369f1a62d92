//! How far consumers with an id have come, kept in a file that is replaced on every change.
//!
//! As in the real server an offset outlives the topic that it belongs to, and is there again
//! when a topic of that name is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use anyhow::Context;
use fluvio_protocol::record::{Offset, ReplicaKey};
use fluvio_spu_schema::server::consumer_offset::ConsumerOffset;
use serde::{Deserialize, Serialize};

use crate::data_dir::{Durability, replace_file};

/// The stored consumer offsets.
#[derive(Debug)]
pub(crate) struct ConsumerOffsets {
    path: PathBuf,
    entries: Mutex<BTreeMap<(String, u32, String), Consumed>>,
}

#[derive(Debug, Clone, Copy)]
struct Consumed {
    /// The last record that the consumer is done with.
    offset: Offset,
    /// Seconds since 1970.
    modified_time: u64,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Entry {
    topic: String,
    partition: u32,
    consumer_id: String,
    offset: Offset,
    modified_time: u64,
}

impl ConsumerOffsets {
    /// Reads the file, if there is one already.
    pub fn load(path: PathBuf) -> anyhow::Result<Self> {
        let entries: Vec<Entry> = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!("{} can't be read; restore or delete it", path.display())
            })?,
            Err(err) if err.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(err) => {
                return Err(err).with_context(|| format!("can't read {}", path.display()));
            }
        };
        let entries = entries
            .into_iter()
            .map(|it| {
                let consumed = Consumed {
                    offset: it.offset,
                    modified_time: it.modified_time,
                };
                ((it.topic, it.partition, it.consumer_id), consumed)
            })
            .collect();
        Ok(Self {
            path,
            entries: Mutex::new(entries),
        })
    }

    /// The last record that a consumer is done with.
    pub fn get(&self, key: &ReplicaKey, consumer_id: &str) -> Option<Offset> {
        self.entries()
            .get(&(key.topic.clone(), key.partition, consumer_id.to_owned()))
            .map(|it| it.offset)
    }

    pub fn list(&self) -> Vec<ConsumerOffset> {
        self.entries()
            .iter()
            .map(|((topic, partition, consumer_id), consumed)| {
                ConsumerOffset::new(
                    consumer_id.clone(),
                    ReplicaKey::new(topic.clone(), *partition),
                    consumed.offset,
                    consumed.modified_time,
                )
            })
            .collect()
    }

    /// Stores an offset. Blocks on the file system.
    pub fn put(&self, key: ReplicaKey, consumer_id: String, offset: Offset) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let consumed = Consumed {
            offset,
            modified_time: now.map_or(0, |it| it.as_secs()),
        };
        self.change(|entries| {
            entries.insert((key.topic, key.partition, consumer_id), consumed);
        })
    }

    /// Forgets an offset. Blocks on the file system.
    pub fn delete(&self, key: &ReplicaKey, consumer_id: &str) -> io::Result<()> {
        self.change(|entries| {
            entries.remove(&(key.topic.clone(), key.partition, consumer_id.to_owned()));
        })
    }

    /// Changes the file first: what could not be stored is not shown either.
    fn change(
        &self,
        change: impl FnOnce(&mut BTreeMap<(String, u32, String), Consumed>),
    ) -> io::Result<()> {
        let mut entries = self.entries();
        let mut changed = entries.clone();
        change(&mut changed);
        let file: Vec<Entry> = changed
            .iter()
            .map(|((topic, partition, consumer_id), consumed)| Entry {
                topic: topic.clone(),
                partition: *partition,
                consumer_id: consumer_id.clone(),
                offset: consumed.offset,
                modified_time: consumed.modified_time,
            })
            .collect();
        let bytes = serde_json::to_vec(&file)?;
        replace_file(&self.path, &bytes, Durability::Kill)?;
        *entries = changed;
        Ok(())
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<(String, u32, String), Consumed>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
