//! Lists the objects of one kind.

use anyhow::bail;
use fluvio_controlplane_metadata::partition::PartitionSpec;
use fluvio_controlplane_metadata::smartmodule::{SmartModulePackageKey, SmartModuleSpec};
use fluvio_controlplane_metadata::spg::SpuGroupSpec;
use fluvio_controlplane_metadata::spu::{CustomSpuSpec, SpuSpec};
use fluvio_controlplane_metadata::store::KeyFilter;
use fluvio_controlplane_metadata::tableformat::TableFormatSpec;
use fluvio_controlplane_metadata::topic::TopicSpec;
use fluvio_protocol::Version;
use fluvio_sc_schema::mirror::MirrorSpec;
use fluvio_sc_schema::objects::{
    ListFilter, ListRequest, ListResponse, Metadata, ObjectApiListRequest, ObjectApiListResponse,
};
use fluvio_sc_schema::{AdminSpec, TryEncodableFrom};

use super::Sc;

impl Sc {
    pub(super) async fn list(
        &self,
        request: ObjectApiListRequest,
        version: Version,
    ) -> anyhow::Result<ObjectApiListResponse> {
        if let Some(request) = request.downcast()? as Option<ListRequest<TopicSpec>> {
            ObjectApiListResponse::try_encode_from(self.list_topics(request).await, version)
        } else if let Some(request) = request.downcast()? as Option<ListRequest<PartitionSpec>> {
            ObjectApiListResponse::try_encode_from(self.list_partitions(request).await, version)
        } else if let Some(request) = request.downcast()? as Option<ListRequest<SpuSpec>> {
            ObjectApiListResponse::try_encode_from(self.list_spus(request).await, version)
        } else if let Some(request) = request.downcast()? as Option<ListRequest<CustomSpuSpec>> {
            ObjectApiListResponse::try_encode_from(self.list_custom_spus(request).await, version)
        } else if let Some(request) = request.downcast()? as Option<ListRequest<SmartModuleSpec>> {
            ObjectApiListResponse::try_encode_from(self.list_smartmodules(request).await?, version)
        } else if (request.downcast()? as Option<ListRequest<SpuGroupSpec>>).is_some() {
            ObjectApiListResponse::try_encode_from(none::<SpuGroupSpec>(), version)
        } else if (request.downcast()? as Option<ListRequest<TableFormatSpec>>).is_some() {
            ObjectApiListResponse::try_encode_from(none::<TableFormatSpec>(), version)
        } else if (request.downcast()? as Option<ListRequest<MirrorSpec>>).is_some() {
            ObjectApiListResponse::try_encode_from(none::<MirrorSpec>(), version)
        } else {
            bail!("a list of objects that are unknown to this release of Fluvio")
        }
    }

    async fn list_topics(&self, request: ListRequest<TopicSpec>) -> ListResponse<TopicSpec> {
        let topics = self.metadata.topics.clone_values().await;
        ListResponse::new(
            topics
                .into_iter()
                .filter(|it| it.spec.is_system() == request.system)
                .filter(|it| request.name_filters.filter(&it.key))
                .map(Metadata::from)
                .collect(),
        )
    }

    /// Ignores name filters, like the real server.
    async fn list_partitions(
        &self,
        request: ListRequest<PartitionSpec>,
    ) -> ListResponse<PartitionSpec> {
        let partitions = self.metadata.partitions.clone_values().await;
        ListResponse::new(
            partitions
                .into_iter()
                .filter(|it| it.spec.system == request.system)
                .map(|mut partition| {
                    if let Some(replica) = self.metadata.replicas.get(&partition.key) {
                        partition.set_status(replica.status());
                    }
                    Metadata::from(partition)
                })
                .collect(),
        )
    }

    async fn list_spus(&self, request: ListRequest<SpuSpec>) -> ListResponse<SpuSpec> {
        let spus = self.metadata.spus.clone_values().await;
        ListResponse::new(
            spus.into_iter()
                .filter(|it| request.name_filters.filter(&it.key))
                .map(Metadata::from)
                .collect(),
        )
    }

    async fn list_custom_spus(
        &self,
        request: ListRequest<CustomSpuSpec>,
    ) -> ListResponse<CustomSpuSpec> {
        let spus = self.metadata.spus.clone_values().await;
        ListResponse::new(
            spus.into_iter()
                .filter(|it| request.name_filters.filter(&it.key))
                .map(|it| Metadata {
                    name: it.key,
                    spec: it.spec.into(),
                    status: it.status,
                })
                .collect(),
        )
    }

    async fn list_smartmodules(
        &self,
        request: ListRequest<SmartModuleSpec>,
    ) -> anyhow::Result<ListResponse<SmartModuleSpec>> {
        let filters: Vec<ListFilter> = request.name_filters.into();
        let filters = filters
            .iter()
            .map(|it| SmartModulePackageKey::from_qualified_name(&it.name))
            .collect::<Result<Vec<_>, _>>()?;
        let smartmodules = self.metadata.smartmodules.clone_values().await;
        let wanted = smartmodules.into_iter().filter(|it| {
            let package = it.spec.meta.as_ref().map(|meta| &meta.package);
            filters.is_empty()
                || filters
                    .iter()
                    .any(|filter| filter.is_match(&it.key, package))
        });
        let listed = wanted.map(|it| {
            let metadata = Metadata::from(it);
            if request.summary {
                metadata.summary()
            } else {
                metadata
            }
        });
        Ok(ListResponse::new(listed.collect()))
    }
}

fn none<S>() -> ListResponse<S>
where
    S: AdminSpec,
    S::Status: fluvio_protocol::Encoder + fluvio_protocol::Decoder + std::fmt::Debug,
{
    ListResponse::new(Vec::new())
}
