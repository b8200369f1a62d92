//! Consumers of the published client: start offsets, resuming, and ends.

use fluvio::Offset;
use fluvio::consumer::{
    ConsumerConfigExt, ConsumerConfigExtBuilder, ConsumerStream, OffsetManagementStrategy, Record,
    RetryMode,
};
use fluvio::dataplane::link::ErrorCode;
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use super::scene::{QUIET, Scene, shown};
use super::wire::{Connection, abridged, batch};
use crate::support::within;
use crate::wasm::{self, ad_hoc};

pub async fn scene(scene: &mut Scene) {
    beginnings(scene).await;
    resuming(scene).await;
    unknown(scene).await;
}

async fn filled(scene: &mut Scene, name: &str) -> (String, Connection) {
    let (topic, spu) = scene.one_partition(name).await;
    for values in [&["a", "b", "c"][..], &["d", "e"], &["f"]] {
        spu.produce(&topic, vec![batch(values)]).await;
    }
    (topic, spu)
}

fn config(topic: &str) -> ConsumerConfigExtBuilder {
    let mut config = ConsumerConfigExt::builder();
    config
        .topic(topic)
        .partition(0)
        .retry_mode(RetryMode::Disabled);
    config
}

/// Notes at most `most` records of a consumer and returns true if it got that many.
async fn read(
    scene: &mut Scene,
    stream: &mut (impl Stream<Item = Result<Record, ErrorCode>> + Unpin),
    most: usize,
) -> bool {
    for _ in 0..most {
        match timeout(QUIET, stream.next()).await {
            Err(_) => {
                scene.note("  nothing more");
                return false;
            }
            Ok(None) => {
                scene.note("  the end");
                return false;
            }
            Ok(Some(Err(code))) => scene.note(format!("  {}", shown(&code))),
            Ok(Some(Ok(record))) => scene.note(format!(
                "  {} in {} at {}: {}",
                record.offset(),
                record.partition(),
                record.timestamp(),
                abridged(record.value())
            )),
        }
    }
    true
}

async fn beginnings(scene: &mut Scene) {
    scene.section("start offsets of a consumer");
    let (topic, _spu) = filled(scene, "begin").await;
    for (what, offset) in [
        ("the beginning", Offset::beginning()),
        ("2 behind the beginning", Offset::from_beginning(2)),
        ("9 behind the beginning", Offset::from_beginning(9)),
        ("the end", Offset::end()),
        ("2 before the end", Offset::from_end(2)),
        ("9 before the end", Offset::from_end(9)),
        ("offset 0", Offset::absolute(0).unwrap()),
        ("offset 4", Offset::absolute(4).unwrap()),
        ("offset 6", Offset::absolute(6).unwrap()),
        ("offset 9", Offset::absolute(9).unwrap()),
    ] {
        let mut config = config(&topic);
        let config = config.offset_start(offset).disable_continuous(true);
        scene.note(format!("from {what}"));
        match within(scene.fluvio.consumer_with_config(config.build().unwrap())).await {
            Ok(mut stream) => {
                read(scene, &mut stream, 8).await;
            }
            Err(err) => scene.note(format!("  {err}")),
        }
    }
}

async fn resuming(scene: &mut Scene) {
    for (name, wasm) in [
        ("as-it-is", None),
        ("one-to-one", Some(wasm::identity())),
        ("one-to-two", Some(wasm::twice())),
    ] {
        scene.section(&format!("resuming, records {name}"));
        let (topic, _spu) = filled(scene, name).await;
        let id = scene.name("reader");
        for most in [2, 1, 3, 8] {
            let mut config = config(&topic);
            config
                .offset_start(Offset::beginning())
                .offset_consumer(id.clone())
                .offset_strategy(OffsetManagementStrategy::Manual);
            if let Some(wasm) = &wasm {
                config.smartmodule(vec![ad_hoc(wasm)]);
            }
            let config = config.build().unwrap();
            let mut stream = within(scene.fluvio.consumer_with_config(config))
                .await
                .unwrap();
            scene.note(format!("{most} at most"));
            // The client's commit waits for a lock that a pending read holds.
            if read(scene, &mut stream, most).await {
                let committed = within(stream.offset_commit()).await;
                let flushed = within(stream.offset_flush()).await;
                scene.note(format!("  committed {committed:?}, flushed {flushed:?}"));
            }
        }
        for kept in within(scene.fluvio.consumer_offsets()).await.unwrap() {
            if kept.consumer_id == id {
                scene.note(format!("{} kept: {}", kept.consumer_id, kept.offset));
            }
        }
        let key = (topic, 0);
        within(scene.fluvio.delete_consumer_offset(id, key))
            .await
            .unwrap();
    }
}

async fn unknown(scene: &mut Scene) {
    scene.section("missing topics and partitions");
    let (topic, _spu) = filled(scene, "there").await;
    for (name, partition) in [("missing", 0), (&*topic, 1)] {
        let mut config = ConsumerConfigExt::builder();
        let config = config
            .topic(name)
            .partition(partition)
            .retry_mode(RetryMode::Disabled)
            .offset_start(Offset::beginning());
        let refused = within(scene.fluvio.consumer_with_config(config.build().unwrap())).await;
        scene.note(match refused {
            Ok(_) => format!("{name}-{partition}: a stream"),
            Err(err) => format!("{name}-{partition}: {err}"),
        });
    }
    let refused = within(scene.fluvio.topic_producer("missing")).await;
    scene.note(match refused {
        Ok(_) => "missing: a producer".to_owned(),
        Err(err) => format!("missing: {err}"),
    });
}
