//! Create, delete and update: topics and SmartModules.

use fluvio_controlplane_metadata::smartmodule::{SmartModulePackageKey, SmartModuleSpec};
use fluvio_controlplane_metadata::topic::{ReplicaSpec, TopicSpec, UpdateTopicAction};
use fluvio_protocol::link::ErrorCode;
use fluvio_sc_schema::core::Spec;
use fluvio_sc_schema::objects::{
    CreateRequest, DeleteRequest, ObjectApiCreateRequest, ObjectApiDeleteRequest,
    ObjectApiUpdateRequest, UpdateRequest,
};
use fluvio_sc_schema::shared::validate_resource_name;
use fluvio_sc_schema::{Status, TryEncodableFrom};

use super::Sc;
use crate::replicas::SPU_ID;

impl Sc {
    pub(super) async fn create(&self, request: ObjectApiCreateRequest) -> anyhow::Result<Status> {
        if let Some(request) = request.downcast()? as Option<CreateRequest<TopicSpec>> {
            return Ok(self.create_topic(request).await);
        }
        if let Some(request) = request.downcast()? as Option<CreateRequest<SmartModuleSpec>> {
            return Ok(self.create_smartmodule(request).await);
        }
        Ok(unknown_object("create error"))
    }

    async fn create_topic(&self, request: CreateRequest<TopicSpec>) -> Status {
        let (common, spec) = request.parts();
        let name = common.name;
        if let Err(err) = validate_resource_name(&name) {
            let reason = format!("Invalid topic name: '{name}'. {err}");
            return Status::new(name, ErrorCode::TopicInvalidName, Some(reason));
        }
        let change = self.metadata.change().await;
        if self.metadata.topics.contains_key(&name).await {
            let reason = format!("Topic '{name}' already exists");
            return Status::new(name, ErrorCode::TopicAlreadyExists, Some(reason));
        }
        if let Err((code, reason)) = validate(&spec) {
            return Status::new(name, code, Some(reason));
        }
        // A dry run doesn't check the number of SPUs.
        if common.dry_run {
            return Status::new_ok(name);
        }
        if let ReplicaSpec::Computed(computed) = spec.replicas()
            && computed.replication_factor > 1
        {
            let reason = format!(
                "{} replicas need as many SPUs; this node has one",
                computed.replication_factor
            );
            return Status::new(name, ErrorCode::TopicNotProvisioned, Some(reason));
        }
        match change.create_topic(name.clone(), spec).await {
            Ok(()) => Status::new_ok(name),
            Err(err) => failed(name, ErrorCode::TopicNotProvisioned, &err),
        }
    }

    async fn create_smartmodule(&self, request: CreateRequest<SmartModuleSpec>) -> Status {
        let (common, spec) = request.parts();
        // A package's name takes precedence over the request's.
        let name = match &spec.meta {
            Some(meta) if !meta.package.is_valid() => {
                let reason = "invalid SmartModule package".to_owned();
                return Status::new(common.name, ErrorCode::SmartModuleError, Some(reason));
            }
            Some(meta) => meta.store_id(),
            None => common.name,
        };
        let change = self.metadata.change().await;
        match change.put_smartmodule(name.clone(), spec).await {
            Ok(()) => Status::new_ok(name),
            Err(err) => failed(name, ErrorCode::SmartModuleError, &err),
        }
    }
}

impl Sc {
    pub(super) async fn delete(&self, request: ObjectApiDeleteRequest) -> anyhow::Result<Status> {
        if let Some(request) = request.downcast()? as Option<DeleteRequest<TopicSpec>> {
            return Ok(self.delete_topic(request.key()).await);
        }
        if let Some(request) = request.downcast()? as Option<DeleteRequest<SmartModuleSpec>> {
            return self.delete_smartmodule(request.key()).await;
        }
        Ok(unknown_object("delete error"))
    }

    /// Deletes a topic. Unlike in a cluster, the system topic can't be deleted by force, since
    /// nothing would recreate it.
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

impl Sc {
    pub(super) async fn update(&self, request: ObjectApiUpdateRequest) -> anyhow::Result<Status> {
        let Some(request) = request.downcast()? as Option<UpdateRequest<TopicSpec>> else {
            return Ok(unknown_object("update error"));
        };
        Ok(match request.action.clone() {
            UpdateTopicAction::AddPartition(add) => {
                self.add_partitions(request.key(), add.count).await
            }
            UpdateTopicAction::AddMirror(_) => {
                let reason = "this node has no mirrors; a Fluvio cluster has".to_owned();
                let code = ErrorCode::Other(reason.clone());
                Status::new(request.key(), code, Some(reason))
            }
        })
    }

    async fn add_partitions(&self, name: String, count: u32) -> Status {
        let change = self.metadata.change().await;
        let Some(mut spec) = self.metadata.topics.spec(&name).await else {
            return not_found(name, ErrorCode::TopicNotFound);
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

/// The most partitions of a topic. Each keeps a file open.
const MAX_PARTITIONS: u32 = 1024;

/// Refuses topics that the real server would refuse or that the node doesn't support.
fn validate(spec: &TopicSpec) -> Result<(), (ErrorCode, String)> {
    if let Some(reason) = spec.validate_config() {
        return Err((ErrorCode::TopicInvalidConfiguration, reason));
    }
    if spec.get_deduplication().is_some() {
        let reason = "this node does not deduplicate; a Fluvio cluster does".to_owned();
        return Err((ErrorCode::TopicInvalidConfiguration, reason));
    }
    if spec.partitions() > MAX_PARTITIONS {
        let reason = format!("this node takes up to {MAX_PARTITIONS} partitions a topic");
        return Err((ErrorCode::TopicInvalidConfiguration, reason));
    }
    let invalid = |reason: String| (ErrorCode::TopicError, reason);
    match spec.replicas() {
        ReplicaSpec::Computed(computed) => ReplicaSpec::valid_partition(&computed.partitions)
            .and_then(|()| ReplicaSpec::valid_replication_factor(&computed.replication_factor))
            .map_err(|err| invalid(err.to_string())),
        ReplicaSpec::Assigned(map) => {
            map.validate().map_err(|err| invalid(err.to_string()))?;
            match map
                .unique_spus_in_partition_map()
                .into_iter()
                .find(|spu| *spu != SPU_ID)
            {
                Some(spu) => Err(invalid(format!("invalid spu id: {spu}"))),
                None => Ok(()),
            }
        }
        ReplicaSpec::Mirror(_) => Err((
            ErrorCode::TopicInvalidReplicaType,
            "this node does not mirror; a Fluvio cluster does".to_owned(),
        )),
    }
}

fn not_found(name: String, code: ErrorCode) -> Status {
    Status::new(name, code, Some("not found".to_owned()))
}

/// The answer to a change of an object that this node doesn't have. The real server answers so for
/// objects that it doesn't know.
fn unknown_object(name: &str) -> Status {
    let code = ErrorCode::Other("unknown admin object type".to_owned());
    Status::new(name.to_owned(), code, None)
}

/// The answer to a change that failed.
fn failed(name: String, code: ErrorCode, err: &anyhow::Error) -> Status {
    tracing::error!(name, "{err:#}");
    Status::new(name, code, Some(format!("{err:#}")))
}
