//! The plain fetch: one read of each partition, answered at once. Today's client streams
//! instead, others still use it.

use std::sync::Arc;

use fluvio_protocol::link::ErrorCode;
use fluvio_protocol::record::ReplicaKey;
use fluvio_spu_schema::fetch::{
    FileFetchRequest, FileFetchResponse, FilePartitionResponse, FileTopicResponse,
};

use super::{MAX_RAW_BYTES, Replica, Spu, record_set};
use crate::log::{LogRead, LogSlice};

impl Spu {
    /// The response, and the slices that its record sets stand for.
    pub(super) async fn fetch(
        &self,
        request: FileFetchRequest,
    ) -> (FileFetchResponse, Vec<Option<LogSlice>>) {
        let mut response = FileFetchResponse::default();
        let mut slices = Vec::new();
        let max_bytes = (request.max_bytes as u32).min(MAX_RAW_BYTES);
        for topic in request.topics {
            let mut topic_response = FileTopicResponse {
                name: topic.name.clone(),
                ..FileTopicResponse::default()
            };
            for partition in topic.fetch_partitions {
                let key = ReplicaKey::new(topic.name.clone(), partition.partition_index);
                let replica = self.replicas.get(&key);
                let read = read(replica, partition.fetch_offset, max_bytes).await;
                let mut partition_response = FilePartitionResponse {
                    partition_index: partition.partition_index,
                    ..FilePartitionResponse::default()
                };
                let slice = match read {
                    Ok(LogRead { start, end, slice }) => {
                        partition_response.high_watermark = end;
                        partition_response.log_start_offset = start;
                        slice
                    }
                    Err(code) => {
                        partition_response.error_code = code;
                        None
                    }
                };
                partition_response.records = record_set(slice.as_ref());
                slices.push(slice);
                topic_response.partitions.push(partition_response);
            }
            response.topics.push(topic_response);
        }
        (response, slices)
    }
}

async fn read(
    replica: Option<Arc<Replica>>,
    offset: i64,
    max_len: u32,
) -> Result<LogRead, ErrorCode> {
    let replica = replica.ok_or(ErrorCode::NotLeaderForPartition)?;
    tokio::task::spawn_blocking(move || replica.log.read(offset, max_len))
        .await
        .map_err(|err| ErrorCode::Other(format!("a read failed: {err}")))?
}
