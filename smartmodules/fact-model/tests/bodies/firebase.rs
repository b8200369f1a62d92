//! Log lines of the Firebase SDKs on Android and iOS.

use std::slice;

use fact_model::flatten;
use serde_json::json;

use crate::golden::{event, facts};

#[test]
fn firebase_lines_of_android() {
    let body = "Logging event: \
    origin=app,name=purchase,params=Bundle[{items=[Bundle[{item_id=sku123, \
         item_name=String(T-Shirt), price=Double(19.99)}], Bundle[{item_id=sku456, \
         item_name=String(Jeans), price=Double(49.99)}]], currency=USD}]";
    let extra = json!({"event": {"origin": "app"}});
    assert_eq!(
        facts(body),
        [
            json!({"event_name": "purchase", "product_id": "sku123", "product_name": "T-Shirt",
                "price": "19.99",
                "currency": "USD", "item_ordinal": 1, "extra": extra}),
            json!({"event_name": "purchase", "product_id": "sku456", "product_name": "Jeans",
                "price": "49.99",
                "currency": "USD", "item_ordinal": 2, "extra": extra}),
        ]
    );
    let body = "Bundle[{event_name=screen_view, event_time=2026-11-22T21:20:00Z, \
    screen_name=app:…, \
         value=1, items=[Bundle[{item_name=credito-investimentos, item_id=14019}]], \
         ga_screen(_sn)=app:credito:investimentos:simulacao}]";
    let fact = json!({
        "event_name": "screen_view", "product_id": "14019", "product_name": "credito-investimentos",
        "value": "1",
        "item_ordinal": 1,
        "extra": {"event": {"screen_name": "app:…",
        "ga_screen": "app:credito:investimentos:simulacao"}}
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
fn firebase_lines_tell_their_campaign() {
    let fact = json!({
        "event_name": "campaign_details", "item_ordinal": 0, "traffic_source": "google",
        "traffic_medium": "cpc",
        "traffic_campaign": "summer"
    });
    for body in [
        "Logging event (FE): campaign_details(_cmp), Bundle[{source=google, medium=cpc, \
         campaign=summer}]",
        "campaign_details, {\n    campaign = summer;\n    medium = cpc;\n    source = google;\n}",
    ] {
        assert_eq!(facts(body), slice::from_ref(&fact), "{body}");
    }
}

#[test]
fn firebase_lines_of_ios() {
    let body = "view_item, {\n    currency = UAH;\n    ga_event_origin (_o) = app;\n    items = \
         (\n        {\n        \"item_id\" = 123456789;\n    }\n);\n    value = 450;\n}";
    let fact = json!({
        "event_name": "view_item", "product_id": "123456789", "currency": "UAH", "value": "450",
        "item_ordinal": 1,
        "extra": {"event": {"ga_event_origin": "app"}}
    });
    assert_eq!(facts(body), slice::from_ref(&fact));
    let logged = format!(
        "2026-11-22 22:20:00.1 App[1:2] [Firebase/Analytics][I-ACS023051] Logging event: \
         origin, name, params: app, {body}\n"
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
fn data_that_android_did_not_print_is_reported_as_lost() {
    for body in [
        "Logging event: origin=app,name=purchase,params=Bundle[mParcelledData.dataSize=512]",
        "Logging event: origin=app,name=purchase,params=Bundle[{event_time=1795382400, \
         items=[Landroid.os.Parcelable;@1a2b}]",
        r#"{"name":"a","ts":1795382400,"items":"Bundle[mParcelledData.dataSize=512]"}"#,
    ] {
        let envelope = flatten(body.as_bytes());
        assert_eq!(envelope.rejected[0].reason, "unrecoverable", "{body}");
    }
}
