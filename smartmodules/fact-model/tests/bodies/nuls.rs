//! U+0000 is removed and counted, since PostgreSQL can't store it in a text.

use fact_model::{Envelope, flatten};

use crate::golden::EVENT;

#[test]
fn removed_u0000_is_counted() {
    let body = concat!(
        r#"{"name":"a\u0000","ts":1795382400,"x":"\u0000\u0000","items":"[{'item_id': "#,
        r#"'\\x00a'}]"}"#
    );
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
    let params = r#"{"name":"a","ts":1795382400,"params":"{\"x\":\"\\u0000\\ud800\"}"}"#;
    let envelope = flatten(params.as_bytes());
    assert_eq!(envelope.nuls_removed, 1);
    let extra = envelope.facts[0].extra.as_ref().unwrap().json();
    assert_eq!(extra, "{\"event\":{\"x\":\"\u{fffd}\"}}");
    assert_eq!(
        flatten(b"v=2&en=a%00&ep.event_time=2026-11-22T21:20:00Z").nuls_removed,
        1
    );
    assert_eq!(flatten(format!("{EVENT}\0").as_bytes()).nuls_removed, 1);
    assert_eq!(flatten(EVENT.as_bytes()).nuls_removed, 0);
}
