//! Wrapped bodies: JSON strings, several documents, envelopes of SNS and others, gzip.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fact_model::flatten;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::golden::{EVENT, event, facts, rejected, rejection};

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn several_documents_and_texts_in_texts() {
    for body in [
        EVENT.to_owned(),
        format!("[{EVENT}]"),
        format!("  {EVENT}\n"),
        json!(EVENT).to_string(),
        json!(json!(EVENT).to_string()).to_string(),
        json!(json!(json!(EVENT).to_string()).to_string()).to_string(),
        json!([EVENT]).to_string(),
        json!(format!("[{EVENT}]")).to_string(),
    ] {
        assert_eq!(facts(&body), event(), "{body}");
    }
    let four = (0..4).fold(EVENT.to_owned(), |body, _| json!(body).to_string());
    assert_eq!(flatten(four.as_bytes()).rejected[0].reason, "too-deep");
    for body in [
        format!("{EVENT}{EVENT}"),
        format!("{EVENT}\n{EVENT}\n"),
        format!("[{EVENT}] [{EVENT}]").replace(['[', ']'], ""),
        format!("{EVENT},\n{EVENT}"),
        format!("{EVENT};{EVENT};"),
        format!("{}\n{}", json!(EVENT), json!(EVENT)),
    ] {
        assert_eq!(facts(&body), [event(), event()].concat(), "{body}");
    }
    let envelope = flatten(format!("{EVENT}\n{{}}\n{{\"a\"").as_bytes());
    assert_eq!(envelope.facts.len(), 1);
    assert_eq!(
        rejected(&envelope),
        [
            ("missing-time", "$[1]", "{}"),
            ("not-json", "$[2]", "{\"a\"")
        ]
    );
}

#[test]
fn envelopes_are_unwrapped() {
    let sns = |message: &str| {
        json!({"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:eu-west-1:1:t",
            "Message": message,
            "Timestamp": "2026-11-22T21:20:09.000Z", "Signature": "x"})
        .to_string()
    };
    let bridge = |detail: Value| {
        json!({"version": "0", "id": "i", "detail-type": "purchase", "source": "app",
            "time": "2026-11-22T21:20:09Z", "detail": detail})
        .to_string()
    };
    let sqs = |key: &str, body: &str| {
        json!({"sqs": {"queue": "shop-events", "message_id": "m", "receive_count": 1,
            "attributes": {"source": "ios"}}, key: body})
        .to_string()
    };
    let packed = gzip(EVENT.as_bytes());
    for body in [
        sqs("body", EVENT).into_bytes(),
        sqs("body", &sns(EVENT)).into_bytes(),
        sqs("base64", &STANDARD.encode(&packed)).into_bytes(),
        sns(EVENT).into_bytes(),
        sns(&json!(EVENT).to_string()).into_bytes(),
        bridge(serde_json::from_str(EVENT).unwrap()).into_bytes(),
        bridge(json!(EVENT)).into_bytes(),
        sns(&bridge(json!(sns(EVENT)))).into_bytes(),
        packed.clone(),
        STANDARD.encode(EVENT).into_bytes(),
        STANDARD.encode(&packed).into_bytes(),
        URL_SAFE_NO_PAD.encode(&packed).into_bytes(),
        json!(STANDARD.encode(&packed)).to_string().into_bytes(),
        sns(&STANDARD.encode(&packed)).into_bytes(),
        gzip(STANDARD.encode(&packed).as_bytes()),
        gzip(sns(EVENT).as_bytes()),
        format!(
            "{}\n",
            STANDARD
                .encode(&packed)
                .chars()
                .collect::<Vec<_>>()
                .chunks(76)
                .map(|line| line.iter().collect::<String>())
                .collect::<Vec<_>>()
                .join("\r\n")
        )
        .into_bytes(),
    ] {
        assert_eq!(facts(&body), event(), "{}", String::from_utf8_lossy(&body));
    }
    let bad = flatten(sns(r#"{"name":"a","ts":1795382400,"items":[7]}"#).as_bytes());
    assert_eq!(bad.rejected[0].at, "$.Message.items[0]");
    assert!(bad.rejected[0].raw.contains("TopicArn"));
    let bad = flatten(sqs("body", r#"{"name":"a"}"#).as_bytes());
    assert_eq!(bad.rejected[0].at, "$.body");
    assert!(bad.rejected[0].raw.contains("message_id"));
    // Events that only resemble an envelope.
    assert_eq!(
        facts(r#"{"name":"a","ts":1795382400,"sqs":{"x":1},"body":"y"}"#)[0]["extra"]["event"],
        json!({"body": "y", "sqs": {"x": 1}})
    );
    let plain = r#"{"name":"a","ts":1795382400,"Message":"x","detail":{"y":1}}"#;
    assert_eq!(
        facts(plain)[0]["extra"]["event"],
        json!({"Message": "x", "detail": {"y": 1}})
    );
}

#[test]
fn a_pointer_to_s3_has_a_reason_of_its_own() {
    let pointer = concat!(
        r#"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","#,
        r#""s3Key":"k"}]"#
    );
    for body in [
        pointer.to_owned(),
        pointer.replace(
            "software.amazon.payloadoffloading.PayloadS3Pointer",
            "com.amazon.sqs.javamessaging.MessageS3Pointer",
        ),
        json!({"Type": "Notification", "TopicArn": "t", "Message": pointer}).to_string(),
    ] {
        let rejection = rejection(body.as_bytes());
        assert_eq!(rejection.reason, "s3-pointer", "{body}");
        assert!(
            rejection.detail.contains("`s3-payloads: true`"),
            "{}",
            rejection.detail
        );
        assert_eq!(rejection.raw, body);
    }
}

#[test]
fn gzip_that_is_damaged_or_a_bomb_is_refused() {
    let packed = gzip(EVENT.as_bytes());
    let cut = flatten(&packed[..packed.len() - 9]);
    assert_eq!(cut.rejected[0].reason, "malformed");
    assert_eq!(cut.rejected[0].raw_encoding.as_deref(), Some("base64"));
    let bomb = gzip(&vec![b' '; 100 * 1024 * 1024]);
    assert_eq!(flatten(&bomb).rejected[0].reason, "too-large");
    let many = (0..8).fold(EVENT.as_bytes().to_vec(), |body, _| gzip(&body));
    assert_eq!(flatten(&many).rejected[0].reason, "too-deep");
}
