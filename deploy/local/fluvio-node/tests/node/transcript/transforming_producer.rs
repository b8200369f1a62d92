//! SmartModules on produce requests.

use fluvio::Compression;
use fluvio::consumer::SmartModuleInvocation;

use super::scene::Scene;
use super::wire::{answered, batch, compressed, request};
use crate::wasm::{self, With, ad_hoc, by_batch, by_name};

pub async fn scene(scene: &mut Scene) {
    let named = scene.smartmodule("named", &wasm::twice()).await;
    let chains: [(&str, Vec<SmartModuleInvocation>); 10] = [
        ("as it is", vec![ad_hoc(&wasm::identity())]),
        ("twice", vec![ad_hoc(&wasm::twice())]),
        ("by name", vec![by_name(&named)]),
        ("nothing", vec![ad_hoc(&wasm::nothing())]),
        ("an error", vec![ad_hoc(&wasm::error())]),
        (
            "an error after a record",
            vec![ad_hoc(&by_batch(With::Refuse, With::Pass))],
        ),
        ("a trap", vec![ad_hoc(&wasm::trap())]),
        ("missing", vec![by_name("missing")]),
        ("garbage", vec![ad_hoc(b"no wasm")]),
        ("a chain", vec![ad_hoc(&wasm::twice()), by_name(&named)]),
    ];
    for (number, (what, chain)) in chains.into_iter().enumerate() {
        scene.section(what);
        let (topic, spu) = scene.one_partition(&format!("produced-{number}")).await;
        let batches = vec![
            compressed(&["the same", "the same"], Compression::Gzip),
            batch(&["c"]),
        ];
        let mut produce = request(vec![(
            &topic,
            vec![(0, batches), (1, vec![batch(&["nowhere"])])],
        )]);
        produce.smartmodules = chain;
        scene.note(answered(&spu.ask(produce).await));
        scene.note(spu.offsets(&topic, 0).await);
        spu.produce(&topic, vec![batch(&["d"])]).await;
        let mut stream = spu.stream(&topic, 0, |_| {}).await;
        scene.note(stream.next().await);
    }
}
