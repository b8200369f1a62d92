//! What consumers ask and tell about offsets: a partition's bounds, how far a stream's consumer
//! has come, and the offsets that are kept under a consumer's id.

use fluvio_protocol::link::ErrorCode;
use fluvio_protocol::record::ReplicaKey;
use fluvio_spu_schema::server::consumer_offset::{
    DeleteConsumerOffsetRequest, DeleteConsumerOffsetResponse, FetchConsumerOffsetsRequest,
    FetchConsumerOffsetsResponse, UpdateConsumerOffsetRequest, UpdateConsumerOffsetResponse,
};
use fluvio_spu_schema::server::fetch_offset::{
    FetchOffsetPartitionResponse, FetchOffsetTopicResponse, FetchOffsetsRequest,
    FetchOffsetsResponse,
};
use fluvio_spu_schema::server::update_offset::{
    OffsetUpdateStatus, UpdateOffsetsRequest, UpdateOffsetsResponse,
};

use super::{Session, Spu};

impl Spu {
    /// The first and the next offset of partitions.
    pub(super) fn fetch_offsets(&self, request: FetchOffsetsRequest) -> FetchOffsetsResponse {
        // Clients before the consumer offset requests name the consumer here.
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

    /// Stores how far the consumer of a stream has come.
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

    /// Forgets how far a consumer has come.
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

    /// Lists how far consumers have come. Those of deleted topics are left out.
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

/// Tells streams how far their consumers have come.
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
