//! Watches: send all objects of one kind, then changes, until the connection ends.
//!
//! A partition's offsets and size change with every record. A watch has those of the time when the
//! partition was opened; [`list`](super::list) has the current ones.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use anyhow::bail;
use fluvio_controlplane_metadata::message::Message;
use fluvio_controlplane_metadata::partition::PartitionSpec;
use fluvio_controlplane_metadata::smartmodule::SmartModuleSpec;
use fluvio_controlplane_metadata::spg::SpuGroupSpec;
use fluvio_controlplane_metadata::spu::SpuSpec;
use fluvio_controlplane_metadata::store::{ChangeListener, MetadataChanges};
use fluvio_controlplane_metadata::tableformat::TableFormatSpec;
use fluvio_controlplane_metadata::topic::TopicSpec;
use fluvio_protocol::api::{RequestHeader, RequestMessage};
use fluvio_protocol::{Decoder, Encoder};
use fluvio_sc_schema::objects::{
    Metadata, MetadataUpdate, ObjectApiWatchRequest, ObjectApiWatchResponse, WatchRequest,
    WatchResponse,
};
use fluvio_sc_schema::{AdminSpec, TryEncodableFrom};

use super::Sc;
use crate::connection::{Connection, Responder};
use crate::metadata::Store;

impl Sc {
    pub(super) fn watch(
        &self,
        request: RequestMessage<ObjectApiWatchRequest>,
        connection: &Connection,
    ) -> anyhow::Result<()> {
        let RequestMessage { header, request } = request;
        let metadata = &self.metadata;
        if (request.downcast()? as Option<WatchRequest<TopicSpec>>).is_some() {
            start(metadata.topics.clone(), header, false, connection);
        } else if (request.downcast()? as Option<WatchRequest<PartitionSpec>>).is_some() {
            start(metadata.partitions.clone(), header, false, connection);
        } else if (request.downcast()? as Option<WatchRequest<SpuSpec>>).is_some() {
            start(metadata.spus.clone(), header, false, connection);
        } else if let Some(watch) = request.downcast()? as Option<WatchRequest<SmartModuleSpec>> {
            let smartmodules = metadata.smartmodules.clone();
            start(smartmodules, header, watch.summary, connection);
        } else if (request.downcast()? as Option<WatchRequest<SpuGroupSpec>>).is_some() {
            start(
                Store::<SpuGroupSpec>::new_shared(),
                header,
                false,
                connection,
            );
        } else if (request.downcast()? as Option<WatchRequest<TableFormatSpec>>).is_some() {
            start(
                Store::<TableFormatSpec>::new_shared(),
                header,
                false,
                connection,
            );
        } else {
            bail!("a watch of objects that are unknown to this release of Fluvio");
        }
        Ok(())
    }
}

fn start<S>(store: Arc<Store<S>>, header: RequestHeader, summary: bool, connection: &Connection)
where
    S: AdminSpec,
    S::Status: Encoder + Decoder + Debug,
{
    let responder = connection.responder.clone();
    connection.tasks.spawn(async move {
        let listener = store.change_listener();
        if let Err(err) = follow(listener, &header, summary, &responder).await {
            tracing::debug!(objects = S::LABEL, %err, "watch ended");
        }
    });
}

async fn follow<S>(
    mut listener: ChangeListener<S, u32>,
    header: &RequestHeader,
    summary: bool,
    responder: &Responder,
) -> io::Result<()>
where
    S: AdminSpec,
    S::Status: Encoder + Decoder + Debug,
{
    loop {
        let update = update(listener.sync_changes().await, summary);
        let response = ObjectApiWatchResponse::try_encode_from(
            WatchResponse::new(update),
            header.api_version(),
        )
        .map_err(io::Error::other)?;
        responder.send(header, response).await?;
        tokio::select! {
            () = listener.listen() => {}
            () = responder.closed() => return Ok(()),
        }
    }
}

fn update<S>(changes: MetadataChanges<S, u32>, summary: bool) -> MetadataUpdate<S>
where
    S: AdminSpec,
    S::Status: Encoder + Decoder + Debug,
{
    let epoch = changes.epoch;
    let all = changes.is_sync_all();
    let (updated, deleted) = changes.parts();
    // Clients apply deletions last, so an object that was deleted and created again since the last
    // update must not be among them.
    let deleted: Vec<_> = deleted
        .into_iter()
        .filter(|it| updated.iter().all(|updated| updated.key != it.key))
        .map(|it| Message::delete(Metadata::from(it)))
        .collect();
    let updated = updated.into_iter().map(|it| {
        let metadata = Metadata::from(it);
        if summary {
            metadata.summary()
        } else {
            metadata
        }
    });
    if all {
        MetadataUpdate::with_all(epoch, updated.collect())
    } else {
        let changes = updated.map(Message::update).chain(deleted).collect();
        MetadataUpdate::with_changes(epoch, changes)
    }
}
