//! The values of a fact are stored exactly.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::{NOON, Tables, batch, envelope, fact, inserted, shopping};

#[tokio::test]
async fn every_field_arrives_exactly() {
    let tables = Tables::new().await;
    let said = json!({
        "event_time": NOON, "event_name": "purchase", "event_id": "e-1", "user_id": "u-1",
        "user_pseudo_id": "p-1", "session_id": "s-1", "platform": "IOS", "traffic_source": "google",
        "traffic_medium": "cpc", "traffic_campaign": "été, 2026", "device_category": "tablet",
        "country": "Côte d’Ivoire", "app_version": "7.4.2 (1203)", "product_id": "SKU-A",
        "product_name": "Tee \"blå\" \\ 👕", "product_brand": "Acme",
            "product_category": "Apparel",
        "product_category2": "Adult", "product_category3": "Shirts", "product_category4": "Crew",
        "product_category5": "Short sleeve", "product_variant": "green", "list_id": "L1",
        "list_name": "Related", "list_position": -3, "item_ordinal": 2,
        "price": "0.0000000000000000000000000001", "quantity": "3", "discount": "-2.5",
            "price_in_usd": "0.05", "item_revenue": "3.1", "item_revenue_in_usd": "0.15",
        "item_refund": "-1.5", "item_refund_in_usd": "-0.07",
        "item_coupon": "SUMMER", "affiliation": "Store", "location_id": "ChIJ",
            "promotion_id": "P1",
        "promotion_name": "Sale", "creative_name": "banner", "creative_slot": "slot-1",
        "currency": "EUR", "value": "9999999999999999999999999999", "transaction_id": "T-1",
        "tax": "4.9", "shipping": "5.99", "event_coupon": "EVENT",
        "extra": {"event": {"app": [1, "\u{1}", null]}, "item": {"x": "y"}},
        "fact_hash": "00ff00000000000000000000000000ab",
    });
    let bare = fact(1, NOON, json!({"item_ordinal": 0}));
    let events = [envelope(&[said.clone(), bare])].into_iter();
    let events = events.chain(shopping(1 << 64, 2_000));
    let written = tables.writer(4).write(&batch(0, events)).await.unwrap();
    assert_eq!(written, inserted(2_002, 0));

    let decimals = "f.price::text AS price, f.quantity::text AS quantity, f.discount::text AS \
                    discount, \
                    f.price_in_usd::text AS price_in_usd, f.item_revenue::text AS item_revenue, \
                    f.item_revenue_in_usd::text AS item_revenue_in_usd, f.item_refund::text AS \
                    item_refund, \
                    f.item_refund_in_usd::text AS item_refund_in_usd, \
                    f.value::text AS value, f.tax::text AS tax, f.shipping::text AS shipping";
    let rows = tables
        .rows(&format!(
            "SELECT p.*, l.*, f.*, {decimals} FROM fact_events f LEFT JOIN dim_product p USING \
             (product_key) LEFT JOIN dim_list l USING (list_key) WHERE f.source_offset = 0"
        ))
        .await;
    assert_eq!(rows.len(), 2);
    let full = rows.iter().find(|row| row["item_ordinal"] == 2).unwrap();
    for (name, value) in said.as_object().unwrap() {
        let expected = match name.as_str() {
            "event_time" => json!("2026-11-22T12:00:00.123456+00:00"),
            "fact_hash" => json!("00ff0000-0000-0000-0000-0000000000ab"),
            _ => value.clone(),
        };
        assert_eq!(full[name], expected, "{name}");
    }
    assert_eq!(
        (
            &full["source_topic"],
            &full["source_partition"],
            &full["source_offset"]
        ),
        (&json!("shop-events"), &json!(4), &json!(0))
    );
    let bare = rows.iter().find(|row| row["item_ordinal"] == 0).unwrap();
    for name in said.as_object().unwrap().keys().filter(|name| {
        !["event_time", "event_name", "item_ordinal", "fact_hash"].contains(&name.as_str())
    }) {
        assert_eq!(bare[name], Value::Null, "{name} of an event without items");
    }
}

