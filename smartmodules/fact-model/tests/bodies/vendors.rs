//! Events of other vendors, made after their documentation, and wrappers around any body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fact_model::flatten;
use serde_json::{Value, json};

use crate::golden::{EVENT, event, facts, rejected, rejection};

/// The facts of a JSON body.
fn of(body: &Value) -> Vec<Value> {
    facts(body.to_string())
}

/// The object with the keys of both.
fn with(mut object: Value, more: Value) -> Value {
    let Value::Object(more) = more else {
        panic!("{more} is an object");
    };
    object.as_object_mut().unwrap().extend(more);
    object
}

const TIME: &str = "2026-11-22T21:20:09Z";

fn order_completed() -> Value {
    json!({
        "type": "track", "event": "Order Completed", "messageId": "m1", "userId": "u1",
        "anonymousId": "a1", "timestamp": TIME, "sentAt": "2026-11-22T21:20:10Z",
        "context": {"app": {"name": "Shop", "version": "1.2.3"},
            "device": {"type": "ios", "id": "d"},
            "campaign": {"name": "spring", "source": "news", "medium": "email", "term": "t"}},
        "properties": {"order_id": "T1", "affiliation": "Store", "subtotal": 22, "total": 27.5,
            "revenue": 25, "shipping": 3, "tax": 2, "discount": 2.5, "coupon": "C",
            "currency": "USD",
            "products": [{"product_id": "p1", "sku": "s1", "name": "Monopoly: 3rd Edition",
                "brand": "Hasbro", "category": "Games/Board", "variant": "200 pieces",
                "price": 19, "quantity": 1, "coupon": "D", "position": 3, "url": "/p1"},
                {"sku": "s2", "price": "bad", "discount": 1}]}
    })
}

#[test]
fn segment_orders() {
    let extra = json!({
        "context": {"app": {"name": "Shop"}, "campaign": {"term": "t"}, "device": {"id": "d"}},
        "discount": 2.5, "sentAt": "2026-11-22T21:20:10Z", "subtotal": 22, "total": 27.5,
        "type": "track", "vendor_event": "Order Completed"
    });
    let order = json!({
        "event_time": "2026-11-22T21:20:09.000000Z", "event_name": "purchase", "event_id": "m1",
        "user_id": "u1", "user_pseudo_id": "a1", "platform": "IOS", "app_version": "1.2.3",
        "traffic_source": "news", "traffic_medium": "email", "traffic_campaign": "spring",
        "transaction_id": "T1", "value": "25", "tax": "2", "shipping": "3", "event_coupon": "C",
        "currency": "USD", "affiliation": "Store"
    });
    let first = json!({
        "item_ordinal": 1, "product_id": "p1", "product_name": "Monopoly: 3rd Edition",
        "product_brand": "Hasbro", "product_category": "Games/Board",
        "product_variant": "200 pieces", "price": "19", "quantity": "1", "item_coupon": "D",
        "list_position": 3, "extra": {"event": extra, "item": {"sku": "s1", "url": "/p1"}}
    });
    let second = json!({
        "item_ordinal": 2, "product_id": "s2", "discount": "1",
        "extra": {"event": extra, "item": {"price": "bad"}}
    });
    assert_eq!(
        of(&order_completed()),
        [with(order.clone(), first), with(order, second)]
    );
}

