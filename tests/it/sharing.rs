//! Several sinks of one name share the partitions or take over, and write every fact once.

use std::collections::BTreeMap;
use std::time::Duration;

use end_to_end::connector::Connector;
use end_to_end::pipeline::Pipeline;
use end_to_end::{found, shop};
use local_stack::artefacts::SINK;
use local_stack::{Part, StackOptions};
use nix::sys::signal::Signal;

/// Starts an additional sink with the name of the stack's sink, and the application name `name`.
fn start(pipeline: &Pipeline, name: &str, shares: bool) -> Connector {
    let stack = &pipeline.stack;
    let config = std::fs::read_to_string(stack.folder().join("postgres-sink.yaml")).unwrap();
    let shared = "share-partitions: true";
    assert!(config.contains(shared), "{config}");
    let config = config.replace(shared, &format!("share-partitions: {shares}"));
    let config = format!("{config}  application-name: {name}\n");
    Connector::start(stack, SINK, name, &config).unwrap()
}

fn sharing(pipeline: &Pipeline, name: &str) -> Connector {
    start(pipeline, name, true)
}

const HELD: &str = "\
    SELECT a.application_name, count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
      AND (l.classid::bigint << 32 | l.objid::bigint) IN ( \
          SELECT hashtextextended(concat_ws(e'\\x1f', o.sink, o.topic, p), 0) \
          FROM sink_offsets o, generate_series(0, 9) p) \
    GROUP BY 1";

/// The number of partitions that each sink holds.
async fn held(pipeline: &Pipeline) -> BTreeMap<String, i64> {
    let rows = pipeline.database.query(HELD, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Waits until `wanted` is true of the numbers of partitions that the sinks hold.
async fn until_held(pipeline: &Pipeline, sinks: &[&Connector], wanted: impl Fn(&[i64]) -> bool) {
    let mut last = BTreeMap::new();
    for _ in 0..300 {
        last = held(pipeline).await;
        if wanted(&last.values().copied().collect::<Vec<_>>()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let logs: Vec<String> = sinks.iter().map(|sink| sink.log()).collect();
    panic!(
        "the partitions are held so: {last:?}\n{}",
        logs.join("\n--\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_shared_and_taken_over() {
    let bodies = shop::bodies(81, 6_000);
    let mut parts = bodies.chunks(1_000);
    let options = StackOptions {
        partitions: Some(4),
        visibility_timeout: Some(Duration::from_secs(5)),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    // Creates the rows of sink_offsets, from which `held` computes the keys of the locks.
    pipeline.send(parts.next().unwrap()).await.unwrap();
    pipeline.arrived().await.unwrap();
    pipeline.stack.stop_part(Part::Sink).await.unwrap();

    let mut a = sharing(&pipeline, "sink-a");
    until_held(&pipeline, &[&a], |held| held == [4]).await;
    let mut b = sharing(&pipeline, "sink-b");
    pipeline.send(parts.next().unwrap()).await.unwrap();
    until_held(&pipeline, &[&a, &b], |held| held == [2, 2]).await;

    pipeline.send(parts.next().unwrap()).await.unwrap();
    a.end_by(Signal::SIGKILL).await.unwrap();
    until_held(&pipeline, &[&b], |held| held == [4]).await;

    pipeline.send(parts.next().unwrap()).await.unwrap();
    a = sharing(&pipeline, "sink-a");
    let c = sharing(&pipeline, "sink-c");
    let even = |held: &[i64]| {
        let mut held = held.to_vec();
        held.sort_unstable();
        held == [1, 1, 2]
    };
    until_held(&pipeline, &[&a, &b, &c], even).await;

    pipeline.send(parts.next().unwrap()).await.unwrap();
    assert_eq!(
        b.end_by(Signal::SIGTERM).await.unwrap(),
        Some(0),
        "{}",
        b.log()
    );
    until_held(&pipeline, &[&a, &c], |held| held == [2, 2]).await;
    pipeline.send(parts.next().unwrap()).await.unwrap();
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    for sink in [&a, &c] {
        assert!(!sink.log().contains("ERROR"), "{}", sink.log());
    }
    drop((a, c));
    pipeline.stack.stop().await.unwrap();
}

/// The sink with the lock loses it repeatedly, and another one takes over while it still writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_lock_doubles_no_fact() {
    let bodies = shop::bodies(82, 6_000);
    let options = StackOptions {
        partitions: Some(2),
        visibility_timeout: Some(Duration::from_secs(5)),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    pipeline.stack.stop_part(Part::Sink).await.unwrap();
    let mut sinks = [("one", false), ("two", false), ("three", true)]
        .map(|(name, shares)| start(&pipeline, name, shares));
    let [one, two, three] = &sinks;
    // Waits until both partitions have a row in sink_offsets.
    let begun = async || {
        pipeline
            .database
            .query("SELECT FROM sink_offsets", &[])
            .await
            .unwrap()
            .len()
    };
    while begun().await < 2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    until_held(&pipeline, &[one, two, three], |held| {
        held.iter().sum::<i64>() == 2
    })
    .await;
    let breaks = "\
        SELECT count(pg_terminate_backend(pid)) \
        FROM (SELECT DISTINCT pid FROM pg_locks \
              WHERE locktype = 'advisory' AND granted AND objsubid = 1 \
                AND pid <> pg_backend_pid()) AS holders";
    let mut broken = 0_i64;
    for part in bodies.chunks(500) {
        pipeline.send(part).await.unwrap();
        for _ in 0..4 {
            let row = pipeline.database.query_one(breaks, &[]).await.unwrap();
            broken += row.get::<_, i64>(0);
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }
    assert!(broken > 5, "{broken}");
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    for sink in &mut sinks {
        let ended = sink.ended().unwrap();
        assert!(ended.is_none(), "{ended:?}: {}", sink.log());
    }
    drop(sinks);
    pipeline.stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn added_partitions_are_read() {
    let bodies = shop::bodies(83, 3_000);
    let (early, late) = bodies.split_at(1_000);
    let mut pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    pipeline.send(early).await.unwrap();
    pipeline.arrived().await.unwrap();
    pipeline.stack.add_partitions(2).await.unwrap();
    let mut found_all = false;
    for _ in 0..300 {
        let stored = pipeline
            .database
            .query("SELECT FROM sink_offsets", &[])
            .await
            .unwrap();
        let source = pipeline.stack.launch(Part::Source).log_tail(1_000);
        found_all = stored.len() == 3 && source.contains("partitions=3");
        if found_all {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(
        found_all,
        "{}",
        pipeline.stack.launch(Part::Sink).log_tail(20)
    );
    pipeline.send(late).await.unwrap();
    pipeline.arrived().await.unwrap();
    let stored = "SELECT FROM sink_offsets WHERE next_offset > 0";
    assert_eq!(pipeline.database.query(stored, &[]).await.unwrap().len(), 3);
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    pipeline.stack.stop().await.unwrap();
}
