//! SmartModules that look back on the records before.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fluvio::consumer::SmartModuleExtraParams;
use fluvio_smartmodule::dataplane::smartmodule::Lookback;

use super::scene::Scene;
use super::wire::batch;
use crate::wasm::{self, ad_hoc};

/// The SmartModule refuses all but three records to look back on.
pub async fn scene(scene: &mut Scene) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_millis()).unwrap();
    let hour = Duration::from_secs(3_600);
    for (number, ages) in [
        &[][..],
        &[(3, Duration::ZERO)],
        &[(3, 2 * hour), (2, Duration::ZERO), (1, Duration::ZERO)],
        &[(1, 2 * hour), (2, Duration::ZERO)],
        &[(1, Duration::ZERO), (3, 2 * hour), (2, Duration::ZERO)],
        &[(5, Duration::ZERO)],
    ]
    .into_iter()
    .enumerate()
    {
        scene.section(&format!("batches of so many records, so old: {ages:?}"));
        let (topic, spu) = scene.one_partition(&format!("lookback-{number}")).await;
        for (count, age) in ages {
            let mut batch = batch(&vec!["it"; *count]);
            let time = now - i64::try_from(age.as_millis()).unwrap();
            batch.header.first_timestamp = time;
            batch.header.max_time_stamp = time;
            spu.produce(&topic, vec![batch]).await;
        }
        for lookback in [
            Lookback::last(0),
            Lookback::last(3),
            Lookback::last(4),
            Lookback::last(100),
            Lookback::age(hour, None),
            Lookback::age(3 * hour, None),
            Lookback::age(hour, Some(3)),
            Lookback::age(hour, Some(100)),
            Lookback::age(3 * hour, Some(3)),
        ] {
            let mut invocation = ad_hoc(&wasm::identity_with_three_to_look_back_on());
            let described = format!("{lookback:?}");
            invocation.params = SmartModuleExtraParams::new(BTreeMap::new(), Some(lookback));
            let chain = vec![invocation];
            let mut stream = spu.stream(&topic, 0, |it| it.smartmodules = chain).await;
            let response = stream.next_if_any().await;
            let response = response.lines().next().unwrap();
            scene.note(format!("{described}:\n{response}"));
        }
    }
}
