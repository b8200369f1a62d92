//! Pushes to a data layer, of Universal Analytics and GA4.

use std::slice;

use fact_model::flatten;
use serde_json::json;

use crate::golden::facts;

#[test]
fn data_layer_of_universal_analytics() {
    let body = concat!(
        "{'ecommerce':{'currencyCode':'EUR','impressions':[{'name':'Triblend Android ",
        "T-Shirt','id':'12345','price':'15.25','brand':'Google','category':'Apparel',",
        "'variant':'Gray','list':'Search Results','position':1}]}}"
    );
    assert_eq!(
        facts(body),
        [json!({
            "event_name": "view_item_list", "product_id": "12345",
            "product_name": "Triblend Android T-Shirt",
            "product_brand": "Google", "product_category": "Apparel", "product_variant": "Gray",
            "list_name": "Search Results", "list_position": 1, "item_ordinal": 1, "price": "15.25",
            "currency": "EUR"
        })]
    );
    let body = "{'event':'productClick','ecommerce':{'click':{'actionField':{'list':'Search \
         Results'},'products':[{'name':'Triblend Android \
         T-Shirt','id':'12345','price':'15.25','position':1}]}}}";
    let click = json!({
        "event_name": "select_item", "product_id": "12345",
        "product_name": "Triblend Android T-Shirt",
        "list_name": "Search Results", "list_position": 1, "item_ordinal": 1, "price": "15.25",
        "extra": {"event": {"event": "productClick"}}
    });
    assert_eq!(facts(body), slice::from_ref(&click));
    assert_eq!(
        facts(format!(
            "dataLayer.push({{ecommerce: null}});\ndataLayer.push({body});"
        )),
        [click]
    );
    let both = r#"{"event":"x","ts":1795382400,"ecommerce":{
        "impressions":[{"id":"i"}],
        "promoView":{"promotions":[{"id":"p","name":"n","creative":"c","position":"s"}]},
        "purchase":{"actionField":{"id":"T1","affiliation":"Shop","revenue":"1.234,56","tax":"4.90",
        "shipping":"5","coupon":"C","x":1},
                    "products":[{"id":"a","coupon":"D","dimension1":"d"}]}}}"#;
    let extra = json!({"event": {"event": "x"}});
    assert_eq!(
        facts(both),
        [
            json!({"event_name": "view_item_list", "product_id": "i", "item_ordinal": 1,
                "extra": extra}),
            json!({"event_name": "view_promotion", "promotion_id": "p", "promotion_name": "n",
                "creative_name": "c",
                "creative_slot": "s", "item_ordinal": 1, "extra": extra}),
            json!({"event_name": "purchase", "product_id": "a", "item_ordinal": 1,
                "item_coupon": "D",
                "affiliation": "Shop", "value": "1234.56", "transaction_id": "T1", "tax": "4.9",
                "shipping": "5",
                "event_coupon": "C", "extra": {"event": {"event": "x", "x": 1},
                "item": {"dimension1": "d"}}}),
        ]
    );
    let checkout = |step: &str| {
        let body = format!(
            r#"{{"ecommerce":{{"checkout":{{"actionField":{{"step":{step}}},"products":[]}}}}}}"#
        );
        facts(body)[0]["event_name"].clone()
    };
    assert_eq!(
        [checkout("1"), checkout("\"1\""), checkout("2")],
        ["begin_checkout", "begin_checkout", "checkout_progress"]
    );
}

#[test]
fn data_layer_of_ga4() {
    let push = concat!(
        r#"{"event":"view_item_list","ts":1795382400,"ecommerce":{"item_list_id":"l","#,
        r#""currency":"eur","items":[{"item_id":"a"}]}}"#
    );
    let fact = json!({"event_name": "view_item_list", "product_id": "a", "list_id": "l",
        "currency": "EUR", "item_ordinal": 1});
    assert_eq!(facts(push), slice::from_ref(&fact));
    assert_eq!(
        facts(format!(r#"[{{"ecommerce":null}},{push}]"#)),
        slice::from_ref(&fact)
    );
    assert_eq!(facts(format!("{{\"ecommerce\": null}}\n{push}")), [fact]);
    let landed = push.replacen(
        '{',
        r#"{"utm_source":"google","utm_medium":"cpc","utm_campaign":"summer","#,
        1,
    );
    let landed = &facts(landed)[0];
    assert_eq!(landed["traffic_source"], "google");
    assert_eq!(landed["traffic_medium"], "cpc");
    assert_eq!(landed["traffic_campaign"], "summer");
    assert_eq!(landed.get("extra"), None);
    let cleared = flatten(br#"{"ecommerce":null}"#);
    assert_eq!(cleared.rejected[0].reason, "not-an-event");
    let cleared = flatten(br#"[{"ecommerce":null}, {"ecommerce": null}]"#);
    assert_eq!(cleared.rejected.len(), 1);
    let bad = flatten(push.replace("{\"item_id\":\"a\"}", "7").as_bytes());
    assert_eq!(bad.rejected[0].at, "$.ecommerce.items[0]");
    let bad = flatten(br#"{"ts":1795382400,"ecommerce":{"detail":{"products":[7]}}}"#);
    assert_eq!(bad.rejected[0].at, "$.ecommerce.detail.products[0]");
}
