//! SmartModules on streams: their output, their errors, their traps, and `max_bytes`.

use fluvio::Compression;
use fluvio::consumer::SmartModuleInvocation;
use fluvio::metadata::smartmodule::SmartModuleSpec;
use fluvio::metadata::topic::{TopicSpec, TopicStorageConfig};
use fluvio_spu_schema::server::stream_fetch::DefaultStreamFetchRequest;

use super::scene::{Scene, answer};
use super::wire::{Connection, batch, compressed};
use crate::support::{eventually, within};
use crate::wasm::{self, With, ad_hoc, by_batch, by_name};

pub async fn scene(scene: &mut Scene) {
    outputs(scene).await;
    errors(scene).await;
    refusals(scene).await;
    sizes(scene).await;
    compression(scene).await;
    segments(scene).await;
    replacement(scene).await;
}

async fn filled(scene: &mut Scene, name: &str) -> (String, Connection) {
    let (topic, spu) = scene.one_partition(name).await;
    for values in [&["a", "b", "c"][..], &["d", "e"], &["f"]] {
        spu.produce(&topic, vec![batch(values)]).await;
    }
    (topic, spu)
}

/// Reads with SmartModules from an offset, reports that all records are consumed, then adds a
/// record, which shows whether the stream still runs.
async fn read(
    scene: &mut Scene,
    spu: &Connection,
    topic: &str,
    from: i64,
    chain: Vec<SmartModuleInvocation>,
) {
    let mut stream = spu.stream(topic, from, |it| it.smartmodules = chain).await;
    scene.note(stream.next_if_any().await);
    let reported = stream.report(6).await;
    scene.note(format!(
        "  reported 6: {reported}\n{}",
        stream.next_if_any().await
    ));
    spu.produce(topic, vec![batch(&["more"])]).await;
    scene.note(format!("  one more:\n{}", stream.next_if_any().await));
}

