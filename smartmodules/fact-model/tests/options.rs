//! Effects of the operator's parameters.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use fact_model::{Arena, Envelope, Options, flatten, flatten_in};

/// 2026-11-22T21:20:00Z, in ms.
const RECORD_TIME: i64 = 1_795_382_400_000;

fn flatten_with(parameters: &[(&str, &str)], body: &str) -> Envelope<'static> {
    at(parameters, body, Some(RECORD_TIME))
}

fn at(parameters: &[(&str, &str)], body: &str, record_time: Option<i64>) -> Envelope<'static> {
    let options = Options::parse(parameters.iter().copied()).unwrap();
    flatten_in(&Arena::new(), &options, body.as_bytes(), record_time).into_owned()
}

fn names(envelope: &Envelope<'_>) -> Vec<String> {
    let names = envelope
        .facts
        .iter()
        .map(|fact| fact.event_name.to_string());
    names.collect()
}

#[test]
fn events_that_do_not_pass_leave_no_fact_and_no_rejection() {
    let only_purchases = [("events", "purchase, refund")];
    let body = r#"{"name":"view_item","ts":1795382400,"items":[{"item_id":"a"}]}"#;
    let envelope = flatten_with(&only_purchases, body);
    assert_eq!(serde_json::to_string(&envelope).unwrap(), r#"{"facts":[]}"#);
    let read: Envelope<'_> = serde_json::from_str(r#"{"facts":[]}"#).unwrap();
    assert_eq!(read, envelope);

    let body = r#"[{"name":"view_item","ts":1},{"name":"purchase","ts":1795382400},{"ts":1}]"#;
    let envelope = flatten_with(&only_purchases, body);
    assert_eq!(names(&envelope), ["purchase"]);
    // An event without a name is not filtered out. A filtered event is not rejected for its time.
    assert_eq!(envelope.rejected.len(), 1);
    assert_eq!(envelope.rejected[0].at, "$[2].ts");
}

#[test]
fn an_object_without_lists_is_no_envelope() {
    for json in ["{}", r#"{"fact":[]}"#, "[]", "null"] {
        assert!(
            serde_json::from_str::<Envelope<'_>>(json).is_err(),
            "{json}"
        );
    }
}

#[test]
fn an_event_without_a_time_takes_that_of_its_record_where_it_may() {
    let body = r#"{"name":"purchase"}"#;
    let record = [("missing-time", "record")];
    let facts = flatten_with(&record, body).facts;
    assert_eq!(
        facts[0].event_time.to_rfc3339(),
        "2026-11-22T21:20:00+00:00"
    );

    for (parameters, time) in [
        (&[][..], Some(RECORD_TIME)),
        (&record, None),
        (&record, Some(-1)),
        (&record, Some(i64::MAX)),
    ] {
        let envelope = at(parameters, body, time);
        assert_eq!(envelope.rejected[0].reason, "missing-time", "{time:?}");
    }
    // The event's own time wins; an invalid time does not count as missing.
    let facts = flatten_with(&record, r#"{"name":"a","ts":1700000000}"#).facts;
    assert_eq!(facts[0].event_time.timestamp(), 1_700_000_000);
    let envelope = flatten_with(&record, r#"{"name":"a","ts":12}"#);
    assert_eq!(envelope.rejected[0].reason, "bad-time");
}

#[test]
fn limits_refuse_with_a_reason_of_their_own() {
    let two = r#"{"name":"a","ts":1795382400,"items":[{},{}]}"#;
    assert_eq!(flatten_with(&[("max-items", "2")], two).facts.len(), 2);
    let envelope = flatten_with(&[("max-items", "1")], two);
    assert!(envelope.facts.is_empty());
    assert_eq!(envelope.rejected[0].reason, "too-many-items");
    assert_eq!(envelope.rejected[0].raw, two);

    // The limit applies to each event, so the other events of the body are accepted.
    let body = format!(r#"[{two},{{"name":"b","ts":1795382400,"items":[{{}}]}}]"#);
    let envelope = flatten_with(&[("max-items", "1")], &body);
    assert_eq!(names(&envelope), ["b"]);
    assert_eq!(envelope.rejected[0].at, "$[0]");

    let size = two.len().to_string();
    assert_eq!(flatten_with(&[("max-body", &size)], two).facts.len(), 2);
    let envelope = flatten_with(&[("max-body", "20")], two);
    assert_eq!(envelope.rejected[0].reason, "body-too-large");
    assert_eq!(
        envelope.rejected[0].detail,
        format!("the body has {size} bytes, and max-body allows 20")
    );
}

#[test]
fn with_the_identity_of_the_content_the_event_id_says_nothing() {
    let event = |id: &str, price: &str| {
        format!(r#"{{"name":"a","ts":1795382400,{id}"items":[{{"price":{price}}}]}}"#)
    };
    let content = [("identity", "content")];
    let hash = |body: &str| flatten_with(&content, body).facts[0].fact_hash;
    let one = hash(&event(r#""event_id":"1","#, "9.90"));
    assert_eq!(one, hash(&event(r#""event_id":"2","#, "9.9")));
    assert_ne!(one, hash(&event(r#""event_id":"1","#, "9.91")));
    // The identity is that of an event without an id; the id is still a column.
    assert_eq!(one, flatten(event("", "9.9").as_bytes()).facts[0].fact_hash);
    let facts = flatten_with(&content, &event(r#""event_id":"1","#, "1")).facts;
    assert_eq!(facts[0].event_id.as_deref(), Some("1"));
}
