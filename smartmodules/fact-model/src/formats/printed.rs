//! Rewrites printed lists and maps as JSON, in any supported format.

use serde_json::value::RawValue;

use crate::formats::printed_rows::{self, Names};
use crate::formats::{Fault, bundle, hit, hit_items, is_further, is_word, literal, plist};
use crate::json::{repair, trim, unescape};
use crate::path::StepKind;
use crate::raw::{Raw, beginning};
use crate::rejection::{Reason, Refusal};
use crate::text::Arena;
use crate::value::is_sentinel;
use crate::write::JsonText;

/// Rewrites a printed list or map as JSON. JSON is returned unchanged. Messages refer to the text
/// as `name`.
pub(crate) fn rewrite<'a>(text: &'a str, name: &str, arena: &'a Arena) -> Result<&'a str, Refusal> {
    let json_error = match serde_json::from_str::<&RawValue>(text) {
        Ok(json) => return Ok(unpack(json.into(), name, arena)?.unwrap_or(text)),
        Err(error) => error,
    };
    let bad = |fault: &Fault| {
        let detail = format!("{name} can't be read: {}", fault.sentence(text));
        Refusal::new(fault.reason(Reason::BadItems), detail)
    };
    let mut out = JsonText::new(arena);
    let step = |format: &str| arena.step(StepKind::Format, || format!("{name}: {format}"));
    if bundle::is_bundle(text) {
        step("an Android Bundle");
        let end = bundle::read(text, 0, &mut out).map_err(|fault| bad(&fault))?;
        at_end(text, end).map_err(|fault| bad(&fault))?;
    } else if hit::is_items(text) {
        step("parameters of a web hit");
        hit::write_items(text, &mut out);
    } else if hit_items::is_parts(text) {
        step("an item of a web hit");
        hit_items::write_parts(text, &mut out);
    } else if printed_rows::is_rows(text) {
        step("rows as Java prints them");
        return printed_rows::read(text, Names::Item, arena).map_err(|fault| bad(&fault));
    } else if text.starts_with(['[', '{', '(']) || text.starts_with(literal::ARRAY) {
        return match literal_plist_or_rows(text, Names::Item, arena) {
            Ok(json) => Ok(json),
            Err(_) if is_dart(text) => {
                let detail = format!("{name} can't be read: {DART}");
                Err(Refusal::new(Reason::BadItems, detail))
            }
            Err(fault) if is_further(&fault, text, &json_error) => Err(bad(&fault)),
            Err(_) => {
                let detail = format!("{name} holds a text that is not JSON: {json_error}");
                Err(Refusal::new(Reason::BadItems, detail))
            }
        };
    } else {
        let shown = beginning(text);
        let detail = format!("{name} = \"{shown}\" is not a list of items in any known format");
        return Err(Refusal::new(Reason::BadItems, detail));
    }
    Ok(out.finish())
}

/// Rewrites a literal of Python or JavaScript, or a list or a map as iOS prints it. The fault is
/// that of the reader that got furthest.
pub(crate) fn literal_or_plist<'a>(text: &str, arena: &'a Arena) -> Result<&'a str, Fault> {
    let mut out = JsonText::new(arena);
    let of_literal = match literal::read(text, &mut out) {
        Ok(()) => {
            arena.step(StepKind::Format, || {
                "a literal of Python or JavaScript".to_owned()
            });
            // A list of all values in the text, of which there is nearly always one.
            let values = out.finish();
            let only = match serde_json::from_str::<Vec<&RawValue>>(values).as_deref() {
                Ok([only]) => Some(only.get()),
                _ => None,
            };
            return Ok(only.unwrap_or(values));
        }
        Err(fault) => fault,
    };
    if !text.starts_with(['{', '(', '[']) {
        return Err(of_literal);
    }
    let mut out = JsonText::new(arena);
    let of_plist = plist::read(text, 0, &mut out).and_then(|end| at_end(text, end));
    match of_plist {
        Ok(()) => {
            arena.step(StepKind::Format, || "a property list of iOS".to_owned());
            Ok(out.finish())
        }
        Err(fault) if fault.at > of_literal.at => Err(fault),
        Err(_) => Err(of_literal),
    }
}

/// Rewrites like [`literal_or_plist`], or rows as Java prints them. The fault is that of the reader
/// that got furthest.
pub(crate) fn literal_plist_or_rows<'a>(
    text: &str,
    names: Names,
    arena: &'a Arena,
) -> Result<&'a str, Fault> {
    literal_or_plist(text, arena).or_else(|fault| {
        if !printed_rows::may_be_rows(text) {
            return Err(fault);
        }
        let rows = printed_rows::read(text, names, arena).inspect(|_| {
            arena.step(StepKind::Format, || "rows as Java prints them".to_owned());
        });
        rows.map_err(|of_rows| {
            if of_rows.at > fault.at {
                of_rows
            } else {
                fault
            }
        })
    })
}

/// The sentence for [`is_dart`].
pub(crate) const DART: &str = "this is a map or a list as Dart prints it, in which texts have no \
    quotes, so where one ends is unknown; send `jsonEncode(…)` of it";

/// Returns true if a text looks like what Dart prints of a map or a list of maps: `{item_id: A1,
/// price: 9.99}`. Readers of other formats must have failed.
pub(crate) fn is_dart(text: &str) -> bool {
    let Some(map) = text.trim_start_matches(['[', ' ']).strip_prefix('{') else {
        return false;
    };
    let key = map.bytes().take_while(|byte| is_word(*byte)).count();
    let value = map.get(key..).and_then(|rest| rest.strip_prefix(": "));
    let quoted = [": \"", ": '", ": `"]
        .iter()
        .any(|quote| text.contains(quote));
    key > 0 && value.is_some() && !quoted
}

/// Checks that nothing follows after `end`.
fn at_end(text: &str, end: usize) -> Result<(), Fault> {
    match text.get(end..).map(str::trim) {
        None | Some("" | ";") => Ok(()),
        Some(_) => Err(Fault::new(end, "something follows")),
    }
}

/// Rewrites a list in which strings hold an item or a list of items. `None` for a list without
/// strings.
fn unpack<'a>(list: Raw<'a>, name: &str, arena: &'a Arena) -> Result<Option<&'a str>, Refusal> {
    let is_text = |element: &Raw<'_>| element.get().starts_with('"');
    let elements = list.elements().unwrap_or_default();
    if !elements.iter().any(is_text) {
        return Ok(None);
    }
    let mut out = JsonText::new(arena);
    out.begin_list();
    for (index, element) in elements.into_iter().enumerate() {
        let text = is_text(&element)
            .then(|| unescape(element.get(), arena))
            .flatten();
        let Some(text) = text else {
            out.raw(element.get());
            continue;
        };
        let text = repair(trim(text), arena);
        if is_sentinel(text) {
            continue;
        }
        // Only one level of lists in strings is unpacked.
        let json = match serde_json::from_str::<&RawValue>(text) {
            Ok(json) => json.get(),
            Err(_) => rewrite(text, name, arena)
                .map_err(|refusal| refusal.within(&format!("[{index}]")))?,
        };
        match json
            .strip_prefix('[')
            .and_then(|json| json.strip_suffix(']'))
        {
            Some(inner) if inner.trim().is_empty() => {}
            Some(inner) => out.raw(inner),
            None => out.raw(json),
        }
    }
    out.end_list();
    Ok(Some(out.finish()))
}
