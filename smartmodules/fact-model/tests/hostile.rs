//! Any body becomes facts or rejections; the flattener never panics.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/checks.rs"]
mod checks;

use checks::check;
use fact_model::flatten;
use proptest::prelude::*;

#[test]
fn a_pile_of_hostile_bodies() {
    let mib = 1024 * 1024;
    let event = |rest: &str| format!(r#"{{"name":"a","ts":1795382400,{rest}}}"#).into_bytes();
    let mut bodies: Vec<Vec<u8>> = vec![
        "[".repeat(mib).into_bytes(),
        "{\"a\":".repeat(mib / 5).into_bytes(),
        format!("{}{}", "[".repeat(mib / 2), "]".repeat(mib / 2)).into_bytes(),
        event(&format!(
            r#""x":{}{}"#,
            "[".repeat(mib / 2),
            "]".repeat(mib / 2)
        )),
        event(&format!(
            r#""x":{}1{}"#,
            "{\"a\":".repeat(100_000),
            "}".repeat(100_000)
        )),
        event(&format!(
            r#""items":{}{}"#,
            "[".repeat(mib / 2),
            "]".repeat(mib / 2)
        )),
        event(&format!(
            r#""items":[{{"x":{}{}}}]"#,
            "[".repeat(1000),
            "]".repeat(1000)
        )),
        event(&format!(r#""items":[{}{{}}]"#, "{},".repeat(mib / 3))),
        event(&format!(r#""items":"{}""#, "[".repeat(mib))),
        event(&format!(r#""items":"{}""#, "\\\"".repeat(mib / 2))),
        event(&format!(r#""x":{}"#, "9".repeat(mib))),
        event(&format!(r#""value":{}"#, "9".repeat(mib))),
        event(&format!(r#""value":0.{}1"#, "0".repeat(mib))),
        event(&format!(r#""ts":"{}""#, "9".repeat(mib))),
        event(&format!(r#""x":"{}""#, "\\u0000".repeat(mib / 6))),
        event(&format!(r#""x":"{}""#, "\\ud800".repeat(mib / 6))),
        event(&format!(r#""item_list_name":"{}""#, "\\\\".repeat(mib / 2))),
        event(&format!(
            r#""items":[{{"item_category":"{}"}}]"#,
            "/".repeat(mib)
        )),
        event(
            &(0..60_000)
                .map(|n| format!(r#""k{n}":{n}"#))
                .collect::<Vec<_>>()
                .join(","),
        ),
        event(&vec![r#""k":1"#; 100_000].join(",")),
        event(&format!(
            r#""a":1,"params":{{{}}}"#,
            (0..30_000)
                .map(|n| format!(r#""k{n}":{n}"#))
                .collect::<Vec<_>>()
                .join(",")
        )),
        vec![0; mib],
        vec![0xff; mib],
        b"\xef\xbb\xbf".to_vec(),
        b"\xff\xfe{\0}\0".to_vec(),
        b"{\"\\ud800\":1}".to_vec(),
        b"{\"name\":\"\\ud800\",\"ts\":1795382400,\"items\":\"\\ud800\"}".to_vec(),
        b"{\"name\":\"a\\".to_vec(),
        b"{\"name\":\"a\\u12".to_vec(),
    ];
    for number in [
        "1e999999999",
        "-1e-999999999",
        "1e99999999999999999999",
        "-0",
        "-0.0e-0",
        "1E+0001",
    ] {
        bodies.push(event(&format!(
            r#""x":{number},"value":{number},
               "items":[{{"price":{number},"index":{number},"item_id":{number}}}]"#
        )));
        bodies.push(format!(r#"{{"name":{number},"ts":{number}}}"#).into_bytes());
    }
    for body in &bodies {
        check(body);
    }
}

/// Readers follow a body's depth only so far, on the smallest stack too: a deeper one would end the
/// process. The rest is in `extra`, or the body is rejected.
#[test]
fn no_reader_follows_a_body_to_any_depth() {
    let nest = |open: &str, close: &str| {
        let depth = 120_000 / (open.len() + close.len());
        let (open, close) = (open.repeat(depth), close.repeat(depth));
        format!(r#"{open}"the bottom"{close}"#)
    };
    let schema = |name: &str| {
        format!(
            r#"{{"schema":"iglu:com.snowplowanalytics.snowplow/{name}/jsonschema/1-0-0","data":"#
        )
    };
    let nests = [
        nest("[", "]"),
        nest(r#"{"a":"#, "}"),
        nest("[{\"0\":", "}]"),
        nest(r#"["event","#, "]"),
        nest(&schema("contexts"), "}"),
        nest(&format!("[{}", schema("unstruct_event")), "}]"),
        nest(r#"{"data":["#, "]}"),
    ];
    let keys = [
        "contexts",
        "context",
        "entities",
        "co",
        "ue_pr",
        "unstruct_event",
        "data",
        "events",
        "batch",
        "Records",
        "params",
        "event_params",
        "ecommerce",
        "eventModel",
        "items",
        "x",
        "transactionProducts",
        "properties",
        "custom_data",
        "device",
        "detail",
        "body",
        "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1",
    ];
    let mut bodies = Vec::new();
    for deep in &nests {
        bodies.push(deep.clone());
        for key in keys {
            bodies.push(format!(
                r#"{{"collector_tstamp":1795382400000,"e":"pv","{key}":{deep}}}"#
            ));
            bodies.push(format!(
                r#"{{"event_name":"a","ts":1795382400,"{key}":{deep}}}"#
            ));
        }
    }
    for (open, close) in [
        ("Bundle[{a=", "}]"),
        ("{a=", "}"),
        ("[{a=[", "]}]"),
        ("( {a = (", "); })"),
        ("{'a':[", "]}"),
        ("new f(", ")"),
        ("[\"a\": ", "]"),
    ] {
        bodies.push(nest(open, close));
        bodies.push(
            serde_json::json!({"name": "a", "ts": 1_795_382_400, "items": nest(open, close),
            "params": nest(open, close)})
            .to_string(),
        );
    }
    let flatten_all = move || {
        for body in &bodies {
            let envelope = flatten(body.as_bytes());
            let shown = body.get(..90).unwrap_or(body);
            assert!(
                !envelope.facts.is_empty() || !envelope.rejected.is_empty(),
                "{shown}"
            );
            for fact in &envelope.facts {
                let extra = fact.extra.as_ref().unwrap().json().into_owned();
                assert!(extra.contains("the bottom"), "{shown}: {extra}");
            }
        }
    };
    let small = std::thread::Builder::new().stack_size(512 * 1024);
    small.spawn(flatten_all).unwrap().join().unwrap();
}

/// JSON that resembles events, valid and invalid.
fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("\"(not set)\"".to_owned()),
        Just("1795382400".to_owned()),
        Just("\"\\u0000\\ud800\\\\\"".to_owned()),
        "-?[0-9]{1,12}(\\.[0-9]{1,5})?([eE]-?[0-9]{1,3})?",
        "\"[a-z/ ,.0-9é]{0,12}\"",
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    scalar.prop_recursive(4, 64, 6, |inner| {
        let key = prop_oneof![
            prop::sample::select(vec![
                "name",
                "event_name",
                "ts",
                "event_time",
                "items",
                "params",
                "event_params",
                "currency",
                "value",
                "item_id",
                "item_category",
                "price",
                "index",
                "coupon",
                "item_list_id",
                "event_id",
                "x",
            ])
            .prop_map(str::to_owned),
            "[a-z]{1,3}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5)
                .prop_map(|values| format!("[{}]", values.join(","))),
            prop::collection::vec((key, inner.clone()), 0..8).prop_map(|entries| {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| format!("\"{key}\":{value}"))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }),
            inner.prop_map(|json| serde_json::to_string(&json).unwrap()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None,
    ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(body in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&body);
    }

    #[test]
    fn any_json(body in json()) {
        check(body.as_bytes());
    }

    #[test]
    fn any_event(keys in json(), items in json()) {
        let event = format!(r#"{{"name":"a","ts":1795382400,"params":{keys},"items":{items}}}"#);
        check(event.as_bytes());
    }

    #[test]
    fn a_good_event_cut_or_changed_anywhere(at in 0..260_usize, byte in any::<u8>(),
    cut in any::<bool>()) {
        let mut body = concat!(
                r#"{"event_id":"e","name":"purchase","ts":"2026-11-22T21:20:00.5+02:00","#,
                r#""value":9.90,"params":{"a":[1,{"b":"\u00e9"}]},"items":"[{\"item_id\":\"SKU "#,
                r#"\\u0061\",\"price\":\"1.5\",\"item_category\":\"a/b\",\"x\":null},"#,
                r#"{\"quantity\":2}]"}"#
            ).as_bytes().to_vec();
        let at = at % body.len();
        if cut { body.truncate(at) } else { body[at] = byte }
        check(&body);
    }
}
