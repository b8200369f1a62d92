//! Which facts are the same fact.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::HashSet;

use fact_model::{Arena, FactHash, NoFactHash, Options, flatten, flatten_in};

fn hashes(body: &str) -> Vec<String> {
    let envelope = flatten(body.as_bytes());
    assert_eq!(envelope.rejected, [], "{body}");
    envelope
        .facts
        .iter()
        .map(|fact| fact.fact_hash.to_string())
        .collect()
}

/// The expected hashes come from the Python program in the documentation of the rule.
#[test]
fn another_program_computes_the_same_hashes() {
    assert_eq!(
        hashes(
            r#"{"event_id":"e-1","event_name":"purchase","ts":1795382400,"items":[{},{"item_id":"x"}]}"#
        ),
        [
            "07cb5846d191f7343b387d366cabbc54",
            "a307b8e2ac3daf25dd051f79bd489ad9"
        ]
    );
    assert_eq!(
        hashes(r#"{"event_name":"view_item","ts":1795382400}"#),
        ["5aaabe47162b48e22947e5de8b6a94e9"]
    );
    assert_eq!(
        hashes(
            r#"{"event_name":"view_item","ts":1795382400123456,"client_id":"U.1","currency":"EUR","value":9.90,
                "a":{"y":[true,null],"x":1.50},
                "items":[{"item_id":"SKU-1","item_name":"Caf\u00e9","index":3,"price":9.9,"z":"\u00e9"},{"item_id":"SKU-1"}]}"#
        ),
        [
            "372fb3d5db506857da654c411b262c3d",
            "240284bf4cf0ef1ab14820a5dab739d3"
        ]
    );
    assert_eq!(
        hashes(
            r#"{"event_name":"purchase","ts":1795382400,"platform":"ios","replay_timestamp":"2026-11-23T00:00:00Z",
                "items":"[{item_id=A1, price=899.0, item_revenue_in_usd=97.742804, item_revenue=1798.0, item_params=[{key=in_stock, value={string_value=null, int_value=1, float_value=null, double_value=null}}, {key=installment_price, value={string_value=$1,249.92, int_value=null, float_value=null, double_value=null}}]}]"}"#
        ),
        ["3bc53f03c7f0d819e7b652494bddc78f"]
    );
}

#[test]
fn the_same_event_in_another_encoding_is_the_same_facts() {
    let one = r#"{"event_name":"purchase","event_time":"2026-11-22T21:20:00Z","user_id":7,"value":9.90,"x":{"a":1,"b":[1.0]},"items":[{"item_id":"a","price":9.90},{"item_id":"a","price":9.90}]}"#;
    let expected = hashes(one);
    for other in [
        // Other spaces, other order of keys.
        r#"{ "x": {"b": [ 1 ], "a": 1e0}, "items": [{"price": 9.9, "item_id": "a"}, {"item_id": "a", "price": 9.9}], "value": 9.9, "user_id": 7, "event_time": "2026-11-22T21:20:00Z", "event_name": "purchase" }"#,
        // Items as a text, numbers as texts, another way to say the time, other names, escapes.
        r#"{"name":"purchas\u0065","timestamp":1795382400000,"user_id":"7","value":"9.9","x":{"a":1,"b":[1]},"items":"[{\"item_id\":\"a\",\"price\":\"9.90\"},{\"item_id\":\"\\u0061\",\"price\":9.9e0}]"}"#,
        // Values in an object of parameters.
        r#"{"name":"purchase","user_id":7,"timestamp_micros":"1795382400000000","params":{"value":9.9,"x":{"b":[1],"a":1},"items":[{"item_id":"a","price":9.9},{"item_id":"a","price":9.9,"item_name":""}]}}"#,
    ] {
        assert_eq!(hashes(other), expected, "{other}");
    }
    // In a body with others.
    assert_eq!(
        hashes(&format!("[{{\"name\":\"a\",\"ts\":1795382400}},{one}]"))[1..],
        expected
    );
}

#[test]
fn the_same_product_twice_in_one_event_is_two_facts() {
    for id in ["", r#""event_id":"e","#] {
        let body = format!(
            r#"{{{id}"name":"a","ts":1795382400,"items":[{{"item_id":"x"}},{{"item_id":"x"}}]}}"#
        );
        let hashes = hashes(&body);
        assert_ne!(hashes[0], hashes[1]);
    }
}

