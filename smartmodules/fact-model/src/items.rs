//! The list of items in an event, whichever way it is written.
//!
//! # In which order formats are told apart
//!
//! 1. A JSON array of objects, or one object. This is the fast path: nothing is asked before.
//! 2. A JSON string: its text is read from the top, up to three strings deep; a sentinel is no items.
//! 3. JSON with strings among its elements: each is read as one item, or several.
//! 4. `Bundle[…]`, `[Bundle[…], …]`: what Android prints ([`bundle`]).
//! 5. A query string with a key such as `pr1` or `il1pi1id`: parameters of a web hit ([`hit`]).
//! 6. At least two parts with `~` between them, both with a two-letter key of gtag.js ([`hit_items`]).
//! 7. Rows as Java prints them: `[{item_id=…, …}, …]` ([`printed_rows`]).
//! 8. A literal of Python or JavaScript ([`literal`]).
//! 9. What iOS prints of an array or a dictionary ([`plist`]).
//!
//! A null among the items is no item. From 3 on the items are rewritten as the JSON that they mean. What is none of these is refused, with the
//! error of the reader that got furthest.

use serde_json::value::RawValue;

use crate::arena::Arena;
use crate::formats::json_text::JsonText;
use crate::formats::printed_rows::{self, Names};
use crate::formats::{Fault, bundle, hit, hit_items, is_further, literal, plist};
use crate::item::Item;
use crate::json::{repair, trim, unescape, why_not};
use crate::keys::{Found, beginning};
use crate::raw::Raw;
use crate::rejection::{Reason, Refusal};
use crate::scan::{GiveUp, Scanner};
use crate::unknown::Unknown;
use crate::value::is_sentinel;

/// How often a text may be written into a text that is written into a text.
pub(crate) const MAX_STRINGS: usize = 3;

/// Reads the items. `spend` is asked before each whether there is room for its fact, with the number of
/// those before it.
pub(crate) fn read<'a>(
    found: &Found<'a>,
    arena: &'a Arena,
    spend: &mut dyn FnMut(usize) -> Result<(), Refusal>,
) -> Result<Vec<Item<'a>>, Refusal> {
    let bad = |detail: String| Refusal::at(Reason::BadItems, detail, found.place());
    let mut list = |json| {
        let mut list = List::new(arena, spend);
        let read = list.read(json);
        match (read, list.refusal) {
            (Ok(()), _) => Ok(Ok(list.items)),
            (Err(_), Some(refusal)) => Err(refusal),
            (Err(error), None) => Ok(Err(error)),
        }
    };
    let mut text = found.raw.get();
    for _ in 0..=MAX_STRINGS {
        match text.as_bytes().first() {
            Some(b'"') => {
                let string = unescape(text, arena)
                    .ok_or_else(|| bad(format!("{} is no JSON string", found.shown())))?;
                text = repair(trim(string), arena);
                continue;
            }
            _ if is_sentinel(text) => return Ok(Vec::new()),
            Some(b'[' | b'{') => {
                if let Ok(items) = list(text)? {
                    return Ok(items);
                }
            }
            _ if text.len() == found.raw.get().len() => {
                return Err(bad(format!("{} is no list of items", found.shown())));
            }
            _ => {}
        }
        let rewritten =
            rewrite(text, "items", arena).map_err(|refusal| refusal.within(&found.place()))?;
        return list(rewritten)?.map_err(|error| first_bad(rewritten, found, &error));
    }
    Err(bad(format!(
        "{} is a text in a text, more than {MAX_STRINGS} deep",
        found.shown()
    )))
}

/// Rewrites a text in another format, what is printed of a list or a map, as the JSON that it means; JSON
/// stays as it is. `name` is what a person knows the text as.
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
    if bundle::is_bundle(text) {
        let end = bundle::read(text, 0, &mut out).map_err(|fault| bad(&fault))?;
        at_end(text, end).map_err(|fault| bad(&fault))?;
    } else if hit::is_items(text) {
        hit::write_items(text, &mut out);
    } else if hit_items::is_parts(text) {
        hit_items::write_parts(text, &mut out);
    } else if printed_rows::is_rows(text) {
        return printed_rows::read(text, Names::Item, arena).map_err(|fault| bad(&fault));
    } else if text.starts_with(['[', '{', '(']) {
        return match literal_plist_or_rows(text, Names::Item, arena) {
            Ok(json) => Ok(json),
            Err(fault) if is_further(&fault, text, &json_error) => Err(bad(&fault)),
            Err(_) => {
                let detail = format!("{name} holds a text that is no JSON: {json_error}");
                Err(Refusal::new(Reason::BadItems, detail))
            }
        };
    } else {
        let shown = beginning(text);
        let detail =
            format!("{name} = \"{shown}\" is no list of items in any format that is known");
        return Err(Refusal::new(Reason::BadItems, detail));
    }
    Ok(out.finish())
}

/// Rewrites what Python, JavaScript or iOS prints. The fault is that of the reader that got furthest.
pub(crate) fn literal_or_plist<'a>(text: &str, arena: &'a Arena) -> Result<&'a str, Fault> {
    let mut out = JsonText::new(arena);
    let of_literal = match literal::read(text, &mut out) {
        Ok(()) => {
            // One value for each that the text holds; nearly always it is one.
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
        Ok(()) => Ok(out.finish()),
        Err(fault) if fault.at > of_literal.at => Err(fault),
        Err(_) => Err(of_literal),
    }
}

