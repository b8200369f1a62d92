//! Texts that are longer than a column holds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/checks.rs"]
mod checks;

use checks::check;
use fact_model::{Fact, MAX_TEXT, flatten};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// The keys of an event and of an item, and the column of each.
const EVENT: [(&str, &str); 15] = [
    ("event_name", "event_name"),
    ("event_id", "event_id"),
    ("user_id", "user_id"),
    ("client_id", "user_pseudo_id"),
    ("ga_session_id", "session_id"),
    ("platform", "platform"),
    ("utm_source", "traffic_source"),
    ("medium", "traffic_medium"),
    ("campaign", "traffic_campaign"),
    ("device_category", "device_category"),
    ("country", "country"),
    ("app_version", "app_version"),
    ("transaction_id", "transaction_id"),
    ("coupon", "event_coupon"),
    ("item_list_name", "list_name"),
];
const ITEM: [(&str, &str); 17] = [
    ("item_id", "product_id"),
    ("name", "product_name"),
    ("item_brand", "product_brand"),
    ("item_category", "product_category"),
    ("item_category2", "product_category2"),
    ("item_category3", "product_category3"),
    ("item_category4", "product_category4"),
    ("item_category5", "product_category5"),
    ("variant", "product_variant"),
    ("item_list_id", "list_id"),
    ("coupon", "item_coupon"),
    ("affiliation", "affiliation"),
    ("location_id", "location_id"),
    ("promotion_id", "promotion_id"),
    ("promotion_name", "promotion_name"),
    ("creative_name", "creative_name"),
    ("creative_slot", "creative_slot"),
];

/// An event with the text that `text` returns for each key.
fn event(text: impl Fn(&str) -> String) -> String {
    let object = |keys: &[(&str, &str)]| -> Map<String, Value> {
        let keys = keys.iter();
        keys.map(|(key, _)| ((*key).to_owned(), json!(text(key))))
            .collect()
    };
    let mut event = object(&EVENT);
    event.insert("ts".to_owned(), json!(1_795_382_400));
    event.insert("items".to_owned(), json!([object(&ITEM)]));
    Value::Object(event).to_string()
}

fn only(body: &str) -> Fact<'static> {
    let mut envelope = flatten(body.as_bytes());
    assert_eq!(envelope.rejected, []);
    assert_eq!(envelope.facts.len(), 1);
    envelope.facts.remove(0)
}

#[test]
fn every_long_text_is_cut_in_its_column_and_whole_in_extra() {
    let whole = |key: &str| format!("{}{}", key.to_uppercase(), "X~".repeat(1500));
    let body = event(whole);
    check(body.as_bytes());
    let fact = serde_json::to_value(only(&body)).unwrap();
    for (part, keys) in [("event", &EVENT[..]), ("item", &ITEM)] {
        for (key, column) in keys {
            let cut = fact[*column].as_str().unwrap();
            let (beginning, hash) = cut.split_once('…').unwrap();
            assert!(cut.len() <= MAX_TEXT && hash.len() == 32, "{column}");
            assert!(whole(key).starts_with(beginning), "{column}");
            assert_eq!(fact["extra"][part][*key], whole(key), "{column}");
        }
    }

    let fits = event(|key| key.to_uppercase());
    assert_eq!(only(&fits).extra, None);
}

#[test]
fn texts_with_the_same_long_beginning_stay_different() {
    let long = "x".repeat(3000);
    for key in EVENT.iter().chain(&ITEM).map(|(key, _)| *key) {
        let with = |end: &str| {
            only(&event(|other| {
                if other == key {
                    format!("{long}{end}")
                } else {
                    other.to_owned()
                }
            }))
        };
        let [one, other] = ["1", "2"].map(with);
        // An event id identifies an event whatever else it says, but for its name.
        let is_identity = ["event_id", "event_name"].contains(&key);
        assert_eq!(one.fact_hash != other.fact_hash, is_identity, "{key}");
        let columns = |fact: Fact<'_>| {
            let mut columns = serde_json::to_value(fact).unwrap();
            columns["extra"] = Value::Null;
            columns
        };
        assert_ne!(columns(one), columns(other), "{key}");
    }
}

#[test]
fn long_texts_stay_within_the_size_of_the_output() {
    for length in [500, 513, 600, 3000] {
        let text = "x".repeat(length);
        let body = event(|_| text.clone());
        let start = body.find("[{").unwrap();
        let end = body.find("}]").unwrap() + 2;
        for items in [1, 20, 100, 180, 400, 5000] {
            let mut body = body.clone();
            body.replace_range(start..end, &format!("[{}{{}}]", "{},".repeat(items)));
            check(body.as_bytes());
        }
    }
}

proptest! {
    #[test]
    fn a_text_is_whole_in_its_column_or_in_extra(text in "\\PC{0,400}", repeated in 1..4usize) {
        let text = format!("a{}b", text.repeat(repeated));
        let body = json!({
            "name": "n", "ts": 1_795_382_400, "user_id": text, "items": [{"item_id": text}],
        });
        let fact = only(&body.to_string());
        let extra = fact.extra.as_ref().map(|extra| extra.json().into_owned());
        let extra: Value = serde_json::from_str(extra.as_deref().unwrap_or("{}")).unwrap();
        for (part, key, column) in [
            ("event", "user_id", &fact.user_id),
            ("item", "item_id", &fact.product_id),
        ] {
            let column = column.as_deref().unwrap();
            if text.len() <= MAX_TEXT {
                prop_assert_eq!(column, &text);
                prop_assert_eq!(&extra[part], &Value::Null);
            } else {
                prop_assert!(column.len() <= MAX_TEXT);
                prop_assert_eq!(&extra[part][key], &text);
            }
        }
    }
}
