//! The records of the topic: the value and the key made from a message, and the position in the
//! topic.
//!
//! With `record-format: body` the value is the message's body. With `envelope` it is a JSON object:
//!
//! ```json
//! {"sqs":{"queue":"shop-events","message_id":"8b1f…","sent_at":"2026-11-22T21:20:00.123Z",
//!         "receive_count":1,"message_group_id":"u-1","trace_header":"Root=1-5759…",
//!         "attributes":{"source":"ios","trace":{"base64":"AAE="}}},
//!  "body":"…"}
//! ```
//!
//! `message_group_id` is present for FIFO queues, `trace_header` if the sender gave an
//! `AWSTraceHeader`. Attributes are strings; numbers are strings as in SQS, and binary ones are
//! objects with the bytes in base64. A body that is not UTF-8 would be `base64` in place of `body`;
//! SQS does not accept one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use aws_sdk_sqs::types::MessageAttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use connector_common::keys::{Key, first_word};
use fluvio::dataplane::record::RecordData;
use serde::Serialize;

use crate::config::RecordFormat;
use crate::queue::{MessageId, Received};

/// A record to produce.
#[derive(Clone, Debug)]
pub struct Record {
    /// The id of its message.
    pub id: MessageId,
    /// The key; see [`connector_common::keys`].
    pub key: Arc<str>,
    /// True if its message has a group, whose records go to one partition in their order.
    pub is_grouped: bool,
    /// The value. Clones share the bytes.
    pub value: RecordData,
    /// The time when the message was sent.
    pub sent_at: Option<SystemTime>,
}

impl Record {
    /// The trace context of its message's sender, for the log.
    #[must_use]
    pub fn trace(&self) -> Option<&str> {
        Key::parse(self.key.as_bytes())?.trace
    }

    /// True if both messages have the same group.
    pub(crate) fn is_in_group_of(&self, other: &Self) -> bool {
        self.is_grouped && other.is_grouped && first_word(&self.key) == first_word(&other.key)
    }
}

/// The position of a record in the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPosition {
    /// The partition.
    pub partition: u32,
    /// The offset in the partition.
    pub offset: i64,
}

/// The record's value for a message of the queue with this name or URL. Takes the body out of the
/// message.
#[must_use]
pub fn value(format: RecordFormat, queue: &str, message: &mut Received) -> Vec<u8> {
    let queue = queue.rsplit('/').next().unwrap_or(queue);
    let body = std::mem::take(&mut message.body);
    match format {
        RecordFormat::Body => body,
        // Strings and maps of them always serialize.
        RecordFormat::Envelope => {
            serde_json::to_vec(&Envelope::new(queue, message, &body)).unwrap_or(body)
        }
    }
}

#[derive(Serialize)]
struct Envelope<'m> {
    sqs: Metadata<'m>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

#[derive(Serialize)]
struct Metadata<'m> {
    queue: &'m str,
    message_id: &'m str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<String>,
    receive_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_group_id: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_header: Option<&'m str>,
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
    fn new(queue: &'m str, message: &'m Received, body: &'m [u8]) -> Self {
        let text = std::str::from_utf8(body).ok();
        let sent_at = message.sent_at.map(DateTime::<Utc>::from);
        Self {
            sqs: Metadata {
                queue,
                message_id: &message.id,
                sent_at: sent_at.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true)),
                receive_count: message.receive_count,
                message_group_id: message.group.as_deref(),
                trace_header: message.trace_header.as_deref(),
                attributes: message
                    .attributes
                    .iter()
                    .map(|(name, value)| (name.as_str(), Attribute::new(value)))
                    .collect(),
            },
            base64: text.is_none().then(|| STANDARD.encode(body)),
            body: text,
        }
    }
}

impl<'m> Attribute<'m> {
    fn new(value: &'m MessageAttributeValue) -> Self {
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
    use std::time::Duration;

    use aws_sdk_sqs::primitives::Blob;
    use connector_common::keys::Sent;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_envelope_has_the_metadata_of_sqs_and_a_body_is_unchanged() {
        let attribute = MessageAttributeValue::builder().data_type("String");
        let text = attribute.string_value("ios").build().unwrap();
        let attribute = MessageAttributeValue::builder().data_type("Binary");
        let binary = attribute.binary_value(Blob::new([0, 1])).build().unwrap();
        let message = || Received {
            id: "m-1".into(),
            receipt: "r".into(),
            receive_count: 2,
            sent_at: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_382_400_123)),
            sent: Sent::default(),
            group: Some("g".into()),
            trace_header: Some("Root=1-5759e988".into()),
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
                "sqs": {
                    "queue": "q", "message_id": "m-1", "sent_at": "2026-11-22T21:20:00.123Z",
                    "receive_count": 2, "message_group_id": "g", "trace_header": "Root=1-5759e988",
                    "attributes": {"source": "ios", "trace": {"base64": "AAE="}},
                },
                "body": "{\"näme\": \"🛒\"}",
            })
        );
    }
}
