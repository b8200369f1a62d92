//! Create: topics and SmartModules.

use fluvio_controlplane_metadata::smartmodule::SmartModuleSpec;
use fluvio_controlplane_metadata::spg::SpuGroupSpec;
use fluvio_controlplane_metadata::spu::CustomSpuSpec;
use fluvio_controlplane_metadata::tableformat::TableFormatSpec;
use fluvio_controlplane_metadata::topic::{ReplicaSpec, TopicSpec};
use fluvio_protocol::link::ErrorCode;
use fluvio_sc_schema::mirror::MirrorSpec;
use fluvio_sc_schema::objects::{CreateRequest, ObjectApiCreateRequest};
use fluvio_sc_schema::shared::validate_resource_name;
use fluvio_sc_schema::{Status, TryEncodableFrom};

use super::{Sc, failed, unsupported};
use crate::spu::SPU_ID;

impl Sc {
    pub(super) async fn create(&self, request: ObjectApiCreateRequest) -> anyhow::Result<Status> {
        if let Some(request) = request.downcast()? as Option<CreateRequest<TopicSpec>> {
            return Ok(self.create_topic(request).await);
        }
        if let Some(request) = request.downcast()? as Option<CreateRequest<SmartModuleSpec>> {
            return Ok(self.create_smartmodule(request).await);
        }
        Ok(
            if let Some(request) = request.downcast()? as Option<CreateRequest<SpuGroupSpec>> {
                unsupported(request.common.name, "SPU groups")
            } else if let Some(request) =
                request.downcast()? as Option<CreateRequest<CustomSpuSpec>>
            {
                unsupported(request.common.name, "further SPUs")
            } else if let Some(request) =
                request.downcast()? as Option<CreateRequest<TableFormatSpec>>
            {
                unsupported(request.common.name, "table formats")
            } else if let Some(request) = request.downcast()? as Option<CreateRequest<MirrorSpec>> {
                unsupported(request.common.name, "mirrors")
            } else {
                Status::new(
                    "create error".to_owned(),
                    ErrorCode::Other("unknown admin object type".to_owned()),
                    None,
                )
            },
        )
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
        // Whether there are SPUs enough is not for a dry run to say.
        if common.dry_run {
            return Status::new_ok(name);
        }
        if let ReplicaSpec::Computed(computed) = spec.replicas()
            && computed.replication_factor > 1
        {
            let reason = format!(
                "{} replicas need as many SPUs; this node is one",
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
        // A package's name goes before the one in the request.
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

/// The partitions that a topic may have here: each keeps a file open.
const MAX_PARTITIONS: u32 = 1024;

/// Refuses what the real server would, and what one SPU can't do.
pub(super) fn validate(spec: &TopicSpec) -> Result<(), (ErrorCode, String)> {
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
