//! Facts of events: one golden case for each rule.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use fact_model::{Envelope, Fact, flatten};

/// The facts of a body without rejections.
fn facts(body: &str) -> Vec<Fact<'static>> {
    let Envelope {
        facts, rejected, ..
    } = flatten(body.as_bytes());
    assert_eq!(rejected, [], "{body}");
    facts
}

fn only(body: &str) -> Fact<'static> {
    let mut facts = facts(body);
    assert_eq!(facts.len(), 1, "{body}");
    facts.remove(0)
}

/// The fact of an event with these keys.
fn with(keys: &str) -> Fact<'static> {
    only(&format!(
        r#"{{"event_name":"view_item","ts":1795382400,{keys}}}"#
    ))
}

/// The fact of an item with these keys.
fn item(keys: &str) -> Fact<'static> {
    with(&format!(r#""items":[{{{keys}}}]"#))
}

fn extra(fact: &Fact<'_>) -> String {
    fact.extra
        .as_ref()
        .map(|extra| extra.json().into_owned())
        .unwrap_or_default()
}

#[test]
fn an_event_with_everything_in_it() {
    let body = r#"{
        "event_id": "e-1", "event_name": "purchase",
        "event_time": "2026-11-22T23:20:00.1234567+02:00",
        "user_id": 42.0, "user_pseudo_id": "U.1", "session_id": 1727701064, "platform": "IOS",
        "source": "google", "medium": "cpc", "campaign": "summer", "device_category": "tablet",
        "country": "DE",
        "app_version": "7.4.2",
        "currency": "usd", "value": 30.030, "transaction_id": "T-1", "tax": "4.90", "shipping": 0,
        "coupon": "EVENT",
        "item_list_id": "l-event", "item_list_name": "Event list", "promotion_id": "p-event",
        "items": [
            {"item_id": "SKU_12345", "item_name": "Stan and Friends Tee",
            "affiliation": "Google Store",
             "coupon": "ITEM", "discount": 2.22, "index": 0, "item_brand": "Google",
             "item_category": "Apparel",
             "item_category2": "Adult", "item_category3": "Shirts", "item_category4": "Crew",
             "item_category5": "Short sleeve", "item_list_id": "l-item", "item_variant": "green",
             "location_id": "ChIJ", "price": 10.01, "quantity": 3, "promotion_name": "P",
             "creative_name": "C",
             "creative_slot": "S", "gift": true},
            {"item_id": "SKU_12346"}
        ],
        "app": {"version": "3.1"}
    }"#;
    let json = serde_json::to_string(&flatten(body.as_bytes())).unwrap();
    let common = (
        concat!(
            r#""event_time":"2026-11-22T21:20:00.123456Z","event_name":"purchase","#,
            r#""event_id":"e-1","user_id":"42","user_pseudo_id":"U.1","#,
            r#""session_id":"1727701064","platform":"IOS","traffic_source":"google","#,
            r#""traffic_medium":"cpc","traffic_campaign":"summer","device_category":"tablet","#,
            r#""country":"DE","app_version":"7.4.2""#
        ),
        concat!(
            r#""currency":"USD","value":"30.03","transaction_id":"T-1","tax":"4.9","#,
            r#""shipping":"0","event_coupon":"EVENT","extra":{"event":{"app":{"version": "#,
            r#""3.1"}}"#
        ),
    );
    let expected = [
        r#"{"facts":[{"#,
        common.0,
        concat!(
            r#","product_id":"SKU_12345","product_name":"Stan and Friends Tee","#,
            r#""product_brand":"Google","product_category":"Apparel","#,
            r#""product_category2":"Adult","product_category3":"Shirts","#,
            r#""product_category4":"Crew","product_category5":"Short sleeve","#,
            r#""product_variant":"green","list_id":"l-item","list_name":"Event list","#,
            r#""list_position":0,"item_ordinal":1,"price":"10.01","quantity":"3","#,
            r#""discount":"2.22","item_coupon":"ITEM","affiliation":"Google Store","#,
            r#""location_id":"ChIJ","promotion_id":"p-event","promotion_name":"P","#,
            r#""creative_name":"C","creative_slot":"S","#
        ),
        common.1,
        r#","item":{"gift":true}},"fact_hash":"HASH1"},{"#,
        common.0,
        concat!(
            r#","product_id":"SKU_12346","list_id":"l-event","list_name":"Event list","#,
            r#""item_ordinal":2,"promotion_id":"p-event","#
        ),
        common.1,
        r#"},"fact_hash":"HASH2"}]}"#,
    ]
    .concat();
    let facts = facts(body);
    let expected = expected
        .replace("HASH1", &facts[0].fact_hash.to_string())
        .replace("HASH2", &facts[1].fact_hash.to_string());
    assert_eq!(json, expected);
}

