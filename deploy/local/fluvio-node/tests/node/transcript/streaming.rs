//! Streams: their start offsets, and responses to reported positions.

use fluvio::Isolation;
use fluvio::metadata::topic::TopicSpec;
use fluvio_spu_schema::server::update_offset::{OffsetUpdate, UpdateOffsetsRequest};

use super::scene::{Scene, answer, shown};
use super::wire::batch;
use crate::support::within;

pub async fn scene(scene: &mut Scene) {
    beginnings(scene).await;
    reporting(scene).await;
    side_by_side(scene).await;
    deletion(scene).await;
}

async fn beginnings(scene: &mut Scene) {
    scene.section("start offsets of a stream");
    let (topic, spu) = scene.one_partition("begin").await;
    for from in [0, 1, -1] {
        let mut stream = spu.stream(&topic, from, |_| {}).await;
        let first = stream.next_if_any().await;
        scene.note(format!("an empty log, from {from}:\n{first}"));
    }
    let batches = vec![batch(&["a", "b", "c"]), batch(&["d", "e"]), batch(&["f"])];
    spu.produce(&topic, batches).await;
    for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
        for from in [0, 2, 3, 4, 5, 6, 7, -1, -5, i64::MIN, i64::MAX] {
            let mut stream = spu
                .stream(&topic, from, |it| it.isolation = isolation)
                .await;
            let first = stream.next_if_any().await;
            scene.note(format!("{isolation:?} from {from}:\n{first}"));
        }
    }
}

async fn reporting(scene: &mut Scene) {
    scene.section("responses after the consumer reports its position");
    let (topic, spu) = scene.one_partition("reported").await;
    let batches = vec![batch(&["a", "b"]), batch(&["c", "d"])];
    spu.produce(&topic, batches).await;
    let mut stream = spu.stream(&topic, 0, |_| {}).await;
    scene.note(stream.next().await);
    spu.produce(&topic, vec![batch(&["e"])]).await;
    scene.note(format!(
        "not reported, one more:\n{}",
        stream.next_if_any().await
    ));
    // (the reported position, a record that is produced after it)
    for (offset, more) in [
        (4, None),
        (5, None),
        (5, None),
        (5, Some("f")),
        (6, None),
        (3, None),
        (3, None),
        (1, None),
        (6, None),
        (-1, None),
        (6, None),
        (100, None),
        (100, Some("g")),
        (7, None),
        (0, None),
    ] {
        let reported = stream.report(offset).await;
        scene.note(format!(
            "reported {offset}: {reported}\n{}",
            stream.next_if_any().await
        ));
        if let Some(more) = more {
            spu.produce(&topic, vec![batch(&[more])]).await;
            scene.note(format!("then {more}:\n{}", stream.next_if_any().await));
        }
    }
    for wrong in [-5, -2] {
        let mut stream = spu.stream(&topic, 0, |_| {}).await;
        stream.next().await;
        for offset in [wrong, 7, 6] {
            let reported = stream.report(offset).await;
            scene.note(format!(
                "reported {offset}: {reported}\n{}",
                stream.next_if_any().await
            ));
        }
    }

    scene.section("from the end");
    let mut stream = spu.stream(&topic, 7, |_| {}).await;
    scene.note(stream.next_if_any().await);
    for values in [&["h"][..], &["i", "j"], &["k"]] {
        spu.produce(&topic, vec![batch(values)]).await;
        scene.note(format!("then {values:?}:\n{}", stream.next_if_any().await));
    }
    for offset in [8, 11] {
        let reported = stream.report(offset).await;
        scene.note(format!(
            "reported {offset}: {reported}\n{}",
            stream.next_if_any().await
        ));
    }
}

async fn side_by_side(scene: &mut Scene) {
    scene.section("streams on one connection");
    let (topic, spu) = scene.one_partition("beside").await;
    spu.produce(&topic, vec![batch(&["a"])]).await;
    let mut first = spu.stream(&topic, 0, |_| {}).await;
    scene.note(first.next().await);
    let mut second = spu.stream(&topic, 0, |_| {}).await;
    scene.note(second.next().await);
    let mut refused = spu.stream("missing", 0, |_| {}).await;
    scene.note(refused.next().await);
    let mut third = spu.stream(&topic, 0, |_| {}).await;
    scene.note(third.next().await);
    let offsets = [1, 9, 3].map(|session_id| OffsetUpdate {
        offset: 1,
        session_id,
    });
    let request = UpdateOffsetsRequest {
        offsets: offsets.into(),
    };
    for status in spu.ask(request).await.status {
        scene.note(format!(
            "session {}: {}",
            status.session_id,
            shown(&status.error)
        ));
    }
    spu.produce(&topic, vec![batch(&["b"])]).await;
    for stream in [&mut first, &mut second, &mut third] {
        scene.note(stream.next_if_any().await);
    }
    let other = scene.spu(&topic).await;
    scene.note(format!(
        "on another connection: {}",
        other.report(1, 2).await
    ));
    let mut fourth = other.stream(&topic, 0, |_| {}).await;
    scene.note(fourth.next().await);
}

async fn deletion(scene: &mut Scene) {
    scene.section("the topic is deleted during a stream");
    let (topic, spu) = scene.one_partition("doomed").await;
    spu.produce(&topic, vec![batch(&["a"])]).await;
    let mut not_reported = spu.stream(&topic, 0, |_| {}).await;
    scene.note(not_reported.next().await);
    let mut reported = spu.stream(&topic, 0, |_| {}).await;
    scene.note(reported.next().await);
    scene.note(reported.report(1).await);
    let mut waiting = spu.stream(&topic, 1, |_| {}).await;
    let deleted = within(scene.admin.delete::<TopicSpec>(topic.clone())).await;
    scene.note(format!("deleting: {}", answer(deleted)));
    for stream in [&mut not_reported, &mut reported, &mut waiting] {
        scene.note(stream.next().await);
    }
    scene.note(reported.report(1).await);
    scene.note(reported.next_if_any().await);
    scene.note(spu.produce(&topic, vec![batch(&["b"])]).await);
    scene.note(spu.offsets(&topic, 0).await);
    let mut stream = spu.stream(&topic, 0, |_| {}).await;
    scene.note(stream.next().await);

    scene.section("the same name again");
    let spec = TopicSpec::new_computed(1, 1, None);
    let created = within(scene.admin.create(topic.clone(), false, spec)).await;
    scene.note(answer(created));
    scene.note(spu.offsets(&topic, 0).await);
    scene.note(spu.produce(&topic, vec![batch(&["new"])]).await);
}