/// Rewrites what a program prints of a list or a map. The fault is that of the reader that got furthest.
pub(crate) fn literal_plist_or_rows<'a>(
    text: &str,
    names: Names,
    arena: &'a Arena,
) -> Result<&'a str, Fault> {
    literal_or_plist(text, arena).or_else(|fault| {
        if !printed_rows::may_be_rows(text) {
            return Err(fault);
        }
        let rows = printed_rows::read(text, names, arena);
        rows.map_err(|of_rows| {
            if of_rows.at > fault.at {
                of_rows
            } else {
                fault
            }
        })
    })
}

/// Checks that nothing stands behind what ends at `end`.
fn at_end(text: &str, end: usize) -> Result<(), Fault> {
    match text.get(end..).map(str::trim) {
        None | Some("" | ";") => Ok(()),
        Some(_) => Err(Fault::new(end, "something follows")),
    }
}

/// Rewrites a list with strings among its elements, each of which holds an item or a list of them. `None`
/// for a list without.
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
        // A list in a list in a text is none: only one level is looked into.
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

/// Finds what is wrong with a list of items that could not be read.
fn first_bad(json: &str, found: &Found<'_>, error: &serde_json::Error) -> Refusal {
    let place = found.place();
    let elements: Vec<&RawValue> = match serde_json::from_str(json) {
        Ok(elements) => elements,
        Err(_) => {
            let detail = format!("items holds a text that is no JSON: {error}");
            return Refusal::at(Reason::BadItems, detail, place);
        }
    };
    let index = elements
        .iter()
        .position(|element| !element.get().starts_with('{') && element.get() != "null")
        .unwrap_or(0);
    let detail = format!("item {} of {} is no object", index + 1, elements.len());
    Refusal::at(Reason::BadItems, detail, format!("{place}[{index}]"))
}

/// A list of items in the making.
struct List<'a, 'f> {
    items: Vec<Item<'a>>,
    arena: &'a Arena,
    spend: &'f mut dyn FnMut(usize) -> Result<(), Refusal>,
    /// Why there was no room for one more item.
    refusal: Option<Refusal>,
    /// The unknown keys of the item that is being read.
    unknown: Unknown<'a>,
}

impl<'a, 'f> List<'a, 'f> {
    fn new(arena: &'a Arena, spend: &'f mut dyn FnMut(usize) -> Result<(), Refusal>) -> Self {
        Self {
            items: Vec::new(),
            arena,
            spend,
            refusal: None,
            unknown: Unknown::default(),
        }
    }

    fn read(&mut self, json: &'a str) -> serde_json::Result<()> {
        let mut scanner = Scanner::new(json);
        let read = if json.starts_with('[') {
            scanner.array(|scanner| self.read_item(scanner))
        } else {
            self.read_item(&mut scanner)
        };
        read.and_then(|()| scanner.end())
            .map_err(|_| why_not(json, "an item is no object"))
    }

    fn read_item(&mut self, scanner: &mut Scanner<'a>) -> Result<(), GiveUp> {
        if scanner.null() {
            return Ok(());
        }
        if let Err(too_many) = (self.spend)(self.items.len()) {
            self.refusal = Some(too_many);
            return Err(GiveUp);
        }
        read_item(scanner, &mut self.items, &mut self.unknown, self.arena)
    }
}

fn read_item<'a>(
    scanner: &mut Scanner<'a>,
    items: &mut Vec<Item<'a>>,
    unknown: &mut Unknown<'a>,
    arena: &'a Arena,
) -> Result<(), GiveUp> {
    // An item is large: it is made in its place.
    items.push(Item::default());
    let item = items.last_mut().ok_or(GiveUp)?;
    scanner.object(arena, |scanner, key| {
        item.take(key, scanner.value()?, unknown, arena);
        Ok(())
    })?;
    item.finish(unknown, arena);
    Ok(())
}

/// How many items are read ahead at most: items take more room than their texts, and only [`read`] asks before each
/// whether there is any.
const MOST_AHEAD: usize = 256;

/// Room for as many items as most events have.
const FEW: usize = 8;

/// Items that were read when they were met, before anything else is known of their event.
#[derive(Debug)]
pub(crate) struct ReadAhead<'a> {
    pub(crate) raw: Raw<'a>,
    pub(crate) items: Vec<Item<'a>>,
}

/// Reads the items that `scanner` is at, if they are a JSON array of a few objects; all else is for [`read`].
pub(crate) fn read_ahead<'a>(
    scanner: &mut Scanner<'a>,
    arena: &'a Arena,
) -> Result<ReadAhead<'a>, GiveUp> {
    let (items, raw) = scanner.try_value(|scanner| {
        let mut items = Vec::with_capacity(FEW);
        let mut unknown = Unknown::default();
        scanner.array(|scanner| {
            if scanner.null() {
                return Ok(());
            }
            if items.len() == MOST_AHEAD {
                return Err(GiveUp);
            }
            read_item(scanner, &mut items, &mut unknown, arena)
        })?;
        Ok(items)
    })?;
    Ok(ReadAhead { raw, items })
}
