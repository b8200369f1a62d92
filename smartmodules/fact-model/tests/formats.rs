//! Every format that a body may be in: one golden case for each sample, and for each trap in it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod golden;

use std::slice;

use fact_model::{Envelope, flatten};
use serde_json::{Value, json};

use golden::{EVENT, event, facts};

#[test]
fn ga4_measurement_protocol() {
    let body = r#"{"client_id":"C123456","user_id":"U123456","timestamp_micros":1727701064057701,"session_id":"S123456","engagement_time_msec":100,
 "events":[{"name":"view_item_list","params":{"item_list_id":"related_products","item_list_name":"Related products",
  "items":[{"item_id":"SKU_12345","item_name":"Stan and Friends Tee","affiliation":"Google Merchandise Store","coupon":"SUMMER_FUN","discount":2.22,"index":0,"item_brand":"Google","item_category":"Apparel","item_category2":"Adult","item_category3":"Shirts","item_category4":"Crew","item_category5":"Short sleeve","item_list_id":"related_products","item_list_name":"Related Products","item_variant":"green","location_id":"ChIJIQBpAG2ahYAR_6128GcTUEo","price":9.99,"quantity":1}]}}]}"#;
    assert_eq!(
        facts(body),
        [json!({
            "event_time": "2024-09-30T12:57:44.057701Z", "event_name": "view_item_list", "user_id": "U123456",
            "user_pseudo_id": "C123456", "session_id": "S123456", "product_id": "SKU_12345",
            "product_name": "Stan and Friends Tee", "product_brand": "Google", "product_category": "Apparel",
            "product_category2": "Adult", "product_category3": "Shirts", "product_category4": "Crew",
            "product_category5": "Short sleeve", "product_variant": "green", "list_id": "related_products",
            "list_name": "Related Products", "list_position": 0, "item_ordinal": 1, "price": "9.99", "quantity": "1",
            "discount": "2.22", "item_coupon": "SUMMER_FUN", "affiliation": "Google Merchandise Store",
            "location_id": "ChIJIQBpAG2ahYAR_6128GcTUEo", "extra": {"event": {"engagement_time_msec": 100}}
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

    let envelope = flatten(
        br#"{"client_id":"C","events":[{"name":"a","timestamp_micros":1795382400000000},{"name":"b"},{"name":"c","ts":1795382400,"params":{"items":[{},7]}}]}"#,
    );
    assert_eq!(envelope.facts.len(), 1);
    let places: Vec<_> = envelope
        .rejected
        .iter()
        .map(|r| (&*r.reason, &*r.at))
        .collect();
    assert_eq!(
        places,
        [
            ("missing-time", "$.events[1]"),
            ("bad-items", "$.events[2].params.items[1]")
        ]
    );
    assert!(
        envelope.rejected[0]
            .raw
            .starts_with(r#"{"client_id":"C","events""#)
    );
}

#[test]
fn bigquery_export_rows() {
    let body = r#"{"event_date":"20220527","event_timestamp":"1653679818347831","event_name":"session_start",
 "event_params":[{"key":"ga_session_id","value":{"string_value":null,"int_value":"1653679817","float_value":null,"double_value":null}}],
 "ecommerce":{"unique_items":"1","transaction_id":"(not set)"},
 "items":[{"item_id":"9195912","item_name":"Womens Google Striped LS","item_brand":"Google","item_variant":" MD","item_category":"Apparel","item_category2":"(not set)","price_in_usd":null,"price":"16.0","quantity":"1","item_revenue":null,"coupon":"(not set)","item_list_id":"(not set)","item_list_name":"Not available in demo dataset","item_list_index":"(not set)","promotion_name":"Complete Your Collection","creative_slot":"(not set)"}]}"#;
    assert_eq!(
        facts(body),
        [json!({
            "event_time": "2022-05-27T19:30:18.347831Z", "event_name": "session_start", "session_id": "1653679817",
            "product_id": "9195912", "product_name": "Womens Google Striped LS", "product_brand": "Google",
            "product_category": "Apparel", "product_variant": "MD", "list_name": "Not available in demo dataset",
            "item_ordinal": 1, "price": "16", "quantity": "1", "promotion_name": "Complete Your Collection",
            "extra": {"event": {"event_date": "20220527", "ecommerce": {"unique_items": "1"}}}
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
    // session_engaged comes as either; flat parameters have been seen.
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
    let param = r#""event_params":[{"key":"session_engaged","int_value":"1"},{"key":"x","value":{"double_value":"0.5"}}]"#;
    assert_eq!(
        row(param)["extra"]["event"],
        json!({"session_engaged": 1, "x": 0.5})
    );
    let purchase = row(
        r#""event_params":[{"key":"tax","value":{"double_value":1.5}}],"user_id":null,
           "ecommerce":{"transaction_id":"T1","purchase_revenue":"30.03","tax_value":2,"shipping_value":null},
           "items":[{"item_id":"a","item_list_index":"Slide 3"},{"item_id":"b","item_list_index":"4"}]"#,
    );
    assert_eq!(
        purchase,
        json!({
            "event_name": "purchase", "transaction_id": "T1", "value": "30.03", "tax": "1.5", "product_id": "a",
            "item_ordinal": 1, "extra": {"event": {"ecommerce": {"tax_value": 2}}, "item": {"item_list_index": "Slide 3"}}
        })
    );
}

#[test]
fn firebase_lines_of_android() {
    let body = "Logging event: origin=app,name=purchase,params=Bundle[{items=[Bundle[{item_id=sku123, item_name=String(T-Shirt), price=Double(19.99)}], Bundle[{item_id=sku456, item_name=String(Jeans), price=Double(49.99)}]], currency=USD}]";
    let extra = json!({"event": {"origin": "app"}});
    assert_eq!(
        facts(body),
        [
            json!({"event_name": "purchase", "product_id": "sku123", "product_name": "T-Shirt", "price": "19.99",
                   "currency": "USD", "item_ordinal": 1, "extra": extra}),
            json!({"event_name": "purchase", "product_id": "sku456", "product_name": "Jeans", "price": "49.99",
                   "currency": "USD", "item_ordinal": 2, "extra": extra}),
        ]
    );
    let body = "Bundle[{event_name=screen_view, event_time=2026-11-22T21:20:00Z, screen_name=app:…, value=1, items=[Bundle[{item_name=credito-investimentos, item_id=14019}]], ga_screen(_sn)=app:credito:investimentos:simulacao}]";
    let fact = json!({
        "event_name": "screen_view", "product_id": "14019", "product_name": "credito-investimentos", "value": "1",
        "item_ordinal": 1,
        "extra": {"event": {"screen_name": "app:…", "ga_screen": "app:credito:investimentos:simulacao"}}
    });
    assert_eq!(facts(body), slice::from_ref(&fact));
    // The same as the parameters of a JSON event.
    let params = body.replace(
        "event_name=screen_view, event_time=2026-11-22T21:20:00Z, ",
        "",
    );
    let event = json!({"event_name": "screen_view", "ts": 1_795_382_400, "params": params});
    assert_eq!(facts(event.to_string()), [fact]);
}

#[test]
fn firebase_lines_of_ios() {
    let body = "view_item, {\n    currency = UAH;\n    ga_event_origin (_o) = app;\n    items = (\n        {\n        \"item_id\" = 123456789;\n    }\n);\n    value = 450;\n}";
    let fact = json!({
        "event_name": "view_item", "product_id": "123456789", "currency": "UAH", "value": "450", "item_ordinal": 1,
        "extra": {"event": {"ga_event_origin": "app"}}
    });
    assert_eq!(facts(body), slice::from_ref(&fact));
    let logged = format!(
        "2026-11-22 22:20:00.1 App[1:2] [Firebase/Analytics][I-ACS023051] Logging event: origin, name, params: app, {body}\n"
    );
    assert_eq!(facts(&logged), slice::from_ref(&fact));
    let bracketed = format!(
        "[FirebaseAnalytics][I-ACS023051] Logging event: origin, name, params: app, {body}"
    );
    assert_eq!(
        facts(format!("{bracketed}\n{logged}")),
        [fact.clone(), fact]
    );
    assert_eq!(
        facts("{ event_name = view_item; items = ({ item_id = a; }); }"),
        event()
    );
}

#[test]
fn ga4_web_hits() {
    let body = "v=2&tid=G-X&en=add_to_cart&cu=USD&epn.value=30.03&ep.transaction_id=T1&pr1=idSKU_12345~nmStan%20and%20Friends%20Tee~afGoogle%20Store~cpSUMMER_FUN~ds2.22~lp5~brGoogle~caApparel~c2Adult~c3Shirts~c4Crew~c5Short%20sleeve~lirelated_products~lnRelated%20products~vagreen~loChIJIQBpAG2ahYAR_6128GcTUEo~pr10.01~qt3";
    let fact = json!({
        "event_name": "add_to_cart", "product_id": "SKU_12345", "product_name": "Stan and Friends Tee",
        "product_brand": "Google", "product_category": "Apparel", "product_category2": "Adult",
        "product_category3": "Shirts", "product_category4": "Crew", "product_category5": "Short sleeve",
        "product_variant": "green", "list_id": "related_products", "list_name": "Related products",
        "list_position": 5, "item_ordinal": 1, "price": "10.01", "quantity": "3", "discount": "2.22",
        "item_coupon": "SUMMER_FUN", "affiliation": "Google Store", "location_id": "ChIJIQBpAG2ahYAR_6128GcTUEo",
        "currency": "USD", "value": "30.03", "transaction_id": "T1", "extra": {"event": {"tid": "G-X"}}
    });
    assert_eq!(facts(body), slice::from_ref(&fact));
    assert_eq!(
        facts(format!("https://www.google-analytics.com/g/collect?{body}")),
        [fact]
    );
    assert_eq!(
        flatten(body.as_bytes()).rejected[0].reason,
        "missing-time",
        "a hit tells no time"
    );
}

#[test]
fn lines_of_one_request_share_its_address() {
    let body = "/g/collect?v=2&tid=G-X&cid=1.2&sid=7&uid=u\nen=view_item&pr1=ida&ep.event_time=2026-11-22T21:20:01Z\nen=purchase&cu=EUR&epn.value=1e1&pr2=idc&pr1=nmb~~b~k0size~v0XL&pr10=idd";
    let common = |mut fact: Value| {
        fact["user_pseudo_id"] = "1.2".into();
        fact["session_id"] = "7".into();
        fact["user_id"] = "u".into();
        fact["extra"]["event"] = json!({"tid": "G-X"});
        fact
    };
    let purchase = |fact: Value| {
        let mut fact = common(fact);
        fact["event_name"] = "purchase".into();
        fact["currency"] = "EUR".into();
        fact["value"] = "10".into();
        fact
    };
    assert_eq!(
        facts(body),
        [
            common(
                json!({"event_time": "2026-11-22T21:20:01.000000Z", "event_name": "view_item", "product_id": "a", "item_ordinal": 1})
            ),
            purchase(
                json!({"product_name": "b~b", "item_ordinal": 1, "extra": {"item": {"size": "XL"}}})
            ),
            purchase(json!({"product_id": "c", "item_ordinal": 2})),
            purchase(json!({"product_id": "d", "item_ordinal": 3})),
        ]
    );
    let two = "v=2&cid=1&en=a&ep.x=1\nv=2&cid=2&en=b\nen=c";
    let names: Vec<_> = facts(two)
        .iter()
        .map(|fact| fact["event_name"].clone())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(facts(two)[2]["user_pseudo_id"], "1");
    assert_eq!(
        facts(two)[2].get("extra"),
        None,
        "parameters of the first event are not the others'"
    );
    // The dotted form that has been seen.
    assert_eq!(facts("v=2&en=view_item&pr1.id=a"), event());
}

#[test]
fn ua_hits() {
    let body = "v=1&t=pageview&pa=purchase&ti=T12345&ta=Google%20Store%20-%20Online&tr=37.39&tt=2.85&ts=5.34&tcc=SUMMER2013&cu=EUR&pr1id=26392&pr1nm=Klassikerl%C3%A5da&pr1br=GB%20Glace&pr1ca=Glasspinnar&pr1cd1=gb&pr1cm1=12&il1nm=recos&il1pi1id=hello&il1pi2id=world&il2nm=popular&il2pi1id=foo";
    let extra = json!({"event": {"hit_type": "pageview"}});
    let seen = |list: &str, id: &str, ordinal: u8| {
        json!({"event_name": "view_item_list", "product_id": id, "list_name": list, "item_ordinal": ordinal,
               "currency": "EUR", "extra": extra})
    };
    assert_eq!(
        facts(body),
        [
            seen("recos", "hello", 1),
            seen("recos", "world", 2),
            seen("popular", "foo", 3),
            json!({
                "event_name": "purchase", "product_id": "26392", "product_name": "Klassikerlåda",
                "product_brand": "GB Glace", "product_category": "Glasspinnar", "item_ordinal": 1,
                "affiliation": "Google Store - Online", "currency": "EUR", "value": "37.39",
                "transaction_id": "T12345", "tax": "2.85", "shipping": "5.34", "event_coupon": "SUMMER2013",
                "extra": {"event": {"hit_type": "pageview"}, "item": {"dimension1": "gb", "metric1": "12"}}
            }),
        ]
    );
}

#[test]
fn ua_actions_are_ga4_events() {
    for (hit, expected) in [
        ("pa=detail", "view_item"),
        ("pa=click&pal=Search", "select_item"),
        ("pa=add", "add_to_cart"),
        ("pa=remove", "remove_from_cart"),
        ("pa=checkout&cos=1", "begin_checkout"),
        ("pa=checkout", "begin_checkout"),
        ("pa=checkout&cos=2", "checkout_progress"),
        ("pa=checkout_option&cos=1&col=Visa", "set_checkout_option"),
        ("pa=purchase", "purchase"),
        ("pa=refund&ti=T1", "refund"),
        ("t=pageview", "page_view"),
        ("t=event&ec=a&ea=play", "play"),
        ("t=transaction&ti=T1&tr=1", "purchase"),
        ("t=item&ti=T1&in=x&ip=1&iq=2&ic=a&iv=b/c", "purchase"),
        ("promo1id=p", "view_promotion"),
        ("promo1id=p&promoa=click", "select_promotion"),
        ("il0pi0id=a", "view_item_list"),
    ] {
        let facts = facts(format!("v=1&cid=1&{hit}"));
        assert_eq!(facts.len(), 1, "{hit}");
        assert_eq!(facts[0]["event_name"], expected, "{hit}");
    }
    let promotion = &facts("v=1&promo1id=p&promo1nm=n&promo1cr=c&promo1ps=s")[0];
    assert_eq!(
        *promotion,
        json!({"event_name": "view_promotion", "promotion_id": "p", "promotion_name": "n", "creative_name": "c",
               "creative_slot": "s", "item_ordinal": 1})
    );
    let item = &facts("v=1&t=item&ti=T1&in=x&ip=1.5&iq=2&ic=a&iv=b/c")[0];
    assert_eq!(
        *item,
        json!({"event_name": "purchase", "transaction_id": "T1", "product_id": "a", "product_name": "x", "price": "1.5",
               "quantity": "2", "product_category": "b", "product_category2": "c", "item_ordinal": 1,
               "extra": {"event": {"hit_type": "item"}}})
    );
}

#[test]
fn data_layer_of_universal_analytics() {
    let body = "{'ecommerce':{'currencyCode':'EUR','impressions':[{'name':'Triblend Android T-Shirt','id':'12345','price':'15.25','brand':'Google','category':'Apparel','variant':'Gray','list':'Search Results','position':1}]}}";
    assert_eq!(
        facts(body),
        [json!({
            "event_name": "view_item_list", "product_id": "12345", "product_name": "Triblend Android T-Shirt",
            "product_brand": "Google", "product_category": "Apparel", "product_variant": "Gray",
            "list_name": "Search Results", "list_position": 1, "item_ordinal": 1, "price": "15.25", "currency": "EUR"
        })]
    );
    let body = "{'event':'productClick','ecommerce':{'click':{'actionField':{'list':'Search Results'},'products':[{'name':'Triblend Android T-Shirt','id':'12345','price':'15.25','position':1}]}}}";
    let click = json!({
        "event_name": "select_item", "product_id": "12345", "product_name": "Triblend Android T-Shirt",
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
        "purchase":{"actionField":{"id":"T1","affiliation":"Shop","revenue":"1.234,56","tax":"4.90","shipping":"5","coupon":"C","x":1},
                    "products":[{"id":"a","coupon":"D","dimension1":"d"}]}}}"#;
    let extra = json!({"event": {"event": "x"}});
    assert_eq!(
        facts(both),
        [
            json!({"event_name": "view_item_list", "product_id": "i", "item_ordinal": 1, "extra": extra}),
            json!({"event_name": "view_promotion", "promotion_id": "p", "promotion_name": "n", "creative_name": "c",
                   "creative_slot": "s", "item_ordinal": 1, "extra": extra}),
            json!({"event_name": "purchase", "product_id": "a", "item_ordinal": 1, "item_coupon": "D",
                   "affiliation": "Shop", "value": "1234.56", "transaction_id": "T1", "tax": "4.9", "shipping": "5",
                   "event_coupon": "C", "extra": {"event": {"event": "x", "x": 1}, "item": {"dimension1": "d"}}}),
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
    let push = r#"{"event":"view_item_list","ts":1795382400,"ecommerce":{"item_list_id":"l","currency":"eur","items":[{"item_id":"a"}]}}"#;
    let fact = json!({"event_name": "view_item_list", "product_id": "a", "list_id": "l", "currency": "EUR", "item_ordinal": 1});
    assert_eq!(facts(push), slice::from_ref(&fact));
    assert_eq!(
        facts(format!(r#"[{{"ecommerce":null}},{push}]"#)),
        slice::from_ref(&fact)
    );
    assert_eq!(facts(format!("{{\"ecommerce\": null}}\n{push}")), [fact]);
    let cleared = flatten(br#"{"ecommerce":null}"#);
    assert_eq!(cleared.rejected[0].reason, "not-an-event");
    let cleared = flatten(br#"[{"ecommerce":null}, {"ecommerce": null}]"#);
    assert_eq!(cleared.rejected.len(), 1);
    let bad = flatten(push.replace("{\"item_id\":\"a\"}", "7").as_bytes());
    assert_eq!(bad.rejected[0].at, "$.ecommerce.items[0]");
    let bad = flatten(br#"{"ts":1795382400,"ecommerce":{"detail":{"products":[7]}}}"#);
    assert_eq!(bad.rejected[0].at, "$.ecommerce.detail.products[0]");
}

#[test]
fn literals_of_python_and_javascript() {
    for body in [
        "{'event_name': 'view_item', 'ts': 1795382400, 'items': [{'item_id': 'a', 'x': None}]}",
        "[{'event_name': u'view_item', 'ts': Decimal('1795382400.0'), 'items': ({'item_id': 'a'},)}]",
        "({'event_name': 'view_item', 'event_time': datetime.datetime(2026, 11, 22, 22, 20, tzinfo=datetime.timezone(datetime.timedelta(seconds=3600))), 'items': \"[{'item_id': 'a'}]\"},)",
        "{event: 'view_item', ts: 1795382400, items: [{item_id: 'a',},],}",
        "window.dataLayer.push({event: \"view_item\", time: new Date(1795382400000), ecommerce: {items: [{item_id: `a`}]}}) // x",
    ] {
        let mut facts = facts(body);
        facts[0].as_object_mut().unwrap().remove("extra");
        assert_eq!(facts, event(), "{body}");
    }
    for body in [
        format!("b'{EVENT}'"),
        format!("'{EVENT}'"),
        format!("window.dataLayer = window.dataLayer || [];\nwindow.dataLayer.push({EVENT});"),
        format!("dataLayer = [];dataLayer.push({{ecommerce: null}});dataLayer.push({EVENT})"),
    ] {
        assert_eq!(facts(&body), event(), "{body}");
    }
    let bad = flatten(b"window.dataLayer = [];\ndataLayer.push({event: x})");
    assert_eq!(&*bad.rejected[0].at, "$");
    assert!(
        bad.rejected[0]
            .detail
            .ends_with("is no value at line 2 column 24"),
        "{}",
        bad.rejected[0].detail
    );
    let bad = flatten(b"{event: 'view_item',\n price: productPrice}");
    assert_eq!(bad.rejected[0].reason, "malformed");
    assert!(
        bad.rejected[0]
            .detail
            .ends_with("is no value at line 2 column 9"),
        "{}",
        bad.rejected[0].detail
    );
}

#[test]
fn the_affiliation_of_an_order_is_that_of_its_items() {
    let facts = facts(
        r#"{"event_name":"purchase","ts":1795382400,"affiliation":"Shop","items":[{"affiliation":"Other"},{}]}"#,
    );
    assert_eq!(facts[0]["affiliation"], "Other");
    assert_eq!(facts[1]["affiliation"], "Shop");
}

#[test]
fn what_android_did_not_print_is_said_to_be_lost() {
    for body in [
        "Logging event: origin=app,name=purchase,params=Bundle[mParcelledData.dataSize=512]",
        "Logging event: origin=app,name=purchase,params=Bundle[{event_time=1795382400, items=[Landroid.os.Parcelable;@1a2b}]",
        r#"{"name":"a","ts":1795382400,"items":"Bundle[mParcelledData.dataSize=512]"}"#,
    ] {
        let envelope = flatten(body.as_bytes());
        assert_eq!(envelope.rejected[0].reason, "unrecoverable", "{body}");
    }
}

#[test]
fn removed_u0000_is_counted() {
    let body = r#"{"name":"a\u0000","ts":1795382400,"x":"\u0000\u0000","items":"[{'item_id': '\\x00a'}]"}"#;
    let envelope = flatten(body.as_bytes());
    assert_eq!(envelope.nuls_removed, 4);
    assert_eq!(envelope.facts[0].event_name, "a");
    assert_eq!(envelope.facts[0].product_id.as_deref(), Some("a"));
    let json = serde_json::to_string(&envelope).unwrap();
    assert!(json.ends_with(r#""nuls_removed":4}"#));
    assert_eq!(
        serde_json::from_str::<Envelope<'_>>(&json)
            .unwrap()
            .nuls_removed,
        4
    );
    assert_eq!(
        flatten(b"v=2&en=a%00&ep.event_time=2026-11-22T21:20:00Z").nuls_removed,
        1
    );
    assert_eq!(flatten(format!("{EVENT}\0").as_bytes()).nuls_removed, 1);
    assert_eq!(flatten(EVENT.as_bytes()).nuls_removed, 0);
}
