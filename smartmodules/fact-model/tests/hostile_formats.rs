//! Any text in any format becomes facts or rejections, in linear time and without a panic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/checks.rs"]
mod checks;

use std::io::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use checks::check;
use fact_model::flatten;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

/// Valid bodies in every format, to be cut, changed, mixed and repeated.
const FORMATS: [&str; 18] = [
    concat!(
        r#"{"client_id":"C","events":[{"name":"a","params":{"items":[{"item_id":"x","#,
        r#""price":"1.234,56"}]}}]}"#
    ),
    concat!(
        r#"{"event_timestamp":"1653679818347831","event_name":"a","event_params":[{"key":"k","#,
        r#""value":{"int_value":"1"}}],"ecommerce":{"transaction_id":"T"},"#,
        r#""items":[{"item_list_index":"x"}]}"#
    ),
    "Logging event: origin=app,name=a,params=Bundle[{items=[Bundle[{item_id=x, \
     price=Double(1.9)}], Bundle[{n=String(a, b=c)}]], c_(_s)=USD}]",
    "view_item, {\n currency = UAH;\n ga_event_origin (_o) = app;\n items = (\n {\n \
     \"item_id\" = \"a\\U00e9\";\n }\n);\n}",
    concat!(
        "v=2&tid=G-X&en=a&cu=USD&epn.value=30.03&pr1=idSKU~~1~nmA%20b~k0c~v0d&",
        "ep.event_time=1795382400\nen=b&pr2=idx"
    ),
    concat!(
        "v=1&t=pageview&pa=purchase&ti=T&pr1id=2&pr1cd1=gb&il1nm=r&il1pi1id=h&promo1id=p&",
        "promoa=click&event_time=1795382400"
    ),
    "dataLayer.push({ecommerce: null}); dataLayer.push({'event':'x', ts: 1795382400, \
     ecommerce:{click:{actionField:{list:'S'},products:[{name:\"T\\x41\",price:'15,25'}]}}});",
    "[{'event_name': 'a', 'ts': Decimal('1795382400'), 't': datetime.datetime(2024, 1, 2, \
     tzinfo=timezone(timedelta(seconds=3600))), 'items': ({'a': u'\\u00e9'},)}]",
    concat!(
        r#"{"Type":"Notification","TopicArn":"t","Message":"{\"detail-type\":\"x\","#,
        r#"\"detail\":{\"name\":\"a\",\"ts\":1795382400}}"}"#
    ),
    r#"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":"k"}]"#,
    r#""\"{\\\"name\\\":\\\"a\\\",\\\"ts\\\":1795382400}\"""#,
    "eyJuYW1lIjoiYSIsInRzIjoxNzk1MzgyNDAwfQ==",
    r#"{"name":"a","ts":1795382400}{"name":"b","ts":1795382400};{name:'c'}"#,
    r#"{"name":"a","ts":1795382400,"params":"Bundle[{items=[Bundle[{a=1}]], b=2}]"}"#,
    concat!(
        r#"{"name":"a","ts":1795382400,"items":["idx~nmy","Bundle[{a=1}]","{'a':1}","{ a = 1;"#,
        r#" }",{"id":1}]}"#
    ),
    concat!(
        r#"{"name":"a","ts":1795382400,"items":"[{item_id=x, item_name=a, b=c] {d}, "#,
        r#"price=1.2E7, item_params=[{key=k, value={string_value=null, int_value=1}}]}, null,"#,
        r#" {item_id=y}]"}"#
    ),
    "{event_name=a, ts=1795382400, items=[{item_id=x, item_list_name=, price=null}], \
     device={category=mobile, tags=[a, b]}}",
    concat!(
        r#"{"name":"a","ts":1795382400,"ecommerce":{"impressions":[{"id":"a"}],"#,
        r#""promoView":{"promotions":[{"id":1}]},"add":{"products":[]}}}"#
    ),
];

