//! Reads the items of an event in any notation.
//!
//! # Order of detection
//!
//! 1. A JSON array of objects, or one object. This is the fast path, tried first. An object with
//!    numbers as keys is a list (`formats::container`).
//! 2. A JSON string: its content is detected anew, up to three strings deep. A sentinel means no
//!    items.
//! 3. A JSON array with strings: each string is read as one or several items.
//! 4. `Bundle[…]`, `[Bundle[…], …]` as Android prints them (`formats::bundle`).
//! 5. A query string with a key such as `pr1` or `il1pi1id`: parameters of a web hit
//!    (`formats::hit`).
//! 6. Two or more parts separated by `~`, each with a two-letter key of gtag.js
//!    (`formats::hit_items`).
//! 7. Rows as Java prints them, `[{item_id=…, …}, …]` (`formats::printed_rows`).
//! 8. A Python or JavaScript literal, or a list as Swift or numpy prints it (`formats::literal`).
//! 9. An array or a dictionary as iOS prints it (`formats::plist`).
//!
//! A null in the list is skipped. Formats 3 to 9 are rewritten as JSON (`formats::printed`). If
//! none matches, the event is rejected with the error of the reader that got furthest.

use serde_json::value::RawValue;

use crate::formats::container::listed;
use crate::formats::printed::rewrite;
use crate::item::Item;
use crate::json::{json_error, repair, trim, unescape};
use crate::limits::MAX_STRINGS;
use crate::path::StepKind;
use crate::raw::{Found, Raw};
use crate::rejection::{Reason, Refusal};
use crate::scan::{GiveUp, Scanner};
use crate::text::Arena;
use crate::unknown::Unknown;
use crate::value::is_sentinel;

/// Reads the items and returns them with their JSON. Before each one, `spend` gets the number of
/// items so far and may refuse the next.
pub(crate) fn read<'a>(
    found: &Found<'a>,
    arena: &'a Arena,
    spend: &mut dyn FnMut(usize) -> Result<(), Refusal>,
) -> Result<(&'a str, Vec<Item<'a>>), Refusal> {
    let bad = |detail: String| Refusal::at(Reason::BadItems, detail, found.place());
    let mut list = |json: &'a str| {
        let mut list = List::new(arena, spend);
        let read = list.read(json);
        match (read, list.refusal) {
            (Ok(()), _) => Ok(Ok((json, list.items))),
            (Err(_), Some(refusal)) => Err(refusal),
            (Err(error), None) => Ok(Err(error)),
        }
    };
    let numbered = |json| listed(Raw::read(json, false), arena).get();
    let mut text = numbered(found.raw.get());
    for _ in 0..=MAX_STRINGS {
        match text.as_bytes().first() {
            Some(b'"') => {
                let string = unescape(text, arena)
                    .ok_or_else(|| bad(format!("{} is not a JSON string", found.shown())))?;
                text = numbered(repair(trim(string), arena));
                arena.step(StepKind::Envelope, || {
                    "items: a text in a string".to_owned()
                });
                continue;
            }
            _ if is_sentinel(text) => return Ok((text, Vec::new())),
            Some(b'[' | b'{') => {
                if let Ok(items) = list(text)? {
                    return Ok(items);
                }
            }
            _ if !found.raw.get().starts_with('"') => {
                return Err(bad(format!("{} is not a list of items", found.shown())));
            }
            _ => {}
        }
        let rewritten =
            rewrite(text, "items", arena).map_err(|refusal| refusal.within(&found.place()))?;
        let rewritten = numbered(rewritten);
        return list(rewritten)?.map_err(|error| first_bad(rewritten, found, &error));
    }
    Err(bad(format!(
        "{} has more than {MAX_STRINGS} nested JSON strings",
        found.shown()
    )))
}

/// Returns the refusal of a list of items that could not be read.
fn first_bad(json: &str, found: &Found<'_>, error: &serde_json::Error) -> Refusal {
    let place = found.place();
    let elements: Vec<&RawValue> = match serde_json::from_str(json) {
        Ok(elements) => elements,
        Err(_) => {
            let detail = format!("items holds a text that is not JSON: {error}");
            return Refusal::at(Reason::BadItems, detail, place);
        }
    };
    let index = elements
        .iter()
        .position(|element| !element.get().starts_with('{') && element.get() != "null")
        .unwrap_or(0);
    let detail = format!("item {} of {} is not an object", index + 1, elements.len());
    Refusal::at(Reason::BadItems, detail, format!("{place}[{index}]"))
}

/// A list of items that is being read.
struct List<'a, 'f> {
    items: Vec<Item<'a>>,
    arena: &'a Arena,
    spend: &'f mut dyn FnMut(usize) -> Result<(), Refusal>,
    /// The refusal of `spend`.
    refusal: Option<Refusal>,
    /// The unknown keys of the current item.
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
            .map_err(|_| json_error(json, "an item is not an object"))
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
    // An item is large, so it is built in place.
    items.push(Item::default());
    let item = items.last_mut().ok_or(GiveUp)?;
    scanner.object(arena, |scanner, key| {
        item.take(key, scanner.value()?, unknown, arena);
        Ok(())
    })?;
    item.finish(unknown, arena);
    Ok(())
}

/// The most items that are read ahead. Parsed items are larger than their text, and only [`read`]
/// checks the budget.
const MOST_AHEAD: usize = 256;

/// The number of items that most events have at most.
const FEW: usize = 8;

/// Items that were parsed before the rest of their event.
#[derive(Debug)]
pub(crate) struct ReadAhead<'a> {
    pub(crate) raw: Raw<'a>,
    pub(crate) items: Vec<Item<'a>>,
}

/// Reads the items at `scanner` if they are a JSON array of a few objects. [`read`] handles all
/// other cases.
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