async fn outputs(scene: &mut Scene) {
    for (number, (what, modules)) in [
        ("every record as it is", vec![wasm::identity()]),
        ("every record twice", vec![wasm::twice()]),
        ("nothing", vec![wasm::nothing()]),
        (
            "nothing of the first batch",
            vec![by_batch(With::Drop, With::Pass)],
        ),
        (
            "nothing but the first batch",
            vec![by_batch(With::Pass, With::Drop)],
        ),
        (
            "twice and twice again",
            vec![wasm::twice(), wasm::identity(), wasm::twice()],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        for from in [0, 4, 6] {
            scene.section(&format!("{what}, from {from}"));
            let (topic, spu) = filled(scene, &format!("output-{number}-{from}")).await;
            let chain = modules.iter().map(|it| ad_hoc(it)).collect();
            read(scene, &spu, &topic, from, chain).await;
        }
    }
}

async fn errors(scene: &mut Scene) {
    for (number, (first, others)) in [
        (With::Refuse, With::Pass),
        (With::Pass, With::Refuse),
        (With::Drop, With::Refuse),
        (With::Trap, With::Pass),
        (With::Pass, With::Trap),
        (With::Drop, With::Trap),
    ]
    .into_iter()
    .enumerate()
    {
        scene.section(&format!("{first:?} the first batch, {others:?} the others"));
        let (topic, spu) = filled(scene, &format!("errors-{number}")).await;
        let chain = vec![ad_hoc(&by_batch(first, others))];
        read(scene, &spu, &topic, 0, chain).await;
    }
    scene.section("an error and nothing else");
    let (topic, spu) = filled(scene, "error").await;
    read(scene, &spu, &topic, 0, vec![ad_hoc(&wasm::error())]).await;
    scene.section("an error in the second of a chain");
    let (topic, spu) = filled(scene, "chained").await;
    let chain = vec![
        ad_hoc(&wasm::identity()),
        ad_hoc(&by_batch(With::Pass, With::Refuse)),
    ];
    read(scene, &spu, &topic, 0, chain).await;
}

async fn refusals(scene: &mut Scene) {
    scene.section("invalid SmartModules");
    let (topic, spu) = filled(scene, "refusals").await;
    let named = scene.smartmodule("named", &wasm::identity()).await;
    shows(scene, &topic, &named, "12 bytes").await;
    for (what, invocation) in [
        ("a name", by_name(&named)),
        ("a missing name", by_name("missing")),
        ("an empty name", by_name("")),
        ("a package", by_name("group/missing@0.1.0")),
        ("a broken package", by_name("group/missing@one")),
        ("garbage", ad_hoc(b"no wasm")),
        ("an empty module", ad_hoc(b"\0asm\x01\0\0\0")),
        (
            "init without parameters",
            ad_hoc(&wasm::identity_with_parameters()),
        ),
        ("too much memory", ad_hoc(&wasm::too_much_memory())),
    ] {
        scene.note(what);
        let chain = vec![invocation];
        let mut stream = spu.stream(&topic, 0, |it| it.smartmodules = chain).await;
        scene.note(stream.next().await);
        scene.note(format!("  reported: {}", stream.report(0).await));
    }
}

async fn sizes(scene: &mut Scene) {
    scene.section("output and max_bytes");
    let (topic, spu) = scene.one_partition("sizes").await;
    for letter in ["a", "b", "c"] {
        spu.produce(&topic, vec![batch(&[&letter.repeat(600)])])
            .await;
    }
    for (what, module) in [("as it is", wasm::identity()), ("twice", wasm::twice())] {
        for max_bytes in [
            100, 609, 610, 611, 612, 1_000, 1_223, 1_224, 1_300, 2_000, 4_000,
        ] {
            let chain = vec![ad_hoc(&module)];
            let configure = |it: &mut DefaultStreamFetchRequest| {
                (it.max_bytes, it.smartmodules) = (max_bytes, chain);
            };
            let mut stream = spu.stream(&topic, 0, configure).await;
            scene.note(format!(
                "{what}, {max_bytes} bytes:\n{}",
                stream.next_if_any().await
            ));
            for offset in [1, 2, 3] {
                let reported = stream.report(offset).await;
                let next = stream.next_if_any().await;
                scene.note(format!("  reported {offset}: {reported}\n{next}"));
            }
        }
    }
}

async fn compression(scene: &mut Scene) {
    scene.section("compressed batches");
    let (topic, spu) = scene.one_partition("compressed").await;
    let batches = [
        Compression::Gzip,
        Compression::None,
        Compression::Lz4,
        Compression::Snappy,
        Compression::Zstd,
    ]
    .map(|it| compressed(&["the same", "the same"], it));
    spu.produce(&topic, batches.into()).await;
    for from in [0, 2, 4, 6, 8] {
        let chain = vec![ad_hoc(&wasm::identity())];
        let mut stream = spu.stream(&topic, from, |it| it.smartmodules = chain).await;
        scene.note(format!("from {from}:\n{}", stream.next().await));
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
    for number in 0..9 {
        let value = format!("{number:-<230}");
        spu.produce_values(&topic, &[&value]).await;
    }
    for (what, module) in [("as it is", wasm::identity()), ("nothing", wasm::nothing())] {
        let chain = vec![ad_hoc(&module)];
        let mut stream = spu.stream(&topic, 0, |it| it.smartmodules = chain).await;
        scene.note(format!("{what}:\n{}", stream.next_if_any().await));
        for offset in [3, 6, 9] {
            let reported = stream.report(offset).await;
            scene.note(format!(
                "reported {offset}: {reported}\n{}",
                stream.next_if_any().await
            ));
        }
    }
}

async fn replacement(scene: &mut Scene) {
    scene.section("a SmartModule that is replaced and deleted during a stream");
    let (topic, spu) = filled(scene, "replaced").await;
    let name = scene.smartmodule("replaced", &wasm::identity()).await;
    shows(scene, &topic, &name, "12 bytes").await;
    let chain = vec![by_name(&name)];
    let mut before = spu.stream(&topic, 0, |it| it.smartmodules = chain).await;
    scene.note(before.next().await);
    scene.note(before.report(6).await);
    let spec = wasm::spec(&wasm::twice());
    let replaced = within(scene.admin.create(name.clone(), false, spec)).await;
    scene.note(format!("replacing: {}", answer(replaced)));
    shows(scene, &topic, &name, "20 bytes").await;
    let deleted = within(scene.admin.delete::<SmartModuleSpec>(name.clone())).await;
    scene.note(format!("deleting: {}", answer(deleted)));
    shows(scene, &topic, &name, "SmartModuleNotFound").await;
    spu.produce(&topic, vec![batch(&["g"])]).await;
    scene.note(format!("the stream of before:\n{}", before.next().await));
}

/// Waits until a new stream with the SmartModule shows the sign, since an SPU learns of a change
/// with a delay. Notes the stream's first response.
async fn shows(scene: &mut Scene, topic: &str, name: &str, sign: &str) {
    let shown = eventually(async || {
        let chain = vec![by_name(name)];
        let spu = scene.spu(topic).await;
        let mut stream = spu.stream(topic, 5, |it| it.smartmodules = chain).await;
        let first = stream.next().await;
        first.contains(sign).then_some(first)
    });
    let shown = shown.await;
    scene.note(shown);
}
