//! Calls of gtag.js: `gtag('event', 'purchase', {…})`, and its `arguments` as JSON, which is what a
//! data layer holds of such a call.
//!
//! <https://developers.google.com/tag-platform/gtagjs/reference>

use crate::formats::Rewritten;
use crate::json::{Entries, get, unescape};
use crate::path::StepKind;
use crate::raw::Raw;
use crate::rejection::{Reason, Refusal};
use crate::text::Arena;
use crate::write::object_of;

const COMMANDS: [&str; 6] = ["event", "config", "js", "set", "consent", "get"];

/// Returns true for the JSON of a command's name.
pub(super) fn is_name_of_command(json: &str) -> bool {
    json.starts_with('"') && COMMANDS.contains(&json.trim_matches('"'))
}

/// Rewrites `{"0":"event","1":"purchase","2":{…}}`; `None` for other objects.
pub(super) fn of_object<'a>(
    object: &Entries<'a>,
    arena: &'a Arena,
) -> Result<Option<Rewritten<'a>>, Refusal> {
    let Some(command) = get(object, "0").filter(|value| is_name_of_command(value.get())) else {
        return Ok(None);
    };
    let others = object
        .iter()
        .filter(|(key, _)| !matches!(*key, "0" | "1" | "2"));
    let others: Vec<_> = others.copied().collect();
    let [name, params] = ["1", "2"].map(|key| get(object, key));
    event(command, name, params, &others, arena).map(|mut event| {
        event.names = vec![(".params", ".2".to_owned())];
        Some(event)
    })
}

/// Returns true for a list that [`of_list`] reads.
pub(crate) fn is_command(list: Raw<'_>) -> bool {
    let list = list.elements().unwrap_or_default();
    matches!(list.len(), 2 | 3)
        && list
            .first()
            .is_some_and(|name| is_name_of_command(name.get()))
}

/// Rewrites `["event","purchase",{…}]`; `None` for other lists.
pub(crate) fn of_list<'a>(
    list: &[Raw<'a>],
    arena: &'a Arena,
) -> Result<Option<Rewritten<'a>>, Refusal> {
    let (command, name, params) = match list {
        [command, name] => (command, name, None),
        [command, name, params] => (command, name, Some(*params)),
        _ => return Ok(None),
    };
    if !is_name_of_command(command.get()) {
        return Ok(None);
    }
    event(*command, Some(*name), params, &Vec::new(), arena).map(|mut event| {
        event.names = vec![(".params", "[2]".to_owned())];
        Some(event)
    })
}

fn event<'a>(
    command: Raw<'a>,
    name: Option<Raw<'a>>,
    params: Option<Raw<'a>>,
    others: &Entries<'a>,
    arena: &'a Arena,
) -> Result<Rewritten<'a>, Refusal> {
    arena.step(StepKind::Format, || "a call of gtag.js".to_owned());
    if command.get() != "\"event\"" {
        let command = unescape(command.get(), arena).unwrap_or_default();
        let detail = format!("this is gtag's command `{command}`; only `event` tells of an event");
        return Err(Refusal::new(Reason::NotAnEvent, detail));
    }
    let own = [("event_name", name), ("params", params)].into_iter();
    let own = own.filter_map(|(key, value)| Some((key, value?)));
    let whole = object_of(others.iter().copied().chain(own), arena);
    Ok(Rewritten::whole(whole.get()))
}