/// Tokens of all formats.
const PIECES: [&str; 72] = [
    "Bundle[{",
    "Bundle[",
    "Bundle[{a=",
    "Bundle[{a=[",
    "Logging event",
    "Logging event: a, Bundle[{}]\n",
    "{a=",
    "(",
    "( {",
    "{ a = (",
    "\"\\",
    "'\\",
    "f(",
    "new ",
    "{'a':",
    "[{'a':[",
    "u'",
    "/*",
    "//",
    "//\n",
    "~",
    "id~",
    "~~~",
    "&",
    "pr1=",
    "pr1id=&",
    "il1pi1id=a&",
    "%",
    "\n",
    "v=2&en=a\n",
    "en=a\n",
    "{}",
    "{},",
    "[]",
    "\"\"",
    "\"a\"\n",
    "{}x",
    "a, {",
    "a, Bundle[{",
    ", a=",
    ", ",
    "(a, b=",
    "}]",
    "])",
    "=;",
    "datetime.datetime(",
    "Decimal('",
    "-",
    "€",
    "1,",
    "`",
    "\\U00e9",
    "k0a~",
    "{\"ecommerce\":null}",
    "a.",
    "u{",
    "{item_id=",
    "{item_id=1},",
    ", item_name=",
    ",item_name",
    "}, {",
    "}, null",
    ", null",
    "null,",
    "}}]}",
    "item_params=[{key=",
    "{key=k, value={",
    "=[",
    "={a=",
    "=(not set), ",
    "\0",
    " ",
];

/// An event with a text as its items.
fn with_items(text: &str) -> String {
    let items = serde_json::to_string(text).unwrap();
    format!(r#"{{"name":"a","ts":1795382400,"items":{items}}}"#)
}

/// Flattens in time proportional to the body.
fn in_time(body: &str) {
    let start = cpu_time();
    let envelope = flatten(body.as_bytes());
    let took = cpu_time() - start;
    assert!(!envelope.facts.is_empty() || !envelope.rejected.is_empty());
    // A bound for an unoptimized build; quadratic code takes minutes.
    let allowed = Duration::from_secs(1) + Duration::from_millis(20) * (body.len() as u32 / 1024);
    let shown: String = body.chars().take(80).collect();
    assert!(took < allowed, "{took:?} for {} bytes: {shown}", body.len());
}

/// The CPU time of this thread, which other processes don't affect.
fn cpu_time() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(
        statistics
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap(),
    )
}

#[test]
fn repetition_takes_no_longer_than_its_size() {
    for format in FORMATS {
        let repeated = format.repeat(40_000 / format.len());
        in_time(&repeated);
        in_time(&with_items(&repeated));
        in_time(&format!("{format}\n").repeat(40_000 / format.len()));
    }
    for piece in PIECES {
        let repeated = piece.repeat(40_000 / piece.len());
        for text in [
            repeated.clone(),
            format!("Bundle[{{a={repeated}}}]"),
            format!("[Bundle[{{a=b}}], {repeated}]"),
            format!("{{ a = \"{repeated}"),
            format!("[{{'a': '{repeated}"),
            format!("v=2&en=a&event_time=1795382400&pr1=id{repeated}"),
            format!("v=2&cid={repeated}\n{}", "en=a\n".repeat(1000)),
            format!("view_item, {{ a = {repeated}; }}"),
            format!("[{{item_id={repeated}"),
            format!("[{{item_id=1, item_name={repeated}}}]"),
            format!("[{{item_id=1, x={repeated}, price=1}}]"),
            format!("[{{item_id=1, item_params=[{repeated}]}}]"),
            format!("[{{item_id=1, item_params=[{{key={repeated}}}]}}]"),
            format!("{{event_name=a, ts=1795382400, items=[{repeated}]}}"),
            format!("{{a={repeated}, b=c}}"),
            format!("[{repeated}"),
            format!("{{{repeated}"),
        ] {
            in_time(&with_items(&text));
            in_time(&text);
        }
    }
}

