//! A value that becomes no column and no fact is in `extra`, or its event is rejected with the
//! text: random events in every shape of JSON, each value of which is unique and has to be found
//! again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/checks.rs"]
mod checks;

use fact_model::flatten;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Without the keys of which an item's value replaces the event's, by Google's rule: list,
/// promotion, creative and affiliation.
const EVENT: [&str; 35] = [
    "event_name",
    "name",
    "event",
    "event_id",
    "user_id",
    "user_pseudo_id",
    "client_id",
    "app_instance_id",
    "session_id",
    "ga_session_id",
    "platform",
    "source",
    "utm_source",
    "medium",
    "campaign",
    "device_category",
    "country",
    "app_version",
    "currency",
    "value",
    "transaction_id",
    "tax",
    "shipping",
    "coupon",
    "item_id",
    "item_name",
    "price",
    "index",
    "x",
    "y",
    "transactionId",
    "transactionTotal",
    "transactionTax",
    "currencyCode",
    "0",
];
const ITEM: [&str; 28] = [
    "item_id",
    "id",
    "sku",
    "item_name",
    "name",
    "brand",
    "item_brand",
    "category",
    "item_category",
    "item_category2",
    "variant",
    "item_list_name",
    "list",
    "list_name",
    "position",
    "index",
    "item_list_index",
    "price",
    "quantity",
    "discount",
    "currency",
    "coupon",
    "affiliation",
    "promotion_id",
    "creative",
    "creative_name",
    "x",
    "y",
];
const ACTIONS: [&str; 6] = ["detail", "click", "add", "purchase", "refund", "checkout"];
const ACTION_FIELD: [&str; 8] = [
    "id", "revenue", "tax", "step", "coupon", "option", "value", "x",
];
const ECOMMERCE: [&str; 12] = [
    "currency",
    "currencyCode",
    "value",
    "transaction_id",
    "tax",
    "purchase_revenue",
    "refund_value",
    "tax_value",
    "shipping",
    "item_id",
    "x",
    "y",
];

/// Makes bodies from a series of random numbers.
struct Maker {
    random: std::vec::IntoIter<u8>,
    marks: usize,
}

