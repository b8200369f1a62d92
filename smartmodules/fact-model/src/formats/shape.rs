//! Recognizes JSON objects that aren't plain events with GA4's names: envelopes of AWS or the SQS
//! source, and events of another shape.

use crate::formats::container::{self, Object, is_numbered, listed, opened};
use crate::formats::printed::rewrite;
use crate::formats::{Envelope, Rewritten, Shape, bigquery, data_layer, vendors};
use crate::json::{Entries, entries, get, size};
use crate::limits::Budget;
use crate::path::StepKind;
use crate::raw::Raw;
use crate::rejection::{Reason, Refusal};
use crate::text::Arena;
use crate::value::is_null;
use crate::write::object_of;

/// Returns the shape of an object; `None` for a plain event. `is_named` means that it has an
/// event's name.
///
/// In order: a wrapper of AWS or another vendor's event (`formats::vendors`), an SNS notification,
/// an EventBridge event, a record of the SQS source with `record-format: envelope`, a GA4
/// Measurement Protocol body, a row of GA4's BigQuery export, a push to a data layer, an object or
/// list in a text.
pub(crate) fn read<'a>(
    json: &'a str,
    is_named: bool,
    arena: &'a Arena,
    budget: &mut Budget<'_>,
) -> Result<Option<Shape<'a>>, Refusal> {
    let mut entries = entries(json, arena);
    if let Some(shape) = vendors::read(&entries, is_named, arena, budget)? {
        return Ok(Some(shape));
    }
    if entries
        .first()
        .is_some_and(|(key, value)| is_numbered(key, *value))
    {
        let list = listed(Raw::read(json, false), arena);
        if !list.is_object() {
            return Ok(Some(Shape::List(list)));
        }
    }
    let has = |key| get(&entries, key).is_some();
    if let Some(message) = get(&entries, "Message")
        && (has("TopicArn")
            || get(&entries, "Type").is_some_and(|kind| kind.get() == "\"Notification\""))
    {
        return Ok(Some(Shape::Envelope(Envelope {
            name: "an SNS notification",
            content: message,
            at: ".Message",
        })));
    }
    if let Some(detail) = get(&entries, "detail")
        && has("detail-type")
    {
        return Ok(Some(Shape::Envelope(Envelope {
            name: "an EventBridge event",
            content: detail,
            at: ".detail",
        })));
    }
    if !is_named
        && get(&entries, "sqs").is_some_and(Raw::is_object)
        && let Some(envelope) = sqs_body(&entries)
    {
        return Ok(Some(Shape::Envelope(envelope)));
    }
    if !is_named
        && let Some(events) = get(&entries, "events")
        && let Some(events) = measurement_protocol(&entries, events, arena, budget)?
    {
        step("a body of GA4's Measurement Protocol", arena);
        return Ok(Some(Shape::Events(events)));
    }
    let ecommerce = get(&entries, "ecommerce");
    if !is_named && ecommerce.is_some_and(|value| value.get() == "null") {
        return Ok(Some(Shape::Cleared));
    }
    Ok(events(&mut entries, arena)?.map(Shape::Events))
}

fn step(format: &str, arena: &Arena) {
    arena.step(StepKind::Format, || format.to_owned());
}

/// Returns the events of an object that has an event's values in another shape; `None` for a plain
/// event.
fn events<'a>(
    entries: &mut Entries<'a>,
    arena: &'a Arena,
) -> Result<Option<Vec<Rewritten<'a>>>, Refusal> {
    let has_opened = open_texts(entries, arena)?;
    if let Some(row) = bigquery::read(entries, arena) {
        step("a row of GA4's BigQuery export", arena);
        return Ok(Some(vec![row]));
    }
    if let Some(events) = data_layer::read(entries, arena) {
        step("a push to a data layer", arena);
        return Ok(Some(events));
    }
    if has_opened {
        step("an event with its parameters in a text", arena);
        return Ok(Some(vec![whole(entries, arena)]));
    }
    Ok(None)
}

fn whole<'a>(entries: &Entries<'a>, arena: &'a Arena) -> Rewritten<'a> {
    Rewritten::whole(object_of(entries.iter().copied(), arena).get())
}

/// Returns the message body in an envelope of the SQS source: `body`, or `base64` if it isn't
/// UTF-8.
fn sqs_body<'a>(entries: &Entries<'a>) -> Option<Envelope<'a>> {
    let name = "a record of the SQS source";
    [("body", ".body"), ("base64", ".base64")]
        .into_iter()
        .find_map(|(key, at)| {
            let content = get(entries, key)?;
            Some(Envelope { name, content, at })
        })
        .filter(|envelope| envelope.content.get().starts_with('"'))
}

