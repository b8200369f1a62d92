//! The WebAssembly module in the engine that Fluvio's SPU runs it in.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::path::PathBuf;

use fluvio_protocol::record::{Record, RecordData};
use fluvio_smartengine::{
    DEFAULT_SMARTENGINE_VERSION, SmartEngine, SmartModuleChainBuilder, SmartModuleChainInstance,
    SmartModuleConfig,
};
use fluvio_smartmodule::dataplane::smartmodule::SmartModuleInput;

/// The module beside the release binaries, where the build script puts it.
fn module() -> Vec<u8> {
    let test = std::env::current_exe().unwrap();
    let path: PathBuf = test.ancestors().nth(2).unwrap().join("flatten-items.wasm");
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; run smartmodules/build.sh first",
            path.display()
        )
    })
}

fn chain_with(memory_limit: usize) -> SmartModuleChainInstance {
    let mut builder = SmartModuleChainBuilder::default();
    let config = SmartModuleConfig::builder()
        .smartmodule_names(&["flatten-items".to_owned()])
        .build()
        .unwrap();
    builder.set_store_memory_limit(memory_limit);
    builder.add_smart_module(config, module());
    builder.initialize(&SmartEngine::new()).unwrap()
}

fn chain() -> SmartModuleChainInstance {
    chain_with(1_000_000_000)
}

fn input(records: Vec<Record>) -> SmartModuleInput {
    let mut input =
        SmartModuleInput::try_from_records(records, DEFAULT_SMARTENGINE_VERSION).unwrap();
    input.set_base_offset(4711);
    input.set_base_timestamp(1_795_000_000_000);
    input
}

fn run(chain: &mut SmartModuleChainInstance, records: Vec<Record>) -> Vec<Record> {
    let output = chain.process(input(records)).unwrap();
    assert!(output.error.is_none());
    output.successes
}

fn native(body: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&fact_model::flatten(body)).unwrap()
}

/// An event of about a kilobyte with five items.
fn event(number: usize) -> String {
    let items: Vec<String> = (1..=5)
        .map(|item| {
            format!(
                r#"{{"item_id":"SKU-{number}-{item}","item_name":"Stan and Friends Tee","item_brand":"Google","item_category":"Apparel/Adult/Shirts","item_variant":"green","price":{}.90,"quantity":1,"index":{item}}}"#,
                number % 100
            )
        })
        .collect();
    format!(
        r#"{{"event_id":"e-{number}","event_name":"view_item_list","event_time":"2026-11-22T21:20:00.123456Z","user_pseudo_id":"u-{}","session_id":"s-{}","platform":"IOS","item_list_id":"l-1","item_list_name":"Related products","currency":"USD","app_version":"3.1.4","items":[{}]}}"#,
        number % 977,
        number % 1999,
        items.join(",")
    )
}

#[test]
fn every_record_becomes_what_the_native_code_makes_of_it() {
    let mut bodies: Vec<Vec<u8>> = (0..50).map(|number| event(number).into_bytes()).collect();
    let in_a_string = format!(
        r#"{{"event_name":"purchase","ts":1795000000,"items":{}}}"#,
        serde_json::to_string(r#"[{"item_id":7.0,"price":"9.90"},{"item_id":7.0}]"#).unwrap()
    );
    bodies.push(in_a_string.into_bytes());
    for bad in [
        "",
        "{",
        "null",
        "[]",
        "[1,{}]",
        "\u{feff}",
        "{\"event_name\":\"x\",\"ts\":1}",
    ] {
        bodies.push(bad.as_bytes().to_vec());
    }
    bodies.push(vec![0xff, 0x00, 0xfe]);
    bodies.push("[".repeat(1_000_000).into_bytes());

    let records = bodies
        .iter()
        .map(|body| Record::new(RecordData::from(body.clone())))
        .collect();
    let output = run(&mut chain(), records);

    assert_eq!(output.len(), bodies.len());
    for (record, body) in output.iter().zip(&bodies) {
        let expected = native(body);
        assert_eq!(
            record.value.as_ref(),
            expected,
            "{}",
            String::from_utf8_lossy(&expected)
        );
    }
}

#[test]
fn keys_and_deltas_stay_as_they_were() {
    let records = (0..100_i64)
        .map(|number| {
            let mut record = Record::new(event(0));
            record.preamble.set_offset_delta(number);
            record.preamble.set_timestamp_delta(number * 1000);
            record.key = match number % 3 {
                0 => None,
                1 => Some(RecordData::from("")),
                _ => Some(RecordData::from(vec![
                    0xff;
                    usize::try_from(number).unwrap()
                ])),
            };
            record
        })
        .collect::<Vec<_>>();
    let output = run(&mut chain(), records.clone());
    assert_eq!(output.len(), records.len());
    for (after, before) in output.iter().zip(&records) {
        assert_eq!(
            after.key.as_ref().map(AsRef::as_ref),
            before.key.as_ref().map(AsRef::as_ref)
        );
        assert_eq!(
            after.preamble.offset_delta(),
            before.preamble.offset_delta()
        );
        assert_eq!(
            after.preamble.get_timestamp_delta(),
            before.preamble.get_timestamp_delta()
        );
        assert_eq!(after.headers, before.headers);
    }
}

#[test]
fn bad_records_are_rejections_and_stop_nothing() {
    let mut chain = chain();
    let bodies = ["no json", &event(1), "", &event(2)];
    let output = run(&mut chain, bodies.into_iter().map(Record::new).collect());
    let envelopes: Vec<fact_model::Envelope<'_>> = output
        .iter()
        .map(|record| serde_json::from_slice(record.value.as_ref()).unwrap())
        .collect();
    assert_eq!(envelopes[0].rejected[0].reason, "not-json");
    assert_eq!(envelopes[0].rejected[0].raw, "no json");
    assert_eq!(envelopes[1].facts.len(), 5);
    assert_eq!(envelopes[2].rejected[0].reason, "empty-body");
    assert_eq!(envelopes[3].facts.len(), 5);
}

#[test]
fn an_empty_batch_is_an_empty_batch() {
    let mut chain = chain();
    assert!(run(&mut chain, Vec::new()).is_empty());
    assert_eq!(run(&mut chain, vec![Record::new(event(1))]).len(), 1);
}

#[test]
fn a_record_of_a_mebibyte_passes() {
    let name = "x".repeat(1024 * 1024);
    let body = format!(
        r#"{{"event_name":"view_item","ts":1795000000,"items":[{{"item_name":"{name}"}}]}}"#
    );
    let expected = native(body.as_bytes());
    let output = run(&mut chain(), vec![Record::new(body)]);
    assert_eq!(output[0].value.as_ref(), expected);
}

#[test]
fn memory_stays_flat() {
    // A module that leaked its output, or its input, would be at this limit after a few batches.
    let mut chain = chain_with(16_000_000);
    let batch = input((0..1000).map(|number| Record::new(event(number))).collect());
    let size = batch.raw_bytes().len();
    let mut total = 0;
    while total < 80_000_000 {
        let output = chain.process(batch.clone()).unwrap();
        assert!(output.error.is_none());
        assert_eq!(output.successes.len(), 1000);
        total += size;
    }
}