#[test]
fn segment_lists_products_promotions_and_pages() {
    for (event, properties, expected) in [
        (
            "Product List Viewed",
            json!({"list_id": "l", "category": "Deals",
                "products": [{"product_id": "p1", "position": 1}]}),
            json!({"event_name": "view_item_list", "list_id": "l", "list_name": "Deals",
                "item_ordinal": 1, "product_id": "p1", "list_position": 1}),
        ),
        (
            "Product Added",
            json!({"product_id": "p1", "name": "N", "price": 2, "currency": "eur", "value": 4,
                "quantity": 2}),
            json!({"event_name": "add_to_cart", "item_ordinal": 1, "product_id": "p1",
                "product_name": "N", "price": "2", "quantity": "2", "currency": "EUR",
                "value": "4"}),
        ),
        (
            "promotion clicked",
            json!({"promotion_id": "p", "name": "n", "creative": "c", "position": "top"}),
            json!({"event_name": "select_promotion", "item_ordinal": 0, "promotion_id": "p",
                "promotion_name": "n", "creative_name": "c", "creative_slot": "top"}),
        ),
    ] {
        let call = json!({"type": "track", "event": event, "anonymousId": "a1",
            "timestamp": null, "originalTimestamp": TIME, "properties": properties});
        let common = json!({"event_time": "2026-11-22T21:20:09.000000Z", "user_pseudo_id": "a1",
            "extra": {"event": {"type": "track", "vendor_event": event}}});
        assert_eq!(of(&call), [with(common, expected)]);
    }
    let page = of(
        &json!({"type": "page", "name": "Home", "anonymousId": "a", "timestamp": TIME,
            "properties": {"url": "/"}}),
    );
    assert_eq!(page[0]["event_name"], "page_view");
    assert_eq!(
        page[0]["extra"]["event"],
        json!({"name": "Home", "type": "page", "url": "/", "vendor_event": "page"})
    );
}

#[test]
fn a_batch_shares_its_values() {
    let batch = json!({"batch": [order_completed(), {"type": "identify", "userId": "u"}],
        "writeKey": "k"})
    .to_string();
    let envelope = flatten(batch.as_bytes());
    assert_eq!(envelope.facts.len(), 2);
    let fact = serde_json::to_value(&envelope.facts[0]).unwrap();
    assert_eq!(fact["extra"]["event"]["writeKey"], "k");
    let raw = r#"{"type":"identify","userId":"u"}"#;
    assert_eq!(
        rejected(&envelope),
        [("not-an-event", "$.batch[1].type", raw)]
    );
}

#[test]
fn meta_conversions() {
    let purchase = json!({
        "event_name": "Purchase", "event_time": 1_795_382_409, "event_id": "e1",
        "user_data": {"em": ["7b17"], "fbp": "fb.1.2", "external_id": ["x"]},
        "custom_data": {"currency": "usd", "value": "142.52", "order_id": "T1",
            "content_ids": ["A1"], "contents": [{"id": "A1", "quantity": 2, "item_price": 71.26,
                "delivery_category": "home_delivery"}]}
    });
    let fact = json!({
        "event_time": "2026-11-22T21:20:09.000000Z", "event_name": "purchase", "event_id": "e1",
        "user_pseudo_id": "fb.1.2", "transaction_id": "T1", "currency": "USD",
        "value": "142.52", "item_ordinal": 1, "product_id": "A1", "price": "71.26",
        "quantity": "2",
        "extra": {"event": {"content_ids": ["A1"], "vendor_event": "Purchase",
            "user_data": {"em": ["7b17"], "external_id": ["x"]}},
            "item": {"delivery_category": "home_delivery"}}
    });
    assert_eq!(of(&purchase), std::slice::from_ref(&fact));
    // A request, whose access token must not get into the tables.
    let view = json!({"event_name": "ViewContent", "event_time": 1_795_382_409,
        "custom_data": {"content_ids": ["A1", 7]}});
    let facts = of(&json!({"data": [purchase, view], "access_token": "secret"}));
    assert_eq!(facts[0], fact);
    assert_eq!(facts[1]["event_name"], "view_item");
    assert_eq!(
        [&facts[1]["product_id"], &facts[2]["product_id"]],
        ["A1", "7"]
    );
    assert!(!json!(facts).to_string().contains("secret"));
}

fn amount(amount: f64) -> Value {
    json!({"amount": amount, "currencyCode": "CAD"})
}

fn pixel(name: &str, data: &Value) -> Value {
    json!({"id": "sh-1", "name": name, "type": "standard", "clientId": "c1", "timestamp": TIME,
        "context": {"document": {"title": "Shop"}}, "data": data})
}

