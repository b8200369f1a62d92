//! Events as Python or JavaScript literals.

use fact_model::flatten;

use crate::golden::{EVENT, event, facts};

#[test]
fn literals_of_python_and_javascript() {
    for body in [
        "{'event_name': 'view_item', 'ts': 1795382400, 'items': [{'item_id': 'a', 'x': None}]}",
        "[{'event_name': u'view_item', 'ts': Decimal('1795382400.0'), 'items': ({'item_id': \
         'a'},)}]",
        "({'event_name': 'view_item', 'event_time': datetime.datetime(2026, 11, 22, 22, 20, \
         tzinfo=datetime.timezone(datetime.timedelta(seconds=3600))), 'items': \"[{'item_id': \
         'a'}]\"},)",
        "{event: 'view_item', ts: 1795382400, items: [{item_id: 'a',},],}",
        "window.dataLayer.push({event: \"view_item\", time: new Date(1795382400000), \
         ecommerce: {items: [{item_id: `a`}]}}) // x",
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
    let swift = r#"["event_name": "view_item", "ts": 1795382400, "items": [["item_id": "a"]]]"#;
    assert_eq!(facts(swift), event());
    let dart = flatten(b"{event_name: view_item, ts: 1795382400, items: [{item_id: a}]}");
    assert_eq!(dart.rejected[0].reason, "malformed");
    assert!(dart.rejected[0].detail.contains("as Dart prints it"));
    let bad = flatten(b"window.dataLayer = [];\ndataLayer.push({event: x})");
    assert_eq!(&*bad.rejected[0].at, "$");
    assert!(
        bad.rejected[0]
            .detail
            .ends_with("is not a value at line 2 column 24"),
        "{}",
        bad.rejected[0].detail
    );
    let bad = flatten(b"{event: 'view_item',\n price: productPrice}");
    assert_eq!(bad.rejected[0].reason, "malformed");
    assert!(
        bad.rejected[0]
            .detail
            .ends_with("is not a value at line 2 column 9"),
        "{}",
        bad.rejected[0].detail
    );
}
