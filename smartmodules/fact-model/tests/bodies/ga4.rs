//! GA4's Measurement Protocol and BigQuery rows.

use fact_model::flatten;
use serde_json::{Value, json};

use crate::golden::{facts, rejected};

#[test]
fn ga4_measurement_protocol() {
    let body = r#"{"client_id":"C123456","user_id":"U123456","timestamp_micros":1727701064057701,
             "session_id":"S123456","engagement_time_msec":100,
 "events":[{"name":"view_item_list","params":{"item_list_id":"related_products",
 "item_list_name":"Related products",
  "items":[{"item_id":"SKU_12345","item_name":"Stan and Friends Tee",
  "affiliation":"Google Merchandise Store","coupon":"SUMMER_FUN","discount":2.22,"index":0,
  "item_brand":"Google","item_category":"Apparel","item_category2":"Adult",
  "item_category3":"Shirts","item_category4":"Crew","item_category5":"Short sleeve",
  "item_list_id":"related_products","item_list_name":"Related Products","item_variant":"green",
  "location_id":"ChIJIQBpAG2ahYAR_6128GcTUEo","price":9.99,"quantity":1}]}}]}"#;
    assert_eq!(
        facts(body),
        [json!({
            "event_time": "2024-09-30T12:57:44.057701Z", "event_name": "view_item_list",
            "user_id": "U123456",
            "user_pseudo_id": "C123456", "session_id": "S123456", "product_id": "SKU_12345",
            "product_name": "Stan and Friends Tee", "product_brand": "Google",
            "product_category": "Apparel",
            "product_category2": "Adult", "product_category3": "Shirts",
            "product_category4": "Crew",
            "product_category5": "Short sleeve", "product_variant": "green",
            "list_id": "related_products",
            "list_name": "Related Products", "list_position": 0, "item_ordinal": 1, "price": "9.99",
            "quantity": "1",
            "discount": "2.22", "item_coupon": "SUMMER_FUN",
            "affiliation": "Google Merchandise Store",
            "location_id": "ChIJIQBpAG2ahYAR_6128GcTUEo",
            "extra": {"event": {"engagement_time_msec": 100}}
        })]
    );
}

#[test]
fn one_measurement_protocol_body_carries_many_events() {
    let body = r#"{"client_id":"C","timestamp_micros":1795382400000000,"events":[
        {"name":"view_item","params":{"items":[{"item_id":"a"},{"item_id":"b"}]}},
        {"name":"purchase","timestamp_micros":1795382401000000,"params":{"value":1}}]}"#;
    let facts = facts(body);
    assert_eq!(facts.len(), 3);
    assert_eq!(facts[1]["product_id"], "b");
    assert_eq!(facts[2]["event_time"], "2026-11-22T21:20:01.000000Z");
    assert_eq!(facts[2]["user_pseudo_id"], "C");

    let body = concat!(
        r#"{"client_id":"C","events":[{"name":"a","timestamp_micros":1795382400000000},"#,
        r#"{"name":"b"},{"name":"c","ts":1795382400,"params":{"items":[{},7]}}]}"#
    );
    let envelope = flatten(body.as_bytes());
    assert_eq!(envelope.facts.len(), 1);
    assert_eq!(
        rejected(&envelope),
        [
            ("missing-time", "$.events[1]", body),
            ("bad-items", "$.events[2].params.items[1]", body)
        ]
    );
}

