//! The SPU: appends to logs, streams from them, and stores consumer offsets.
//!
//! The requests of a connection are answered in order, as in the real server; only streams run
//! concurrently.

mod offsets;
mod produce;
mod stream_fetch;
mod transform;

pub(crate) use offsets::ConsumerOffsets;

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::bail;
use fluvio_controlplane_metadata::smartmodule::SmartModuleSpec;
use fluvio_protocol::api::{Request, RequestMessage};
use fluvio_protocol::link::versions::{ApiVersionKey, ApiVersionsRequest, ApiVersionsResponse};
use fluvio_protocol::record::{Offset, ReplicaKey};
use fluvio_smartengine::SmartEngine;
use fluvio_spu_schema::produce::DefaultProduceRequest;
use fluvio_spu_schema::server::fetch_offset::FetchOffsetsRequest;
use fluvio_spu_schema::server::stream_fetch::DefaultStreamFetchRequest;
use fluvio_spu_schema::server::update_offset::UpdateOffsetsRequest;
use fluvio_spu_schema::server::{SpuServerApiKey, SpuServerRequest};
use tokio::sync::watch;

use crate::connection::{Connection, Service};
use crate::metadata::Store;
use crate::replicas::Replicas;

/// The API version of streams for clients up to Fluvio 0.9.12.
const STREAM_FETCH_OF_ANCIENT_CLIENTS: i16 = 15;

/// The SPU's service.
#[derive(Clone)]
pub(crate) struct Spu {
    pub replicas: Arc<Replicas>,
    pub smartmodules: Arc<Store<SmartModuleSpec>>,
    pub consumer_offsets: Arc<ConsumerOffsets>,
    pub engine: SmartEngine,
}

/// The streams of a connection, by the number that the client uses.
#[derive(Default)]
pub(crate) struct Session {
    streams: HashMap<u32, ConsumerStream>,
    last_stream: u32,
}

/// A running stream's state that its client can change.
pub(crate) struct ConsumerStream {
    /// The consumer's position. The SPU sends more once it has caught up.
    consumed: watch::Sender<Offset>,
    replica: ReplicaKey,
    /// The consumer whose offset the stream may store.
    consumer_id: Option<String>,
}

impl Session {
    /// Adds a stream. Returns its number and a watch of its consumer's position.
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
                let response = self.produce(request).await;
                responder.send(&header, response).await?;
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
            Requests::FileFetchRequest(_) => bail!("this node has streams, not plain fetches"),
            Requests::StartMirrorRequest(_) => bail!("this node does not mirror"),
        }
        Ok(())
    }
}

/// Returns the versions that the real SPU of this release reports, which omits its platform
/// version.
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
