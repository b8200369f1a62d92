//! The SPU: produces into logs, streams from them, and keeps consumer offsets.
//!
//! The requests of a connection are answered in order, as in the real server; only streams run
//! on the side.

mod consumer_offsets;
mod fetch;
mod offsets;
mod produce;
mod replicas;
mod stream_fetch;
mod transform;

pub(crate) use consumer_offsets::ConsumerOffsets;
pub(crate) use replicas::{Replica, Replicas};

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use anyhow::bail;
use fluvio_controlplane_metadata::smartmodule::SmartModuleSpec;
use fluvio_future::file_slice::AsyncFileSlice;
use fluvio_protocol::api::{Request, RequestMessage};
use fluvio_protocol::link::versions::{ApiVersionKey, ApiVersionsRequest, ApiVersionsResponse};
use fluvio_protocol::record::{Offset, ReplicaKey};
use fluvio_smartengine::SmartEngine;
use fluvio_spu_schema::fetch::DefaultFetchRequest;
use fluvio_spu_schema::file::FileRecordSet;
use fluvio_spu_schema::produce::DefaultProduceRequest;
use fluvio_spu_schema::server::fetch_offset::FetchOffsetsRequest;
use fluvio_spu_schema::server::stream_fetch::DefaultStreamFetchRequest;
use fluvio_spu_schema::server::update_offset::UpdateOffsetsRequest;
use fluvio_spu_schema::server::{SpuServerApiKey, SpuServerRequest};
use tokio::sync::watch;

use crate::listener::{Connection, Service};
use crate::log::LogSlice;
use crate::metadata::Store;

/// The identity of the node's one SPU: that of the first SPU of `fluvio cluster start --local`.
pub(crate) const SPU_ID: i32 = 5001;

/// The API version that clients up to Fluvio 0.9.12 are told for streams.
const STREAM_FETCH_OF_ANCIENT_CLIENTS: i16 = 15;

/// The most that a response carries straight from a log, whatever the client allows: a frame's
/// length has to fit into 31 bits.
pub(crate) const MAX_RAW_BYTES: u32 = 1024 * 1024 * 1024;

/// The SPU's side of the node.
#[derive(Clone)]
pub(crate) struct Spu {
    pub replicas: Arc<Replicas>,
    pub smartmodules: Arc<Store<SmartModuleSpec>>,
    pub consumer_offsets: Arc<ConsumerOffsets>,
    pub engine: SmartEngine,
}

/// The streams of a connection, by the number that the client knows them by.
#[derive(Default)]
pub(crate) struct Session {
    streams: HashMap<u32, ConsumerStream>,
    last_stream: u32,
}

/// What a client can say about a stream while it runs.
pub(crate) struct ConsumerStream {
    /// How far the consumer has come. The SPU sends more when it has caught up.
    consumed: watch::Sender<Offset>,
    replica: ReplicaKey,
    /// Whose consumer offset the stream may store.
    consumer_id: Option<String>,
}

impl Session {
    /// Returns the new stream's number, and what tells how far its consumer has come.
    fn begin_stream(
        &mut self,
        replica: ReplicaKey,
        consumer_id: Option<String>,
    ) -> (u32, watch::Receiver<Offset>) {
        self.last_stream += 1;
        let (sender, consumed) = watch::channel(0);
        let stream = ConsumerStream {
            consumed: sender,
            replica,
            consumer_id,
        };
        self.streams.insert(self.last_stream, stream);
        (self.last_stream, consumed)
    }
}

impl Service for Spu {
    type Request = SpuServerRequest;
    type Session = Session;

    async fn handle(
        &self,
        request: SpuServerRequest,
        session: &mut Session,
        connection: &Connection,
    ) -> anyhow::Result<()> {
        use SpuServerRequest as Requests;
        let responder = &connection.responder;
        match request {
            Requests::ApiVersionsRequest(RequestMessage { header, request }) => {
                responder.send(&header, api_versions(&request)).await?;
            }
            Requests::ProduceRequest(RequestMessage { header, request }) => {
                let response = self.produce(request, header.api_version()).await;
                responder.send(&header, response).await?;
            }
            Requests::FileFetchRequest(RequestMessage { header, request }) => {
                let (response, slices) = self.fetch(request).await;
                responder.send_records(&header, response, &slices).await?;
            }
            Requests::FileStreamFetchRequest(request) => {
                self.start_stream(request, session, connection).await?;
            }
            Requests::FetchOffsetsRequest(RequestMessage { header, request }) => {
                responder.send(&header, self.fetch_offsets(request)).await?;
            }
            Requests::UpdateOffsetsRequest(RequestMessage { header, request }) => {
                let response = offsets::update_offsets(request, session);
                responder.send(&header, response).await?;
            }
            Requests::UpdateConsumerOffsetRequest(RequestMessage { header, request }) => {
                let response = self.update_consumer_offset(request, session).await;
                responder.send(&header, response).await?;
            }
            Requests::DeleteConsumerOffsetRequest(RequestMessage { header, request }) => {
                let response = self.delete_consumer_offset(request).await;
                responder.send(&header, response).await?;
            }
            Requests::FetchConsumerOffsetsRequest(RequestMessage { header, request }) => {
                let response = self.fetch_consumer_offsets(request);
                responder.send(&header, response).await?;
            }
            Requests::StartMirrorRequest(_) => bail!("this node does not mirror"),
        }
        Ok(())
    }
}

/// The versions that the real SPU of this release names; it names no platform version either.
fn api_versions(request: &ApiVersionsRequest) -> ApiVersionsResponse {
    let stream_fetch = if request.client_version.is_empty() {
        STREAM_FETCH_OF_ANCIENT_CLIENTS
    } else {
        DefaultStreamFetchRequest::DEFAULT_API_VERSION
    };
    let key = |key: SpuServerApiKey, min_version, max_version| ApiVersionKey {
        api_key: key as i16,
        min_version,
        max_version,
    };
    ApiVersionsResponse {
        api_keys: vec![
            key(
                SpuServerApiKey::Produce,
                DefaultProduceRequest::MIN_API_VERSION,
                DefaultProduceRequest::MAX_API_VERSION,
            ),
            key(
                SpuServerApiKey::Fetch,
                DefaultFetchRequest::MIN_API_VERSION,
                DefaultFetchRequest::MAX_API_VERSION,
            ),
            key(
                SpuServerApiKey::FetchOffsets,
                FetchOffsetsRequest::DEFAULT_API_VERSION,
                FetchOffsetsRequest::DEFAULT_API_VERSION,
            ),
            key(SpuServerApiKey::StreamFetch, 0, stream_fetch),
            key(
                SpuServerApiKey::UpdateOffsets,
                0,
                UpdateOffsetsRequest::DEFAULT_API_VERSION,
            ),
        ],
        ..ApiVersionsResponse::default()
    }
}

/// A record set of a response to be sent with
/// [`send_records`](crate::wire::Responder::send_records).
pub(crate) fn record_set(slice: Option<&LogSlice>) -> FileRecordSet {
    slice.map_or_else(FileRecordSet::default, |it| {
        AsyncFileSlice::new(it.file().as_raw_fd(), it.position(), it.len()).into()
    })
}