#[test]
fn bigquery_export_rows() {
    let body = r#"{"event_date":"20220527","event_timestamp":"1653679818347831",
             "event_name":"session_start",
 "event_params":[{"key":"ga_session_id","value":{"string_value":null,"int_value":"1653679817",
 "float_value":null,"double_value":null}}],
 "ecommerce":{"unique_items":"1","transaction_id":"(not set)"},
 "items":[{"item_id":"9195912","item_name":"Womens Google Striped LS","item_brand":"Google",
 "item_variant":" MD","item_category":"Apparel","item_category2":"(not set)","price_in_usd":null,
 "price":"16.0","quantity":"1","item_revenue":null,"coupon":"(not set)","item_list_id":"(not set)",
 "item_list_name":"Not available in demo dataset","item_list_index":"(not set)",
 "promotion_name":"Complete Your Collection","creative_slot":"(not set)"}]}"#;
    assert_eq!(
        facts(body),
        [json!({
            "event_time": "2022-05-27T19:30:18.347831Z", "event_name": "session_start",
            "session_id": "1653679817",
            "product_id": "9195912", "product_name": "Womens Google Striped LS",
            "product_brand": "Google",
            "product_category": "Apparel", "product_variant": "MD",
            "list_name": "Not available in demo dataset",
            "item_ordinal": 1, "price": "16", "quantity": "1",
            "promotion_name": "Complete Your Collection",
            "extra": {"event": {"event_date": "20220527", "ecommerce": {"unique_items": "1"}}}
        })]
    );
}

#[test]
fn a_bigquery_row_tells_where_the_event_came_from() {
    let row = |collected: &str, param: &str| {
        facts(format!(
            r#"{{"event_timestamp":"1795382400000000","event_name":"page_view",
               "event_params":[{{"key":"source","value":{{"string_value":"{param}"}}}},
                               {{"key":"medium","value":{{"string_value":"referral"}}}},
                               {{"key":"campaign","value":{{"int_value":"2026"}}}},
                               {{"key":"term","value":{{"string_value":"tee"}}}}],
               "device":{{"category":"mobile","mobile_brand_name":"Google","language":null,
               "web_info":{{"browser":"Chrome"}}}},
               "geo":{{"continent":"Americas","country":"United States","city":"(not set)"}},
               "app_info":{{"version":"7.4.2"}},
               "traffic_source":{{"name":"(organic)","medium":"organic","source":"bing"}},
               "collected_traffic_source":{collected},
               "items":[]}}"#
        ))
        .remove(0)
    };
    let common = |mut fact: Value, extra: Value| {
        let columns = json!({
            "event_name": "page_view", "item_ordinal": 0, "device_category": "mobile",
            "country": "United States",
            "app_version": "7.4.2"
        });
        fact.as_object_mut()
            .unwrap()
            .extend(columns.as_object().unwrap().clone());
        fact["extra"]["event"] = json!({
            "device": {"mobile_brand_name": "Google", "language": null,
            "web_info": {"browser": "Chrome"}},
            "geo": {"continent": "Americas", "city": "(not set)"}, "term": "tee",
            "traffic_source": {"name": "(organic)", "medium": "organic", "source": "bing"}
        });
        let event = fact["extra"]["event"].as_object_mut().unwrap();
        event.extend(extra.as_object().unwrap().clone());
        fact
    };
    // The collected source wins over parameters; different parameters stay in `extra`.
    let collected = concat!(
        r#"{"manual_campaign_id":null,"manual_campaign_name":"summer","#,
        r#""manual_source":"google","manual_medium":"cpc","gclid":"Cj0"}"#
    );
    assert_eq!(
        row(collected, "google"),
        common(
            json!({"traffic_source": "google", "traffic_medium": "cpc",
                "traffic_campaign": "summer"}),
            json!({"medium": "referral", "campaign": 2026,
                   "collected_traffic_source": {"manual_campaign_id": null, "gclid": "Cj0"}})
        )
    );
    // Without a collected source the parameters are used; the source of the first visit never is.
    for collected in [
        "null",
        r#"{"manual_source":null,"manual_medium":"(not set)"}"#,
    ] {
        assert_eq!(
            row(collected, "(direct)"),
            common(
                json!({"traffic_source": "(direct)", "traffic_medium": "referral",
                    "traffic_campaign": "2026"}),
                json!({})
            )
        );
    }
    assert_eq!(row("null", "(not set)").get("traffic_source"), None);
}

