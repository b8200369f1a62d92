//! Delete: topics and SmartModules.

use fluvio_controlplane_metadata::smartmodule::{SmartModulePackageKey, SmartModuleSpec};
use fluvio_controlplane_metadata::spg::SpuGroupSpec;
use fluvio_controlplane_metadata::spu::CustomSpuSpec;
use fluvio_controlplane_metadata::tableformat::TableFormatSpec;
use fluvio_controlplane_metadata::topic::TopicSpec;
use fluvio_protocol::link::ErrorCode;
use fluvio_sc_schema::core::Spec;
use fluvio_sc_schema::mirror::MirrorSpec;
use fluvio_sc_schema::objects::{DeleteRequest, ObjectApiDeleteRequest};
use fluvio_sc_schema::{Status, TryEncodableFrom};

use super::{Sc, failed, unsupported};

impl Sc {
    pub(super) async fn delete(&self, request: ObjectApiDeleteRequest) -> anyhow::Result<Status> {
        if let Some(request) = request.downcast()? as Option<DeleteRequest<TopicSpec>> {
            return Ok(self.delete_topic(request.key()).await);
        }
        if let Some(request) = request.downcast()? as Option<DeleteRequest<SmartModuleSpec>> {
            return self.delete_smartmodule(request.key()).await;
        }
        Ok(
            if (request.downcast()? as Option<DeleteRequest<CustomSpuSpec>>).is_some() {
                unsupported("delete", "further SPUs")
            } else if let Some(request) = request.downcast()? as Option<DeleteRequest<SpuGroupSpec>>
            {
                unsupported(request.key(), "SPU groups")
            } else if let Some(request) =
                request.downcast()? as Option<DeleteRequest<TableFormatSpec>>
            {
                not_found(request.key(), ErrorCode::TableFormatNotFound)
            } else if let Some(request) = request.downcast()? as Option<DeleteRequest<MirrorSpec>> {
                let name = request.key();
                let reason = format!("remote cluster {name:?} not found");
                Status::new(name, ErrorCode::MirrorNotFound, Some(reason))
            } else {
                Status::new(
                    "delete error".to_owned(),
                    ErrorCode::Other("unknown admin object type".to_owned()),
                    None,
                )
            },
        )
    }

    /// The system topic stays, unlike in a cluster even when the client forces: nobody would
    /// make it again.
    async fn delete_topic(&self, name: String) -> Status {
        let change = self.metadata.change().await;
        let Some(spec) = self.metadata.topics.spec(&name).await else {
            return not_found(name, ErrorCode::TopicNotFound);
        };
        if spec.is_system() {
            let code = ErrorCode::SystemSpecDeletionAttempt {
                kind: TopicSpec::LABEL.to_lowercase(),
                name: name.clone(),
            };
            return Status::new(name, code, None);
        }
        match change.delete_topic(name.clone()).await {
            Ok(()) => Status::new_ok(name),
            Err(err) => failed(name, ErrorCode::TopicError, &err),
        }
    }

    async fn delete_smartmodule(&self, name: String) -> anyhow::Result<Status> {
        let store_id = SmartModulePackageKey::from_qualified_name(&name)?.store_id();
        let change = self.metadata.change().await;
        if !self.metadata.smartmodules.contains_key(&store_id).await {
            let code = ErrorCode::SmartModuleNotFound { name: name.clone() };
            return Ok(not_found(name, code));
        }
        Ok(match change.delete_smartmodule(store_id).await {
            Ok(()) => Status::new_ok(name),
            Err(err) => failed(name, ErrorCode::SmartModuleError, &err),
        })
    }
}

fn not_found(name: String, code: ErrorCode) -> Status {
    Status::new(name, code, Some("not found".to_owned()))
}