#[tokio::test]
async fn decimals_of_every_length_arrive_exactly() {
    let tables = Tables::new().await;
    let digits = "1020304050607080900010002003";
    let (before, behind) = (1..=28)
        .flat_map(|length| {
            let (whole, rest) = digits.split_at(length);
            let number = if rest.is_empty() {
                whole.to_owned()
            } else {
                format!("{whole}.{rest}")
            };
            [(
                number.clone(),
                format!("-0.{}{}", "0".repeat(28 - length), "9".repeat(length)),
            )]
        })
        .unzip::<_, _, Vec<_>, Vec<_>>();
    let mut numbers: Vec<String> = before.into_iter().chain(behind).collect();
    numbers.extend(
        [
            "0",
            "1",
            "-1",
            "9999",
            "10000",
            "-10000",
            "0.1",
            "0.0001",
            "0.00001",
            "100000000",
            "12345.6789",
        ]
        .map(str::to_owned),
    );
    let facts: Vec<Value> = (0..)
        .zip(&numbers)
        .map(|(hash, number)| fact(hash, NOON, json!({"price": number})))
        .collect();
    tables
        .writer(0)
        .write(&batch(0, [envelope(&facts)]))
        .await
        .unwrap();
    let rows = tables
        .rows("SELECT price::text AS price FROM fact_events")
        .await;
    let arrived: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["price"].as_str())
        .collect();
    numbers.sort();
    assert_eq!(arrived, numbers);
}

#[tokio::test]
async fn a_full_event_in_two_encodings_is_what_was_computed() {
    let items: Vec<Value> = (1..=200)
        .map(|number| {
            json!({"item_id": format!("SKU-{}", number % 150),
            "item_name": format!("Name {}", number % 150), "price": number, "quantity": 2})
        })
        .collect();
    let event = |items: Value| {
        let event = json!({"event_id": "full", "event_name": "purchase",
            "timestamp": "2026-01-31T23:59:59.999999Z", "currency": "EUR", "items": items});
        event.to_string()
    };
    let as_array = event(json!(items));
    let as_text = event(json!(json!(items).to_string()));
    let wrapped = json!({"Type": "Notification", "MessageId": "m",
        "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": as_array})
    .to_string();
    let next_month = json!({"event_id": "next", "event_name": "view_item",
        "timestamp": "2026-02-01T00:00:00Z", "items": [items[0]]})
    .to_string();
    let clock_of_1970 =
        json!({"event_id": "old", "event_name": "view_item", "timestamp": "1970-01-01T00:00:00Z"})
            .to_string();
    let clock_of_2262 = json!({"event_id": "far", "event_name": "view_item",
        "timestamp": "2262-04-11T23:47:16.854775807Z"})
    .to_string();
    let bodies = [
        as_array,
        as_text,
        wrapped,
        next_month,
        clock_of_1970,
        clock_of_2262,
    ];
    let envelopes: Vec<_> = bodies
        .iter()
        .map(|body| fact_model::flatten(body.as_bytes()))
        .collect();
    let values = envelopes
        .iter()
        .map(|envelope| Bytes::from(serde_json::to_vec(envelope).unwrap()));
    let tables = Tables::new().await;
    let written = tables.writer(0).write(&batch(0, values)).await.unwrap();
    assert_eq!(
        (written.inserted, written.duplicates, written.rejected),
        (201, 400, 2)
    );

    let computed: BTreeMap<String, Value> = envelopes
        .iter()
        .flat_map(|envelope| &envelope.facts)
        .map(|fact| {
            let fact = serde_json::to_value(fact).unwrap();
            let known = [
                "product_id",
                "product_name",
                "price",
                "quantity",
                "item_ordinal",
                "event_name",
                "currency",
            ];
            let row = known.map(|name| fact[name].clone());
            (fact["fact_hash"].as_str().unwrap().to_owned(), json!(row))
        })
        .collect();
    let found: BTreeMap<String, Value> = tables
        .rows(
            "SELECT replace(fact_hash::text, '-', '') AS hash, jsonb_build_array(p.product_id, \
             p.product_name, price::text, quantity::text, item_ordinal, event_name, currency) AS \
             row \
             FROM fact_events JOIN dim_product p USING (product_key)",
        )
        .await
        .into_iter()
        .map(|row| (row["hash"].as_str().unwrap().to_owned(), row["row"].clone()))
        .collect();
    assert_eq!(found, computed);
    assert_eq!(tables.count("dim_product").await, 150);
    let months = "SELECT tableoid::regclass::text AS month, count(*) FROM fact_events GROUP BY 1";
    assert_eq!(
        tables.rows(months).await,
        [
            json!({"month": "fact_events_y2026m02", "count": 1}),
            json!({"month": "fact_events_y2026m01", "count": 200})
        ]
    );
    let reasons = "SELECT reason, count(*) FROM rejected_events GROUP BY 1";
    assert_eq!(
        tables.rows(reasons).await,
        [json!({"reason": "bad-time", "count": 2})]
    );
}
