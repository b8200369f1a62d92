//! The SC: answers clients' requests about metadata and changes it.

mod change;
mod list;
mod watch;

use std::sync::Arc;

use anyhow::{Context, bail};
use fluvio_protocol::api::{Request, RequestMessage};
use fluvio_protocol::link::versions::{ApiVersionKey, ApiVersionsResponse, PlatformVersion};
use fluvio_sc_schema::mirroring::ObjectMirroringRequest;
use fluvio_sc_schema::objects::{
    ObjectApiCreateRequest, ObjectApiDeleteRequest, ObjectApiListRequest, ObjectApiUpdateRequest,
    ObjectApiWatchRequest,
};
use fluvio_sc_schema::{AdminPublicApiKey, AdminPublicDecodedRequest};

use crate::connection::{Connection, Service};
use crate::metadata::Metadata;

/// The Fluvio platform release that the node behaves like.
const PLATFORM_VERSION: semver::Version = semver::Version::new(0, 18, 1);

/// The SC's service.
#[derive(Clone)]
pub(crate) struct Sc {
    pub metadata: Arc<Metadata>,
}

impl Service for Sc {
    type Request = AdminPublicDecodedRequest;
    type Session = ();

    async fn handle(
        &self,
        request: AdminPublicDecodedRequest,
        (): &mut (),
        connection: &Connection,
    ) -> anyhow::Result<()> {
        use AdminPublicDecodedRequest as Requests;
        let responder = &connection.responder;
        match request {
            Requests::ApiVersionsRequest(RequestMessage { header, request }) => {
                // The real SC doesn't answer a client without a valid version.
                let client = &request.client_version;
                semver::Version::parse(client)
                    .with_context(|| format!("a client of version {client:?}"))?;
                responder.send(&header, api_versions()).await?;
            }
            Requests::CreateRequest(message) => {
                let RequestMessage { header, request } = *message;
                responder.send(&header, self.create(request).await?).await?;
            }
            Requests::DeleteRequest(RequestMessage { header, request }) => {
                responder.send(&header, self.delete(request).await?).await?;
            }
            Requests::UpdateRequest(RequestMessage { header, request }) => {
                responder.send(&header, self.update(request).await?).await?;
            }
            Requests::ListRequest(RequestMessage { header, request }) => {
                let response = self.list(request, header.api_version()).await?;
                responder.send(&header, response).await?;
            }
            Requests::WatchRequest(request) => self.watch(request, connection)?,
            Requests::MirroringRequest(_) => bail!("this node does not mirror"),
        }
        Ok(())
    }
}

fn api_versions() -> ApiVersionsResponse {
    fn key<R: Request>(key: AdminPublicApiKey) -> ApiVersionKey {
        ApiVersionKey {
            api_key: key as i16,
            min_version: R::MIN_API_VERSION,
            max_version: R::MAX_API_VERSION,
        }
    }
    ApiVersionsResponse {
        api_keys: vec![
            key::<ObjectApiCreateRequest>(AdminPublicApiKey::Create),
            key::<ObjectApiDeleteRequest>(AdminPublicApiKey::Delete),
            key::<ObjectApiListRequest>(AdminPublicApiKey::List),
            key::<ObjectApiWatchRequest>(AdminPublicApiKey::Watch),
            key::<ObjectMirroringRequest>(AdminPublicApiKey::Mirroring),
            key::<ObjectApiUpdateRequest>(AdminPublicApiKey::Update),
        ],
        platform_version: PlatformVersion::new(&PLATFORM_VERSION),
        ..ApiVersionsResponse::default()
    }
}