/// An object with many keys is searched for a name once, not for each key.
#[test]
fn many_keys_take_no_longer_than_their_size() {
    let ids = |count: usize| vec![r#""id":1"#; count].join(",");
    let keys = Vec::from_iter((0..40_000).map(|n| format!(r#""k{n}":1"#))).join(",");
    let skus = vec![r#""sku":1"#; 40_000].join(",");
    let entities = (0..20_000).map(|n| {
        format!(
            r#"{{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/e{n}/j/1","data":{{}}}}"#
        )
    });
    let entities = Vec::from_iter(entities).join(",");
    for body in [
        format!(
            r#"{{"ts":1795382400,"ecommerce":{{"promoView":{{"promotions":[{{{}}}]}}}}}}"#,
            ids(40_000)
        ),
        format!(r#"{{"ts":1795382400,"ecommerce":{{"promoView":{{"promotions":[{{{keys}}}]}}}}}}"#),
        format!(
            r#"{{"ts":1795382400,"ecommerce":{{"promoClick":{{"promotions":[{}]}}}}}}"#,
            vec![format!("{{{}}}", ids(50)); 400].join(",")
        ),
        format!(r#"{{"ts":1795382400,"transactionProducts":[{{{skus}}}]}}"#),
        format!(r#"{{"collector_tstamp":1795382400000,"e":"pv","contexts":[{entities}]}}"#),
    ] {
        in_time(&body);
        check(body.as_bytes());
    }
}

#[test]
fn many_bombs_are_no_more_than_one() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b'['; 900_000]).unwrap();
    let bomb = STANDARD.encode(encoder.finish().unwrap());
    let body = format!("[{}]", vec![format!("\"{bomb}\""); 500].join(","));
    in_time(&body);
    assert_eq!(flatten(body.as_bytes()).rejected[0].reason, "too-large");
}

#[test]
fn repetition_of_shared_values_is_limited() {
    let long = "x".repeat(50_000);
    for body in [
        format!(
            r#"{{"client_id":"{long}","events":[{}]}}"#,
            vec![r#"{"name":"a"}"#; 10_000].join(",")
        ),
        format!(
            r#"{{"timestamp_micros":1795382400000000,"x":"{long}","events":[{}]}}"#,
            vec![r#"{"name":"a"}"#; 10_000].join(",")
        ),
        format!(
            r#"{{"ts":1795382400,"x":"{long}","ecommerce":{{{}}}}}"#,
            vec![r#""add":{}"#; 10_000].join(",")
        ),
        format!(
            r#"{{"name":"a","event_params":[{}]}}"#,
            vec![r#"{"key":"a","value":{}}"#; 5_000].join(",")
        ),
        format!(
            "v=2&event_time=1795382400&cid={long}\n{}",
            "en=a\n".repeat(10_000)
        ),
        format!(r#"["{long}",{}]"#, vec![r#""{}""#; 10_000].join(",")),
    ] {
        in_time(&body);
        check(body.as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None,
    ..ProptestConfig::default() })]

    #[test]
    fn every_format_cut_or_changed_anywhere(
        format in prop::sample::select(FORMATS.to_vec()),
        at in any::<prop::sample::Index>(),
        change in any::<[u8; 4]>(),
        length in 0..4_usize,
        cut in any::<bool>(),
    ) {
        let mut body = format.as_bytes().to_vec();
        let at = at.index(body.len());
        if cut {
            body.truncate(at);
        } else {
            let end = (at + length).min(body.len());
            body.splice(at..end, change.into_iter().take(length));
        }
        check(&body);
        check(with_items(&String::from_utf8_lossy(&body)).as_bytes());
    }

    #[test]
    fn two_formats_mixed(
        one in prop::sample::select(FORMATS.to_vec()),
        other in prop::sample::select(FORMATS.to_vec()),
        at in any::<prop::sample::Index>(),
    ) {
        let mut body = one.as_bytes().to_vec();
        let at = at.index(body.len());
        body.splice(at..at, other.bytes());
        check(&body);
        check(with_items(&String::from_utf8_lossy(&body)).as_bytes());
    }

    #[test]
    fn any_pieces(pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..12)) {
        let body = pieces.concat();
        check(body.as_bytes());
        check(with_items(&body).as_bytes());
    }
}
