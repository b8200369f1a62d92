//! Produce requests: what is stored, and what is refused.

use std::time::Duration;

use fluvio::metadata::topic::{CompressionAlgorithm, TopicSpec, TopicStorageConfig};
use fluvio::{Compression, Isolation};

use super::scene::Scene;
use super::wire::{answered, batch, compressed, request};

pub async fn scene(scene: &mut Scene) {
    batches(scene).await;
    several_at_once(scene).await;
    odd_batches(scene).await;
    compression(scene).await;
    sizes(scene).await;
    nobody_there(scene).await;
}

async fn batches(scene: &mut Scene) {
    scene.section("one batch after the other");
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

async fn odd_batches(scene: &mut Scene) {
    scene.section("batches that are not as they should be");
    let (topic, spu) = scene.one_partition("odd").await;
    scene.note(spu.produce(&topic, Vec::new()).await);
    let mut empty = batch(&[]);
    empty.set_offset_delta(-1);
    scene.note(spu.produce(&topic, vec![empty]).await);
    let mut says_nine = batch(&["one of nine"]);
    says_nine.set_offset_delta(8);
    scene.note(spu.produce(&topic, vec![says_nine]).await);
    let mut elsewhere = batch(&["a"]);
    elsewhere.set_base_offset(1_000);
    scene.note(spu.produce(&topic, vec![elsewhere]).await);
    let mut header = batch(&["a"]);
    header.header.producer_id = 5;
    header.header.producer_epoch = 6;
    header.header.first_sequence = 7;
    header.header.partition_leader_epoch = 8;
    scene.note(spu.produce(&topic, vec![header]).await);
    let mut garbled = batch(&["a"]);
    garbled.mut_records().0 = b"\xff\xff\xff\xff\xff".as_slice().into();
    scene.note(spu.produce(&topic, vec![garbled]).await);
    let mut unknown_compression = batch(&["a"]);
    unknown_compression.header.attributes |= 0x07;
    scene.note(spu.produce(&topic, vec![unknown_compression]).await);
    let mut not_compressed = batch(&["a"]);
    not_compressed.header.set_compression(Compression::Gzip);
    scene.note(spu.produce(&topic, vec![not_compressed]).await);
    scene.note(spu.offsets(&topic, 0).await);
    let mut stream = spu.stream(&topic, 0, |_| {}).await;
    scene.note(stream.next().await);
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

async fn nobody_there(scene: &mut Scene) {
    scene.section("partitions that are not there");
    let (topic, spu) = scene.one_partition("there").await;
    let produce = request(vec![(&topic, vec![(1, vec![batch(&["a"])])])]);
    scene.note(answered(&spu.ask(produce).await));
    scene.note(spu.produce("missing", vec![batch(&["a"])]).await);
    scene.note(spu.produce("", vec![batch(&["a"])]).await);
}
