//! Tests the codec natively against Fluvio's own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::io::Cursor;

use fact_model::{Envelope, Fact, Options};
use fluvio_protocol::record::{Record, RecordData};
use fluvio_protocol::{Decoder as _, Encoder as _};
use fluvio_smartmodule::dataplane::smartmodule::{
    SmartModuleInitInput, SmartModuleInitOutput, SmartModuleInput, SmartModuleOutput,
};
use smartmodule_guest::abi::BatchError;
use smartmodule_guest::batch::{Flattener, Records};
use smartmodule_guest::parameters::{self, InitError};

const EVENT: &str =
    r#"{"name":"view_item","ts":1795382400,"items":[{"item_id":"a"},{"item_id":"b"}]}"#;

/// Writes the envelope as one record, like `flatten-items`.
fn put(envelope: &Envelope<'_>, records: &mut Records<'_>) {
    records.put(|value| serde_json::to_writer(value, envelope).unwrap());
}

fn encoded(records: Vec<Record>, version: i16) -> Vec<u8> {
    let input = SmartModuleInput::try_from_records(records, version).unwrap();
    let mut bytes = Vec::new();
    input.encode(&mut bytes, version).unwrap();
    bytes
}

fn decoded(bytes: &[u8], version: i16) -> Vec<Record> {
    let mut output = SmartModuleOutput::default();
    let mut bytes = Cursor::new(bytes);
    output.decode(&mut bytes, version).unwrap();
    assert_eq!(bytes.position() as usize, bytes.get_ref().len());
    assert!(output.error.is_none());
    output.successes
}

#[test]
fn every_version_of_the_interface_is_understood() {
    for version in [0, 15, 16, 20, 21, 22, 23, 25] {
        let mut flattener = Flattener::new(put);
        let records = vec![
            Record::new(EVENT),
            Record::new_key_value("key", EVENT),
            Record::new(RecordData::from(vec![0xff; 9000])),
        ];
        assert_eq!(
            flattener.flatten(&encoded(records, version), version.into()),
            Ok(3)
        );
        let output = decoded(flattener.output(), version);
        assert_eq!(output.len(), 3);
        assert_eq!(output[1].key.as_ref().unwrap().as_ref(), b"key");
        let envelope: Envelope<'_> = serde_json::from_slice(output[1].value.as_ref()).unwrap();
        assert_eq!(envelope.facts.len(), 2);
    }
}

#[test]
fn a_batch_that_is_cut_off_is_an_error_and_no_panic() {
    let mut flattener = Flattener::new(put);
    let whole = encoded(vec![Record::new_key_value("key", EVENT); 3], 22);
    assert_eq!(flattener.flatten(&[], 22), Err(BatchError::Input));
    for length in 0..whole.len() {
        // The bytes after the records aren't read, so only a cut before them is an error.
        let result = flattener.flatten(&whole[..length], 22);
        assert!(
            result.is_ok() == (length >= whole.len() - trailer()),
            "{length}: {result:?}"
        );
    }
    let mut more_announced = whole.clone();
    more_announced[15] = 4;
    assert_eq!(
        flattener.flatten(&more_announced, 22),
        Err(BatchError::Records)
    );
    // The next batch is read again.
    assert_eq!(flattener.flatten(&whole, 22), Ok(3));
}

/// The length of the input after the records in version 22.
fn trailer() -> usize {
    encoded(Vec::new(), 22).len() - 8 - 4 - 4
}

#[test]
fn when_a_batch_becomes_too_large_the_rest_of_it_is_refused_one_to_one() {
    let mut flattener = Flattener::new(put);
    flattener.set_output_limit(1000);
    assert_eq!(
        flattener.flatten(&encoded(vec![Record::new(EVENT); 10], 22), 22),
        Ok(10)
    );
    let output = decoded(flattener.output(), 22);
    let envelopes: Vec<Envelope<'_>> = output
        .iter()
        .map(|record| serde_json::from_slice(record.value.as_ref()).unwrap())
        .collect();
    assert_eq!(envelopes[0].facts.len(), 2);
    assert_eq!(envelopes[9].rejected[0].reason, "too-large");
    assert_eq!(envelopes[9].rejected[0].raw, EVENT);
}

