//! Helpers that return a body's facts and rejections for comparison.

use fact_model::{Arena, Envelope, Options, Rejection, flatten, flatten_in};
use serde_json::{Value, json};

/// The facts of a body without their hashes. An event without a time gets its record's,
/// 2026-11-22T21:20:00Z.
pub fn facts(body: impl AsRef<[u8]>) -> Vec<Value> {
    let body = body.as_ref();
    let arena = Arena::new();
    let options = Options::parse([("missing-time", "record")]).unwrap();
    let envelope = flatten_in(&arena, &options, body, Some(1_795_382_400_000));
    assert_eq!(envelope.rejected, [], "{}", String::from_utf8_lossy(body));
    let Value::Array(mut facts) = serde_json::to_value(&envelope.facts).unwrap() else {
        panic!("facts are a list");
    };
    for fact in &mut facts {
        let fact = fact.as_object_mut().unwrap();
        fact.remove("fact_hash").unwrap();
        if fact["event_time"] == "2026-11-22T21:20:00.000000Z" {
            fact.remove("event_time");
        }
    }
    facts
}

/// Reason, location and source text of all rejections.
pub fn rejected<'e>(envelope: &'e Envelope<'_>) -> Vec<(&'e str, &'e str, &'e str)> {
    let rejected = envelope.rejected.iter();
    rejected
        .map(|one| (&*one.reason, &*one.at, &*one.raw))
        .collect()
}

/// The only rejection of a body without facts.
pub fn rejection(body: &[u8]) -> Rejection<'static> {
    let mut envelope = flatten(body);
    assert_eq!(envelope.facts, []);
    assert_eq!(envelope.rejected.len(), 1);
    envelope.rejected.remove(0)
}

/// A plain event.
pub const EVENT: &str = r#"{"event_name":"view_item","ts":1795382400,"items":[{"item_id":"a"}]}"#;

/// Its facts.
pub fn event() -> Vec<Value> {
    vec![json!({"event_name": "view_item", "product_id": "a", "item_ordinal": 1})]
}
