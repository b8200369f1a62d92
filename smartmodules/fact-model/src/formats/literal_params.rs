//! Events whose `params` or `event_params` came as a text: JSON in a string, or what a platform prints of its own
//! kind of map.

use crate::arena::Arena;
use crate::formats::json_text::JsonText;
use crate::formats::shape::{Entries, get};
use crate::formats::{Rewritten, bigquery};
use crate::items;
use crate::json::{trim, unescape};
use crate::raw::Raw;
use crate::rejection::Refusal;
use crate::value::is_null;

/// Rewrites the event with an object in place of the text. `None` where there is no such text.
pub(crate) fn read<'a>(
    entries: &Entries<'a>,
    arena: &'a Arena,
) -> Result<Option<Rewritten<'a>>, Refusal> {
    let text = |key| {
        let value = get(entries, key).filter(|value| !is_null(*value))?;
        unescape(value.get(), arena).map(trim)
    };
    let mut objects = Vec::new();
    for key in ["params", "event_params"] {
        let Some(text) = text(key) else { continue };
        let object = items::rewrite(text, key, arena)
            .map_err(|refusal| refusal.within(&format!(".{key}")))?;
        // What is neither an object nor a list of parameters stays a text.
        if object.starts_with('{') {
            objects.push((key, object));
        } else if let Some(params) = bigquery::params(Raw::read(object, false), arena) {
            objects.push((key, bigquery::object_of(params, arena)));
        }
    }
    if objects.is_empty() {
        return Ok(None);
    }
    let mut out = JsonText::new(arena);
    out.begin_object();
    for (key, value) in entries {
        let object = objects.iter().find(|(name, _)| name == key);
        out.entry(key, object.map_or(value.get(), |(_, object)| object));
    }
    out.end_object();
    Ok(Some(Rewritten::whole(out.finish())))
}
