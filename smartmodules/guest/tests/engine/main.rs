//! Runs the built WebAssembly modules in the SPU's engine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use fluvio_protocol::record::{Record, RecordData};
use fluvio_smartengine::SmartModuleChainInstance;

use support::{chain, event, input, open};

fn run(chain: &mut SmartModuleChainInstance, records: Vec<Record>) -> Vec<Record> {
    let output = chain.process(input(records)).unwrap();
    assert!(output.error.is_none());
    output.successes
}

fn native(body: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&fact_model::flatten(body)).unwrap()
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
    let output = run(&mut chain("flatten-items"), records);

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
    for name in ["flatten-items", "raw-events"] {
        let output = run(&mut chain(name), records.clone());
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
}

#[test]
fn bad_records_are_rejections_and_stop_nothing() {
    let mut chain = chain("flatten-items");
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
    let mut chain = chain("flatten-items");
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
    let output = run(&mut chain("flatten-items"), vec![Record::new(body)]);
    assert_eq!(output[0].value.as_ref(), expected);
}

#[test]
fn list_items_puts_out_each_fact_and_each_rejection() {
    let mut chain = chain("list-items");
    let two = r#"{"name":"purchase","ts":1795382400,"items":[{"item_id":"a"},{"item_id":"b"}]}"#;
    let several = format!("[{two},{{}},{}]", event(3));
    let bodies = [event(1), "no json".to_owned(), String::new(), several];
    let records = bodies
        .iter()
        .map(|body| Record::new_key_value("key", body.as_str()))
        .collect();
    let output = run(&mut chain, records);

    let mut expected = Vec::new();
    for envelope in bodies
        .iter()
        .map(|body| fact_model::flatten(body.as_bytes()))
    {
        for fact in &envelope.facts {
            expected.push(serde_json::to_string(fact).unwrap());
        }
        for rejected in &envelope.rejected {
            let rejected = serde_json::to_string(rejected).unwrap();
            expected.push(format!(r#"{{"rejected":{rejected}}}"#));
        }
    }
    assert_eq!(expected.len(), 5 + 1 + 1 + (2 + 1 + 5));
    let values: Vec<_> = output
        .iter()
        .map(|record| String::from_utf8_lossy(record.value.as_ref()))
        .collect();
    assert_eq!(values, expected);
    for record in &output {
        assert_eq!(record.key.as_ref().map(AsRef::as_ref), Some(&b"key"[..]));
    }
}

#[test]
fn raw_events_returns_each_value_as_it_is() {
    let values: Vec<Vec<u8>> = (0..100_usize)
        .map(|number| (0..number * number * 20).map(|byte| byte as u8).collect())
        .collect();
    let mut chain = chain("raw-events");
    for _ in 0..3 {
        let records = values.iter().cloned().map(RecordData::from);
        let output = run(&mut chain, records.map(Record::new).collect());
        let output: Vec<_> = output.iter().map(|record| record.value.as_ref()).collect();
        assert!(output == values, "a value has changed");
        assert!(run(&mut chain, Vec::new()).is_empty());
    }
}

#[test]
fn parameters_change_what_comes_out() {
    let events = [
        r#"{"name":"view_item","ts":1795382400}"#,
        r#"{"name":"purchase"}"#,
    ];
    let records = || {
        let mut records: Vec<_> = events.into_iter().map(Record::new).collect();
        records[1].preamble.set_timestamp_delta(1500);
        records
    };
    let parameters = [("events", "purchase"), ("missing-time", "record")];

    let mut chain = open("flatten-items", &parameters, 1_000_000_000).unwrap();
    let output = run(&mut chain, records());
    assert_eq!(output.len(), 2);
    assert_eq!(output[0].value.as_ref(), br#"{"facts":[]}"#);
    let envelope: fact_model::Envelope<'_> =
        serde_json::from_slice(output[1].value.as_ref()).unwrap();
    let time = envelope.facts[0].event_time.to_rfc3339();
    assert_eq!(time, "2026-11-22T21:20:01.500+00:00");

    let mut chain = open("list-items", &parameters, 1_000_000_000).unwrap();
    let output = run(&mut chain, records());
    assert_eq!(output.len(), 1);
}

#[test]
fn a_stream_with_a_bad_parameter_does_not_open_and_says_why() {
    for name in ["flatten-items", "list-items"] {
        let error = |parameter| open(name, &[parameter], 1_000_000_000).err().unwrap();
        let message = error(("missing-time", "now"));
        assert!(
            message.starts_with(
                "the parameter `missing-time` is `now`; it can be `reject` or `record`"
            ),
            "{message}"
        );
        let message = error(("tracking-plan", r#"{"events":{"a":{"pattern":"x"}}}"#));
        assert!(
            message.starts_with(
                "the parameter `tracking-plan` can't be used: unknown field `pattern`"
            ),
            "{message}"
        );
        let message = error(("event", "purchase"));
        assert!(
            message.starts_with("unknown parameter `event`; the parameters are events,"),
            "{message}"
        );
    }
    let parameter = [("events", "purchase")];
    let message = open("raw-events", &parameter, 1_000_000_000).err().unwrap();
    assert!(
        message.starts_with("unknown parameter `events`; this SmartModule has none\n"),
        "{message}"
    );
}

#[test]
fn memory_stays_flat() {
    // A module that leaked its output or its input would reach this limit after a few batches.
    for name in ["flatten-items", "list-items", "raw-events"] {
        let mut chain = open(name, &[], 16_000_000).unwrap();
        let batch = input((0..1000).map(|number| Record::new(event(number))).collect());
        let size = batch.raw_bytes().len();
        let mut total = 0;
        while total < bytes_through_one_chain() {
            let output = chain.process(batch.clone()).unwrap();
            assert!(output.error.is_none());
            assert!(output.successes.len() >= 1000);
            total += size;
        }
    }
}

/// `ENGINE_TEST_BYTES`, else enough for a short test.
fn bytes_through_one_chain() -> usize {
    std::env::var("ENGINE_TEST_BYTES").map_or(200_000_000, |bytes| bytes.parse().unwrap())
}