#[test]
fn an_envelope_is_read_as_it_was_written() {
    let body = concat!(
        r#"[{"event_name":"a \"b\"","ts":1795382400.5,"x":[1, 2],"value":"1.50","#,
        r#""items":[{"item_id":"é\u00e9","y":null}]},7]"#
    );
    let envelope = flatten(body.as_bytes());
    let json = serde_json::to_string(&envelope).unwrap();
    let read: Envelope<'_> = serde_json::from_str(&json).unwrap();
    assert_eq!(read, envelope);
    assert_eq!(serde_json::to_string(&read).unwrap(), json);
    assert_eq!(serde_json::to_string(&read.into_owned()).unwrap(), json);
}

#[test]
fn an_envelope_borrows_what_it_can() {
    let json = serde_json::to_string(&flatten(
        br#"{"event_name":"a","ts":1795382400,"x":1,"items":[{"item_id":"b","price":1}]}"#,
    ))
    .unwrap();
    let read: Envelope<'_> = serde_json::from_str(&json).unwrap();
    let inside = |text: &str| json.as_bytes().as_ptr_range().contains(&text.as_ptr());
    assert!(inside(&read.facts[0].event_name));
    assert!(inside(read.facts[0].product_id.as_ref().unwrap()));
    assert!(inside(read.facts[0].price.as_ref().unwrap().as_str()));
    assert!(inside(&read.facts[0].extra.as_ref().unwrap().json()));
}

#[test]
fn no_items_are_one_fact_without_a_product() {
    for items in [
        "\"a\":1",
        "\"items\":null",
        "\"items\":[]",
        "\"items\":\"[]\"",
        "\"items\":\"\"",
        "\"items\":\" \"",
        "\"items\":\"null\"",
        "\"items\":\"(not set)\"",
        "\"items\":\"\\\"\\\"\"",
        "\"items\":\" [ ] \"",
    ] {
        let fact = with(items);
        assert_eq!(fact.item_ordinal, 0, "{items}");
        assert_eq!(fact.product_id, None, "{items}");
    }
}

