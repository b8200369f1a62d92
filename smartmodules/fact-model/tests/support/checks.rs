//! Invariants of every body, shared by tests and fuzz targets.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a violated invariant panics"
)]
#![allow(dead_code, reason = "no test and no fuzz target uses all of them")]

use std::collections::BTreeMap;

use fact_model::{Arena, Envelope, MAX_TEXT, Options, flatten, flatten_in};
use serde_json::value::RawValue;

/// Flattens a body and checks the invariants.
pub fn check(body: &[u8]) {
    let envelope = flatten(body);
    assert!(!envelope.facts.is_empty() || !envelope.rejected.is_empty());
    let json = serde_json::to_string(&envelope).unwrap();
    assert!(
        json.len() <= 1536 * 1024 + 64 * body.len(),
        "{} bytes became {}",
        body.len(),
        json.len()
    );
    let read: Envelope<'_> = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), json);
    let arena = Arena::new();
    assert_eq!(
        serde_json::to_string(&flatten_in(&arena, &Options::default(), body, None)).unwrap(),
        json
    );
    for fact in &envelope.facts {
        assert!(!json.contains('\0') && !fact.event_name.contains('\0'));
        let fact = serde_json::to_string(fact).unwrap();
        let columns: BTreeMap<String, &RawValue> = serde_json::from_str(&fact).unwrap();
        for (column, value) in columns {
            // Texts and decimals; all else is no string.
            let text: String = serde_json::from_str(value.get()).unwrap_or_default();
            assert!(text.len() <= MAX_TEXT, "{column} has {} bytes", text.len());
        }
    }
    for rejection in &envelope.rejected {
        assert!(!rejection.raw.contains('\0'));
    }
}

/// Flattens an event with `items` as a string and checks the invariants.
pub fn check_items(items: &str) {
    let text = serde_json::to_string(items).unwrap();
    check(format!(r#"{{"name":"a","ts":1795382400,"items":{text}}}"#).as_bytes());
}

/// Flattens an event with `value` as its time, amounts, currency and category, and checks that
/// parsed values are stable: written out and parsed again, they are equal.
pub fn check_values(value: &str) {
    let text = serde_json::to_string(value).unwrap();
    for time in [text.as_str(), "1795382400"] {
        let event = format!(
            r#"{{"name":"a","event_time":{time},"value":{text},"currency":{text},
                 "items":[{{"price":{text},"index":{text},"item_category":{text}}}]}}"#
        );
        check(event.as_bytes());
        let envelope = flatten(event.as_bytes());
        let Some(fact) = envelope.facts.first() else {
            continue;
        };
        let again = format!(
            r#"{{"name":"a","event_time":{},"value":{}}}"#,
            serde_json::to_string(&fact.event_time.to_rfc3339()).unwrap(),
            fact.value.as_ref().map_or("null", |value| value.as_str()),
        );
        let again = flatten(again.as_bytes());
        assert_eq!(again.facts[0].event_time, fact.event_time);
        assert_eq!(again.facts[0].value, fact.value);
    }
}
