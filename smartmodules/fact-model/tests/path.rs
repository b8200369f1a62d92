//! The path of a body, which `etl flatten --explain` prints.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use fact_model::{Arena, Options, flatten_in};
use serde_json::json;

/// The path of a body, a step a line.
fn path(parameters: &[(&str, &str)], body: &[u8]) -> Vec<String> {
    let options = Options::parse(parameters.iter().copied()).unwrap();
    let arena = Arena::explaining();
    let explained = flatten_in(&arena, &options, body, Some(1_795_382_400_000));
    let steps = arena.take_path();
    assert_eq!(arena.take_path(), []);
    // The path has no effect on the facts.
    let plain = Arena::new();
    let expected = flatten_in(&plain, &options, body, Some(1_795_382_400_000));
    assert_eq!(explained, expected);
    assert_eq!(plain.take_path(), []);
    let lines = steps
        .iter()
        .map(|step| format!("{} {}", step.kind.as_str(), step.detail));
    lines.collect()
}

#[test]
fn a_path_names_envelopes_format_and_changed_values() {
    let long = "x".repeat(600);
    let event = json!({
        "event_name": "view_item", "event_timestamp": 1_795_382_400_000_000_u64,
        "user_id": "(not set)", "platform": "ios", "value": "five", "country": "Spain",
        "params": {"currency": "eur", "client_id": long, "session_id": null},
        "items": json!([{
            "item_id": "A", "id": "B", "price": "1.234,56", "quantity": 2.0, "brand": "null",
            "item_variant": "red"
        }]).to_string(),
    });
    let body = json!({"Type": "Notification", "Message": event.to_string()}).to_string();
    assert_eq!(
        path(&[], body.as_bytes()),
        [
            "envelope an SNS notification; its content is at .Message",
            "format an event as a JSON object",
            "value user_id: \"(not set)\" is no value",
            "value event_timestamp: 1795382400000000 becomes 2026-11-22T21:20:00.000000Z",
            "value currency: \"eur\" becomes EUR",
            &format!(
                "value client_id: \"{}… is cut for its column, and whole in extra",
                "x".repeat(59)
            ),
            "value platform: \"ios\" becomes IOS",
            "value value: \"five\" does not fit its column, and stays in extra",
            "envelope items: a text in a string",
            "value items[0].brand: \"null\" is no value",
            "value items[0].id: \"B\" stays in extra: product_id is A",
            "value items[0].price: \"1.234,56\" becomes 1234.56",
        ]
        .map(str::to_owned)
    );
}

/// A value may depend on others: an amount on its currency, an older name on GA4's.
#[test]
fn a_path_names_the_values_that_are_used() {
    for (keys, steps) in [
        (
            r#""currency":"JPY","value":"1,234","items":[{"price":"2,345"}]"#,
            vec![
                r#"value value: "1,234" becomes 1234"#,
                r#"value items[0].price: "2,345" becomes 2345"#,
            ],
        ),
        (
            r#""currency":null,"items":[{"price":"2,345","currency":"jpy"}]"#,
            vec![
                r#"value items[0].price: "2,345" becomes 2345"#,
                r#"value items[0].currency: "jpy" becomes JPY"#,
            ],
        ),
        (
            r#""currency":"EUR","items":[null,{"price":"2,345","currency":"JPY"}]"#,
            vec![
                r#"value items[0].price: "2,345" does not fit its column, and stays in extra"#,
                r#"value items[0].currency: "JPY" stays in extra: currency is EUR"#,
            ],
        ),
        (
            r#""items":[{"item_id":null,"id":"B"},{"item_id":"(not set)","id":7.0}]"#,
            vec![r#"value items[1].item_id: "(not set)" is no value"#],
        ),
        (
            r#""items":[{"price":"1,234","price":5,"category":"a/b"}]"#,
            vec![r#"value items[0].category: "a/b" becomes a"#],
        ),
    ] {
        let body =
            format!(r#"{{"event_name":"a","event_time":"2026-11-22T21:20:00.000000Z",{keys}}}"#);
        let path = path(&[], body.as_bytes());
        assert_eq!(path[1..], steps, "{body}");
    }
}

#[test]
fn a_path_names_each_format() {
    let event = r#"{"event_name":"a","ts":"2026-11-22T21:20:00.000000Z"}"#;
    for (body, steps) in [
        (event.to_owned(), vec!["format an event as a JSON object"]),
        (
            serde_json::to_string(event).unwrap(),
            vec!["envelope a JSON string", "format an event as a JSON object"],
        ),
        (
            format!("[{event},{event}]"),
            vec![
                "format a list of 2 elements",
                "part $[0]",
                "format an event as a JSON object",
                "part $[1]",
                "format an event as a JSON object",
            ],
        ),
        (
            event.replace('"', "'"),
            vec![
                "format a literal of Python or JavaScript",
                "format an event as a JSON object",
            ],
        ),
        (
            r#"{"events":[{"name":"a","params":{}}],"timestamp":"2026-11-22T21:20:00.000000Z"}"#
                .to_owned(),
            vec!["format a body of GA4's Measurement Protocol"],
        ),
        (
            event.replace('}', r#","items":"[{item_id=A1, item_name=B}]"}"#),
            vec![
                "format an event as a JSON object",
                "envelope items: a text in a string",
                "format items: rows as Java prints them",
            ],
        ),
    ] {
        assert_eq!(path(&[], body.as_bytes()), steps, "{body}");
    }
    let track = r#"{"type":"track","event":"x","messageId":"1","properties":{}}"#;
    for (body, steps) in [
        (
            format!(r#"{{"batch":[{track}]}}"#),
            vec![
                "envelope a batch with 1 bodies",
                "part $.batch[0]",
                "format an event of Segment",
            ],
        ),
        (
            r#"{"Records":[{"eventSource":"aws:sqs","body":"[]"}]}"#.to_owned(),
            vec![
                "envelope Lambda's `Records` with 1 bodies",
                "part $.Records[0]",
                "envelope a record of SQS; its content is at .body",
            ],
        ),
        (
            r#"{"specversion":"1.0","type":"a","source":"b","data":[]}"#.to_owned(),
            vec!["envelope a CloudEvent; its content is at .data"],
        ),
        (
            r#"["event","a",{}]"#.to_owned(),
            vec!["format a call of gtag.js"],
        ),
        (
            r#"{"0":"event","1":"a","2":{}}"#.to_owned(),
            vec!["format a call of gtag.js"],
        ),
        (
            format!("{event}\n{event}"),
            vec![
                "envelope several documents",
                "format a list of 2 elements",
                "part $[0]",
                "format an event as a JSON object",
                "part $[1]",
                "format an event as a JSON object",
            ],
        ),
        (
            format!(r#"{{"0":{event}}}"#),
            vec![
                "envelope an object with numbers as keys",
                "format a list of 1 elements",
                "part $[0]",
                "format an event as a JSON object",
            ],
        ),
    ] {
        assert_eq!(path(&[], body.as_bytes()), steps, "{body}");
    }
    let body = br#"{"event_name":"a"}"#;
    assert!(path(&[("missing-time", "record")], body).contains(
        &"value event_time is the time of the record, as `missing-time: record` says".to_owned()
    ));
}