#[test]
fn items_may_be_written_in_several_ways() {
    let expected = facts(concat!(
        r#"{"name":"view_item","ts":1795382400,"items":[{"item_id":"a","price":1.5},"#,
        r#"{"item_id":"b \"\u00e9"}]}"#
    ));
    assert_eq!(expected.len(), 2);
    for items in [
        r#""[{\"item_id\":\"a\",\"price\":1.5},{\"item_id\":\"b \\\"\\u00e9\"}]""#,
        r#""\ufeff [{\"item_id\":\"a\",\"price\":1.50}, {\"item_id\":\"b \\\"é\"}]\n""#,
        concat!(
            r#""\"[{\\\"item_id\\\":\\\"a\\\",\\\"price\\\":1.5},{\\\"item_id\\\":\\\"b "#,
            r#"\\\\\\\"é\\\"}]\"""#
        ),
    ] {
        let body = format!(r#"{{"items":{items},"ts":1795382400,"name":"view_item"}}"#);
        assert_eq!(facts(&body), expected, "{items}");
    }
    assert_eq!(with(r#""items":{"item_id":"a"}"#).item_ordinal, 1);
    assert_eq!(
        with(r#""items":"{\"item_id\":\"a\"}""#)
            .product_id
            .as_deref(),
        Some("a")
    );
}

#[test]
fn one_body_may_carry_several_events() {
    let body = "\u{feff} [{\"name\":\"a\",\"ts\":1795382400,\"items\":[{},{}]}, \
         {\"name\":\"b\",\"ts\":1795382400}]\n";
    let names: Vec<_> = facts(body)
        .into_iter()
        .map(|fact| (fact.event_name, fact.item_ordinal))
        .collect();
    assert_eq!(names, [("a".into(), 1), ("a".into(), 2), ("b".into(), 0)]);
}

#[test]
fn times_are_told_apart_by_magnitude_and_kept_to_the_microsecond() {
    for (time, expected) in [
        ("1795382400", "2026-11-22T21:20:00.000000Z"),
        ("1795382400.123456789", "2026-11-22T21:20:00.123456Z"),
        ("1795382400123", "2026-11-22T21:20:00.123000Z"),
        ("1795382400123.4567", "2026-11-22T21:20:00.123456Z"),
        ("1795382400123456", "2026-11-22T21:20:00.123456Z"),
        ("1795382400123456789", "2026-11-22T21:20:00.123456Z"),
        ("\"1795382400123456\"", "2026-11-22T21:20:00.123456Z"),
        ("1.7953824e9", "2026-11-22T21:20:00.000000Z"),
        ("\"2026-11-22T21:20:00Z\"", "2026-11-22T21:20:00.000000Z"),
        (
            "\" 2026-11-23T02:50:00.1234567+05:30 \"",
            "2026-11-22T21:20:00.123456Z",
        ),
        (
            "\"2026-11-22t15:20:00.5-06:00\"",
            "2026-11-22T21:20:00.500000Z",
        ),
        ("\"2016-12-31T23:59:60Z\"", "2017-01-01T00:00:00.000000Z"),
        ("946684800", "2000-01-01T00:00:00.000000Z"),
        ("4102444799999999", "2099-12-31T23:59:59.999999Z"),
    ] {
        let fact = only(&format!(r#"{{"name":"a","time":{time}}}"#));
        let written = serde_json::to_value(&fact).unwrap();
        assert_eq!(written["event_time"], expected, "{time}");
    }
}

#[test]
fn of_several_names_the_first_that_has_a_value_wins_and_the_others_are_kept() {
    let fact = only(concat!(
        r#"{"ts":1,"time":"x","event_timestamp":"1795382400","event_time":null,"#,
        r#""event":"c","name":"b","event_name":"(not set)","client_id":"same","#,
        r#""user_pseudo_id":"same","ga_session_id":"2","session_id":"1"}"#
    ));
    assert_eq!(fact.event_name, "c");
    assert_eq!(fact.user_pseudo_id.as_deref(), Some("same"));
    assert_eq!(fact.session_id.as_deref(), Some("1"));
    assert_eq!(
        extra(&fact),
        r#"{"event":{"ga_session_id":"2","name":"b","time":"x","ts":1}}"#
    );
}

#[test]
fn producers_name_traffic_and_device_in_several_ways() {
    for (keys, expected) in [
        (
            r#""source":"a","medium":"b","campaign":"c","app_version":"1""#,
            "{}",
        ),
        (
            r#""utm_source":"a","utm_medium":"b","utm_campaign":"c","appVersion":1.0"#,
            "{}",
        ),
        (
            r#""traffic_source":"a","traffic_medium":"b","traffic_campaign":"c","app_version":1"#,
            "{}",
        ),
        (
            concat!(
                r#""source":"a","utm_source":"x","medium":"b","utm_medium":"b","#,
                r#""campaign":"(not set)","traffic_campaign":"c","appVersion":"1""#
            ),
            r#"{"event":{"utm_source":"x"}}"#,
        ),
        // A value that isn't a text doesn't hide one.
        (
            concat!(
                r#""source":{"id":7},"utm_source":"a","medium":["x"],"country":{"code":"DE"},"#,
                r#""params":{"medium":"b","campaign":"c","app_version":"1"}"#
            ),
            r#"{"event":{"country":{"code":"DE"},"medium":["x"],"source":{"id":7}}}"#,
        ),
    ] {
        let fact = with(keys);
        let columns = [
            &fact.traffic_source,
            &fact.traffic_medium,
            &fact.traffic_campaign,
            &fact.app_version,
        ];
        let columns = columns.map(|column| column.as_deref());
        assert_eq!(columns, ["a", "b", "c", "1"].map(Some), "{keys}");
        assert_eq!(fact.country, None, "{keys}");
        let extra = Some(extra(&fact)).filter(|extra| !extra.is_empty());
        assert_eq!(extra.as_deref().unwrap_or("{}"), expected, "{keys}");
    }
}

#[test]
fn a_direct_visit_is_no_missing_source() {
    let fact = with(concat!(
        r#""source":"(direct)","medium":"(none)","campaign":"(not set)","#,
        r#""device_category":"","country":"(not set)","app_version":null"#
    ));
    assert_eq!(fact.traffic_source.as_deref(), Some("(direct)"));
    assert_eq!(fact.traffic_medium.as_deref(), Some("(none)"));
    let nothing = [
        fact.traffic_campaign,
        fact.device_category,
        fact.country,
        fact.app_version,
    ];
    assert_eq!(nothing, [const { None }; 4]);
    assert_eq!(fact.extra, None);
}

#[test]
fn values_may_stand_in_an_object_of_parameters() {
    let fact = only(
        r#"{"name":"purchase","timestamp_micros":1795382400123456,"currency":"EUR","a":1,
           "params":{"items":[{"item_id":"x"}],"value":9.9,"currency":"USD","b":2,
           "ga_session_id":77},
           "event_params":{"c":3,"tax":null,"shipping":1}}"#,
    );
    assert_eq!(fact.product_id.as_deref(), Some("x"));
    assert_eq!(fact.session_id.as_deref(), Some("77"));
    assert_eq!(fact.currency.as_deref(), Some("EUR"));
    assert_eq!(fact.shipping.as_ref().unwrap().as_str(), "1");
    assert_eq!(
        extra(&fact),
        r#"{"event":{"a":1,"b":2,"c":3,"currency":"USD"}}"#
    );
}

#[test]
fn parameters_that_clash_with_the_event_are_kept_whole() {
    assert_eq!(
        extra(&with(r#""a":1,"params":{"a":2,"b":3}"#)),
        r#"{"event":{"a":1,"b":3,"params":{"a":2,"b":3}}}"#
    );
    assert_eq!(
        extra(&with(r#""params":[{"key":"a","value":1}]"#)),
        r#"{"event":{"params":[{"key":"a","value":1}]}}"#
    );
}

#[test]
fn values_of_the_item_win_over_those_of_the_event() {
    let fact = with(
        r#""item_list_id":"e","item_list_name":"e","promotion_id":"e","promotion_name":"e",
             "creative_name":"e","creative_slot":"e","coupon":"e",
           "items":[{"item_list_id":"i","item_list_name":"(not set)","promotion_id":"i",
           "promotion_name":"i","creative_name":null,"creative_slot":"i"}]"#,
    );
    assert_eq!(fact.list_id.as_deref(), Some("i"));
    assert_eq!(fact.list_name.as_deref(), Some("e"));
    assert_eq!(fact.promotion_id.as_deref(), Some("i"));
    assert_eq!(fact.promotion_name.as_deref(), Some("i"));
    assert_eq!(fact.creative_name.as_deref(), Some("e"));
    assert_eq!(fact.creative_slot.as_deref(), Some("i"));
    assert_eq!(fact.event_coupon.as_deref(), Some("e"));
    assert_eq!(fact.item_coupon, None);
}

#[test]
fn a_category_path_is_split_into_five_levels() {
    let levels = |keys: &str| {
        let fact = item(keys);
        [
            fact.product_category,
            fact.product_category2,
            fact.product_category3,
            fact.product_category4,
            fact.product_category5,
        ]
        .map(|level| level.map(|level| level.into_owned()).unwrap_or_default())
    };
    assert_eq!(
        levels(r#""category":"Apparel / Adult/Shirts""#),
        ["Apparel", "Adult", "Shirts", "", ""]
    );
    assert_eq!(levels(r#""category":"/a//b/""#), ["a", "b", "", "", ""]);
    assert_eq!(
        levels(r#""category":"a/b/c/d/e/f""#),
        ["a", "b", "c", "d", "e/f"]
    );
    // GA4 has a key for each level, so a slash is part of a name.
    assert_eq!(
        levels(r#""item_category":"TV/Audio""#),
        ["TV/Audio", "", "", "", ""]
    );
    assert_eq!(
        levels(r#""item_category":"a/b","item_category2":"c""#),
        ["a/b", "c", "", "", ""]
    );
}

#[test]
fn money_is_exact_and_what_is_ambiguous_is_kept_as_it_came() {
    let fact = item(r#""price":0.1000000000000000055511151231,"quantity":"16.0","discount":1e-2"#);
    assert_eq!(
        fact.price.unwrap().as_str(),
        "0.1000000000000000055511151231"
    );
    assert_eq!(fact.quantity.unwrap().as_str(), "16");
    assert_eq!(fact.discount.unwrap().as_str(), "0.01");

    let fact = with(concat!(
        r#""value":"1,234","tax":"five","shipping":[1],"currency":"€","#,
        r#""items":[{"price":"1,234","quantity":1e999999999,"discount":true,"#,
        r#""index":"Slide 3"}]"#
    ));
    assert!(fact.price.is_none() && fact.quantity.is_none() && fact.discount.is_none());
    assert!(fact.value.is_none() && fact.tax.is_none() && fact.shipping.is_none());
    assert!(fact.currency.is_none() && fact.list_position.is_none());
    assert_eq!(
        extra(&fact),
        concat!(
            r#"{"event":{"currency":"€","shipping":[1],"tax":"five","value":"1,234"},"#,
            r#""item":{"discount":true,"index":"Slide 3","price":"1,234","#,
            r#""quantity":"1e999999999"}}"#
        )
    );
}

#[test]
fn the_currency_is_the_events_or_else_the_items() {
    let currency = |keys: &str| {
        let fact = with(keys);
        (
            fact.currency.clone().unwrap_or_default().into_owned(),
            extra(&fact),
        )
    };
    assert_eq!(
        currency(r#""items":[{"currency":"eur"}]"#),
        ("EUR".into(), String::new())
    );
    assert_eq!(
        currency(r#""currency":"eur","items":[{"currency":"EUR"}]"#),
        ("EUR".into(), String::new())
    );
    assert_eq!(
        currency(r#""currency":"USD","items":[{"currency":"EUR"}]"#),
        ("USD".into(), r#"{"item":{"currency":"EUR"}}"#.into())
    );
}

#[test]
fn the_affiliation_of_an_order_is_that_of_its_items() {
    let facts = facts(concat!(
        r#"{"event_name":"purchase","ts":1795382400,"affiliation":"Shop","#,
        r#""items":[{"affiliation":"Other"},{}]}"#
    ));
    assert_eq!(facts[0].affiliation.as_deref(), Some("Other"));
    assert_eq!(facts[1].affiliation.as_deref(), Some("Shop"));
}

#[test]
fn values_that_postgresql_cannot_store_are_removed() {
    let fact = with(concat!(
        r#""platform":"I\u0000OS","a\u0000b":"c\u0000d","e":{"f":["\ud800"]},"#,
        r#""items":"[{\"item_name\":\"x\\u0000y\\ud83d\",\"g\":\"\\u0000\"}]""#
    ));
    assert_eq!(fact.platform.as_deref(), Some("IOS"));
    assert_eq!(fact.product_name.as_deref(), Some("xy\u{fffd}"));
    assert_eq!(
        extra(&fact),
        "{\"event\":{\"ab\":\"cd\",\"e\":{\"f\":[\"\u{fffd}\"]}},\"item\":{\"g\":\"\"}}"
    );
}

#[test]
fn values_without_a_column_are_kept() {
    let fact = with(concat!(
        r#""z":null,"a":{"b": [1.0, "x"]},"user_id":{"id":7},"items":[{"custom":"1","#,
        r#""item_id":["x"]}]"#
    ));
    assert_eq!(fact.user_id, None);
    assert_eq!(fact.product_id, None);
    assert_eq!(
        extra(&fact),
        concat!(
            r#"{"event":{"a":{"b": [1.0, "x"]},"user_id":{"id":7},"z":null},"#,
            r#""item":{"custom":"1","item_id":["x"]}}"#
        )
    );
    assert!(item(r#""item_id":"x""#).extra.is_none());
}

#[test]
fn of_a_key_that_came_twice_the_later_value_counts() {
    let fact = with(r#""platform":"A","x":1,"platform":"B","x":2"#);
    assert_eq!(fact.platform.as_deref(), Some("B"));
    assert_eq!(extra(&fact), r#"{"event":{"x":2}}"#);
}
