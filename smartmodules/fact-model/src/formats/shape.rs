//! What a JSON object may be besides an event with GA4's names: an envelope of AWS, or of the SQS source, around one,
//! or an event, or several, of another shape.

use crate::arena::Arena;
use crate::budget::Budget;
use crate::formats::{Rewritten, bigquery, data_layer, literal_params, measurement};
use crate::json::each_entry;
use crate::raw::Raw;
use crate::rejection::Refusal;

/// The keys and values of an object.
pub(crate) type Entries<'a> = Vec<(&'a str, Raw<'a>)>;

/// An object that is no plain event.
#[derive(Debug)]
pub(crate) enum Shape<'a> {
    /// An envelope, what it holds, and where.
    Envelope(Raw<'a>, &'static str),
    /// Events of another shape, rewritten.
    Events(Vec<Rewritten<'a>>),
    /// A push that only clears the data layer's `ecommerce`.
    Cleared,
}

/// Whether a key that no column takes tells that its object may be no plain event.
pub(crate) fn hints(key: &str, value: Raw<'_>) -> bool {
    let first = value.get().as_bytes().first();
    match key {
        "events" => first == Some(&b'['),
        "event_params" => matches!(first, Some(b'[' | b'"')),
        "params" | "Message" => first == Some(&b'"'),
        "detail" => matches!(first, Some(b'{' | b'"')),
        "sqs" => first == Some(&b'{'),
        "ecommerce" => true,
        _ => false,
    }
}

/// Tells the shape of an object; `None` for a plain event. `is_named` is whether it has an event's name.
///
/// In this order: an SNS notification, an EventBridge event, what the SQS source writes with `record-format: envelope`, a GA4 Measurement Protocol body, a
/// BigQuery export row, parameters in a text, a push to a data layer.
pub(crate) fn read<'a>(
    json: &'a str,
    is_named: bool,
    arena: &'a Arena,
    budget: &mut Budget<'_>,
) -> Result<Option<Shape<'a>>, Refusal> {
    let entries = entries(json, arena);
    let has = |key| get(&entries, key).is_some();
    if let Some(message) = get(&entries, "Message")
        && (has("TopicArn")
            || get(&entries, "Type").is_some_and(|kind| kind.get() == "\"Notification\""))
    {
        return Ok(Some(Shape::Envelope(message, ".Message")));
    }
    if let Some(detail) = get(&entries, "detail")
        && has("detail-type")
    {
        return Ok(Some(Shape::Envelope(detail, ".detail")));
    }
    if !is_named
        && get(&entries, "sqs").is_some_and(Raw::is_object)
        && let Some((body, place)) = sqs_body(&entries)
    {
        return Ok(Some(Shape::Envelope(body, place)));
    }
    if !is_named && let Some(events) = get(&entries, "events") {
        return measurement::read(&entries, events, arena, budget)
            .map(|events| events.map(Shape::Events));
    }
    if let Some(row) = bigquery::read(&entries, arena) {
        return Ok(Some(Shape::Events(vec![row])));
    }
    if let Some(event) = literal_params::read(&entries, arena)? {
        return Ok(Some(Shape::Events(vec![event])));
    }
    Ok(data_layer::read(&entries, is_named, arena))
}

/// The message's body in an envelope of the SQS source: `body`, or `base64` where it is no UTF-8.
fn sqs_body<'a>(entries: &Entries<'a>) -> Option<(Raw<'a>, &'static str)> {
    [("body", ".body"), ("base64", ".base64")]
        .into_iter()
        .find_map(|(key, place)| Some((get(entries, key)?, place)))
        .filter(|(body, _)| body.get().starts_with('"'))
}

/// `["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":…,"s3Key":…}]`, under this or an older
/// name: what the SQS extended client sends in place of a large body.
pub(crate) fn is_s3_pointer(elements: &[Raw<'_>]) -> bool {
    let [name, pointer] = elements else {
        return false;
    };
    let pointer = pointer.get();
    name.get().ends_with("S3Pointer\"")
        && pointer.starts_with('{')
        && pointer.contains("\"s3BucketName\"")
}

/// The entries of what is known to be an object; nothing otherwise.
pub(crate) fn entries<'a>(json: &'a str, arena: &'a Arena) -> Entries<'a> {
    let mut entries = Vec::new();
    // What is no object has no entries.
    if each_entry(json, arena, |key, value| entries.push((key, value))).is_err() {
        entries.clear();
    }
    entries
}

/// The value of a key; of one that came twice the later, as with every JSON parser.
pub(crate) fn get<'a>(entries: &Entries<'a>, key: &str) -> Option<Raw<'a>> {
    entries
        .iter()
        .rfind(|(name, _)| *name == key)
        .map(|(_, value)| *value)
}
