//! The same event in two formats is the same facts, with the same hashes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use fact_model::{Fact, flatten};

fn facts(body: &str) -> Vec<Fact<'static>> {
    let envelope = flatten(body.as_bytes());
    assert_eq!(envelope.rejected, [], "{body}");
    envelope.facts
}

const PURCHASE: &str = r#"{"event_name":"purchase","event_time":"2026-11-22T21:20:00Z",
             "client_id":"1.2","currency":"EUR",
    "value":1234.50,"transaction_id":"T1","items":[{"item_id":"7","item_name":"Café rouge",
    "price":9.90,"quantity":2,
    "category":"a/b"},{"item_id":"8"}]}"#;

#[test]
fn one_purchase_in_every_format() {
    let expected = facts(PURCHASE);
    assert_eq!(expected.len(), 2);
    let in_a_string = serde_json::to_string(PURCHASE).unwrap();
    for body in [
        // JSON: other numbers, other names, items in a string, parameters in an object, in a
        // string.
        concat!(
            r#"{"name":"purchase","ts":1795382400.0,"user_pseudo_id":"1.2","#,
            r#""params":{"items":"[{\"quantity\":\"2\",\"price\":\"9,90\","#,
            r#"\"item_name\":\"Caf\\u00e9 rouge\",\"item_id\":7.0,\"item_category\":\"a\","#,
            r#"\"item_category2\":\"b\"},{\"id\":8}]","transaction_id":"T1","value":"1.234,"#,
            r#"50 €","currency":"eur"}}"#
        ),
        concat!(
            r#"{"name":"purchase","ts":"1795382400","client_id":"1.2","#,
            r#""params":"{\"items\":[{\"item_id\":7,\"item_name\":\"Café rouge\","#,
            r#"\"price\":9.9,\"quantity\":2,\"category\":\"a/b\"},{\"item_id\":8}],"#,
            r#"\"transaction_id\":\"T1\",\"value\":1234.5,\"currency\":\"EUR\"}"}"#
        ),
        &in_a_string,
        // GA4 Measurement Protocol.
        concat!(
            r#"{"client_id":"1.2","timestamp_micros":"1795382400000000","#,
            r#""events":[{"name":"purchase","params":{"currency":"EUR","value":1234.5,"#,
            r#""transaction_id":"T1","items":[{"item_id":"7","item_name":"Café rouge","#,
            r#""price":9.9,"quantity":2,"category":"a/b"},{"item_id":"8"}]}}]}"#
        ),
        // BigQuery.
        concat!(
            r#"{"event_timestamp":"1795382400000000","event_name":"purchase","#,
            r#""user_pseudo_id":"1.2","user_id":null,"event_params":[{"key":"value","#,
            r#""value":{"string_value":null,"double_value":"1234.5"}},{"key":"currency","#,
            r#""value":{"string_value":"EUR"}}],"ecommerce":{"transaction_id":"T1","#,
            r#""purchase_revenue":null},"items":[{"item_id":"7","item_name":"Café rouge","#,
            r#""price":"9.9","quantity":"2","item_category":"a","item_category2":"b","#,
            r#""item_list_index":"(not set)","coupon":null},{"item_id":"8"}]}"#
        ),
        // Data layers.
        concat!(
            r#"{"event":"purchase","timestamp":1795382400000,"client_id":"1.2","#,
            r#""ecommerce":{"currency":"EUR","value":1234.5,"transaction_id":"T1","#,
            r#""items":[{"item_id":"7","item_name":"Café rouge","price":9.9,"quantity":2,"#,
            r#""category":"a/b"},{"item_id":"8"}]}}"#
        ),
        "dataLayer.push({time: new Date(1795382400000), client_id: '1.2', ecommerce: \
         {currencyCode: 'EUR', purchase: {actionField: {id: 'T1', revenue: '1234.50'}, \
         products: [{id: '7', name: 'Caf\\xe9 rouge', price: '9.90', quantity: 2, category: \
         'a/b'}, {id: '8'}]}}});",
        // Web hits.
        concat!(
            "v=2&en=purchase&cid=1.2&cu=EUR&epn.value=1234.50&ep.transaction_id=T1&",
            "epn.timestamp_micros=1795382400000000&pr1=id7~nmCaf%C3%A9%20rouge~pr9.90~qt2~",
            "caa~c2b&pr2=id8"
        ),
        // Firebase logs.
        "Logging event (FE): purchase, Bundle[{client_id=1.2, \
         event_time=2026-11-22T22:20:00+01:00, currency=EUR, value=1234.5, transaction_id=T1, \
         items=[Bundle[{item_id=7, item_name=Café rouge, price=9.9, quantity=Long(2), \
         category=a/b}], Bundle[{item_id=8}]]}]",
        "purchase, {\n client_id = \"1.2\";\n event_time = 1795382400;\n currency = EUR;\n \
         value = \"1234.5\";\n transaction_id = T1;\n items = (\n {\n item_id = 7;\n \
         item_name = \"Caf\\U00e9 rouge\";\n price = \"9.9\";\n quantity = 2;\n category \
         = \"a/b\";\n },\n {\n item_id = 8;\n }\n);\n}",
        // Python.
        "{'event_name': 'purchase', 'event_time': datetime.datetime(2026, 11, 22, 21, 20, \
         tzinfo=datetime.timezone.utc), 'client_id': '1.2', 'currency': 'EUR', 'value': \
         Decimal('1234.50'), 'transaction_id': 'T1', 'items': [{'item_id': '7', 'item_name': \
         'Café rouge', 'price': 9.9, 'quantity': 2, 'category': 'a/b'}, {'item_id': 8}]}",
    ] {
        let facts = facts(body);
        for (fact, expected) in facts.iter().zip(&expected) {
            assert_eq!(
                serde_json::to_string(fact).unwrap(),
                serde_json::to_string(expected).unwrap(),
                "{body}"
            );
        }
        assert_eq!(facts.len(), expected.len(), "{body}");
    }
}

