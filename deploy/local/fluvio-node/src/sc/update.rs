//! Update: more partitions for a topic.

use fluvio_controlplane_metadata::topic::{ReplicaSpec, TopicSpec, UpdateTopicAction};
use fluvio_protocol::link::ErrorCode;
use fluvio_sc_schema::core::Spec;
use fluvio_sc_schema::objects::{ObjectApiUpdateRequest, UpdateRequest};
use fluvio_sc_schema::{Status, TryEncodableFrom};

use super::create::validate;
use super::{Sc, failed, unsupported};

impl Sc {
    pub(super) async fn update(&self, request: ObjectApiUpdateRequest) -> anyhow::Result<Status> {
        let Some(request) = request.downcast()? as Option<UpdateRequest<TopicSpec>> else {
            return Ok(Status::new(
                "update error".to_owned(),
                ErrorCode::Other("unknown admin object type".to_owned()),
                None,
            ));
        };
        Ok(match request.action.clone() {
            UpdateTopicAction::AddPartition(add) => {
                self.add_partitions(request.key(), add.count).await
            }
            UpdateTopicAction::AddMirror(_) => unsupported(request.key(), "mirrors"),
        })
    }

    async fn add_partitions(&self, name: String, count: u32) -> Status {
        let change = self.metadata.change().await;
        let Some(mut spec) = self.metadata.topics.spec(&name).await else {
            let reason = "not found".to_owned();
            return Status::new(name, ErrorCode::TopicNotFound, Some(reason));
        };
        if spec.is_system() {
            let code = ErrorCode::SystemSpecUpdatingAttempt {
                kind: TopicSpec::LABEL.to_lowercase(),
                name: name.clone(),
            };
            return Status::new(name, code, None);
        }
        let ReplicaSpec::Computed(computed) = spec.replicas() else {
            let reason = "invalid replica type".to_owned();
            return Status::new(name, ErrorCode::TopicInvalidReplicaType, Some(reason));
        };
        let mut computed = computed.clone();
        computed.partitions = computed.partitions.saturating_add(count);
        spec.set_replicas(ReplicaSpec::Computed(computed));
        if let Err((code, reason)) = validate(&spec) {
            return Status::new(name, code, Some(reason));
        }
        match change.create_topic(name.clone(), spec).await {
            Ok(()) => Status::new_ok(name),
            Err(err) => failed(name, ErrorCode::TopicError, &err),
        }
    }
}
