//! A record that makes the SmartModule trap delays its partition only, until it is set aside.

use std::time::Duration;

use end_to_end::pipeline::{Pipeline, edit, until};
use end_to_end::{cli, shop};
use local_stack::cluster::load_smart_module;
use local_stack::{Part, StackOptions};

/// Returns every record unchanged, and traps on a batch with the text `TRAP`.
const PICKY: &str = r#"(module
    (import "env" "copy_records" (func $put_out (param i32 i32)))
    (memory (export "memory") 512)
    (func (export "alloc") (param i32) (result i32) (i32.const 4096))
    (func $big_endian (param $at i32) (result i32)
        (i32.or
            (i32.or
                (i32.shl (i32.load8_u (local.get $at)) (i32.const 24))
                (i32.shl (i32.load8_u offset=1 (local.get $at)) (i32.const 16)))
            (i32.or
                (i32.shl (i32.load8_u offset=2 (local.get $at)) (i32.const 8))
                (i32.load8_u offset=3 (local.get $at)))))
    (func (export "map") (param $in i32) (param $size i32) (param i32) (result i32)
        (local $len i32)
        (local $at i32)
        (local.set $at (local.get $in))
        (loop $next
            (if (i32.eq (i32.load (local.get $at)) (i32.const 0x50415254)) (then unreachable))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $next
                (i32.lt_u (local.get $at) (i32.add (local.get $in) (local.get $size)))))
        (local.set $len (call $big_endian (i32.add (local.get $in) (i32.const 8))))
        (i32.store8 offset=12 (i32.add (local.get $in) (local.get $len)) (i32.const 0))
        (call $put_out
            (i32.add (local.get $in) (i32.const 12))
            (i32.add (local.get $len) (i32.const 1)))
        (i32.const 0)))"#;
const MANIFEST: &str = "\
    params = []\n\
    package = { name = \"picky\", group = \"tests\", version = \"0.1.0\", apiVersion = \"0.1.0\" }";
const POISON: &str = r#"{"event_id":"TRAP","event_name":"view_item","timestamp":"2026-11-24T10:00:00Z","items":[{"item_id":"A"}]}"#;
const STANDS_STILL: &str = "the partition stands still";

/// The log of the sink once it has `text`.
async fn log_with(pipeline: &Pipeline, text: &str) -> String {
    let mut log = String::new();
    for _ in 0..600 {
        log = pipeline.stack.launch(Part::Sink).log_tail(1_000);
        if log.contains(text) {
            return log;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no «{text}» in:\n{log}");
}

/// The numbers in `text` between `from` and `to`.
fn numbers(text: &str, from: &str, to: &str) -> Vec<i64> {
    let start = text.find(from).unwrap() + from.len();
    let end = start + text[start..].find(to).unwrap();
    let words = text[start..end].split_whitespace();
    words.filter_map(|word| word.parse().ok()).collect()
}

/// Runs `etl`, which must succeed and say `part`.
async fn ensure_etl(pipeline: &Pipeline, args: &[&str], part: &str) {
    let mut command = cli::command().unwrap();
    let command = command.args(args);
    let command = command.env("DATABASE_URL", pipeline.stack.database_url());
    cli::ensure_output(command, 0, &[part]).await.unwrap();
}

/// Puts a SmartModule before flatten-items in the sink's file, and restarts the sink.
async fn put_picky_first(pipeline: &mut Pipeline) {
    let stack = &mut pipeline.stack;
    let wasm = stack.folder().join("picky.wasm");
    std::fs::write(&wasm, wat::parse_str(PICKY).unwrap()).unwrap();
    let admin = stack.admin().await.unwrap();
    load_smart_module(&admin, MANIFEST, &wasm).await.unwrap();
    stack.stop_part(Part::Sink).await.unwrap();
    let file = stack.folder().join("postgres-sink.yaml");
    edit(&file, "transforms:\n", "transforms:\n  - uses: picky\n").unwrap();
    stack.start_part(Part::Sink).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_traps_the_smart_module_delays_its_partition_until_it_is_set_aside() {
    let mut bodies = shop::bodies(18, 600);
    bodies.push(POISON.to_owned());
    let options = StackOptions {
        partitions: Some(2),
        visibility_timeout: Some(Duration::from_secs(600)),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    put_picky_first(&mut pipeline).await;
    pipeline.send(&bodies[..300]).await.unwrap();
    pipeline.arrived().await.unwrap();

    pipeline.send(&bodies[600..]).await.unwrap();
    let log = log_with(&pipeline, STANDS_STILL).await;
    let advice = &log[log.find(STANDS_STILL).unwrap()..];
    let partition = numbers(advice, "--partition", "--offset")[0];
    let offset = *numbers(advice, "; it is at ", ";").last().unwrap();

    // The other partition goes on.
    let others = "SELECT next_offset FROM sink_offsets WHERE partition <> $1::bigint";
    let others = async || -> i64 {
        let row = pipeline.database.query_one(others, &[&partition]).await;
        row.unwrap().get(0)
    };
    let before = others().await;
    pipeline.send(&bodies[300..600]).await.unwrap();
    until("the other partition goes on", async || {
        others().await >= before + 100
    })
    .await
    .unwrap();

    // A sink that pauses can be stopped, and another one meets the same record.
    let status = pipeline.stack.stop_part(Part::Sink).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
    pipeline.stack.start_part(Part::Sink).await.unwrap();

    let [partition, offset] = [partition, offset].map(|number| number.to_string());
    let topic = pipeline.stack.topic().to_owned();
    let skip = [
        ["rejected", "skip", "--topic", &topic],
        ["--partition", &partition, "--offset", &offset],
    ];
    ensure_etl(&pipeline, &skip.concat(), "shop-events-sink").await;
    log_with(&pipeline, "set aside a record for an operator").await;
    pipeline.arrived().await.unwrap();

    let rejected = "SELECT raw FROM rejected_events WHERE reason = 'set-aside'";
    let rows = pipeline.database.query(rejected, &[]).await.unwrap();
    let raw: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(raw.contains(&POISON.to_owned()), "{raw:?}");
    ensure_etl(
        &pipeline,
        &["rejected", "retry", "--reason", "set-aside"],
        "became facts",
    )
    .await;
    // Its format is not one of those that the comparison knows.
    let fact = "DELETE FROM fact_events WHERE event_id = 'TRAP'";
    assert_eq!(pipeline.database.execute(fact, &[]).await.unwrap(), 1);
    pipeline.finish(&bodies[..600]).await.unwrap();
}
