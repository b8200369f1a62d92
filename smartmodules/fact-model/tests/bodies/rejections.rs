//! Rejections and their details.

use fact_model::flatten;

use crate::golden::{rejected, rejection};

#[test]
fn each_has_a_reason_a_place_a_sentence_and_the_body() {
    for (body, reason, at, detail) in [
        ("", "empty-body", "$", "the body is empty"),
        ("\u{feff} \n", "empty-body", "$", "the body is empty"),
        (
            "purchase",
            "not-json",
            "$",
            "the body is not JSON: expected value at line 1 column 1",
        ),
        (
            "{\"event_name\":\n\"a\"",
            "not-json",
            "$",
            "EOF while parsing an object at line 2 column 3",
        ),
        ("[{}", "not-json", "$", "EOF"),
        ("{\"a\":\"\u{1}\"}", "not-json", "$", "control character"),
        ("\"{}\"", "missing-time", "$", "none of event_time"),
        ("12", "not-an-event", "$", "this is a number"),
        ("null", "not-an-event", "$", "this is null"),
        ("[]", "not-an-event", "$", "empty array"),
        ("{}", "missing-time", "$", "none of event_time"),
        (
            r#"{"event_name":"a","event_time":null,"ts":""}"#,
            "missing-time",
            "$",
            "none of event_time",
        ),
        (
            r#"{"event_name":"a","ts":0}"#,
            "bad-time",
            "$.ts",
            "ts = 0 can't be the event's time: it is a number, but",
        ),
        (
            r#"{"name":"a","time":4102444800}"#,
            "bad-time",
            "$.time",
            "between the years 2000 and 2100",
        ),
        (
            r#"{"name":"a","time":946684799}"#,
            "bad-time",
            "$.time",
            "between the years 2000 and 2100",
        ),
        (
            r#"{"name":"a","time":1e999999999}"#,
            "bad-time",
            "$.time",
            "neither RFC 3339",
        ),
        (
            r#"{"name":"a","time":"1999-12-31T23:59:59Z"}"#,
            "bad-time",
            "$.time",
            "not between the years",
        ),
        (
            r#"{"name":"a","time":"2026-11-22 21:20"}"#,
            "bad-time",
            "$.time",
            "neither RFC 3339",
        ),
        (
            r#"{"name":"a","time":"2026-11-22T21:20:00"}"#,
            "bad-time",
            "$.time",
            "with an offset",
        ),
        (
            r#"{"name":"a","params":{"time":[1]}}"#,
            "bad-time",
            "$.params.time",
            "neither a text nor a number",
        ),
        (
            r#"{"ts":1795382400}"#,
            "missing-name",
            "$",
            "none of event_name, name, event",
        ),
        (
            r#"{"ts":1795382400,"event":{"a":1}}"#,
            "missing-name",
            "$.event",
            "it is not a text",
        ),
        (
            r#"{"ts":1795382400,"name":"a","items":3}"#,
            "bad-items",
            "$.items",
            "items = 3 is not a list of items",
        ),
        (
            r#"{"ts":1795382400,"name":"a","items":"five shirts"}"#,
            "bad-items",
            "$.items",
            "not a list of items",
        ),
        (
            r#"{"ts":1795382400,"name":"a","items":"[{]"}"#,
            "bad-items",
            "$.items",
            "a text that is not JSON",
        ),
        (
            r#"{"ts":1795382400,"name":"a","items":[{},{},7]}"#,
            "bad-items",
            "$.items[2]",
            "item 3 of 3 is not an object",
        ),
        (
            r#"{"ts":1795382400,"name":"a","items":"[null, 7]"}"#,
            "bad-items",
            "$.items[1]",
            "item 2 of 2 is not an object",
        ),
        (
            r#"{"ts":1795382400,"name":"a","params":{"items":[[]]}}"#,
            "bad-items",
            "$.params.items[0]",
            "item 1 of 1",
        ),
    ] {
        let rejection = rejection(body.as_bytes());
        assert_eq!(rejection.reason, reason, "{body}");
        assert_eq!(rejection.at, at, "{body}");
        assert!(
            rejection.detail.contains(detail),
            "{body}: {}",
            rejection.detail
        );
        assert_eq!(rejection.raw, body);
        assert_eq!(rejection.raw_encoding, None);
    }
}

#[test]
fn a_body_that_is_no_text_comes_back_in_base64() {
    let not_utf8 = rejection(b"{\"a\":\"\xff\"}");
    assert_eq!(
        (&*not_utf8.reason, &*not_utf8.raw),
        ("not-utf8", "eyJhIjoi/yJ9")
    );
    assert_eq!(not_utf8.raw_encoding.as_deref(), Some("base64"));
    // PostgreSQL can't store U+0000 in a text.
    let nul = rejection(b"{}\0");
    assert_eq!((&*nul.reason, &*nul.raw), ("missing-time", "e30A"));
    assert_eq!(nul.raw_encoding.as_deref(), Some("base64"));
}

#[test]
fn a_bad_event_does_not_take_the_good_ones_with_it() {
    let envelope = flatten(
        concat!(
            r#"[{"name":"a","ts":1795382400}, 7, {"name":"b"}, {"name":"c","ts":1795382400,"#,
            r#""items":[1]}]"#
        )
        .as_bytes(),
    );
    assert_eq!(envelope.facts.len(), 1);
    assert_eq!(
        rejected(&envelope),
        [
            ("not-an-event", "$[1]", "7"),
            ("missing-time", "$[2]", r#"{"name":"b"}"#),
            (
                "bad-items",
                "$[3].items[0]",
                r#"{"name":"c","ts":1795382400,"items":[1]}"#
            ),
        ]
    );
}

#[test]
fn facts_much_larger_than_the_body_are_refused() {
    let name = "x".repeat(50_000);
    let body = format!(
        r#"{{"name":"{name}","ts":1795382400,"items":[{}{{}}]}}"#,
        "{},".repeat(10_000)
    );
    assert_eq!(rejection(body.as_bytes()).reason, "too-large");
    let body = format!("[{}1]", "1,".repeat(500_000));
    assert_eq!(rejection(body.as_bytes()).reason, "too-large");
}

#[test]
fn an_ordinary_large_event_is_not_refused() {
    let extra = "x".repeat(4_000);
    let items = vec![r#"{"item_id":"a"}"#; 200].join(",");
    let body = format!(
        r#"{{"name":"view_item_list","ts":1795382400,"extra":"{extra}","items":[{items}]}}"#
    );
    assert_eq!(flatten(body.as_bytes()).facts.len(), 200);
}
