//! The tracking plan.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use fact_model::{Arena, Envelope, Options, flatten, flatten_in};
use serde_json::{Value, json};

fn with_plan(plan: &Value, body: &str) -> Envelope<'static> {
    let plan = plan.to_string();
    let options = Options::parse([("tracking-plan", plan.as_str())]).unwrap();
    flatten_in(&Arena::new(), &options, body.as_bytes(), None).into_owned()
}

/// The violated rules of each fact.
fn flags(envelope: &Envelope<'_>) -> Vec<Vec<String>> {
    assert_eq!(envelope.rejected, []);
    let facts = envelope.facts.iter();
    let flags = facts.map(|fact| {
        let Some(extra) = &fact.extra else {
            return Vec::new();
        };
        let extra: Value = serde_json::from_str(&extra.json()).unwrap();
        match extra.get("plan") {
            Some(plan) => serde_json::from_value(plan.clone()).unwrap(),
            None => Vec::new(),
        }
    });
    flags.collect()
}

fn event(name: &str, rest: &str) -> String {
    format!(r#"{{"event_name":"{name}","ts":1795382400{rest}}}"#)
}

#[test]
fn each_rule_flags_the_facts_that_violate_it() {
    let plan = json!({"events": {"purchase": {
        "description": "An order",
        "type": "object",
        "required": ["transaction_id", "items", "loyalty"],
        "properties": {
            "currency": {"type": "string", "enum": ["EUR", "USD"]},
            "value": {"type": "number", "minimum": 0.5, "maximum": 1000},
            "loyalty": {
                "type": "object", "required": ["tier"], "additionalProperties": false,
                "properties": {"tier": {"type": "integer", "enum": [1, 2]}, "vip": {"enum": [true]}}
            },
            "tags": {"type": "array", "items": {"type": "string"}},
            "items": {"type": "array", "items": {
                "required": ["product_id"],
                "properties": {
                    "price": {"type": "number", "minimum": 0},
                    "quantity": {"type": "integer"},
                    "list_position": {"maximum": 9},
                    "colour": {"type": "string"}
                }
            }}
        }
    }}});
    let ok = r#","transaction_id":"T","currency":"eur","value":"1000.0","tags":["a"],
        "loyalty":{"tier":2,"vip":true},
        "items":[{"item_id":"A","price":0,"quantity":"2.0","index":9,"colour":"red"}]"#;
    assert_eq!(flags(&with_plan(&plan, &event("purchase", ok))), [[""; 0]]);

    for (good, bad, rule) in [
        (r#""T""#, r#""""#, "transaction_id: required"),
        (r#""eur""#, r#""GBP""#, "currency: enum"),
        (r#""eur""#, r#""euro""#, "currency: type"),
        (r#""1000.0""#, "1000.01", "value: maximum"),
        (r#""1000.0""#, "0.45", "value: minimum"),
        (r#""1000.0""#, "-7", "value: minimum"),
        (r#""1000.0""#, r#""a lot""#, "value: type"),
        (r#"{"tier":2,"vip":true}"#, "null", "loyalty: required"),
        (r#"{"tier":2,"vip":true}"#, "2", "loyalty: type"),
        (r#""tier":2"#, r#""tier":null"#, "loyalty.tier: required"),
        (r#""tier":2"#, r#""tier":2.5"#, "loyalty.tier: type"),
        (r#""tier":2"#, r#""tier":3"#, "loyalty.tier: enum"),
        (r#""vip":true"#, r#""vip":false"#, "loyalty.vip: enum"),
        (
            r#""vip":true"#,
            r#""x":1"#,
            "loyalty.x: additionalProperties",
        ),
        (r#"["a"]"#, r#"["a",1]"#, "tags[]: type"),
        (r#"["a"]"#, r#""a""#, "tags: type"),
        (r#""item_id":"A","#, "", "items.product_id: required"),
        (r#""price":0"#, r#""price":"-0.01""#, "items.price: minimum"),
        (r#""price":0"#, r#""price":"1,234""#, "items.price: type"),
        (r#""2.0""#, "2.5", "items.quantity: type"),
        (
            r#""index":9"#,
            r#""index":10"#,
            "items.list_position: maximum",
        ),
        (r#""red""#, "7", "items.colour: type"),
    ] {
        let body = ok.replacen(good, bad, 1);
        assert_ne!(body, ok);
        let found = flags(&with_plan(&plan, &event("purchase", &body)));
        let expected = match rule {
            // Both are integers' rules.
            "loyalty.tier: type" => vec![rule, "loyalty.tier: enum"],
            _ => vec![rule],
        };
        assert_eq!(found, [expected], "{bad}");
    }
    let without = ok.split(r#""items""#).next().unwrap().trim_end();
    let body = event("purchase", without.strip_suffix(',').unwrap());
    assert_eq!(flags(&with_plan(&plan, &body)), [["items: required"]]);
    // Other events have no rules.
    assert_eq!(flags(&with_plan(&plan, &event("view_item", ""))), [[""; 0]]);
}

#[test]
fn an_items_rule_flags_the_fact_of_this_item() {
    let plan = json!({"events": {"purchase": {
        "required": ["currency"],
        "properties": {"items": {"items": {"required": ["price"]}}}
    }}});
    let body = event("purchase", r#","items":[{"price":1},{},{"price":2}]"#);
    let envelope = with_plan(&plan, &body);
    let currency = "currency: required";
    assert_eq!(
        flags(&envelope),
        [
            vec![currency],
            vec![currency, "items.price: required"],
            vec![currency]
        ]
    );
    // The envelope's writer copies what facts have in common.
    let json = serde_json::to_string(&envelope).unwrap();
    assert_eq!(json.matches(currency).count(), 3);
    let read: Envelope<'_> = serde_json::from_str(&json).unwrap();
    assert_eq!(flags(&read), flags(&envelope));
}

#[test]
fn a_plan_changes_no_identity() {
    let plan = json!({
        "events": {"purchase": {"required": ["currency"]}},
        "keep-extra": ["kept"]
    });
    let rest = r#","kept":1,"dropped":2,"items":[{"item_id":"A","price":"1,234","dropped":3}]"#;
    let body = event("purchase", rest);
    let (with, without) = (with_plan(&plan, &body), flatten(body.as_bytes()));
    assert_eq!(with.facts[0].fact_hash, without.facts[0].fact_hash);
    let extra: Value = serde_json::from_str(&with.facts[0].extra.as_ref().unwrap().json()).unwrap();
    // A value that its column can't hold is always kept.
    assert_eq!(
        extra,
        json!({"event": {"kept": 1}, "item": {"price": "1,234"}, "plan": ["currency: required"]})
    );
}

#[test]
fn nothing_is_left_of_extra_if_no_key_is_kept() {
    let plan = json!({"keep-extra": []});
    let body = event("a", r#","x":1,"replay_timestamp":"2026-02-03T10:11:12Z""#);
    assert_eq!(with_plan(&plan, &body).facts[0].extra, None);
}

#[test]
fn a_plan_that_rejects_names_the_rules_and_keeps_the_other_events() {
    let plan = json!({
        "events": {
            "purchase": {"required": ["currency"], "on-violation": "reject"},
            "refund": {
                "required": ["currency", "transaction_id"],
                "properties": {"transaction_id": {"on-violation": "reject"}}
            }
        },
        "other-events": "reject"
    });
    let events = [
        event("purchase", r#","items":[{"item_id":"A"},{"item_id":"B"}]"#),
        event("purchase", r#","currency":"EUR""#),
        event("refund", r#","transaction_id":"T""#),
        event("refund", r#","currency":"EUR""#),
        event("PURCHASE", ""),
    ];
    let body = format!("[{}]", events.join(","));
    let envelope = with_plan(&plan, &body);
    let facts: Vec<_> = envelope
        .facts
        .iter()
        .map(|fact| &*fact.event_name)
        .collect();
    assert_eq!(facts, ["purchase", "refund"]);
    let rejected: Vec<_> = envelope
        .rejected
        .iter()
        .map(|rejection| (&*rejection.reason, &*rejection.at, &*rejection.detail))
        .collect();
    let violates = "the event violates the tracking plan: ";
    assert_eq!(
        rejected,
        [
            (
                "tracking-plan",
                "$[0]",
                &*format!("{violates}currency: required")
            ),
            (
                "tracking-plan",
                "$[3]",
                &*format!("{violates}transaction_id: required")
            ),
            (
                "tracking-plan",
                "$[4]",
                &*format!("{violates}event_name: not in the plan")
            ),
        ]
    );
    assert_eq!(envelope.rejected[0].raw, events[0]);
}

#[test]
fn unplanned_names_and_keys_are_flagged_if_the_plan_says_so() {
    let plan = json!({
        "events": {"a": {
            "additionalProperties": false,
            "properties": {"x": {}, "items": {"items": {"additionalProperties": false}}}
        }},
        "other-events": "flag"
    });
    let body = event(
        "a",
        r#","x":1,"y":2,"value":"n/a","replay_timestamp":3,"items":[{"z":1}]"#,
    );
    assert_eq!(
        flags(&with_plan(&plan, &body)),
        [["y: additionalProperties", "items.z: additionalProperties"]]
    );
    assert_eq!(
        flags(&with_plan(&plan, &event("b", ""))),
        [["event_name: not in the plan"]]
    );
}

#[test]
fn flags_have_a_bound() {
    let plan = json!({"events": {"a": {"additionalProperties": false}}});
    let keys: String = (0..100)
        .map(|n| format!(r#","{n}{}":1"#, "k".repeat(1000)))
        .collect();
    let [found] = &flags(&with_plan(&plan, &event("a", &keys)))[..] else {
        panic!("one fact");
    };
    assert_eq!(found.len(), 33);
    assert_eq!(found[32], "more rules than are listed");
    assert!(found.iter().all(|rule| rule.len() < 160));

    // Many empty items can't multiply the plan beyond the limit of a body.
    let required: Vec<_> = (0..32).map(|n| format!("{n}{}", "k".repeat(120))).collect();
    let plan = json!({"events": {"a": {"required": required}}});
    let items = vec!["{}"; 20_000].join(",");
    let envelope = with_plan(&plan, &event("a", &format!(r#","items":[{items}]"#)));
    assert_eq!(envelope.rejected[0].reason, "too-large");
}

#[test]
fn an_unusable_plan_is_refused_with_its_fault() {
    let of_event = |schema: Value| json!({"events": {"a": schema}}).to_string();
    let of_property = |name: &str, schema: Value| of_event(json!({"properties": {name: schema}}));
    for (plan, fault) in [
        (String::from("{"), "EOF while parsing"),
        (String::from("[]"), "it is not a JSON object"),
        (
            String::from(r#"{"event":{}}"#),
            "unknown field `event`, expected one of `events`",
        ),
        (
            String::from(r#"{"other-events":"drop"}"#),
            "unknown variant `drop`",
        ),
        (
            of_event(json!({"on-violation": "drop"})),
            "unknown variant `drop`",
        ),
        (
            of_property("x", json!({"pattern": "^a"})),
            "unknown field `pattern`",
        ),
        (
            of_property("x", json!({"type": "text"})),
            "unknown variant `text`",
        ),
        (of_property("x", json!({"enum": [null]})), "not null"),
        (
            of_property("x", json!({"minimum": "1"})),
            "a bound is a number, not \"1\"",
        ),
        (
            of_property("client_id", json!({})),
            "event `a`: `client_id` is read into the column `user_pseudo_id`; use that name",
        ),
        (
            of_property("event_time", json!({})),
            "each event has `event_time`; remove its rule",
        ),
        (
            of_property("items", json!({"items": {"required": ["item_id"]}})),
            "`item_id` is read into the column `product_id`",
        ),
        (
            of_property("items", json!({"required": ["price"]})),
            "`items` has a schema `items`",
        ),
        (
            of_property("currency", json!({"type": "number"})),
            "`currency` is a text",
        ),
        (
            of_property("value", json!({"enum": ["1"]})),
            "`value` is a number",
        ),
        (
            of_event(json!({"minimum": 1})),
            "an event and an item are objects",
        ),
        (
            of_event(json!({"required": [""]})),
            "a name has 1 to 128 bytes",
        ),
        (
            of_event(json!({"required": ["a\u{0}"]})),
            "a name has 1 to 128 bytes",
        ),
        (
            of_property(
                "x",
                json!({"properties": {"y": {"required": ["k".repeat(129)]}}}),
            ),
            "a name has 1 to 128 bytes",
        ),
        (
            format!("{{}}{}x", " ".repeat(32 * 1024)),
            "32768 are allowed",
        ),
    ] {
        let error = Options::parse([("tracking-plan", plan.as_str())]).unwrap_err();
        let error = error.to_string();
        let start = "the parameter `tracking-plan` can't be used: ";
        assert!(
            error.starts_with(start) && error.contains(fault),
            "{fault}: {error}"
        );
        assert!(error.len() < 1000, "{error}");
    }
}
