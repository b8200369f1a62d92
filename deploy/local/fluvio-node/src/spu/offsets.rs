//! Offsets: bounds of partitions, progress of streams, and stored consumer offsets.
//!
//! Consumer offsets are kept in a file that is replaced on every change. As in the real server, an
//! offset outlives its topic and applies again to a topic of the same name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use anyhow::Context;
use fluvio_protocol::link::ErrorCode;
use fluvio_protocol::record::{Offset, ReplicaKey};
use fluvio_spu_schema::server::consumer_offset::{
    ConsumerOffset, DeleteConsumerOffsetRequest, DeleteConsumerOffsetResponse,
    FetchConsumerOffsetsRequest, FetchConsumerOffsetsResponse, UpdateConsumerOffsetRequest,
    UpdateConsumerOffsetResponse,
};
use fluvio_spu_schema::server::fetch_offset::{
    FetchOffsetPartitionResponse, FetchOffsetTopicResponse, FetchOffsetsRequest,
    FetchOffsetsResponse,
};
use fluvio_spu_schema::server::update_offset::{
    OffsetUpdateStatus, UpdateOffsetsRequest, UpdateOffsetsResponse,
};
use serde::{Deserialize, Serialize};

use super::{Session, Spu};
use crate::data_dir::{Durability, replace_file};

/// The stored consumer offsets.
#[derive(Debug)]
pub(crate) struct ConsumerOffsets {
    path: PathBuf,
    entries: Mutex<BTreeMap<(String, u32, String), Consumed>>,
}

#[derive(Debug, Clone, Copy)]
struct Consumed {
    /// The last consumed record.
    offset: Offset,
    /// Seconds of Unix time.
    modified_time: u64,
}

/// An element of the file.
#[derive(Serialize, Deserialize)]
struct Entry {
    topic: String,
    partition: u32,
    consumer_id: String,
    offset: Offset,
    modified_time: u64,
}

impl ConsumerOffsets {
    /// Reads the file, if it exists.
    pub fn load(path: PathBuf) -> anyhow::Result<Self> {
        let entries: Vec<Entry> = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("can't read {}; restore or delete it", path.display()))?,
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

    /// Returns the last record that a consumer has consumed.
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

    /// Deletes an offset. Blocks on the file system.
    pub fn delete(&self, key: &ReplicaKey, consumer_id: &str) -> io::Result<()> {
        self.change(|entries| {
            entries.remove(&(key.topic.clone(), key.partition, consumer_id.to_owned()));
        })
    }

    /// Applies a change to the file, then to memory, so offsets that couldn't be stored aren't
    /// visible.
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

impl Spu {
    /// Returns the first and the next offset of partitions.
    pub(super) fn fetch_offsets(&self, request: FetchOffsetsRequest) -> FetchOffsetsResponse {
        // Older clients, without the consumer offset requests, name the consumer here.
        #[allow(deprecated)]
        let consumer_id = request.consumer_id.as_deref();
        let mut response = FetchOffsetsResponse::default();
        for topic in &request.topics {
            let mut topic_response = FetchOffsetTopicResponse {
                name: topic.name.clone(),
                ..FetchOffsetTopicResponse::default()
            };
            for partition in &topic.partitions {
                let key = ReplicaKey::new(topic.name.clone(), partition.partition_index);
                let offsets = self.partition_offsets(&key, consumer_id);
                topic_response.partitions.push(offsets);
            }
            response.topics.push(topic_response);
        }
        response
    }

    fn partition_offsets(
        &self,
        key: &ReplicaKey,
        consumer_id: Option<&str>,
    ) -> FetchOffsetPartitionResponse {
        let mut response = FetchOffsetPartitionResponse {
            partition_index: key.partition,
            ..FetchOffsetPartitionResponse::default()
        };
        let Some(replica) = self.replicas.get(key) else {
            response.error_code = ErrorCode::PartitionNotLeader;
            return response;
        };
        response.error_code = ErrorCode::None;
        response.start_offset = replica.log.start_offset();
        response.last_stable_offset = replica.log.end_offset();
        if let Some(consumed) = consumer_id.and_then(|id| self.consumer_offsets.get(key, id)) {
            response.start_offset = consumed + 1;
        }
        response
    }

    /// Stores the offset of a stream's consumer.
    pub(super) async fn update_consumer_offset(
        &self,
        request: UpdateConsumerOffsetRequest,
        session: &Session,
    ) -> UpdateConsumerOffsetResponse {
        let UpdateConsumerOffsetRequest { offset, session_id } = request;
        let stored = async {
            let stream = session
                .streams
                .get(&session_id)
                .ok_or(ErrorCode::FetchSessionNotFoud)?;
            let replica = stream.replica.clone();
            let consumer_id = stream
                .consumer_id
                .clone()
                .ok_or_else(|| ErrorCode::Other("stream without consumer id".to_owned()))?;
            let offsets = self.consumer_offsets.clone();
            blocking(move || offsets.put(replica, consumer_id, offset)).await
        };
        match stored.await {
            Ok(()) => UpdateConsumerOffsetResponse {
                offset,
                error_code: ErrorCode::None,
            },
            Err(error_code) => UpdateConsumerOffsetResponse {
                offset: 0,
                error_code,
            },
        }
    }

    /// Deletes a consumer's offset.
    pub(super) async fn delete_consumer_offset(
        &self,
        request: DeleteConsumerOffsetRequest,
    ) -> DeleteConsumerOffsetResponse {
        let offsets = self.consumer_offsets.clone();
        let deleted =
            blocking(move || offsets.delete(&request.replica_id, &request.consumer_id)).await;
        DeleteConsumerOffsetResponse {
            error_code: deleted.err().unwrap_or(ErrorCode::None),
        }
    }

    /// Lists consumer offsets, except those of deleted topics.
    pub(super) fn fetch_consumer_offsets(
        &self,
        request: FetchConsumerOffsetsRequest,
    ) -> FetchConsumerOffsetsResponse {
        let filter = request.filter_opts.unwrap_or_default();
        let mut consumers = self.consumer_offsets.list();
        consumers.retain(|it| {
            filter
                .replica_id
                .as_ref()
                .is_none_or(|key| *key == it.replica_id)
                && filter
                    .consumer_id
                    .as_ref()
                    .is_none_or(|id| *id == it.consumer_id)
                && self.replicas.get(&it.replica_id).is_some()
        });
        FetchConsumerOffsetsResponse {
            error_code: ErrorCode::None,
            consumers,
        }
    }
}

/// Passes consumers' progress to their streams.
pub(super) fn update_offsets(
    request: UpdateOffsetsRequest,
    session: &Session,
) -> UpdateOffsetsResponse {
    let status = request
        .offsets
        .into_iter()
        .map(|update| OffsetUpdateStatus {
            session_id: update.session_id,
            error: match session.streams.get(&update.session_id) {
                Some(stream) => {
                    stream.consumed.send_replace(update.offset);
                    ErrorCode::None
                }
                None => ErrorCode::FetchSessionNotFoud,
            },
        })
        .collect();
    UpdateOffsetsResponse { status }
}

async fn blocking(
    work: impl FnOnce() -> std::io::Result<()> + Send + 'static,
) -> Result<(), ErrorCode> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(err)) => Err(ErrorCode::Other(err.to_string())),
        Err(err) => Err(ErrorCode::Other(err.to_string())),
    }
}
