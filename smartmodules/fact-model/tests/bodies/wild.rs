//! Bodies as shops and apps really send them, after public bug reports and documentation.

use fact_model::flatten;
use serde_json::{Value, json};

use crate::golden::facts;

const TS: &str = "1795382400000000";

/// The facts of an event with these keys.
fn event(keys: &str) -> Vec<Value> {
    facts(format!(r#"{{"event_timestamp":{TS},{keys}}}"#))
}

fn column(facts: &[Value], column: &str) -> Vec<Value> {
    facts.iter().map(|fact| fact[column].clone()).collect()
}

#[test]
fn items_of_ga4_in_an_action_of_universal_analytics() {
    for action in [
        r#"{"transaction_id":"T-01","value":20,"items":[{"item_id":"A1"}]}"#,
        r#"{"actionField":{"id":"T-01","revenue":20},"items":[{"item_id":"A1"}]}"#,
        r#"{"actionField":"{\"id\":\"T-01\",\"revenue\":20}","products":{"0":{"id":"A1"}}}"#,
        r#""{\"transaction_id\":\"T-01\",\"value\":20,\"items\":[{\"item_id\":\"A1\"}]}""#.trim(),
    ] {
        let facts = event(&format!(
            r#""event":"purchase","ecommerce":{{"purchase":{action}}}"#
        ));
        assert_eq!(
            facts,
            [
                json!({"event_name": "purchase", "transaction_id": "T-01", "value": "20",
                "product_id": "A1", "item_ordinal": 1})
            ],
            "{action}"
        );
    }
    let cart = event(r#""event":"addToCart","ecommerce":{"add":{"items":[{"item_id":"A1"}]}}"#);
    assert_eq!(cart[0]["event_name"], "add_to_cart");
    assert_eq!(cart[0]["product_id"], "A1");
}

#[test]
fn lists_that_came_as_objects_with_numbers_as_keys() {
    let expected = [json!("A1"), json!("B1")];
    let items = r#"{"2":{"item_id":"B1"},"0":{"item_id":"A1"}}"#;
    let text = serde_json::to_string(items).unwrap();
    for keys in [
        format!(r#""event_name":"a","items":{items}"#),
        format!(r#""event_name":"a","items":{text}"#),
        format!(r#""event_name":"a","params":{{"items":{items}}}"#),
        r#""event_name":"a","items":{"0":"{item_id:'A1'}","1":"{\"item_id\":\"B1\"}"}"#.to_owned(),
        r#""event_name":"a","items":"{'0':{'item_id':'A1'},'10':{'item_id':'B1'}}""#.to_owned(),
        format!(r#""event":"a","ecommerce":{{"items":{items}}}"#),
        format!(r#""event":"a","ecommerce":{{"detail":{{"products":{items}}}}}"#),
        format!(r#""event":"a","ecommerce":{{"impressions":{items}}}"#),
    ] {
        assert_eq!(column(&event(&keys), "product_id"), expected, "{keys}");
    }
    let promotions = r#"{"promoView":{"promotions":{"0":{"id":"P1"},"1":{"id":"P2"}}}}"#;
    let facts_of = event(&format!(r#""event":"a","ecommerce":{promotions}"#));
    assert_eq!(column(&facts_of, "promotion_id"), ["P1", "P2"]);
    let protocol = format!(
        r#"{{"client_id":"c","timestamp_micros":{TS},"events":{{"0":{{"name":"x"}},
           "1":{{"name":"y"}}}}}}"#
    );
    assert_eq!(column(&facts(protocol), "event_name"), ["x", "y"]);
    let body = format!(r#"{{"0":{{"name":"x","ts":{TS}}},"1":{{"name":"y","ts":{TS}}}}}"#);
    assert_eq!(column(&facts(body), "event_name"), ["x", "y"]);
    let params = r#"{"0":{"key":"ga_session_id","value":{"int_value":"7"}}}"#;
    for key in ["event_params", "params"] {
        let row = event(&format!(r#""event_name":"a","{key}":{params}"#));
        assert_eq!(row[0]["session_id"], "7", "{key}");
    }
    let item = event(&format!(
        r#""event_name":"a","items":[{{"item_id":"A1","item_params":{params}}}]"#
    ));
    assert_eq!(item[0]["extra"], json!({"item": {"ga_session_id": 7}}));
}

#[test]
fn several_shapes_in_one_push_are_one_event() {
    let both = event(
        r#""event":"purchase","ecommerce":{"transaction_id":"T","value":20,
           "items":[{"item_id":"A1"},{"item_id":"B1"}],
           "purchase":{"actionField":{"id":"T","tax":"2"},"products":[{"id":"A1"}]}}"#,
    );
    assert_eq!(column(&both, "product_id"), ["A1", "B1"]);
    assert_eq!(both[0]["transaction_id"], "T");
    assert_eq!(both[0]["tax"], "2");
    assert_eq!(
        both[0]["extra"],
        json!({"event": {"ecommerce": {"purchase":
            {"actionField": {"id": "T", "tax": "2"}, "products": [{"id": "A1"}]}}}})
    );
    // Another event of Universal Analytics beside GA4's.
    let two = event(
        r#""event":"view_item","ecommerce":{"currency":"EUR","value":5,"items":[{"item_id":"A1"}],
           "impressions":[{"id":"I1"}]}"#,
    );
    assert_eq!(column(&two, "event_name"), ["view_item_list", "view_item"]);
    assert_eq!(column(&two, "product_id"), ["I1", "A1"]);
    assert_eq!(column(&two, "value"), [json!(null), json!("5")]);
    assert_eq!(column(&two, "currency"), ["EUR", "EUR"]);
    // The name of the push is a trigger's.
    let trigger = event(
        r#""event":"productClick","ecommerce":{"items":[{"item_id":"A1"}],
           "click":{"actionField":{"list":"L"},"products":[{"id":"A1"}]}}"#,
    );
    assert_eq!(column(&trigger, "event_name"), ["select_item"]);
    assert_eq!(trigger[0]["list_name"], "L");
}

#[test]
fn parameters_of_gtag_in_a_data_layer() {
    for model in [
        r#"{"transaction_id":"T","items":[{"item_id":"A1"}]}"#,
        r#""{\"transaction_id\":\"T\",\"items\":[{\"item_id\":\"A1\"}]}""#,
    ] {
        let facts = event(&format!(
            r#""event":"purchase","eventModel":{model},"gtm.uniqueEventId":5"#
        ));
        assert_eq!(
            facts,
            [
                json!({"event_name": "purchase", "transaction_id": "T", "product_id": "A1",
                "item_ordinal": 1, "extra": {"event": {"gtm.uniqueEventId": 5}}})
            ]
        );
    }
}

#[test]
fn standard_ecommerce_of_universal_analytics() {
    let facts = event(
        r#""event":"trackTrans","transactionId":"T","transactionAffiliation":"Shop",
           "transactionTotal":38.26,"transactionTax":1.29,"transactionShipping":5,
           "transactionPromoCode":"X","transactionProducts":[
           {"sku":"DD44","name":"T-Shirt","category":"Apparel/Men","price":11.99,"quantity":1}]"#,
    );
    assert_eq!(
        facts,
        [
            json!({"event_name": "purchase", "transaction_id": "T", "affiliation": "Shop",
            "value": "38.26", "tax": "1.29", "shipping": "5", "product_id": "DD44",
            "product_name": "T-Shirt", "product_category": "Apparel", "product_category2": "Men",
            "price": "11.99", "quantity": "1", "item_ordinal": 1,
            "extra": {"event": {"event": "trackTrans", "transactionPromoCode": "X"}}})
        ]
    );
}

#[test]
fn json_in_a_text_wherever_an_object_may_stand() {
    for (keys, column, expected) in [
        (
            r#""ecommerce":"{\"transaction_id\":\"T-03\",\"items\":[{\"item_id\":\"A1\"}]}""#,
            "product_id",
            "A1",
        ),
        (
            r#""ecommerce":"{'transaction_id':'T-03','items':[{'item_id':'A1'}]}""#,
            "transaction_id",
            "T-03",
        ),
        (
            r#""ecommerce":"{\"purchase\":\"{\\\"products\\\":[{\\\"id\\\":\\\"A1\\\"}]}\"}""#,
            "product_id",
            "A1",
        ),
        (
            r#""params":"\"{\\\"item_list_id\\\":\\\"L\\\"}\"""#,
            "list_id",
            "L",
        ),
        (
            r#""device":"{\"category\":\"mobile\"}""#,
            "device_category",
            "mobile",
        ),
        (r#""geo":"{\"country\":\"PE\"}""#, "country", "PE"),
        (
            r#""event_params":"[{\"key\":\"transaction_id\",\"value\":{\"string_value\":\"T\"}}]",
               "ecommerce":{"purchase_revenue":5}"#,
            "value",
            "5",
        ),
        (
            r#""event_params":"[{key=transaction_id, value={string_value=T, int_value=null}}]""#,
            "transaction_id",
            "T",
        ),
    ] {
        let facts = event(&format!(r#""event_name":"purchase",{keys}"#));
        assert_eq!(facts.len(), 1, "{keys}");
        assert_eq!(facts[0][column], expected, "{keys}");
    }
    let protocol =
        format!(r#"{{"client_id":"c","timestamp_micros":{TS},"events":"[{{\"name\":\"x\"}}]"}}"#);
    assert_eq!(column(&facts(protocol), "event_name"), ["x"]);
    let bad = flatten(br#"{"name":"a","ts":1795382400,"ecommerce":"{'items':[{'item_id':"}"#);
    assert_eq!(bad.rejected[0].at, "$.ecommerce");
}

#[test]
fn one_product_in_the_event_itself() {
    let expected = json!({"event_name": "view_item", "product_id": "A1", "price": "9.99",
        "item_ordinal": 1});
    for keys in [
        r#""params":{"item_id":"A1","price":9.99}"#,
        r#""item_id":"A1","price":9.99"#,
        r#""item_id":"A1","event_params":{"price":"9.99"},"items":[]"#,
        r#""event_params":[{"key":"item_id","value":{"string_value":"A1"}},
            {"key":"price","value":{"double_value":9.99}}]"#,
    ] {
        assert_eq!(
            event(&format!(r#""event_name":"view_item",{keys}"#)),
            std::slice::from_ref(&expected),
            "{keys}"
        );
    }
    let line = "Logging event: origin=app,name=view_item,params=Bundle[{item_id=A1, price=9.99}]";
    assert_eq!(facts(line)[0]["product_id"], "A1");
    // A product in `items` is the event's; content that is shared is no product.
    let listed = event(r#""event_name":"view_item","item_id":"X","items":[{"item_id":"A1"}]"#);
    assert_eq!(listed[0]["product_id"], "A1");
    assert_eq!(listed[0]["extra"], json!({"event": {"item_id": "X"}}));
    let shared = event(r#""event_name":"share","params":{"item_id":"X"}"#);
    assert_eq!(shared[0]["item_ordinal"], 0);
    assert_eq!(shared[0]["extra"], json!({"event": {"item_id": "X"}}));
    // The event's own keys stay the event's, and what no column holds is kept.
    let coupon = event(
        r#""event_name":"purchase","item_name":"N","coupon":"C","price":"about 5",
            "params":{"x":1}"#,
    );
    assert_eq!(
        coupon,
        [
            json!({"event_name": "purchase", "product_name": "N", "event_coupon": "C",
            "item_ordinal": 1, "extra": {"event": {"x": 1}, "item": {"price": "about 5"}}})
        ]
    );
}

#[test]
fn an_app_in_the_measurement_protocol() {
    let body =
        format!(r#"{{"app_instance_id":"f0","timestamp_micros":{TS},"events":[{{"name":"a"}}]}}"#);
    assert_eq!(facts(body)[0]["user_pseudo_id"], "f0");
    let overruled = r#"{"client_id":"c","user_id":"u","timestamp_micros":1795382400000000,
        "events":[{"name":"a","user_id":"v"}]}"#;
    let fact = &facts(overruled)[0];
    assert_eq!(fact["user_id"], "v");
    assert_eq!(fact["extra"], json!({"event": {"user_id": "u"}}));
}

#[test]
fn a_refund_in_the_export() {
    for (name, expected) in [("refund", "7"), ("purchase", "9")] {
        let row = event(&format!(
            r#""event_name":"{name}","event_params":[],
               "ecommerce":{{"refund_value":7,"purchase_revenue":9}}"#
        ));
        assert_eq!(row[0]["value"], expected);
    }
    let push = event(r#""event_name":"refund","ecommerce":{"refund_value":7}"#);
    assert_eq!(push[0]["value"], "7");
}

#[test]
fn the_name_of_an_event_is_that_of_the_push() {
    for (keys, expected) in [
        (r#""event":"purchase","name":"Jane Doe""#, "purchase"),
        (r#""name":"Jane Doe","event":"signup""#, "signup"),
        (r#""event":"ecommerce","name":"purchase""#, "purchase"),
        (r#""event":"view_item","name":"purchase""#, "view_item"),
        (r#""event":"x","name":"y","event_name":"z""#, "z"),
    ] {
        assert_eq!(event(keys)[0]["event_name"], expected, "{keys}");
    }
    let both = event(r#""event":"purchase","name":"Jane Doe""#);
    assert_eq!(both[0]["extra"], json!({"event": {"name": "Jane Doe"}}));
}

#[test]
fn what_platforms_print_for_no_value() {
    for nothing in [
        "<null>",
        "(null)",
        "nil",
        "<nil>",
        "None",
        "nan",
        "NaT",
        "<NA>",
        "NULL",
        "null",
        "NaN",
        "undefined",
        "(not set)",
    ] {
        let keys = format!(
            r#""event_name":"a","coupon":"{nothing}","items":[{{"item_id":"A1",
            "item_brand":"{nothing}","price":"{nothing}"}}]"#
        );
        let fact = json!({"event_name": "a", "product_id": "A1", "item_ordinal": 1});
        assert_eq!(event(&keys), [fact], "{nothing}");
    }
    let ios = "view_item, {\n items = (\n {\n \"item_brand\" = \"<null>\";\n \
               \"item_id\" = A1;\n }\n);\n}";
    assert_eq!(facts(ios)[0].get("product_brand"), None);
    assert_eq!(facts(ios)[0]["product_id"], "A1");
}

#[test]
fn two_equal_events_in_one_body_are_two() {
    let event = r#"{"name":"add_to_cart","params":{"items":[{"item_id":"A"},{"item_id":"B"}]}}"#;
    let body = format!(r#"{{"timestamp_micros":{TS},"events":[{event},{event},{event}]}}"#);
    let hashes = |body: &str| -> Vec<String> {
        let facts = flatten(body.as_bytes()).facts;
        facts
            .iter()
            .map(|fact| fact.fact_hash.to_string())
            .collect()
    };
    let mut distinct = hashes(&body);
    assert_eq!(distinct, hashes(&body), "the body again");
    let one = format!(r#"{{"timestamp_micros":{TS},"events":[{event}]}}"#);
    assert_eq!(distinct[..2], hashes(&one), "the first is the event alone");
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 6);
    // An id tells that it is the same event.
    let event = r#"{"event_id":"e","name":"a","ts":1795382400}"#;
    let twice = hashes(&format!("[{event},{event}]"));
    assert_eq!(twice[0], twice[1]);
}

#[test]
fn amounts_depend_on_the_decimals_of_their_currency() {
    let priced = |currency: &str, price: &str| {
        let keys = format!(
            r#""event_name":"a","currency":"{currency}","value":{price},
                "items":[{{"price":{price}}}]"#
        );
        let fact = event(&keys).remove(0);
        assert_eq!(fact["price"], fact["value"], "{currency} {price}");
        if fact["price"].is_null() {
            assert_eq!(fact["extra"]["item"]["price"].to_string(), price);
            assert_eq!(fact["extra"]["event"]["value"].to_string(), price);
        } else {
            assert_eq!(fact.get("extra"), None, "{currency} {price}");
        }
        fact["price"].as_str().map(str::to_owned)
    };
    for (currency, price, expected) in [
        ("JPY", r#""1,234""#, Some("1234")),
        ("CLP", r#""12,990""#, Some("12990")),
        ("CLP", r#""$ 12.990""#, Some("12990")),
        ("CLP", r#""12.990""#, None),
        ("CLP", "12.990", Some("12.99")),
        ("CLP", r#""0.125""#, Some("0.125")),
        ("EUR", r#""1.299""#, Some("1.299")),
        ("EUR", r#""1,299""#, None),
        ("KWD", r#""1.234""#, Some("1.234")),
        ("KWD", r#""1,234""#, None),
        ("BRL", r#""R$ 1.299,90""#, Some("1299.9")),
        ("INR", r#""₹1,29,999.00""#, Some("129999")),
        ("SEK", r#""kr 299,00""#, Some("299")),
        ("PLN", r#""12,99 zł""#, Some("12.99")),
        ("USD", r#""US$4.99""#, Some("4.99")),
    ] {
        assert_eq!(
            priced(currency, price).as_deref(),
            expected,
            "{currency} {price}"
        );
    }
    // The item's currency, where the event has none.
    let item = event(r#""event_name":"a","items":[{"price":"1,234","currency":"JPY"}]"#);
    assert_eq!(item[0]["price"], "1234");
    // US dollars have cents.
    let usd = event(r#""event_name":"a","currency":"JPY","items":[{"price_in_usd":"1.234"}]"#);
    assert_eq!(usd[0]["price_in_usd"], "1.234");
}

/// Of a repeated amount one value counts, as in every JSON parser, and a parameter with the name of
/// an amount is kept beside it.
#[test]
fn an_amount_that_depends_on_its_currency_replaces_nothing_else() {
    for (currency, item, price, extra) in [
        (
            "JPY",
            r#""price":"1,234","price":5"#,
            Some("5"),
            json!({"price": "1,234"}),
        ),
        (
            "EUR",
            r#""price":"1,234","price":5"#,
            Some("5"),
            json!({"price": "1,234"}),
        ),
        (
            "JPY",
            r#""price":5,"price":"1,234""#,
            Some("1234"),
            Value::Null,
        ),
        (
            "JPY",
            r#""price":"1,234","price":"2,345""#,
            Some("2345"),
            Value::Null,
        ),
        (
            "JPY",
            r#""price":"1,234","price":null"#,
            Some("1234"),
            Value::Null,
        ),
        (
            "EUR",
            r#""price":"1.500","item_params":[{"key":"price","value":{"int_value":7}}]"#,
            Some("1.5"),
            json!({"price": 7}),
        ),
        (
            "JPY",
            r#""price":"1,500","item_params":[{"key":"price","value":{"int_value":7}}]"#,
            Some("1500"),
            json!({"price": 7}),
        ),
        (
            "JPY",
            r#""price":"1.500","item_params":[{"key":"price","value":{"int_value":7}}]"#,
            None,
            json!({
                "item_params": [{"key": "price", "value": {"int_value": 7}}], "price": "1.500",
            }),
        ),
    ] {
        let body = format!(r#""event_name":"a","currency":"{currency}","items":[{{{item}}}]"#);
        let fact = event(&body).remove(0);
        assert_eq!(fact["price"].as_str(), price, "{body}");
        assert_eq!(fact["extra"]["item"], extra, "{body}");
    }
}
