//! Lists of SPUs and SmartModules, and watches.

use std::fmt::Debug;

use fluvio::metadata::customspu::CustomSpuSpec;
use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::smartmodule::SmartModuleSpec;
use fluvio::metadata::spu::SpuSpec;
use fluvio::metadata::topic::TopicSpec;
use fluvio_sc_schema::objects::{ListRequest, WatchResponse};
use futures_util::Stream;

use super::scene::{Scene, answer};
use crate::support::{eventually, next, within};
use crate::wasm;

pub async fn scene(scene: &mut Scene) {
    scene.topic("any", 1).await;
    spus(scene).await;
    smartmodules(scene).await;
    watches(scene).await;
}

async fn spus(scene: &mut Scene) {
    scene.section("SPUs");
    for it in scene.admin.all::<SpuSpec>().await.unwrap() {
        scene.note(format!(
            "{}: {}, {:?}, rack {:?}, {} public addresses, encrypted {:?}, {}",
            it.name,
            it.spec.id,
            it.spec.spu_type,
            it.spec.rack,
            it.spec.public_endpoint.ingress.len(),
            it.spec.public_endpoint.encryption,
            it.status
        ));
    }
    for it in scene.admin.all::<CustomSpuSpec>().await.unwrap() {
        scene.note(format!("custom {}: {}, {}", it.name, it.spec.id, it.status));
    }
    for filter in ["custom-spu-5001", "5001", "missing"] {
        let listed = scene
            .admin
            .list::<SpuSpec, _>(vec![filter.to_owned()])
            .await;
        let names: Vec<_> = listed.unwrap().into_iter().map(|it| it.name).collect();
        scene.note(format!("named {filter:?}: {names:?}"));
    }
    let topics = scene
        .admin
        .list_with_config::<TopicSpec, String>(ListRequest::default().system(true));
    for it in topics.await.unwrap() {
        scene.note(format!(
            "system topic {}: {:?}, {:?}",
            it.name,
            it.spec.replicas(),
            it.status.resolution
        ));
    }
    let partitions = scene
        .admin
        .list_with_config::<PartitionSpec, String>(ListRequest::default().system(true));
    for it in partitions.await.unwrap() {
        scene.note(format!("system partition {}: {:?}", it.name, it.spec));
    }
}

async fn smartmodules(scene: &mut Scene) {
    scene.section("SmartModules");
    let name = scene.smartmodule("listed", &wasm::identity()).await;
    for summary in [false, true] {
        for filter in [&*name, "missing"] {
            let listed = scene
                .admin
                .list_with_params::<SmartModuleSpec, _>(vec![filter.to_owned()], summary)
                .await
                .unwrap();
            scene.note(format!("named {filter}, summary {summary}"));
            for it in listed {
                scene.note(format!(
                    "  {}: meta {:?}, summary {:?}, {:?}, {} bytes, {}",
                    it.name,
                    it.spec.meta,
                    it.spec.summary,
                    it.spec.wasm.format,
                    it.spec.wasm.payload.len(),
                    it.status
                ));
            }
        }
    }
    let again = wasm::spec(&wasm::twice());
    let again = within(scene.admin.create(name.clone(), false, again)).await;
    scene.note(format!("again: {}", answer(again)));
    let dry = scene.name("dry");
    let spec = wasm::spec(&wasm::twice());
    let created = within(scene.admin.create(dry.clone(), true, spec)).await;
    scene.note(format!("dry run: {}", answer(created)));
    for name in [&*name, &*name, &*dry, "missing", "group/missing@0.1.0"] {
        let deleted = within(scene.admin.delete::<SmartModuleSpec>(name)).await;
        scene.note(format!("deleting {name}: {}", answer(deleted)));
    }
}

async fn watches(scene: &mut Scene) {
    scene.section("a watch on topics");
    let before = scene.topic("before", 1).await;
    // A separate admin client, since the watch borrows it.
    let admin = scene.fluvio.admin().await;
    let mut watch = admin.watch::<TopicSpec>().await.unwrap();
    let first = next(&mut watch).await.unwrap().inner();
    let mut all: Vec<_> = first.all.iter().map(|it| it.name.as_str()).collect();
    all.retain(|it| scene.owns(it) || *it == "consumer-offset");
    all.sort_unstable();
    scene.note(format!("first: {all:?}, {} changes", first.changes.len()));

    let later = scene.topic("later", 1).await;
    scene.note(change(&mut watch, &later, "UPDATE").await);
    within(scene.admin.delete::<TopicSpec>(before.clone()))
        .await
        .unwrap();
    scene.note(change(&mut watch, &before, "DELETE").await);
}

/// Waits until the watch reports this change of the provisioned topic.
async fn change<E: Debug>(
    watch: &mut (impl Stream<Item = Result<WatchResponse<TopicSpec>, E>> + Unpin),
    topic: &str,
    kind: &str,
) -> String {
    eventually(async || {
        let update = next(watch).await.unwrap().inner();
        let mut changes = update.changes.into_iter();
        let change = changes.find(|it| {
            it.content.name == topic
                && format!("{:?}", it.header) == kind
                && it.content.status.resolution.resolution_label() == "provisioned"
        });
        change.map(|it| format!("{kind} {}", it.content.name))
    })
    .await
}
