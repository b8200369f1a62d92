//! Readers that are not ours: DuckDB and PyIceberg read the facts, and agree with PostgreSQL.

use std::process::Command;

use bytes::Bytes;
use fact_model::Decimal;
use lake_sink::batch::Content;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, Value, json};
use sink_common::Record;
use warehouse::{Batch, Source, Writer};

use crate::support::{Lab, TOPIC, batch, begin, program, write};

const TEXTS: [&str; 22] = [
    "event_id",
    "user_id",
    "user_pseudo_id",
    "session_id",
    "platform",
    "traffic_source",
    "traffic_medium",
    "traffic_campaign",
    "device_category",
    "country",
    "app_version",
    "product_variant",
    "item_coupon",
    "affiliation",
    "location_id",
    "promotion_id",
    "promotion_name",
    "creative_name",
    "creative_slot",
    "currency",
    "transaction_id",
    "event_coupon",
];
const NUMBERS: [&str; 11] = [
    "price",
    "quantity",
    "discount",
    "price_in_usd",
    "item_revenue",
    "item_revenue_in_usd",
    "item_refund",
    "item_refund_in_usd",
    "value",
    "tax",
    "shipping",
];
/// The attributes of a product and a list are those of its id: PostgreSQL has the newest ones, and
/// the lake those of each event.
const OF_PRODUCT: [&str; 7] = [
    "product_name",
    "product_brand",
    "product_category",
    "product_category2",
    "product_category3",
    "product_category4",
    "product_category5",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-zA-Z0-9 ._-]{1,20}",
        1 => "[^\\x00]{1,60}",
    ]
}

fn number() -> impl Strategy<Value = String> {
    let digits = (any::<bool>(), "[0-9]{1,20}", "[0-9]{0,20}");
    let number = digits.prop_filter_map("too many digits", |(negative, integer, fraction)| {
        let sign = if negative { "-" } else { "" };
        let text = format!("{sign}{integer}.{fraction}0");
        Some(Decimal::parse(&text)?.as_str().to_owned())
    });
    prop_oneof![
        number,
        (0..100_000_u32).prop_map(|cents| {
            let text = format!("{}.{:02}", cents / 100, cents % 100);
            Decimal::parse(&text).unwrap().as_str().to_owned()
        })
    ]
}

fn fact() -> impl Strategy<Value = Value> {
    let optional = |strategy: BoxedStrategy<String>| proptest::option::of(strategy);
    let texts = TEXTS.map(|_| optional(text().boxed()));
    let numbers = NUMBERS.map(|_| optional(number().boxed()));
    // Microseconds of the years 2000 to 2099.
    let time = 946_684_800_000_000..4_102_444_799_999_999_i64;
    let ids = (
        proptest::option::of(0..30_u32),
        proptest::option::of(0..5_u32),
    );
    let rest = (
        any::<u128>(),
        proptest::option::of(any::<i32>()),
        0..200_i32,
        text(),
    );
    let extra = proptest::option::of((text(), text(), any::<i32>()));
    (time, texts, numbers, ids, rest, extra).prop_map(
        |(time, texts, numbers, (product, list), (hash, position, ordinal, name), extra)| {
            let mut fact = Map::new();
            let time = chrono::DateTime::from_timestamp_micros(time).unwrap();
            let time = time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
            fact.insert("event_time".to_owned(), json!(time));
            fact.insert("event_name".to_owned(), json!(name));
            let mut add = |name: &str, value: Option<String>| {
                if let Some(value) = value {
                    fact.insert(name.to_owned(), json!(value));
                }
            };
            for (name, value) in TEXTS.into_iter().zip(texts) {
                add(name, value);
            }
            for (name, value) in NUMBERS.into_iter().zip(numbers) {
                add(name, value);
            }
            add("product_id", product.map(|product| format!("P{product}")));
            for name in OF_PRODUCT {
                add(name, product.map(|product| format!("{name} of {product}")));
            }
            add("list_id", list.map(|list| format!("L{list}")));
            add("list_name", list.map(|list| format!("List {list}")));
            if let Some(position) = position {
                fact.insert("list_position".to_owned(), json!(position));
            }
            fact.insert("item_ordinal".to_owned(), json!(ordinal));
            if let Some((key, text, number)) = extra {
                fact.insert(
                    "extra".to_owned(),
                    json!({"of": {key: text}, "number": number}),
                );
            }
            fact.insert("fact_hash".to_owned(), json!(format!("{hash:032x}")));
            Value::Object(fact)
        },
    )
}

fn facts(count: usize) -> Vec<Value> {
    let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let strategy = fact();
    (0..count)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn duckdb_clickhouse_and_pyiceberg_read_what_postgresql_has() {
    let lab = Lab::new().await;
    let mut client = lab.database.connect().await.unwrap();
    warehouse::migrate(&mut client).await.unwrap();
    let facts = facts(1000);
    let envelopes: Vec<Bytes> = facts
        .chunks(4)
        .map(|facts| Bytes::from(json!({ "facts": facts }).to_string()))
        .collect();

    let mut lake = lab.lake().await;
    begin(&mut lake, 1).await;
    let (first, second) = envelopes.split_at(envelopes.len() / 2);
    let middle = i64::try_from(first.len()).unwrap();
    let first = batch(Content::Facts, 0, 0, first.iter().cloned());
    let second = batch(Content::Facts, 0, middle, second.iter().cloned());
    write(&mut lake, vec![first]).await.unwrap();
    write(&mut lake, vec![second]).await.unwrap();

    let source = Source {
        sink: "test".to_owned(),
        topic: TOPIC.to_owned(),
        partition: 0,
    };
    let records = (0..).zip(envelopes).map(|(offset, value)| Record {
        offset,
        key: Some(Bytes::from(format!("message-{offset} sent={offset}"))),
        value,
    });
    let mut writer = Writer::new(lab.database.clone(), source);
    let written = writer.write(&Batch::of(0, records).finish()).await.unwrap();
    assert_eq!((written.inserted, written.rejected), (1000, 0));

    let folder = lab.folder.path().join("shop/facts");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/readers.py");
    let output = Command::new(program("python3"))
        .arg(script)
        .arg(lab.server.url())
        .arg(folder)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1000");
}