#[test]
fn a_measurement_protocol_body_tells_device_and_country_once() {
    let body = r#"{"client_id":"C","timestamp_micros":1795382400000000,
             "user_location":{"city":"Lima","country_id":"PE"},
        "device":{"category":"mobile","browser":"Chrome"},
        "events":[{"name":"campaign_details","params":{"source":"google","medium":"cpc",
        "campaign":"summer","term":"tee"}},
                  {"name":"view_item","device":{"category":"tablet"},
                  "params":{"country":"Perú"}}]}"#;
    let facts = facts(body);
    assert_eq!(
        facts[0],
        json!({
            "event_name": "campaign_details", "user_pseudo_id": "C", "item_ordinal": 0,
            "traffic_source": "google",
            "traffic_medium": "cpc", "traffic_campaign": "summer", "device_category": "mobile",
            "country": "PE",
            "extra": {"event": {"user_location": {"city": "Lima"}, "device": {"browser": "Chrome"},
            "term": "tee"}}
        })
    );
    assert_eq!(
        facts[1],
        json!({
            "event_name": "view_item", "user_pseudo_id": "C", "item_ordinal": 0,
            "device_category": "tablet",
            "country": "PE", "extra": {"event": {"user_location": {"city": "Lima"},
            "country": "Perú", "device": {"category": "mobile", "browser": "Chrome"}}}
        })
    );
}

#[test]
fn an_event_says_more_than_the_objects_beside_it() {
    let body = r#"{"name":"a","ts":1795382400,"country":"DE","geo":{"country":"FR"},
             "device_category":"mobile",
        "device":{"category":"mobile"},"user_location":{"country_id":{"x":1}},
        "app_info":{"version":["1"]},
        "collected_traffic_source":[1]}"#;
    assert_eq!(
        facts(body),
        [json!({
            "event_name": "a", "item_ordinal": 0, "country": "DE", "device_category": "mobile",
            "extra": {"event": {"geo": {"country": "FR"}, "user_location": {"country_id": {"x": 1}},
                                "app_info": {"version": ["1"]}, "collected_traffic_source": [1]}}
        })]
    );
}

#[test]
fn a_bigquery_row_may_differ() {
    let row = |rest: &str| {
        facts(format!(
            r#"{{"event_timestamp":"1795382400000000","event_name":"purchase",{rest}}}"#
        ))
        .remove(0)
    };
    // session_engaged may be either; some exports have flat parameters.
    for param in [
        r#"{"key":"session_engaged","value":{"string_value":"1","int_value":null}}"#,
        r#"{"key":"session_engaged","string_value":"1"}"#,
        r#"{"key":"session_engaged","value":"1"}"#,
    ] {
        assert_eq!(
            row(&format!(r#""event_params":[{param}]"#))["extra"]["event"],
            json!({"session_engaged": "1"})
        );
    }
    let param = concat!(
        r#""event_params":[{"key":"session_engaged","int_value":"1"},{"key":"x","#,
        r#""value":{"double_value":"0.5"}}]"#
    );
    assert_eq!(
        row(param)["extra"]["event"],
        json!({"session_engaged": 1, "x": 0.5})
    );
    let purchase = row(
        r#""event_params":[{"key":"tax","value":{"double_value":1.5}}],"user_id":null,
           "ecommerce":{"transaction_id":"T1","purchase_revenue":"30.03","tax_value":2,
           "shipping_value":null},
           "items":[{"item_id":"a","item_list_index":"Slide 3"},{"item_id":"b",
           "item_list_index":"4"}]"#,
    );
    assert_eq!(
        purchase,
        json!({
            "event_name": "purchase", "transaction_id": "T1", "value": "30.03", "tax": "1.5",
            "product_id": "a",
            "item_ordinal": 1, "extra": {"event": {"ecommerce": {"tax_value": 2}},
            "item": {"item_list_index": "Slide 3"}}
        })
    );
}
