//! The codec against Fluvio's own, natively.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::io::Cursor;

use fact_model::Envelope;
use flatten_items::batch::{BatchError, Flattener};
use fluvio_protocol::record::{Record, RecordData};
use fluvio_protocol::{Decoder as _, Encoder as _};
use fluvio_smartmodule::dataplane::smartmodule::{SmartModuleInput, SmartModuleOutput};

const EVENT: &str =
    r#"{"name":"view_item","ts":1795382400,"items":[{"item_id":"a"},{"item_id":"b"}]}"#;

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
        let mut flattener = Flattener::default();
        let records = vec![
            Record::new(EVENT),
            Record::new_key_value("key", EVENT),
            Record::new(RecordData::from(vec![0xff; 9000])),
        ];
        assert_eq!(flattener.flatten(&encoded(records, version)), Ok(3));
        let output = decoded(flattener.output(), version);
        assert_eq!(output.len(), 3);
        assert_eq!(output[1].key.as_ref().unwrap().as_ref(), b"key");
        let envelope: Envelope<'_> = serde_json::from_slice(output[1].value.as_ref()).unwrap();
        assert_eq!(envelope.facts.len(), 2);
    }
}

#[test]
fn a_batch_that_is_cut_off_is_an_error_and_no_panic() {
    let mut flattener = Flattener::default();
    let whole = encoded(vec![Record::new_key_value("key", EVENT); 3], 22);
    assert_eq!(flattener.flatten(&[]), Err(BatchError::Input));
    for length in 0..whole.len() {
        // What follows the records is of no use to a map, so only a cut before their end shows.
        let result = flattener.flatten(&whole[..length]);
        assert!(
            result.is_ok() == (length >= whole.len() - trailer()),
            "{length}: {result:?}"
        );
    }
    let mut more_announced = whole.clone();
    more_announced[15] = 4;
    assert_eq!(flattener.flatten(&more_announced), Err(BatchError::Records));
    // And the next one is understood again.
    assert_eq!(flattener.flatten(&whole), Ok(3));
}

/// The length of what follows the records in version 22.
fn trailer() -> usize {
    encoded(Vec::new(), 22).len() - 8 - 4 - 4
}

#[test]
fn when_a_batch_becomes_too_large_the_rest_of_it_is_refused_one_to_one() {
    let mut flattener = Flattener::with_output_limit(1000);
    assert_eq!(
        flattener.flatten(&encoded(vec![Record::new(EVENT); 10], 22)),
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