/// Returns true for the array that the SQS extended client sends in place of a large body:
/// `["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":…,"s3Key":…}]`, under
/// this or an older name.
pub(crate) fn is_s3_pointer(elements: &[Raw<'_>]) -> bool {
    let [name, pointer] = elements else {
        return false;
    };
    let pointer = pointer.get();
    name.get().ends_with("S3Pointer\"")
        && pointer.starts_with('{')
        && pointer.contains("\"s3BucketName\"")
}

/// Rewrites a body of GA4's Measurement Protocol: user and time once, then `events`, each with a
/// name and `params`. The body's values apply to each event that has none of its own; else they
/// are kept beside the event's. `None` if `events` isn't a list of objects.
///
/// <https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference>
fn measurement_protocol<'a>(
    body: &Entries<'a>,
    events: Raw<'a>,
    arena: &'a Arena,
    budget: &mut Budget<'_>,
) -> Result<Option<Vec<Rewritten<'a>>>, Refusal> {
    let list = listed(opened(events, arena), arena);
    let mut events = match list.elements() {
        Some(events) => events,
        None => vec![list],
    };
    for event in &mut events {
        *event = opened(*event, arena);
    }
    if !events.iter().all(|event| event.is_object()) {
        return Ok(None);
    }
    if events.is_empty() {
        let detail = "the body has no events: its `events` is empty";
        return Err(Refusal::at(Reason::NotAnEvent, detail, ".events"));
    }
    let common: Object<'a> = body
        .iter()
        .copied()
        .filter(|(key, _)| *key != "events")
        .collect();
    let size = size(common.clone());
    let mut rewritten = Vec::with_capacity(events.len());
    for (index, event) in events.into_iter().enumerate() {
        budget.spend(size)?;
        let mut own: Object<'a> = entries(event.get(), arena).into_iter().collect();
        let (overruled, shared): (Object<'a>, Object<'a>) = common
            .iter()
            .partition(|(key, _)| own.get(*key).is_some_and(|value| !is_null(*value)));
        let overruled: Object<'a> = overruled
            .into_iter()
            .filter(|(key, value)| {
                !is_null(*value) && own.get(key).is_some_and(|own| own.get() != value.get())
            })
            .collect();
        own.extend(shared);
        if !overruled.is_empty() {
            own.insert(
                "event_params",
                beside(overruled, own.get("event_params"), arena),
            );
        }
        let at = format!(".events[{index}]");
        let mut own: Entries<'a> = own.into_iter().collect();
        match self::events(&mut own, arena) {
            Ok(None) => rewritten.push(Rewritten {
                at,
                ..whole(&own, arena)
            }),
            Ok(Some(events)) => rewritten.extend(events.into_iter().map(|event| Rewritten {
                at: at.clone(),
                ..event
            })),
            Err(refusal) => rewritten.push(Rewritten {
                at,
                refused: Some(refusal),
                ..Rewritten::whole("{}")
            }),
        }
    }
    Ok(Some(rewritten))
}

/// Returns an event's `event_params` with the values of its body that it overrules: values there
/// come after all others. Those for which the event has a parameter too are in an object `body`.
fn beside<'a>(overruled: Object<'a>, own: Option<&Raw<'a>>, arena: &'a Arena) -> Raw<'a> {
    let mut params = match own.map(|own| (*own, container::object(*own, arena))) {
        None => Object::new(),
        Some((_, Some(params))) => params,
        Some((text, None)) => Object::from([("event_params", text)]),
    };
    if overruled.keys().any(|key| params.contains_key(key)) {
        params.insert("body", object_of(overruled, arena));
    } else {
        params.extend(overruled);
    }
    object_of(params, arena)
}

/// Replaces texts that hold an event's objects: JSON in a string, or a map as some platform prints
/// it. Returns true if there was one, or a list that came as an object.
fn open_texts<'a>(entries: &mut Entries<'a>, arena: &'a Arena) -> Result<bool, Refusal> {
    let mut has_opened = false;
    for (key, value) in entries {
        let object = match *key {
            "params" | "event_params" if !is_null(*value) => params(*value, key, arena)?,
            "ecommerce" | "eventModel" => opened_or_printed(*value, key, arena)?,
            _ => continue,
        };
        has_opened |= object.get().len() != value.get().len();
        *value = object;
    }
    Ok(has_opened)
}

/// Returns the object or list in a text, JSON or printed, as [`opened`] does. A text that starts
/// like one and can't be read is refused; messages refer to it as `name`.
fn opened_or_printed<'a>(value: Raw<'a>, name: &str, arena: &'a Arena) -> Result<Raw<'a>, Refusal> {
    match container::text(value, arena) {
        Some(text) if text.starts_with(['{', '[']) || text.starts_with("Bundle[") => {
            let json = rewrite(text, name, arena);
            json.map(|json| Raw::read(json, false))
                .map_err(|refusal| refusal.within(&format!(".{name}")))
        }
        _ => Ok(value),
    }
}

/// Returns parameters that are in a text, or a list of those of the BigQuery export that came as an
/// object with numbers as keys. In `event_params` such a list stays a list, elsewhere it becomes an
/// object. Other JSON stays as it came; a text in no known format is refused.
fn params<'a>(value: Raw<'a>, key: &str, arena: &'a Arena) -> Result<Raw<'a>, Refusal> {
    let json = match container::text(value, arena) {
        Some(text) => {
            rewrite(text, key, arena).map_err(|refusal| refusal.within(&format!(".{key}")))?
        }
        None if value.is_object() => value.get(),
        None => return Ok(value),
    };
    let list = listed(Raw::read(json, false), arena);
    if list.is_object() || key == "event_params" && bigquery::params(list, arena).is_some() {
        return Ok(list);
    }
    // Only `event_params` may be a list.
    Ok(bigquery::params(list, arena).map_or(value, |params| {
        Raw::read(bigquery::object_of(params, (key, list), arena), false)
    }))
}
