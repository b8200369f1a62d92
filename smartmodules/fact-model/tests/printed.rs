//! Round trips: any items are printed and parsed without loss in every lossless format.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use fact_model::{Decimal, Envelope, Fact, FactHash, flatten};
use proptest::prelude::*;

/// An item of a shop.
#[derive(Debug, Clone)]
struct Item {
    id: String,
    name: String,
    /// In hundredths.
    price: u32,
    quantity: u8,
}

impl Item {
    fn price(&self) -> String {
        format!("{}.{:02}", self.price / 100, self.price % 100)
    }

    fn json(&self) -> String {
        let Self { id, name, .. } = self;
        format!(
            r#"{{"item_id":{},"item_name":{},"price":{},"quantity":{}}}"#,
            serde_json::to_string(id).unwrap(),
            serde_json::to_string(name).unwrap(),
            self.price(),
            self.quantity
        )
    }

    /// Python's `repr`.
    fn python(&self) -> String {
        let text = |text: &str| {
            let quote = if text.contains('\'') && !text.contains('"') {
                '"'
            } else {
                '\''
            };
            let mut out = String::from(quote);
            for c in text.chars() {
                match c {
                    '\\' => out.push_str("\\\\"),
                    '\n' => out.push_str("\\n"),
                    c if c == quote => out.extend(['\\', c]),
                    c => out.push(c),
                }
            }
            out.push(quote);
            out
        };
        format!(
            "{{'item_id': {}, 'item_name': {}, 'price': Decimal('{}'), 'quantity': {}}}",
            text(&self.id),
            text(&self.name),
            self.price(),
            self.quantity
        )
    }

    /// The notation of gtag.js, before percent-encoding.
    fn gtag(&self) -> String {
        let text = |text: &str| text.replace('~', "~~");
        format!(
            "id{}~nm{}~pr{}~qt{}",
            text(&self.id),
            text(&self.name),
            self.price(),
            self.quantity
        )
    }

    /// A row of Java.
    fn java(&self) -> String {
        let Self {
            id, name, quantity, ..
        } = self;
        format!(
            "{{item_id={id}, item_name={name}, price={}, quantity={quantity}}}",
            self.price()
        )
    }

    /// A dictionary of iOS.
    fn ios(&self) -> String {
        let text = |text: &str| {
            let escaped = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            format!("\"{escaped}\"")
        };
        format!(
            "{{\n    \"item_id\" = {};\n    \"item_name\" = {};\n    price = \"{}\";\n    \
             quantity = {};\n}}",
            text(&self.id),
            text(&self.name),
            self.price(),
            self.quantity
        )
    }
}

fn item() -> impl Strategy<Value = Item> {
    (
        "[A-Za-z0-9_-]{1,12}",
        "[A-Za-z][A-Za-z0-9 éß€😀'\"\\\\~,;{}()=&%|-]{0,20}[A-Za-z0-9]",
        0..10_000_000_u32,
        1..100_u8,
    )
        .prop_map(|(id, name, price, quantity)| Item {
            id: format!("SKU-{id}"),
            name,
            price,
            quantity,
        })
}

/// The facts of an event whose `items` are this JSON value.
fn facts(items: &str) -> Vec<Fact<'static>> {
    let event = format!(r#"{{"name":"purchase","ts":1795382400,"items":{items}}}"#);
    let Envelope {
        facts, rejected, ..
    } = flatten(event.as_bytes());
    assert!(rejected.is_empty(), "{items}: {rejected:?}");
    facts
}

fn in_a_string(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn joined(items: &[Item], print: fn(&Item) -> String, separator: &str) -> String {
    items.iter().map(print).collect::<Vec<_>>().join(separator)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None,
    ..ProptestConfig::default() })]

    #[test]
    fn items_come_back_from_every_format(items in prop::collection::vec(item(), 1..5)) {
        let json = format!("[{}]", joined(&items, Item::json, ","));
        let expected = facts(&json);
        for (fact, item) in expected.iter().zip(&items) {
            prop_assert_eq!(fact.product_name.as_deref(), Some(item.name.trim()));
            let price = item.price();
            prop_assert_eq!(&fact.price, &Decimal::parse(&price));
        }
        prop_assert_eq!(&facts(&in_a_string(&json)), &expected);
        prop_assert_eq!(&facts(&in_a_string(&in_a_string(&json))), &expected);
        let python = format!("[{}]", joined(&items, Item::python, ", "));
        prop_assert_eq!(&facts(&in_a_string(&python)), &expected);
        let ios = format!("(\n{}\n)", joined(&items, Item::ios, ",\n"));
        prop_assert_eq!(&facts(&in_a_string(&ios)), &expected);
        let java = format!("[{}]", joined(&items, Item::java, ", "));
        prop_assert_eq!(&facts(&in_a_string(&java)), &expected);
        let java = format!("[{}]", joined(&items, Item::java, ","));
        prop_assert_eq!(&facts(&in_a_string(&java)), &expected);
    }

    #[test]
    fn an_item_comes_back_from_a_web_hit(item in item()) {
        let expected = facts(&format!("[{}]", item.json()));
        prop_assert_eq!(&facts(&in_a_string(&item.gtag())), &expected);
    }

    #[test]
    fn a_decimal_comes_back(number in any::<i64>(), places in 0..18_usize) {
        let digits = format!("{:0width$}", number.unsigned_abs(), width = places + 1);
        let (integer, fraction) = digits.split_at(digits.len() - places);
        let sign = if number < 0 { "-" } else { "" };
        let text = format!("{sign}{integer}.{fraction}");
        let decimal = Decimal::parse(&text).unwrap();
        let printed = decimal.to_string();
        prop_assert_eq!(&Decimal::parse(&printed).unwrap(), &decimal);
        let exponent = format!("{number}e-{places}");
        prop_assert_eq!(&Decimal::parse(&exponent).unwrap(), &decimal);
    }

    #[test]
    fn a_time_comes_back_from_every_unit(micros in 946_684_800_000_000..4_102_444_800_000_000_i64,
    minutes in -840..840_i64) {
        let time = |json: String| {
            let event = format!(r#"{{"name":"a","event_time":{json}}}"#);
            flatten(event.as_bytes()).facts.first().map(|fact| fact.event_time.timestamp_micros())
        };
        prop_assert_eq!(time(micros.to_string()), Some(micros));
        prop_assert_eq!(time(format!("{micros}000")), Some(micros));
        prop_assert_eq!(time(format!("{}.{:03}", micros / 1000, micros % 1000)), Some(micros));
        let seconds = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        prop_assert_eq!(time(seconds), Some(micros));
        let zone = chrono::FixedOffset::east_opt(i32::try_from(minutes * 60).unwrap()).unwrap();
        let time_utc = chrono::DateTime::from_timestamp_micros(micros).unwrap();
        let text = time_utc.with_timezone(&zone).to_rfc3339();
        prop_assert_eq!(time(in_a_string(&text)), Some(micros));
    }

    #[test]
    fn a_hash_comes_back(bytes in any::<[u8; 16]>()) {
        let hash = FactHash(bytes);
        prop_assert_eq!(hash.to_string().parse(), Ok(hash));
    }
}
