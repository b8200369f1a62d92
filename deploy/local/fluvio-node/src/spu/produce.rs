//! Produce requests: appends batches unchanged and answers with their base offsets.
//!
//! With one replica a record is committed once it is in the log, so `ReadCommitted` waits no
//! longer than `ReadUncommitted`.

use std::sync::Arc;

use fluvio_compression::Compression;
use fluvio_controlplane_metadata::topic::CompressionAlgorithm;
use fluvio_protocol::link::ErrorCode;
use fluvio_protocol::record::{Batch, Offset, RawRecords, RecordSet, ReplicaKey};
use fluvio_spu_schema::produce::{
    DefaultProduceRequest, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};

use super::Spu;
use crate::log::AppendError;
use crate::replicas::Replica;

impl Spu {
    pub(super) async fn produce(&self, request: DefaultProduceRequest) -> ProduceResponse {
        let has_smartmodules = !request.smartmodules.is_empty();
        let mut responses = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let key = ReplicaKey::new(topic.name.clone(), partition.partition_index);
                let produced = self
                    .produce_partition(&key, partition.records, has_smartmodules)
                    .await;
                let (error_code, base_offset) = match produced {
                    Ok(base_offset) => (ErrorCode::None, base_offset),
                    Err(error_code) => {
                        tracing::info!(%key, %error_code, "refused a produce request");
                        (error_code, 0)
                    }
                };
                partitions.push(PartitionProduceResponse {
                    partition_index: partition.partition_index,
                    error_code,
                    base_offset,
                    ..PartitionProduceResponse::default()
                });
            }
            responses.push(TopicProduceResponse {
                name: topic.name,
                partitions,
            });
        }
        ProduceResponse {
            responses,
            ..ProduceResponse::default()
        }
    }

    async fn produce_partition(
        &self,
        key: &ReplicaKey,
        records: RecordSet<RawRecords>,
        has_smartmodules: bool,
    ) -> Result<Offset, ErrorCode> {
        let replica = self
            .replicas
            .get(key)
            .ok_or(ErrorCode::NotLeaderForPartition)?;
        if has_smartmodules {
            let reason = "this node runs SmartModules on streams, not on produce requests";
            return Err(ErrorCode::Other(reason.to_owned()));
        }
        if records.total_records() == 0 {
            return Ok(0);
        }
        tokio::task::spawn_blocking(move || append(&replica, records))
            .await
            .unwrap_or_else(|err| Err(ErrorCode::Other(format!("produce failed: {err}"))))
    }
}

fn append(replica: &Arc<Replica>, mut records: RecordSet<RawRecords>) -> Result<Offset, ErrorCode> {
    if !records
        .batches
        .iter()
        .all(|batch| may_be_compressed_like(batch, &replica.compression))
    {
        return Err(ErrorCode::CompressionError);
    }
    replica
        .log
        .append(&mut records)
        .map(|offsets| offsets.start)
        .map_err(|err| {
            tracing::error!(partition = %replica.key, %err, "can't append");
            error_code(err, &replica.key)
        })
}

fn error_code(err: AppendError, key: &ReplicaKey) -> ErrorCode {
    match err {
        AppendError::BatchTooLarge { .. } => ErrorCode::MessageTooLarge,
        AppendError::Deleted => ErrorCode::NotLeaderForPartition,
        AppendError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            ErrorCode::PartitionFull {
                replica_key: key.clone(),
            }
        }
        AppendError::EmptyBatch | AppendError::Io { .. } => ErrorCode::StorageError,
    }
}

fn may_be_compressed_like(batch: &Batch<RawRecords>, wanted: &CompressionAlgorithm) -> bool {
    let Ok(compression) = batch.get_compression() else {
        return false;
    };
    match wanted {
        CompressionAlgorithm::Any => true,
        CompressionAlgorithm::None => compression == Compression::None,
        CompressionAlgorithm::Gzip => compression == Compression::Gzip,
        CompressionAlgorithm::Snappy => compression == Compression::Snappy,
        CompressionAlgorithm::Lz4 => compression == Compression::Lz4,
        CompressionAlgorithm::Zstd => compression == Compression::Zstd,
    }
}