#[test]
fn without_an_id_every_value_counts() {
    let bodies = [
        r#"{"name":"a","ts":1795382400}"#,
        r#"{"name":"b","ts":1795382400}"#,
        r#"{"name":"a","ts":1795382400.000001}"#,
        r#"{"name":"a","ts":1795382400,"user_id":"x"}"#,
        r#"{"name":"a","ts":1795382400,"user_pseudo_id":"x"}"#,
        r#"{"name":"a","ts":1795382400,"x":1}"#,
        r#"{"name":"a","ts":1795382400,"x":"1"}"#,
        r#"{"name":"a","ts":1795382400,"items":[{}]}"#,
        r#"{"name":"a","ts":1795382400,"items":[{"x":1}]}"#,
        r#"{"name":"a","ts":1795382400,"items":[{"item_id":"x"}]}"#,
        r#"{"name":"a","ts":1795382400,"items":[{"item_name":"x"}]}"#,
        r#"{"name":"a","ts":1795382400,"items":[{"item_id":"x"},{"item_id":"y"}]}"#,
        r#"{"name":"a","ts":1795382400,"items":[{"price":1}]}"#,
        r#"{"name":"a","ts":1795382400,"items":[{"quantity":1}]}"#,
        r#"{"name":"a","ts":1795382400,"value":1}"#,
        r#"{"name":"a","ts":1795382400,"event_id":"1"}"#,
    ];
    let all: Vec<String> = bodies.iter().flat_map(|body| hashes(body)).collect();
    let distinct: HashSet<&String> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn what_tells_of_the_delivery_does_not_count() {
    let hash = |keys: &str, options: &[(&str, &str)]| {
        let arena = Arena::new();
        let options = Options::parse(options.iter().copied()).unwrap();
        let body = format!(
            r#"{{"name":"a","ts":1795382400{keys},"items":[{{"item_id":"x","sent_at":1}}]}}"#
        );
        let envelope = flatten_in(&arena, &options, body.as_bytes(), None);
        (
            envelope.facts[0].fact_hash,
            envelope.facts[0]
                .extra
                .as_ref()
                .map(|extra| extra.json().into_owned()),
        )
    };
    let (once, _) = hash("", &[]);
    let (again, extra) = hash(r#","replay_timestamp":"2026-11-23T00:00:00Z""#, &[]);
    assert_eq!(again, once);
    assert_eq!(
        extra.unwrap(),
        r#"{"event":{"replay_timestamp":"2026-11-23T00:00:00Z"},"item":{"sent_at":1}}"#
    );
    let sent = r#","sent_at":5,"attempt":2,"params":{"replay_timestamp":"x"}"#;
    assert_ne!(hash(sent, &[]).0, once);
    assert_ne!(hash(sent, &[("identity-ignores", "sent_at")]).0, once);
    assert_eq!(
        hash(sent, &[("identity-ignores", "sent_at, attempt")]).0,
        once
    );
    // A key of an item is part of what happened, whatever its name.
    let ignoring = [("identity-ignores", "sent_at")];
    assert_eq!(hash("", &ignoring).0, once);
}

#[test]
fn with_an_id_only_the_name_counts_beside_it() {
    let one = hashes(r#"{"event_id":7,"name":"a","ts":1795382400,"items":[{"item_id":"x"}]}"#);
    assert_eq!(
        hashes(
            r#"{"event_id":"7","name":"a","ts":1795382500,"user_id":"u","items":[{"item_id":"y"}]}"#
        ),
        one
    );
    assert_ne!(
        hashes(r#"{"event_id":7,"name":"b","ts":1795382400,"items":[{"item_id":"x"}]}"#),
        one
    );
    assert_ne!(
        hashes(r#"{"event_id":8,"name":"a","ts":1795382400,"items":[{"item_id":"x"}]}"#),
        one
    );
}

#[test]
fn a_hash_is_read_as_it_was_written() {
    let hash: FactHash = "07cb5846d191f7343b387d366cabbc54".parse().unwrap();
    assert_eq!(hash.0[0], 0x07);
    assert_eq!(hash.to_string(), "07cb5846d191f7343b387d366cabbc54");
    for text in [
        "",
        "07cb5846d191f7343b387d366cabbc5",
        "+7cb5846d191f7343b387d366cabbc54",
        "07cb5846d191f7343b387d366cabbc5g",
    ] {
        assert_eq!(text.parse::<FactHash>(), Err(NoFactHash));
    }
}
