//! Consumer offsets, request by request.

use fluvio::metadata::topic::TopicSpec;
use fluvio_protocol::record::ReplicaKey;
use fluvio_spu_schema::server::consumer_offset::{
    DeleteConsumerOffsetRequest, FetchConsumerOffsetsRequest, FilterOpts,
    UpdateConsumerOffsetRequest,
};
use fluvio_spu_schema::server::fetch_offset::FetchOffsetsRequest;
use fluvio_spu_schema::server::fetch_offset::{FetchOffsetPartition, FetchOffsetTopic};

use super::scene::{Scene, answer, shown};
use super::wire::{Connection, batch};
use crate::support::{eventually, within};

pub async fn scene(scene: &mut Scene) {
    scene.section("stored for the consumer of a stream");
    let (topic, spu) = scene.one_partition("consumed").await;
    spu.produce(&topic, vec![batch(&["a", "b", "c"])]).await;
    let (one, two) = (scene.name("one"), scene.name("two"));
    list(scene, &spu, None).await;

    let mut nameless = spu.stream(&topic, 0, |_| {}).await;
    nameless.next().await;
    scene.note(format!(
        "without an id: {}",
        update(&spu, nameless.id, 1).await
    ));
    let id = Some(one.clone());
    let mut first = spu.stream(&topic, 0, |it| it.consumer_id = id).await;
    first.next().await;
    for offset in [1, 0, -1, 50, 2] {
        scene.note(format!(
            "{offset}: {}",
            update(&spu, first.id, offset).await
        ));
        list(scene, &spu, None).await;
    }
    let id = Some(two.clone());
    let mut second = spu.stream(&topic, 0, |it| it.consumer_id = id).await;
    second.next().await;
    scene.note(format!("the other: {}", update(&spu, second.id, 7).await));
    scene.note(format!("no such session: {}", update(&spu, 99, 7).await));
    let other = scene.spu(&topic).await;
    let elsewhere = update(&other, first.id, 7).await;
    scene.note(format!("on another connection: {elsewhere}"));

    scene.section("listed");
    list(scene, &spu, None).await;
    let zero = ReplicaKey::new(topic.clone(), 0_u32);
    for (replica_id, consumer_id) in [
        (Some(zero.clone()), None),
        (None, Some(two.clone())),
        (Some(zero.clone()), Some(one.clone())),
        (Some(ReplicaKey::new(topic.clone(), 1_u32)), None),
        (None, Some("missing".to_owned())),
    ] {
        let filter = FilterOpts {
            replica_id,
            consumer_id,
        };
        list(scene, &spu, Some(filter)).await;
    }

    scene.section("in the partition's offsets, for old clients");
    for id in [
        None,
        Some(one.clone()),
        Some(two.clone()),
        Some("missing".to_owned()),
    ] {
        #[allow(deprecated)]
        let request = FetchOffsetsRequest {
            topics: vec![FetchOffsetTopic {
                name: topic.clone(),
                partitions: vec![FetchOffsetPartition { partition_index: 0 }],
            }],
            consumer_id: id.clone(),
        };
        let offsets = &spu.ask(request).await.topics[0].partitions[0];
        let code = shown(&offsets.error_code);
        let (start, stable) = (offsets.start_offset, offsets.last_stable_offset);
        scene.note(format!(
            "{id:?}: {code}, start {start}, last stable {stable}"
        ));
    }

    scene.section("deleted");
    for (replica_id, consumer_id) in [
        (zero.clone(), one.clone()),
        (zero.clone(), one.clone()),
        (ReplicaKey::new(topic.clone(), 1_u32), two.clone()),
        (ReplicaKey::new("missing", 0_u32), two.clone()),
    ] {
        let asked = format!("{consumer_id} of {replica_id}");
        let request = DeleteConsumerOffsetRequest {
            replica_id,
            consumer_id,
        };
        let code = spu.ask(request).await.error_code;
        scene.note(format!("{asked}: {}", shown(&code)));
        list(scene, &spu, None).await;
    }

    scene.section("the topic is deleted and created again");
    let deleted = within(scene.admin.delete::<TopicSpec>(topic.clone())).await;
    scene.note(answer(deleted));
    eventually(async || {
        let gone = spu.offsets(&topic, 0).await.contains("PartitionNotLeader");
        gone.then_some(())
    })
    .await;
    list(scene, &spu, None).await;
    scene.note(format!(
        "for a stream of before: {}",
        update(&spu, second.id, 8).await
    ));
    let spec = TopicSpec::new_computed(1, 1, None);
    let created = within(scene.admin.create(topic.clone(), false, spec)).await;
    scene.note(answer(created));
    list(scene, &spu, None).await;
    let request = DeleteConsumerOffsetRequest {
        replica_id: zero,
        consumer_id: two,
    };
    scene.note(shown(&spu.ask(request).await.error_code));
    list(scene, &spu, None).await;
}

async fn update(spu: &Connection, session: u32, offset: i64) -> String {
    let request = UpdateConsumerOffsetRequest::new(offset, session);
    let response = spu.ask(request).await;
    format!(
        "{}, offset {}",
        shown(&response.error_code),
        response.offset
    )
}

/// Notes this scene's stored offsets.
async fn list(scene: &mut Scene, spu: &Connection, filter: Option<FilterOpts>) {
    scene.note(match &filter {
        Some(FilterOpts {
            replica_id,
            consumer_id,
        }) => {
            format!("  list of {replica_id:?}, {consumer_id:?}")
        }
        None => "  list".to_owned(),
    });
    let request = FetchConsumerOffsetsRequest {
        filter_opts: filter,
    };
    let response = spu.ask(request).await;
    if response.error_code.is_error() {
        scene.note(format!("    {}", shown(&response.error_code)));
    }
    let mut kept: Vec<_> = response
        .consumers
        .iter()
        .filter(|it| scene.owns(&it.consumer_id))
        .map(|it| {
            let when = if it.modified_time > 1_600_000_000 {
                "now"
            } else {
                "never"
            };
            format!(
                "    {} of {}: {}, {when}",
                it.consumer_id, it.replica_id, it.offset
            )
        })
        .collect();
    kept.sort();
    for line in kept {
        scene.note(line);
    }
}
