//! Two clusters with topics and sinks of the same names, and one database.

use std::time::Duration;

use end_to_end::pipeline::{Pipeline, edit, until};
use end_to_end::{found, shop};
use local_stack::{Part, StackOptions};

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_of_another_cluster_is_refused_until_it_has_a_name_of_its_own() {
    let bodies = shop::bodies(19, 400);
    let (of_first, of_second) = bodies.split_at(200);
    let mut first = Pipeline::start(StackOptions::default()).await.unwrap();
    first.send(of_first).await.unwrap();
    first.arrived().await.unwrap();
    let options = StackOptions {
        database_url: Some(first.stack.database_url().to_owned()),
        ..StackOptions::default()
    };
    let mut second = Pipeline::start(options).await.unwrap();
    second.send(of_second).await.unwrap();
    let mut ended = Vec::new();
    until("the second sink ends", async || {
        ended = second.stack.ended().unwrap();
        !ended.is_empty()
    })
    .await
    .unwrap();
    let log = second.stack.launch(Part::Sink).log_tail(30);
    let [(Part::Sink, status)] = ended[..] else {
        panic!("{ended:?}: {log}");
    };
    assert_eq!(status.code(), Some(1), "{log}");
    for part in ["another Fluvio cluster", "`meta.name` of its own"] {
        assert!(log.contains(part), "{log}");
    }

    let file = second.stack.folder().join("postgres-sink.yaml");
    edit(&file, "name: shop-events-sink", "name: sink-of-the-second").unwrap();
    second.stack.start_part(Part::Sink).await.unwrap();
    let mut outcome = Ok(());
    for _ in 0..600 {
        outcome = found::ensure_equal(&first.database, &bodies).await;
        if outcome.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    outcome.unwrap();
    assert!(first.stack.ended().unwrap().is_empty());
    second.stack.stop().await.unwrap();
    first.stack.stop().await.unwrap();
}