#[test]
fn shopify_checkouts() {
    let mut checkout = json!({"checkout": {
        "currencyCode": "CAD", "token": "tok", "totalTax": amount(10.0),
        "subtotalPrice": amount(100.5), "shippingLine": {"price": amount(9.5)},
        "order": {"id": "O1", "customer": {"id": "u1", "isFirstOrder": true}},
        "lineItems": [{"id": "L1", "quantity": 2, "title": "Shirt", "variant": {"id": "V1",
            "sku": "S", "title": "Large", "price": amount(50.25), "product": {"id": "P1",
                "title": "Shirt", "vendor": "Acme", "type": "Apparel"}}}]}});
    let currency = json!({"currencyCode": "CAD"});
    assert_eq!(
        of(&pixel("checkout_completed", &checkout)),
        [json!({
            "event_time": "2026-11-22T21:20:09.000000Z", "event_name": "purchase",
            "event_id": "sh-1", "user_id": "u1", "user_pseudo_id": "c1", "transaction_id": "O1",
            "currency": "CAD", "value": "100.5", "tax": "10", "shipping": "9.5",
            "item_ordinal": 1, "product_id": "P1", "product_name": "Shirt",
            "product_brand": "Acme", "product_category": "Apparel", "product_variant": "Large",
            "price": "50.25", "quantity": "2",
            "extra": {"event": {"context": {"document": {"title": "Shop"}}, "type": "standard",
                "vendor_event": "checkout_completed",
                "data": {"checkout": {"token": "tok", "totalTax": currency,
                    "subtotalPrice": currency, "shippingLine": {"price": currency},
                    "order": {"customer": {"isFirstOrder": true}}}}},
                "item": {"id": "L1", "title": "Shirt", "variant": {"id": "V1", "sku": "S"}}}
        })]
    );
    checkout["checkout"]["order"] = json!(null);
    let order = |name: &str| of(&pixel(name, &checkout))[0]["transaction_id"].clone();
    assert_eq!(order("checkout_completed"), "tok");
    assert_eq!(order("checkout_started"), json!(null));
}

#[test]
fn shopify_carts_and_products() {
    let variant = json!({"id": "V1", "title": "Large", "price": amount(5.0),
        "product": {"id": "P1", "title": "Shirt"}});
    let line = json!({"quantity": 1, "cost": {"totalAmount": amount(5.0)}, "merchandise": variant});
    for (name, data, event) in [
        (
            "product_added_to_cart",
            json!({"cartLine": line}),
            "add_to_cart",
        ),
        (
            "cart_viewed",
            json!({"cart": {"lines": [line]}}),
            "view_cart",
        ),
        (
            "product_viewed",
            json!({"productVariant": variant}),
            "view_item",
        ),
        (
            "collection_viewed",
            json!({"collection": {"id": "C", "productVariants": [variant]}}),
            "view_item_list",
        ),
    ] {
        let fact = &of(&pixel(name, &data))[0];
        assert_eq!(fact["event_name"], event);
        assert_eq!(fact["product_id"], "P1", "{name}");
        assert_eq!(fact["price"], "5", "{name}");
        assert_eq!(fact["currency"], "CAD", "{name}");
    }
}

fn schema(name: &str, data: &Value) -> Value {
    json!({"schema": format!("iglu:com.snowplowanalytics.snowplow/{name}/jsonschema/1-0-0"),
        "data": data})
}

fn entity(name: &str, data: &Value) -> Value {
    let vendor = "com.snowplowanalytics.snowplow.ecommerce";
    json!({"schema": format!("iglu:{vendor}/{name}/jsonschema/1-0-0"), "data": data})
}

