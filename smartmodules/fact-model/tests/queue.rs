//! Sample bodies with `items` as Java prints rows: each becomes exactly the facts in its line of
//! `samples/queue.expected.jsonl`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;

use fact_model::{Decimal, flatten};
use serde_json::Value;

const BODIES: &str = include_str!("samples/queue.jsonl");
const EXPECTED: &str = include_str!("samples/queue.expected.jsonl");

/// The facts of a body as JSON, with numbers in `extra` as plain decimals, and their hashes.
fn facts(body: &str) -> (Vec<Value>, Vec<Value>) {
    let envelope = flatten(body.as_bytes());
    let Value::Array(mut facts) = serde_json::to_value(&envelope.facts).unwrap() else {
        panic!("facts are a list");
    };
    let take_hash = |fact: &mut Value| fact.as_object_mut().unwrap().remove("fact_hash").unwrap();
    let hashes = facts.iter_mut().map(take_hash).collect();
    facts.iter_mut().for_each(plain);
    (facts, hashes)
}

/// Writes each number as [`Decimal`] does, so that `899.0` and `899` are the same.
fn plain(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let text = number.to_string();
            *value = Value::String(format!("number {}", Decimal::parse(&text).unwrap()));
        }
        Value::Array(values) => values.iter_mut().for_each(plain),
        Value::Object(values) => values.values_mut().for_each(plain),
        _ => {}
    }
}

#[test]
fn every_sample_becomes_its_facts() {
    assert_eq!(BODIES.lines().count(), EXPECTED.lines().count());
    for (body, expected) in BODIES.lines().zip(EXPECTED.lines()) {
        let expected: Value = serde_json::from_str(expected).unwrap();
        let case = &expected["case"];
        if let Some(reason) = expected["rejected"].as_str() {
            let envelope = flatten(body.as_bytes());
            assert_eq!(envelope.facts, [], "{case}");
            let [rejection] = envelope.rejected.as_slice() else {
                panic!("{case}: {envelope:?}");
            };
            assert_eq!(
                (&*rejection.reason, &*rejection.at),
                (reason, "$.items"),
                "{case}"
            );
            assert!(
                rejection.detail.contains(" at line 1 column "),
                "{case}: {rejection:?}"
            );
            continue;
        }
        let mut expected_facts = expected["facts"].clone();
        plain(&mut expected_facts);
        assert_eq!(Value::Array(facts(body).0), expected_facts, "{case}");
    }
}

#[test]
fn only_an_event_that_comes_again_has_the_same_facts() {
    let mut lines: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (line, body) in (1..).zip(BODIES.lines()) {
        for hash in facts(body).1 {
            lines.entry(hash.to_string()).or_default().push(line);
        }
    }
    let again: Vec<_> = lines
        .into_values()
        .filter(|lines| lines.len() > 1)
        .collect();
    assert_eq!(again, [[15, 16, 17]]);
}
