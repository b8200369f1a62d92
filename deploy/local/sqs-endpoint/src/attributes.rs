//! Message attributes and their checksum.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::protocol::SqsError;

/// The system attribute with the trace context of AWS X-Ray.
pub(crate) const TRACE_HEADER: &str = "AWSTraceHeader";

/// The attributes of one message, by name. They are shared, since they never change.
pub(crate) type MessageAttributes = Arc<BTreeMap<String, MessageAttribute>>;

/// One attribute with a text or a base64 value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MessageAttribute {
    data_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    string_value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    binary_value: Option<String>,
}

/// Checks `attributes` and computes `MD5OfMessageAttributes`; `None` without attributes.
pub(crate) fn checksum(
    attributes: &BTreeMap<String, MessageAttribute>,
) -> Result<Option<String>, SqsError> {
    if attributes.is_empty() {
        return Ok(None);
    }
    if attributes.len() > limits::MESSAGE_ATTRIBUTES {
        return Err(SqsError::invalid(
            "MessageAttributes",
            attributes.len(),
            "at most 10 attributes a message.",
        ));
    }
    let mut digest = Md5::new();
    for (name, attribute) in attributes {
        feed(&mut digest, name.as_bytes());
        feed(&mut digest, attribute.data_type.as_bytes());
        let kind = attribute.data_type.split('.').next().unwrap_or_default();
        match (kind, &attribute.string_value, &attribute.binary_value) {
            ("String" | "Number", Some(text), None) => {
                digest.update([1]);
                feed(&mut digest, text.as_bytes());
            }
            ("Binary", None, Some(encoded)) => {
                let bytes = BASE64.decode(encoded).map_err(|_| {
                    SqsError::invalid("MessageAttributes", name, "BinaryValue is not base64.")
                })?;
                digest.update([2]);
                feed(&mut digest, &bytes);
            }
            _ => {
                let reason =
                    "DataType must be String, Number or Binary, with a value of that type.";
                return Err(SqsError::invalid("MessageAttributes", name, reason));
            }
        }
    }
    Ok(Some(hex(&digest.finalize())))
}

/// Returns the text of `AWSTraceHeader`, the only system attribute that a message may be sent with.
pub(crate) fn trace_header(
    attributes: &BTreeMap<String, MessageAttribute>,
) -> Result<Option<Arc<str>>, SqsError> {
    let mut header = None;
    for (name, attribute) in attributes {
        match &attribute.string_value {
            Some(text) if name == TRACE_HEADER && attribute.data_type == "String" => {
                header = Some(text.as_str().into());
            }
            _ => {
                let reason = "only AWSTraceHeader, with the data type String.";
                return Err(SqsError::invalid("MessageSystemAttributes", name, reason));
            }
        }
    }
    Ok(header)
}

/// Returns the attributes that a receive requests by names, `prefix.*`, `All` or `.*`.
pub(crate) fn requested(
    attributes: &MessageAttributes,
    names: &[String],
) -> Option<MessageAttributes> {
    if attributes.is_empty() || names.is_empty() {
        return None;
    }
    if names.iter().any(|name| name == "All" || name == ".*") {
        return Some(Arc::clone(attributes));
    }
    let matches = |attribute: &str| {
        names.iter().any(|name| match name.strip_suffix(".*") {
            Some(prefix) => attribute.starts_with(prefix),
            None => attribute == name,
        })
    };
    let chosen: BTreeMap<_, _> = attributes
        .iter()
        .filter(|(name, _)| matches(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if chosen.is_empty() {
        None
    } else {
        Some(Arc::new(chosen))
    }
}

/// Returns the MD5 of `bytes` in lower-case hex, as in `MD5OfBody`.
pub(crate) fn md5_hex(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

/// Hashes a part with its length in front, in four bytes, big endian, like SQS.
fn feed(digest: &mut Md5, part: &[u8]) {
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    digest.update(length.to_be_bytes());
    digest.update(part);
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String can't fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
