//! A message body: which events it holds.

use serde_json::value::RawValue;

use crate::arena::Arena;
use crate::budget::Budget;
use crate::envelope::Envelope;
use crate::event;
use crate::json::trim;
use crate::options::Options;
use crate::rejection::{Reason, Refusal};

/// Turns a message body, whatever it holds, into facts and rejections; at least one of either.
///
/// The envelope has its own copy of every text. Where that matters, [`flatten_in`] copies nothing.
pub fn flatten(body: &[u8]) -> Envelope<'static> {
    flatten_in(&Arena::new(), &Options::default(), body, None).into_owned()
}

/// Does what [`flatten`] does, on an operator's terms and with texts borrowed from the body and from
/// `arena`. `record_time` is when the record was written to the topic, in ms of Unix time.
pub fn flatten_in<'a>(
    arena: &'a Arena,
    options: &Options,
    body: &'a [u8],
    record_time: Option<i64>,
) -> Envelope<'a> {
    let budget = Budget::of_body(body.len(), options, record_time);
    read(arena, budget, body).unwrap_or_else(|refusal| refuse(refusal, body))
}

/// The envelope of a body that is refused unread, for a reason that lies outside of it.
pub fn reject<'a>(body: &'a [u8], reason: Reason, detail: &str) -> Envelope<'a> {
    refuse(Refusal::new(reason, detail), body)
}

fn refuse(refusal: Refusal, body: &[u8]) -> Envelope<'_> {
    Envelope {
        facts: Vec::new(),
        rejected: vec![refusal.of("$", body)],
    }
}

/// Reads a body; the error refuses it as a whole.
fn read<'a>(
    arena: &'a Arena,
    mut budget: Budget<'_>,
    body: &'a [u8],
) -> Result<Envelope<'a>, Refusal> {
    budget.check_size(body.len())?;
    let text = std::str::from_utf8(body).map_err(|error| {
        let detail = format!("the body is not UTF-8: {error}");
        Refusal::new(Reason::NotUtf8, detail)
    })?;
    let json = trim(text);
    let mut envelope = Envelope::default();
    match json.as_bytes().first() {
        None => return Err(Refusal::new(Reason::EmptyBody, "the body is empty")),
        Some(b'{') => event::flatten(json, arena, &mut budget, &mut envelope.facts)?,
        Some(b'[') => read_array(json, arena, &mut budget, &mut envelope)?,
        Some(_) => return Err(no_event(json)),
    }
    Ok(envelope)
}

/// Reads an array of events, each of which is accepted or rejected by itself.
fn read_array<'a>(
    json: &'a str,
    arena: &'a Arena,
    budget: &mut Budget<'_>,
    envelope: &mut Envelope<'a>,
) -> Result<(), Refusal> {
    let events: Vec<&RawValue> = serde_json::from_str(json).map_err(|error| not_json(&error))?;
    if events.is_empty() {
        return Err(Refusal::new(
            Reason::NotAnEvent,
            "the body is an empty array",
        ));
    }
    for (index, event) in events.into_iter().enumerate() {
        let event = event.get();
        let read = if event.starts_with('{') {
            event::flatten(event, arena, budget, &mut envelope.facts)
        } else {
            Err(no_event(event))
        };
        match read {
            Ok(()) => {}
            // Once there is no room the rest would only be lost: the body is refused as a whole.
            Err(refusal) if refusal.reason == Reason::TooLarge => return Err(refusal),
            Err(refusal) => {
                budget.spend(event.len())?;
                let place = format!("$[{index}]");
                envelope.rejected.push(refusal.of(&place, event.as_bytes()));
            }
        }
    }
    Ok(())
}

fn no_event(json: &str) -> Refusal {
    let kind = match (
        serde_json::from_str::<&RawValue>(json),
        json.as_bytes().first(),
    ) {
        (Err(error), _) => return not_json(&error),
        (Ok(_), Some(b'"')) => "a JSON string",
        (Ok(_), Some(b'[')) => "a JSON array",
        (Ok(_), Some(b'n')) => "null",
        (Ok(_), Some(b't' | b'f')) => "true or false",
        (Ok(_), _) => "a number",
    };
    Refusal::new(
        Reason::NotAnEvent,
        format!("an event is a JSON object, this is {kind}"),
    )
}

fn not_json(error: &serde_json::Error) -> Refusal {
    Refusal::new(Reason::NotJson, format!("the body is no JSON: {error}"))
}
