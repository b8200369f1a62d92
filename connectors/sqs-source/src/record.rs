//! What a record of the topic holds of a message.
//!
//! With `record-format: body` the record is the message's body. With `envelope` it is a JSON object:
//!
//! ```json
//! {"sqs":{"queue":"shop-events","message_id":"8b1f…","sent_at":"2026-11-22T21:20:00.123Z","receive_count":1,
//!         "message_group_id":"u-1","attributes":{"source":"ios","trace":{"base64":"AAE="}}},
//!  "body":"…"}
//! ```
//!
//! `message_group_id` is there for FIFO queues. Attributes are texts, numbers too, as SQS has them; binary ones are
//! objects with the bytes in base64. A body that is not UTF-8, which SQS does not let through, would be `base64` in
//! place of `body`.

use std::collections::BTreeMap;

use aws_sdk_sqs::types::MessageAttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::config::RecordFormat;
use crate::queue::Received;

/// The record's value for a message of the queue with this name or URL; takes the body out of the message.
#[must_use]
pub fn value(format: RecordFormat, queue: &str, message: &mut Received) -> Vec<u8> {
    let queue = queue.rsplit('/').next().unwrap_or(queue);
    let body = std::mem::take(&mut message.body);
    match format {
        RecordFormat::Body => body,
        // Strings and maps of them always become JSON.
        RecordFormat::Envelope => {
            serde_json::to_vec(&Envelope::of(queue, message, &body)).unwrap_or(body)
        }
    }
}

#[derive(Serialize)]
struct Envelope<'m> {
    sqs: About<'m>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

#[derive(Serialize)]
struct About<'m> {
    queue: &'m str,
    message_id: &'m str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<String>,
    receive_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_group_id: Option<&'m str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'m str, Attribute<'m>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Attribute<'m> {
    Text(&'m str),
    Binary { base64: String },
}

impl<'m> Envelope<'m> {
    fn of(queue: &'m str, message: &'m Received, body: &'m [u8]) -> Self {
        let text = std::str::from_utf8(body).ok();
        let sent_at = message.sent_at.map(DateTime::<Utc>::from);
        Self {
            sqs: About {
                queue,
                message_id: &message.id,
                sent_at: sent_at.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true)),
                receive_count: message.receive_count,
                message_group_id: message.group.as_deref(),
                attributes: message
                    .attributes
                    .iter()
                    .map(|(name, value)| (name.as_str(), Attribute::of(value)))
                    .collect(),
            },
            base64: text.is_none().then(|| STANDARD.encode(body)),
            body: text,
        }
    }
}

impl<'m> Attribute<'m> {
    fn of(value: &'m MessageAttributeValue) -> Self {
        match value.binary_value() {
            Some(bytes) => Self::Binary {
                base64: STANDARD.encode(bytes),
            },
            None => Self::Text(value.string_value().unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use aws_sdk_sqs::primitives::Blob;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_envelope_says_what_sqs_knows_and_a_body_is_itself() {
        let attribute = MessageAttributeValue::builder().data_type("String");
        let text = attribute.string_value("ios").build().unwrap();
        let attribute = MessageAttributeValue::builder().data_type("Binary");
        let binary = attribute.binary_value(Blob::new([0, 1])).build().unwrap();
        let message = || Received {
            id: "m-1".into(),
            receipt: "r".into(),
            receive_count: 2,
            sent_at: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_382_400_123)),
            group: Some("g".into()),
            attributes: [
                ("source".to_owned(), text.clone()),
                ("trace".to_owned(), binary.clone()),
            ]
            .into(),
            body: "{\"näme\": \"🛒\"}".into(),
        };
        assert_eq!(
            value(RecordFormat::Body, "q", &mut message()),
            message().body
        );
        let envelope = value(RecordFormat::Envelope, "q", &mut message());
        let envelope: serde_json::Value = serde_json::from_slice(&envelope).unwrap();
        assert_eq!(
            envelope,
            json!({
                "sqs": {"queue": "q", "message_id": "m-1", "sent_at": "2026-11-22T21:20:00.123Z", "receive_count": 2,
                        "message_group_id": "g", "attributes": {"source": "ios", "trace": {"base64": "AAE="}}},
                "body": "{\"näme\": \"🛒\"}",
            })
        );
    }
}
