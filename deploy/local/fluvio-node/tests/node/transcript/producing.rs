//! Produce requests, stored and refused.

use std::time::Duration;

use fluvio::metadata::topic::{CompressionAlgorithm, TopicSpec, TopicStorageConfig};
use fluvio::{Compression, Isolation};

use super::scene::Scene;
use super::wire::{answered, batch, compressed, request};

pub async fn scene(scene: &mut Scene) {
    batches(scene).await;
    several_at_once(scene).await;
    compression(scene).await;
    sizes(scene).await;
    missing_partitions(scene).await;
}

async fn batches(scene: &mut Scene) {
    scene.section("single batches");
    let (topic, spu) = scene.one_partition("plain").await;
    scene.note(spu.produce(&topic, vec![batch(&["a", "b", "c"])]).await);
    scene.note(spu.produce(&topic, vec![batch(&["d"])]).await);
    let two = vec![batch(&["e", "f"]), batch(&["g"])];
    scene.note(spu.produce(&topic, two).await);

    scene.section("isolation and timeout");
    for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
        for timeout in [Duration::ZERO, Duration::from_secs(5)] {
            let mut produce = request(vec![(&topic, vec![(0, vec![batch(&["h"])])])]);
            (produce.isolation, produce.timeout) = (isolation, timeout);
            let answer = answered(&spu.ask(produce).await);
            scene.note(format!("{isolation:?}, {timeout:?}: {answer}"));
        }
    }
    scene.note(spu.offsets(&topic, 0).await);
    let mut stream = spu.stream(&topic, 0, |_| {}).await;
    scene.note(stream.next().await);
}

async fn several_at_once(scene: &mut Scene) {
    scene.section("several partitions and topics in a request");
    let three = scene.topic("three", 3).await;
    let (one, spu) = scene.one_partition("one").await;
    let produce = request(vec![
        (
            &three,
            vec![
                (2, vec![batch(&["two"])]),
                (0, vec![batch(&["zero"])]),
                (3, vec![batch(&["nowhere"])]),
                (2, vec![batch(&["two again"])]),
            ],
        ),
        ("missing", vec![(0, vec![batch(&["nowhere"])])]),
        (&one, vec![(0, vec![batch(&["one"])])]),
    ]);
    scene.note(answered(&spu.ask(produce).await));
    scene.note(answered(&spu.ask(request(Vec::new())).await));
}

async fn compression(scene: &mut Scene) {
    let all = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    for wanted in [
        CompressionAlgorithm::Any,
        CompressionAlgorithm::None,
        CompressionAlgorithm::Zstd,
    ] {
        scene.section(&format!("compression, the topic's being {wanted:?}"));
        let mut spec = TopicSpec::new_computed(1, 1, None);
        spec.set_compression_type(wanted.clone());
        let name = format!("compression-{}", format!("{wanted:?}").to_lowercase());
        let topic = scene.topic_with(&name, spec).await;
        let spu = scene.spu(&topic).await;
        for compression in all {
            let batch = compressed(&["the same", "the same"], compression);
            let answer = spu.produce(&topic, vec![batch]).await;
            scene.note(format!("{compression}: {answer}"));
        }
        let mut stream = spu.stream(&topic, 0, |_| {}).await;
        scene.note(stream.next().await);
    }
}

async fn sizes(scene: &mut Scene) {
    scene.section("sizes");
    let mut spec = TopicSpec::new_computed(1, 1, None);
    spec.set_storage(TopicStorageConfig {
        segment_size: Some(2_000),
        max_partition_size: None,
    });
    let topic = scene.topic_with("small-segments", spec).await;
    let spu = scene.spu(&topic).await;
    // Around the segment's size: 61 bytes of header, 7 and more of the record's own.
    for len in [100, 1_900, 1_930, 1_931, 1_932, 1_933, 2_000, 3_000, 100] {
        let value = "x".repeat(len);
        let answer = spu.produce(&topic, vec![batch(&[&value])]).await;
        scene.note(format!("{len} bytes: {answer}"));
    }
    let too_large = "x".repeat(3_000);
    let two = vec![batch(&["fits"]), batch(&[&too_large])];
    scene.note(spu.produce(&topic, two).await);
    scene.note(spu.offsets(&topic, 0).await);

    let (topic, spu) = scene.one_partition("large").await;
    for mebibytes in [31, 33] {
        let value = "x".repeat(mebibytes * 1024 * 1024);
        let answer = spu.produce(&topic, vec![batch(&[&value])]).await;
        scene.note(format!("{mebibytes} MiB: {answer}"));
    }
    scene.note(spu.produce(&topic, vec![batch(&["small"])]).await);
}

async fn missing_partitions(scene: &mut Scene) {
    scene.section("missing partitions");
    let (topic, spu) = scene.one_partition("there").await;
    let produce = request(vec![(&topic, vec![(1, vec![batch(&["a"])])])]);
    scene.note(answered(&spu.ask(produce).await));
    scene.note(spu.produce("missing", vec![batch(&["a"])]).await);
    scene.note(spu.produce("", vec![batch(&["a"])]).await);
}
