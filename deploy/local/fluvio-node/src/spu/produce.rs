//! Produce: appends batches as they were sent and answers with their base offsets.
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
use fluvio_spu_schema::server::smartmodule::SmartModuleInvocation;

use super::transform::{Chain, InputBatch};
use super::{Replica, Spu};
use crate::log::AppendError;

impl Spu {
    pub(super) async fn produce(
        &self,
        request: DefaultProduceRequest,
        version: i16,
    ) -> ProduceResponse {
        let mut responses = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let key = ReplicaKey::new(topic.name.clone(), partition.partition_index);
                let produced = self
                    .produce_partition(&key, partition.records, &request.smartmodules, version)
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
        smartmodules: &[SmartModuleInvocation],
        version: i16,
    ) -> Result<Offset, ErrorCode> {
        let replica = self
            .replicas
            .get(key)
            .ok_or(ErrorCode::NotLeaderForPartition)?;
        let invocations = self.resolve(smartmodules.to_vec()).await?;
        let engine = self.engine.clone();
        let work = move || {
            let records = match Chain::build(invocations, version, &engine)? {
                None => records,
                Some(mut chain) => {
                    chain.look_back(&replica.log)?;
                    transform(&mut chain, &records)?
                }
            };
            // What a SmartModule has filtered out altogether was still produced.
            if records.total_records() == 0 {
                return Ok(0);
            }
            append(&replica, records)
        };
        tokio::task::spawn_blocking(work)
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

/// Runs the producer's SmartModules: all its batches become one.
fn transform(
    chain: &mut Chain,
    records: &RecordSet<RawRecords>,
) -> Result<RecordSet<RawRecords>, ErrorCode> {
    let batches = records.batches.iter().map(InputBatch::from_produced);
    let transformed = chain
        .process(batches, usize::MAX)
        .map_err(|err| ErrorCode::Other(format!("smartmodule chain failed: {err}")))?;
    if let Some(error) = transformed.error {
        return Err(ErrorCode::SmartModuleRuntimeError(Box::new(error)));
    }
    let batch = Batch::<RawRecords>::try_from(transformed.batch)
        .map_err(|err| ErrorCode::Other(format!("Compression Error: {err:?}")))?;
    Ok(RecordSet {
        batches: vec![batch],
    })
}