#[test]
fn snowplow_payloads() {
    let action = entity("snowplow_ecommerce_action", &json!({"type": "transaction"}));
    let action = schema("unstruct_event", &action).to_string();
    let page = schema("web_page", &json!({"id": "w"}));
    let contexts = json!([
        entity(
            "transaction",
            &json!({"transaction_id": "T1", "revenue": 20, "currency": "EUR",
                "payment_method": "card", "tax": 2, "discount_code": "C"})
        ),
        entity(
            "product",
            &json!({"id": "A1", "name": "N", "category": "a/b", "price": 10,
                "list_price": 12, "quantity": 2, "currency": "EUR", "position": 1})
        ),
        page
    ]);
    let contexts = schema("contexts", &contexts).to_string();
    let expected = json!({
        "event_time": "2026-11-22T21:20:09.123000Z", "event_name": "purchase", "event_id": "e1",
        "user_id": "u1", "user_pseudo_id": "d1", "session_id": "s1", "platform": "WEB",
        "transaction_id": "T1", "value": "20", "tax": "2", "currency": "EUR",
        "event_coupon": "C", "item_ordinal": 1, "product_id": "A1", "product_name": "N",
        "product_category": "a", "product_category2": "b", "price": "10", "quantity": "2",
        "list_position": 1,
        "extra": {"event": {"e": "ue", "tv": "js-3", "contexts": [page],
            "transaction": {"payment_method": "card"}, "vendor_event": "transaction"},
            "item": {"list_price": 12}}
    });
    let encoded = |json: &str| STANDARD.encode(json);
    for content in [
        json!({"ue_pr": action, "co": contexts}),
        json!({"ue_px": encoded(&action), "cx": encoded(&contexts)}),
    ] {
        let payload = json!({"e": "ue", "tv": "js-3", "eid": "e1", "dtm": "1795382409123",
            "p": "web", "duid": "d1", "uid": "u1", "sid": "s1"});
        let payloads = json!([with(payload, content)]);
        assert_eq!(
            of(&schema("payload_data", &payloads)),
            std::slice::from_ref(&expected)
        );
    }
}

#[test]
fn snowplow_enriched_events() {
    let facts = of(&json!({
        "app_id": "shop", "event": "unstruct", "event_name": "snowplow_ecommerce_action",
        "event_id": "e1", "collector_tstamp": "2026-11-22T21:20:10Z", "derived_tstamp": TIME,
        "domain_userid": "d1", "geo_country": "DE", "user_id": null,
        "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1":
            {"type": "list_view", "name": "deals"},
        "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1":
            [{"id": "A1", "price": 1, "currency": "EUR"}, {"id": "B1"}]
    }));
    assert_eq!(
        facts[0],
        json!({
            "event_time": "2026-11-22T21:20:09.000000Z", "event_name": "view_item_list",
            "event_id": "e1", "user_pseudo_id": "d1", "country": "DE", "list_name": "deals",
            "item_ordinal": 1, "product_id": "A1", "price": "1", "currency": "EUR",
            "extra": {"event": {"app_id": "shop", "event": "unstruct",
                "collector_tstamp": "2026-11-22T21:20:10Z", "vendor_event": "list_view",
                "event_name": "snowplow_ecommerce_action"}}
        })
    );
    assert_eq!(facts[1]["product_id"], "B1");
}

#[test]
fn snowplow_self_describing_json() {
    let action = |action: Value, entity: Value| {
        let event = entity_of_action(&action);
        of(&with(
            event,
            json!({"timestamp": TIME, "context": [entity]}),
        ))[0]
            .clone()
    };
    let promotion = entity(
        "promotion",
        &json!({"id": "p", "name": "n", "slot": "1", "type": "t"}),
    );
    let fact = action(json!({"type": "promo_view"}), promotion);
    assert_eq!(fact["event_name"], "view_promotion");
    assert_eq!(fact["promotion_id"], "p");
    assert_eq!(fact["creative_slot"], "1");
    assert_eq!(fact["extra"]["item"], json!({"type": "t"}));
    let step = |step: u8| {
        let entity = entity("checkout_step", &json!({"step": step}));
        action(json!({"type": "checkout_step"}), entity)["event_name"].clone()
    };
    assert_eq!([step(1), step(2)], ["begin_checkout", "checkout_progress"]);
}

