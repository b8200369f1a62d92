//! Responses that end at `max_bytes` or at the end of a segment.

use fluvio::Offset;
use fluvio::consumer::ConsumerConfig;
use fluvio::metadata::topic::{TopicSpec, TopicStorageConfig};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::scene::{QUIET, Scene, shown};
use super::wire::{Connection, abridged, batch};
use crate::support::batch_stream;

/// The size of one of these batches in the log: 61 bytes of header, 4 for the number of records, 20
/// for each record with a value of 13 bytes.
const TWO_RECORDS: i32 = 105;

pub async fn scene(scene: &mut Scene) {
    responses(scene).await;
    clients(scene).await;
    segments(scene).await;
}

async fn three_batches(scene: &mut Scene, name: &str) -> (String, Connection) {
    let (topic, spu) = scene.one_partition(name).await;
    for letter in ["a", "b", "c"] {
        let values = [1, 2].map(|it| format!("{letter}-{it}, and more"));
        let batch = batch(&values.each_ref().map(String::as_str));
        spu.produce(&topic, vec![batch]).await;
    }
    (topic, spu)
}

async fn responses(scene: &mut Scene) {
    scene.section("the first response of a stream");
    let (topic, spu) = three_batches(scene, "cut").await;
    for max_bytes in [
        1,
        11,
        12,
        61,
        65,
        84,
        85,
        TWO_RECORDS - 1,
        TWO_RECORDS,
        TWO_RECORDS + 1,
        TWO_RECORDS + 61,
        TWO_RECORDS + 90,
        2 * TWO_RECORDS,
        3 * TWO_RECORDS,
        1_000,
    ] {
        let mut stream = spu.stream(&topic, 0, |it| it.max_bytes = max_bytes).await;
        scene.note(format!("{max_bytes} bytes:\n{}", stream.next().await));
    }
    scene.section("the responses after it");
    let max_bytes = TWO_RECORDS + 90;
    let mut stream = spu.stream(&topic, 1, |it| it.max_bytes = max_bytes).await;
    scene.note(stream.next().await);
    for offset in [2, 3, 4, 5, 6] {
        let reported = stream.report(offset).await;
        scene.note(format!(
            "reported {offset}: {reported}\n{}",
            stream.next_if_any().await
        ));
    }
}

/// Notes the records that the published client returns.
async fn clients(scene: &mut Scene) {
    scene.section("the same with a client");
    let (topic, _spu) = three_batches(scene, "clients").await;
    for max_bytes in [
        50,
        85,
        TWO_RECORDS,
        TWO_RECORDS + 90,
        2 * TWO_RECORDS,
        1_000,
    ] {
        let config = ConsumerConfig::builder()
            .max_bytes(max_bytes)
            .build()
            .unwrap();
        let mut stream = batch_stream(&scene.fluvio, &topic, 0, Offset::beginning(), config).await;
        scene.note(format!("{max_bytes} bytes:"));
        while let Ok(Some(batch)) = timeout(QUIET, stream.next()).await {
            scene.note(match batch {
                Err(code) => format!("  {}", shown(&code)),
                Ok(batch) => {
                    let records = batch.records().iter();
                    let values: Vec<_> = records.map(|it| abridged(it.value().as_ref())).collect();
                    format!(
                        "  {}..={}: {}",
                        batch.get_base_offset(),
                        batch.get_last_offset(),
                        values.join(", ")
                    )
                }
            });
        }
    }
}

async fn segments(scene: &mut Scene) {
    scene.section("a log of several segments");
    let mut spec = TopicSpec::new_computed(1, 1, None);
    spec.set_storage(TopicStorageConfig {
        segment_size: Some(1_100),
        max_partition_size: None,
    });
    let topic = scene.topic_with("segments", spec).await;
    let spu = scene.spu(&topic).await;
    for number in 0..12 {
        let value = format!("{number:-<230}");
        spu.produce_values(&topic, &[&value]).await;
    }
    scene.note(spu.offsets(&topic, 0).await);
    for from in [0, 1, 2, 3, 4, 6, 7, 9, 11] {
        let mut stream = spu.stream(&topic, from, |_| {}).await;
        scene.note(format!("from {from}:\n{}", stream.next().await));
    }
    let mut stream = spu.stream(&topic, 0, |_| {}).await;
    scene.note(format!("all of it:\n{}", stream.next().await));
    for offset in [1, 3, 6, 9, 12] {
        let reported = stream.report(offset).await;
        scene.note(format!(
            "reported {offset}: {reported}\n{}",
            stream.next_if_any().await
        ));
    }
}
