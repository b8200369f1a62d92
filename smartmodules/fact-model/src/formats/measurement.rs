//! Bodies of GA4's Measurement Protocol: who and when once, then `events`, each with a name and `params`.
//!
//! <https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference>. What the body says
//! holds for each event that does not say otherwise.

use crate::arena::Arena;
use crate::budget::Budget;
use crate::formats::Rewritten;
use crate::formats::json_text::JsonText;
use crate::formats::shape::{Entries, entries};
use crate::raw::Raw;
use crate::rejection::{Reason, Refusal};

/// Rewrites each of `events`; `None` where they are no objects.
pub(crate) fn read<'a>(
    body: &Entries<'a>,
    events: Raw<'a>,
    arena: &'a Arena,
    budget: &mut Budget<'_>,
) -> Result<Option<Vec<Rewritten<'a>>>, Refusal> {
    let Some(events) = events
        .elements()
        .filter(|events| events.iter().all(|event| event.is_object()))
    else {
        return Ok(None);
    };
    if events.is_empty() {
        let detail = "the body has no events: its `events` is empty";
        return Err(Refusal::at(Reason::NotAnEvent, detail, ".events"));
    }
    let common: Vec<_> = body.iter().filter(|(key, _)| *key != "events").collect();
    let size: usize = common
        .iter()
        .map(|(key, value)| key.len() + value.get().len())
        .sum();
    let mut rewritten = Vec::with_capacity(events.len());
    for (index, event) in events.into_iter().enumerate() {
        budget.spend(size)?;
        let mut out = JsonText::new(arena);
        out.begin_object();
        // Of a key that comes twice the later value counts: the event's own.
        for (key, value) in common.iter().copied().chain(&entries(event.get(), arena)) {
            out.entry(key, value.get());
        }
        out.end_object();
        rewritten.push(Rewritten {
            at: format!(".events[{index}]"),
            ..Rewritten::whole(out.finish())
        });
    }
    Ok(Some(rewritten))
}