fn entity_of_action(action: &Value) -> Value {
    entity("snowplow_ecommerce_action", action)
}

#[test]
fn calls_of_gtag() {
    let params = r#"{"event_timestamp":1795382400,"items":[{"item_id":"a"}]}"#;
    for body in [
        format!("gtag('event', 'view_item', {params});"),
        format!("[\"event\",\"view_item\",{params}]"),
        format!("[[\"event\",\"view_item\",{params}]]"),
        format!("{{\"0\":\"event\",\"1\":\"view_item\",\"2\":{params}}}"),
        format!("[{{\"0\":\"event\",\"1\":\"view_item\",\"2\":{params}}}]"),
    ] {
        assert_eq!(facts(&body), event(), "{body}");
    }
    let two = format!("gtag('js', new Date(0));\ngtag('event', 'view_item', {params})");
    let envelope = flatten(two.as_bytes());
    assert_eq!(envelope.facts.len(), 1);
    assert!(envelope.rejected[0].detail.contains("gtag's command `js`"));
    let bad = flatten(br#"["event","a",{"ts":1795382400,"items":[7]}]"#);
    assert_eq!(bad.rejected[0].at, "$[2].items[0]");
}

fn cloud_event(key: &str, data: &Value) -> Value {
    json!({"specversion": "1.0", "type": "com.shop.view", "source": "/shop", "id": "1",
        "time": TIME, key: data})
}

#[test]
fn records_and_cloud_events_are_unwrapped() {
    let sqs = json!({"messageId": "m", "receiptHandle": "r", "body": EVENT,
        "attributes": {"SentTimestamp": "1"}, "eventSource": "aws:sqs"});
    let sns = json!({"EventSource": "aws:sns", "Sns": {"Type": "Notification", "Message": EVENT}});
    let data = STANDARD.encode(EVENT);
    let kinesis = json!({"kinesis": {"data": data}, "eventSource": "aws:kinesis"});
    let json: Value = serde_json::from_str(EVENT).unwrap();
    for body in [
        sqs.clone(),
        json!([sqs]),
        json!({"Records": [sqs]}),
        json!({"Records": [sns]}),
        json!({"Records": [kinesis]}),
        json!([{"data": data, "eventSource": "aws:kinesis"}]),
        cloud_event("data", &json),
        cloud_event("data", &json!(EVENT)),
        cloud_event("data_base64", &json!(data)),
    ] {
        assert_eq!(of(&body), event(), "{body}");
    }
    let file = json!({"eventSource": "aws:s3", "s3": {}});
    let bad = json!({"eventSource": "aws:sqs", "body": "{\"name\":\"a\"}"});
    let records = json!({"Records": [sqs, file, bad]}).to_string();
    let envelope = flatten(records.as_bytes());
    assert_eq!(envelope.facts.len(), 1);
    assert_eq!(
        rejected(&envelope),
        [
            ("not-an-event", "$.Records[1]", &*file.to_string()),
            ("missing-time", "$.Records[2].body", &*bad.to_string()),
        ]
    );
}

#[test]
fn wrappers_without_an_event_are_named() {
    for (body, expected) in [
        (
            json!({"version": "0", "detail-type": "Object Created", "source": "aws.s3",
                "detail": {"bucket": {"name": "b"}}}),
            "notification of Amazon S3",
        ),
        (
            json!({"Service": "Amazon S3", "Event": "s3:TestEvent"}),
            "notification of Amazon S3",
        ),
        (
            json!({"eventSource": "aws:dynamodb"}),
            "record of `aws:dynamodb`",
        ),
        (json!({"Records": []}), "has no records"),
        (cloud_event("other", &json!(1)), "CloudEvent without `data`"),
    ] {
        let rejection = rejection(body.to_string().as_bytes());
        assert_eq!(rejection.reason, "not-an-event", "{body}");
        assert!(rejection.detail.contains(expected), "{}", rejection.detail);
    }
}

#[test]
fn an_event_of_a_vendor_without_products_is_named() {
    for (body, expected) in [
        (
            json!({"type": "track", "event": "Order Completed", "userId": "u",
                "timestamp": TIME, "properties": {"order_id": "T1"}}),
            "`Order Completed` of Segment",
        ),
        (
            json!({"event_name": "Purchase", "event_time": 1_795_382_409,
                "custom_data": {"value": 1}}),
            "`Purchase` of Meta's",
        ),
        (
            pixel("product_viewed", &json!({})),
            "`product_viewed` of Shopify's",
        ),
        (
            json!({"e": "tr", "tv": "js", "tr_id": "T1", "dtm": "1795382409123"}),
            "Snowplow's older e-commerce",
        ),
        (
            json!({"event": "CompletePayment", "event_time": 1_795_382_409,
                "properties": {"contents": [{"content_id": "1"}]}}),
            "`properties.contents` are not read",
        ),
        (
            json!({"event_type": "Purchase", "name": "p", "ts": 1_795_382_409,
                "event_properties": {"products": [{}]}}),
            "one of Amplitude",
        ),
        (
            json!({"name": "order", "ts": 1_795_382_409, "line_items": [{"sku": "s"}]}),
            "a shop's webhook",
        ),
    ] {
        let rejection = rejection(body.to_string().as_bytes());
        assert!(
            rejection.detail.contains(expected),
            "{body}: {}",
            rejection.detail
        );
    }
    let tsv = format!("shop\tweb{}iglu:com.snowplowanalytics", "\t".repeat(129));
    let detail = rejection(tsv.as_bytes()).detail;
    assert!(detail.contains("tab-separated"), "{detail}");
}

#[test]
fn events_that_only_resemble_a_vendors_are_plain() {
    for extra in [
        json!({"properties": {"a": 1}}),
        json!({"type": "page", "userId": "u"}),
        json!({"data": {"a": 1}, "schema": "s"}),
        json!({"data": [1], "batch": ["x"], "Records": []}),
        json!({"specversion": "1.0", "0": "zero"}),
    ] {
        let body = with(serde_json::from_str(EVENT).unwrap(), extra.clone());
        let facts = of(&body);
        assert_eq!(facts[0]["event_name"], "view_item");
        assert_eq!(facts[0]["extra"]["event"], extra);
    }
}

#[test]
fn a_value_under_two_names_is_kept() {
    let mut body = with(
        order_completed(),
        json!({"event_id": "other", "params": {"x": 1}}),
    );
    body["properties"]["value"] = json!(99);
    let fact = &of(&body)[0];
    assert_eq!([&fact["event_id"], &fact["value"]], ["m1", "25"]);
    let extra = &fact["extra"]["event"];
    assert_eq!(extra["event_id"], "other");
    assert_eq!(extra["params"], json!({"x": 1}));
    assert_eq!(extra["value"], 99);
}

/// As in all other formats, a list may be JSON in a text, and that in another.
#[test]
fn products_in_a_text_in_a_text() {
    let products = json!([{"sku": "A1", "name": "B"}]).to_string();
    let products = json!(products).to_string();
    let call = json!({
        "type": "track", "event": "Product Viewed", "messageId": "e", "userId": "u",
        "timestamp": "2026-11-22T21:20:00Z", "properties": {"products": products},
    });
    let facts = facts(call.to_string());
    assert_eq!(facts[0]["product_id"], "A1");
}

#[test]
fn snowplow_entities_beside_a_text_in_their_place() {
    let entity = json!({"schema": "iglu:com.acme/page/jsonschema/1-0-0", "data": {"a": 1}});
    let facts = facts(
        json!({
            "collector_tstamp": "2026-11-22T21:20:00Z", "e": "pv", "contexts": "a text",
            "entities": [entity],
        })
        .to_string(),
    );
    assert_eq!(
        facts[0]["extra"]["event"]["contexts"],
        json!(["a text", entity])
    );
}