#[test]
fn records_may_become_none_or_several() {
    let each_fact = |envelope: &Envelope<'_>, records: &mut Records<'_>| {
        for fact in &envelope.facts {
            records.put(|value| serde_json::to_writer(value, fact).unwrap());
        }
    };
    let mut flattener = Flattener::new(each_fact);
    let records = vec![
        Record::new_key_value("first", EVENT),
        Record::new("no event"),
        Record::new_key_value("last", EVENT),
    ];
    assert_eq!(flattener.flatten(&encoded(records, 22), 22), Ok(4));
    let output = decoded(flattener.output(), 22);
    let keys: Vec<_> = output.iter().map(|record| record.key.clone()).collect();
    assert_eq!(keys[1].as_ref().unwrap().as_ref(), b"first");
    assert_eq!(keys[2].as_ref().unwrap().as_ref(), b"last");
    let fact: Fact<'_> = serde_json::from_slice(output[1].value.as_ref()).unwrap();
    assert_eq!(fact.item_ordinal, 2);
}

#[test]
fn the_time_of_a_record_is_that_of_its_batch_and_its_own_delta() {
    let mut flattener = Flattener::new(put);
    flattener.set_options(Options::parse([("missing-time", "record")]).unwrap());
    for (version, time, expected) in [
        (22, 1_795_382_400_000, Some("2026-11-22T21:20:01.500Z")),
        (23, 1_795_382_400_000, Some("2026-11-22T21:20:01.500Z")),
        (25, 1_795_382_400_000, Some("2026-11-22T21:20:01.500Z")),
        // Before version 22 the input has no time and ends with another field.
        (21, 1_795_382_400_000, None),
        (22, -1, None),
        (22, i64::MAX, None),
    ] {
        let mut record = Record::new(r#"{"name":"purchase"}"#);
        record.preamble.set_timestamp_delta(1500);
        let mut input = SmartModuleInput::try_from_records(vec![record], version).unwrap();
        input.set_base_timestamp(time);
        let mut bytes = Vec::new();
        input.encode(&mut bytes, version).unwrap();
        assert_eq!(flattener.flatten(&bytes, version.into()), Ok(1));
        let output = decoded(flattener.output(), version);
        let envelope: Envelope<'_> = serde_json::from_slice(output[0].value.as_ref()).unwrap();
        let time = envelope.facts.first().map(|fact| fact.event_time);
        let expected = expected.map(|time| time.parse().unwrap());
        assert_eq!(time, expected, "version {version}, {time:?}");
    }
}

#[test]
fn parameters_are_understood_in_every_version_of_the_interface() {
    for version in [0, 16, 20, 22, 25] {
        let read = |parameters: &[(&str, &str)]| {
            let mut input = SmartModuleInitInput::default();
            for (name, value) in parameters {
                let (name, value) = ((*name).to_owned(), (*value).to_owned());
                input.params.insert(name, value);
            }
            let mut bytes = Vec::new();
            input.encode(&mut bytes, version).unwrap();
            parameters::read(&bytes)
        };
        assert_eq!(read(&[]), Ok(Options::default()));
        let some = [("events", "purchase"), ("max-items", "200")];
        assert_eq!(read(&some), Ok(Options::parse(some).unwrap()));

        let Err(InitError::Parameter(bytes)) = read(&[("max-items", "many")]) else {
            panic!("it was accepted");
        };
        let mut output = SmartModuleInitOutput::default();
        output
            .decode(&mut Cursor::new(bytes.as_slice()), version)
            .unwrap();
        assert_eq!(
            output.error.hint,
            "the parameter `max-items` is `many`; it can be a number from 1 on"
        );
    }
    assert_eq!(parameters::read(&[]), Err(InitError::Input));
    assert_eq!(parameters::read(&[0, 1, 0, 9, b'e']), Err(InitError::Input));
    let long = "x".repeat(70_000);
    let mut input = SmartModuleInitInput::default();
    input.params.insert("events".to_owned(), long);
    let mut bytes = Vec::new();
    // Fluvio writes the length of a text modulo 65,536, which must not cause a panic.
    input.encode(&mut bytes, 22).unwrap();
    assert!(parameters::read(&bytes).is_ok());
}
