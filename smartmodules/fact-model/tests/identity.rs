//! Identities of facts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::HashSet;

use fact_model::{Arena, FactHash, NotAFactHash, Options, flatten, flatten_in};

fn hashes(body: &str) -> Vec<String> {
    let envelope = flatten(body.as_bytes());
    assert_eq!(envelope.rejected, [], "{body}");
    envelope
        .facts
        .iter()
        .map(|fact| fact.fact_hash.to_string())
        .collect()
}

/// The Python program in the documentation of `hash` computed the expected hashes.
#[test]
fn another_program_computes_the_same_hashes() {
    assert_eq!(
        hashes(concat!(
            r#"{"event_id":"e-1","event_name":"purchase","ts":1795382400,"items":[{},"#,
            r#"{"item_id":"x"}]}"#
        )),
        [
            "07cb5846d191f7343b387d366cabbc54",
            "a307b8e2ac3daf25dd051f79bd489ad9"
        ]
    );
    assert_eq!(
        hashes(r#"{"event_name":"view_item","ts":1795382400}"#),
        ["1022745a57e656e0120412e158324e3e"]
    );
    assert_eq!(
        hashes(
            r#"{"event_name":"view_item","ts":1795382400,"utm_source":"google","medium":"cpc",
             "campaign":"\u00e9t\u00e9",
                "device_category":"mobile","country":"DE","app_version":"1.0"}"#
        ),
        ["7db6600eee7e18e464307094f291646c"]
    );
    assert_eq!(
        hashes(
            r#"{"event_name":"view_item","ts":1795382400123456,"client_id":"U.1","currency":"EUR",
             "value":9.90,
                "a":{"y":[true,null],"x":1.50},
                "items":[{"item_id":"SKU-1","item_name":"Caf\u00e9","index":3,"price":9.9,
                "z":"\u00e9"},{"item_id":"SKU-1"}]}"#
        ),
        [
            "6b06d1ac41d70a8ba04abd7d2d087d72",
            "e274ac8c519fdf3c5c8000dfcc6f1059"
        ]
    );
    assert_eq!(
        hashes(concat!(
            r#"{"event_name":"purchase","ts":1795382400,"platform":"ios","#,
            r#""replay_timestamp":"2026-11-23T00:00:00Z","#,
            r#""items":"[{item_id=A1, price=899.0, item_revenue_in_usd=97.742804, "#,
            r#"item_revenue=1798.0, item_params=[{key=in_stock, value={string_value=null, "#,
            r#"int_value=1, float_value=null, double_value=null}}, {key=installment_price, "#,
            r#"value={string_value=$1,249.92, int_value=null, float_value=null, "#,
            r#"double_value=null}}]}]"}"#
        )),
        ["7495f1ff4cabc8da29adce0474f1ab0e"]
    );
}

#[test]
fn the_same_event_in_another_encoding_is_the_same_facts() {
    let one = concat!(
        r#"{"event_name":"purchase","event_time":"2026-11-22T21:20:00Z","user_id":7,"#,
        r#""value":9.90,"x":{"a":1,"b":[1.0]},"items":[{"item_id":"a","price":9.90},"#,
        r#"{"item_id":"a","price":9.90}]}"#
    );
    let expected = hashes(one);
    for other in [
        // Other spaces, other order of keys.
        concat!(
            r#"{ "x": {"b": [ 1 ], "a": 1e0}, "items": [{"price": 9.9, "item_id": "a"}, "#,
            r#"{"item_id": "a", "price": 9.9}], "value": 9.9, "user_id": 7, "event_time": "#,
            r#""2026-11-22T21:20:00Z", "event_name": "purchase" }"#
        ),
        // Items as a text, numbers as texts, another notation of the time, other names, escapes.
        concat!(
            r#"{"name":"purchas\u0065","timestamp":1795382400000,"user_id":"7","value":"9.9","#,
            r#""x":{"a":1,"b":[1]},"items":"[{\"item_id\":\"a\",\"price\":\"9.90\"},"#,
            r#"{\"item_id\":\"\\u0061\",\"price\":9.9e0}]"}"#
        ),
        // Values in an object of parameters.
        concat!(
            r#"{"name":"purchase","user_id":7,"timestamp_micros":"1795382400000000","#,
            r#""params":{"value":9.9,"x":{"b":[1],"a":1},"items":[{"item_id":"a","#,
            r#""price":9.9},{"item_id":"a","price":9.9,"item_name":""}]}}"#
        ),
    ] {
        assert_eq!(hashes(other), expected, "{other}");
    }
    // Traffic under other names, and in the objects of GA4's export.
    let flat = concat!(
        r#"{"name":"a","ts":1795382400,"utm_source":"x","utm_campaign":"y","#,
        r#""device_category":"tablet","appVersion":"1"}"#
    );
    let nested = r#"{"name":"a","ts":1795382400,"collected_traffic_source":{"manual_source":"x",
             "manual_campaign_name":"y"},
        "device":{"category":"tablet"},"app_info":{"version":"1"},"geo":{"country":"(not set)"}}"#;
    assert_eq!(hashes(flat), hashes(nested));
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
        r#"{"name":"a","ts":1795382400,"source":"x"}"#,
        r#"{"name":"a","ts":1795382400,"medium":"x"}"#,
        r#"{"name":"a","ts":1795382400,"campaign":"x"}"#,
        r#"{"name":"a","ts":1795382400,"device_category":"x"}"#,
        r#"{"name":"a","ts":1795382400,"country":"x"}"#,
        r#"{"name":"a","ts":1795382400,"app_version":"x"}"#,
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
fn delivery_keys_do_not_count() {
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
    // A key of an item is never a delivery key.
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
        assert_eq!(text.parse::<FactHash>(), Err(NotAFactHash));
    }
}