impl Maker {
    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.random.next().unwrap_or_default()) % limit
    }

    /// A value that no other is equal to, as a text or a number.
    fn mark(&mut self) -> Value {
        self.marks += 1;
        let number = 70_000 + self.marks;
        if self.below(3) == 0 {
            json!(number)
        } else {
            json!(format!("M{number}X"))
        }
    }

    /// An object with some of the keys.
    fn object(&mut self, keys: &[&str]) -> Map<String, Value> {
        let count = self.below(6);
        let picked: Vec<&str> = (0..count).map(|_| keys[self.below(keys.len())]).collect();
        let mut object = Map::new();
        for key in picked {
            if !object.contains_key(key) {
                let mark = self.mark();
                object.insert(key.to_owned(), mark);
            }
        }
        object
    }

    /// The value, or its text.
    fn disguised(&mut self, value: Value) -> Value {
        match self.below(4) {
            0 => json!(value.to_string()),
            _ => value,
        }
    }

    /// A list of objects with some of the keys, or an object with numbers as keys, or a text.
    fn list(&mut self, keys: &[&str]) -> Value {
        let count = self.below(3);
        let elements: Vec<Value> = (0..count)
            .map(|_| {
                let mut object = self.object(keys);
                if keys.len() == ITEM.len() && self.below(4) == 0 {
                    object.insert("item_params".to_owned(), self.params());
                }
                Value::Object(object)
            })
            .collect();
        let list = match self.below(4) {
            0 => (0..)
                .zip(elements)
                .map(|(number, element): (u32, Value)| ((number * 2).to_string(), element))
                .collect(),
            _ => Value::Array(elements),
        };
        self.disguised(list)
    }

    /// A list of parameters as the BigQuery export has them.
    fn params(&mut self) -> Value {
        let keys = self.object(&EVENT);
        let list = keys
            .into_iter()
            .map(|(key, value)| match self.below(5) {
                0 => json!({"key": key, "value": value}),
                1 => {
                    let (other, more) = (self.mark(), self.mark());
                    json!({"key": key, "value": {"string_value": value, "int_value": other},
                        "unit": more})
                }
                _ => json!({"key": key, "value": {"string_value": value, "int_value": null}}),
            })
            .collect();
        self.disguised(Value::Array(list))
    }

    fn ecommerce(&mut self) -> Value {
        let mut ecommerce = self.object(&ECOMMERCE);
        for key in ACTIONS {
            if self.below(5) > 0 {
                continue;
            }
            let mut action = self.object(&ECOMMERCE);
            for (list, place) in [("products", 0), ("items", 1)] {
                if self.below(2) == place {
                    action.insert(list.to_owned(), self.list(&ITEM));
                }
            }
            let field = self.object(&ACTION_FIELD);
            let field = self.disguised(Value::Object(field));
            action.insert("actionField".to_owned(), field);
            let action = self.disguised(Value::Object(action));
            ecommerce.insert(key.to_owned(), action);
        }
        for key in ["promoView", "promoClick"] {
            if self.below(6) == 0 {
                let mut action = self.object(&["x", "actionField"]);
                if self.below(3) > 0 {
                    action.insert("promotions".to_owned(), self.list(&ITEM));
                }
                ecommerce.insert(key.to_owned(), Value::Object(action));
            }
        }
        for key in ["impressions", "items"] {
            if self.below(4) == 0 {
                ecommerce.insert(key.to_owned(), self.list(&ITEM));
            }
        }
        self.disguised(Value::Object(ecommerce))
    }

    fn event(&mut self, depth: usize) -> Value {
        let mut event = self.object(&EVENT);
        if self.below(4) > 0 && !event.contains_key("event_name") {
            event.insert("event_name".to_owned(), json!("purchase"));
        }
        event.insert("ts".to_owned(), json!(1_795_382_400));
        for key in ["items", "transactionProducts"] {
            if self.below(5) == 0 {
                event.insert(key.to_owned(), self.list(&ITEM));
            }
        }
        for (key, keys) in [
            ("device", ["category", "x"]),
            ("geo", ["country", "x"]),
            ("user_location", ["country_id", "x"]),
            ("collected_traffic_source", ["manual_source", "x"]),
        ] {
            if self.below(6) == 0 {
                let object = self.object(&keys);
                let object = self.disguised(Value::Object(object));
                event.insert(key.to_owned(), object);
            }
        }
        for key in ["params", "event_params", "eventModel"] {
            let value = match self.below(8) {
                0 | 1 => {
                    let mut object = self.object(&EVENT);
                    if self.below(3) == 0 {
                        object.insert("items".to_owned(), self.list(&ITEM));
                    }
                    self.disguised(Value::Object(object))
                }
                2 => self.params(),
                _ => continue,
            };
            event.insert(key.to_owned(), value);
        }
        if self.below(2) == 0 {
            event.insert("ecommerce".to_owned(), self.ecommerce());
        }
        if depth == 0 && self.below(4) == 0 {
            for key in ["event_name", "name", "event"] {
                event.remove(key);
            }
            let events: Vec<Value> = (0..=self.below(2)).map(|_| self.event(1)).collect();
            let events = self.disguised(Value::Array(events));
            event.insert("events".to_owned(), events);
        }
        Value::Object(event)
    }
}

/// Collects the marks in a body, and in the texts in it.
fn marks(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .map(|word| word.trim_matches(['M', 'X']))
        .filter(|word| word.len() == 5 && word.starts_with('7') && word.parse::<u32>().is_ok())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, max_shrink_iters: 500,
    failure_persistence: None,
    ..ProptestConfig::default() })]

    #[test]
    fn every_value_is_in_a_column_in_extra_or_in_a_rejection(
        random in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut maker = Maker { random: random.into_iter(), marks: 0 };
        let body = maker.event(0).to_string();
        checks::check(body.as_bytes());
        let envelope = serde_json::to_string(&flatten(body.as_bytes())).unwrap();
        let found: std::collections::HashSet<&str> = marks(&envelope).into_iter().collect();
        for mark in marks(&body) {
            prop_assert!(found.contains(mark), "{} is lost\n{}\n{}", mark, body, envelope);
        }
    }
}