#[test]
fn a_hit_of_universal_analytics_is_the_push_that_it_came_from() {
    let hit = facts(concat!(
        "v=1&cid=1.2&cu=EUR&pa=purchase&ti=T1&ta=Shop&tr=9.90&ts=1&tcc=C&",
        "event_time=2026-11-22T21:20:00Z&pr1id=7&pr1nm=n&pr1cd1=d&il1nm=l&il1pi1id=8&",
        "il1pi1ps=1"
    ));
    let push = facts(
        r#"{"time":1795382400,"client_id":"1.2","ecommerce":{"currencyCode":"EUR",
            "impressions":[{"id":"8","list":"l","position":1}],
            "purchase":{"actionField":{"id":"T1","affiliation":"Shop","revenue":"9.9","shipping":1,
            "coupon":"C"},
                        "products":[{"id":7,"name":"n","dimension1":"d"}]}}}"#,
    );
    assert_eq!(hit, push);
    assert_eq!(hit[0].event_name, "view_item_list");
    assert_eq!(hit[1].event_name, "purchase");
}

#[test]
fn the_same_items_in_every_format() {
    let event = |items: &str| {
        facts(&format!(
            r#"{{"name":"a","ts":1795382400,"items":{items}}}"#
        ))
    };
    let expected =
        event(r#"[{"item_id":"x1","item_name":"A b","price":1.50,"index":0},{"item_id":"x2"}]"#);
    for items in [
        "[{\"price\": \"1.5\", \"index\": \"0\", \"item_id\": \"x1\", \"item_name\": \"A \
         b\"}, {\"item_id\": \"x2\"}]",
        "[{'item_id': 'x1', 'item_name': 'A b', 'price': 1.5, 'index': 0}, {'item_id': 'x2', \
         'coupon': None}]",
        "[{item_id: 'x1', item_name: `A b`, price: 1.50, index: 0}, {item_id: 'x2'}]",
        "[Bundle[{item_id=x1, item_name=A b, price=Double(1.5), index=Long(0)}], \
         Bundle[{item_id=String(x2)}]]",
        "(\n {\n item_id = x1;\n item_name = \"A b\";\n price = \"1.5\";\n index = 0;\n },\n \
         {\n item_id = x2;\n }\n)",
        "pr1=idx1~nmA%20b~pr1.50~lp0&pr2=idx2",
        "pr2id=x2&pr1id=x1&pr1nm=A+b&pr1pr=1.5&pr1ps=0",
    ] {
        assert_eq!(
            event(&serde_json::to_string(items).unwrap()),
            expected,
            "{items}"
        );
    }
    let parts = r#"["idx1~nmA b~pr1.50~lp0", "Bundle[{item_id=x2}]"]"#;
    assert_eq!(event(parts), expected);
}
