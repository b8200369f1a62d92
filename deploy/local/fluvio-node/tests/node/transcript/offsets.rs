//! Offsets of partitions.

use fluvio_spu_schema::server::fetch_offset::FetchOffsetsRequest;
use fluvio_spu_schema::server::fetch_offset::{FetchOffsetPartition, FetchOffsetTopic};

use super::scene::{Scene, shown};
use super::wire::batch;

pub async fn scene(scene: &mut Scene) {
    scene.section("offsets of partitions");
    let three = scene.topic("three", 3).await;
    let (topic, spu) = scene.one_partition("offsets").await;
    scene.note(spu.offsets(&topic, 0).await);
    spu.produce(&topic, vec![batch(&["a", "b"])]).await;
    scene.note(spu.offsets(&topic, 0).await);
    scene.note(spu.offsets(&topic, 1).await);
    scene.note(spu.offsets("missing", 0).await);

    scene.section("several in a request");
    let of = |name: &str, partitions: &[u32]| {
        let partitions = partitions.iter();
        FetchOffsetTopic {
            name: name.to_owned(),
            partitions: partitions
                .map(|it| FetchOffsetPartition {
                    partition_index: *it,
                })
                .collect(),
        }
    };
    let request = FetchOffsetsRequest {
        topics: vec![
            of(&three, &[2, 0, 3]),
            of(&topic, &[0, 0]),
            of("missing", &[]),
        ],
        ..FetchOffsetsRequest::default()
    };
    for topic in spu.ask(request).await.topics {
        scene.note(&topic.name);
        for it in topic.partitions {
            let code = shown(&it.error_code);
            let (start, stable) = (it.start_offset, it.last_stable_offset);
            scene.note(format!(
                "  {}: {code}, start {start}, last stable {stable}",
                it.partition_index
            ));
        }
    }
}
