//! Web hits of GA4 and Universal Analytics.

use std::slice;

use fact_model::flatten;
use serde_json::{Value, json};

use crate::golden::{event, facts};

#[test]
fn ga4_web_hits() {
    let body = concat!(
        "v=2&tid=G-X&en=add_to_cart&cu=USD&epn.value=30.03&ep.transaction_id=T1&",
        "pr1=idSKU_12345~nmStan%20and%20Friends%20Tee~afGoogle%20Store~cpSUMMER_FUN~ds2.22~",
        "lp5~brGoogle~caApparel~c2Adult~c3Shirts~c4Crew~c5Short%20sleeve~lirelated_products~",
        "lnRelated%20products~vagreen~loChIJIQBpAG2ahYAR_6128GcTUEo~pr10.01~qt3"
    );
    let fact = json!({
        "event_name": "add_to_cart", "product_id": "SKU_12345",
        "product_name": "Stan and Friends Tee",
        "product_brand": "Google", "product_category": "Apparel", "product_category2": "Adult",
        "product_category3": "Shirts", "product_category4": "Crew",
        "product_category5": "Short sleeve",
        "product_variant": "green", "list_id": "related_products", "list_name": "Related products",
        "list_position": 5, "item_ordinal": 1, "price": "10.01", "quantity": "3",
        "discount": "2.22",
        "item_coupon": "SUMMER_FUN", "affiliation": "Google Store",
        "location_id": "ChIJIQBpAG2ahYAR_6128GcTUEo",
        "currency": "USD", "value": "30.03", "transaction_id": "T1",
        "extra": {"event": {"tid": "G-X"}}
    });
    assert_eq!(facts(body), slice::from_ref(&fact));
    assert_eq!(
        facts(format!("https://www.google-analytics.com/g/collect?{body}")),
        [fact]
    );
    assert_eq!(
        flatten(body.as_bytes()).rejected[0].reason,
        "missing-time",
        "a hit has no time"
    );
}

#[test]
fn hits_tell_their_campaign() {
    assert_eq!(
        facts("v=2&en=page_view&cs=google&cm=cpc&cn=summer%20sale&_uc=DE&ck=tee"),
        [
            json!({"event_name": "page_view", "item_ordinal": 0, "traffic_source": "google",
                "traffic_medium": "cpc",
                "traffic_campaign": "summer sale", "country": "DE",
                "extra": {"event": {"ck": "tee"}}})
        ]
    );
    assert_eq!(
        facts("v=1&t=screenview&cs=(direct)&cm=(none)&cn=(not%20set)&av=3.1&cm2=7&il1pi1id=a"),
        [
            json!({"event_name": "view_item_list", "product_id": "a", "item_ordinal": 1,
                "traffic_source": "(direct)",
                "traffic_medium": "(none)", "app_version": "3.1",
                "extra": {"event": {"hit_type": "screenview", "metric2": "7"}}})
        ]
    );
    // In an item, these short names are its creative.
    let item = &facts("v=2&en=view_promotion&pr1=ida~csslot~cnbanner")[0];
    assert_eq!(item["creative_slot"], "slot");
    assert_eq!(item["creative_name"], "banner");
    assert_eq!(item.get("traffic_source"), None);
}

#[test]
fn lines_of_one_request_share_its_address() {
    let body = concat!(
        "/g/collect?v=2&tid=G-X&cid=1.2&sid=7&uid=u\nen=view_item&pr1=ida&",
        "ep.event_time=2026-11-22T21:20:01Z\nen=purchase&cu=EUR&epn.value=1e1&pr2=idc&",
        "pr1=nmb~~b~k0size~v0XL&pr10=idd"
    );
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
                json!({"event_time": "2026-11-22T21:20:01.000000Z", "event_name": "view_item",
                    "product_id": "a", "item_ordinal": 1})
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
    // The form with a dot, which some tags send.
    assert_eq!(facts("v=2&en=view_item&pr1.id=a"), event());
}

#[test]
fn ua_hits() {
    let body = concat!(
        "v=1&t=pageview&pa=purchase&ti=T12345&ta=Google%20Store%20-%20Online&tr=37.39&",
        "tt=2.85&ts=5.34&tcc=SUMMER2013&cu=EUR&pr1id=26392&pr1nm=Klassikerl%C3%A5da&",
        "pr1br=GB%20Glace&pr1ca=Glasspinnar&pr1cd1=gb&pr1cm1=12&il1nm=recos&il1pi1id=hello&",
        "il1pi2id=world&il2nm=popular&il2pi1id=foo"
    );
    let extra = json!({"event": {"hit_type": "pageview"}});
    let seen = |list: &str, id: &str, ordinal: u8| {
        json!({"event_name": "view_item_list", "product_id": id, "list_name": list,
            "item_ordinal": ordinal,
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
                "transaction_id": "T12345", "tax": "2.85", "shipping": "5.34",
                "event_coupon": "SUMMER2013",
                "extra": {"event": {"hit_type": "pageview"}, "item": {"dimension1": "gb",
                "metric1": "12"}}
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
        json!({"event_name": "view_promotion", "promotion_id": "p", "promotion_name": "n",
            "creative_name": "c",
            "creative_slot": "s", "item_ordinal": 1})
    );
    let item = &facts("v=1&t=item&ti=T1&in=x&ip=1.5&iq=2&ic=a&iv=b/c")[0];
    assert_eq!(
        *item,
        json!({"event_name": "purchase", "transaction_id": "T1", "product_id": "a",
            "product_name": "x", "price": "1.5",
            "quantity": "2", "product_category": "b", "product_category2": "c",
            "item_ordinal": 1,
            "extra": {"event": {"hit_type": "item"}}})
    );
}
