//! The list of items in an event, whichever way it is written.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::arena::Arena;
use crate::item::Item;
use crate::json::{Entries, repair, trim, unescape};
use crate::keys::Found;
use crate::rejection::{Reason, Refusal};
use crate::unknown::Unknown;
use crate::value::is_sentinel;

/// How often a list of items may be written into a text that is written into a text.
const MAX_STRINGS: usize = 3;

/// Reads the items: an array of objects, one object, or a text that holds either. `spend` is asked
/// before each item whether there is room for its fact.
pub(crate) fn read<'a>(
    found: &Found<'a>,
    event_currency: Option<&str>,
    arena: &'a Arena,
    spend: &mut dyn FnMut() -> Result<(), Refusal>,
) -> Result<Vec<Item<'a>>, Refusal> {
    let bad = |detail: String| Refusal::at(Reason::BadItems, detail, found.place());
    let mut json = found.raw.get();
    for _ in 0..=MAX_STRINGS {
        match json.as_bytes().first() {
            Some(b'"') => {
                let text = unescape(json, arena)
                    .ok_or_else(|| bad(format!("{} is no JSON string", found.shown())))?;
                json = repair(trim(text), arena);
            }
            _ if is_sentinel(json) => return Ok(Vec::new()),
            Some(b'[' | b'{') => {
                let mut list = List::new(event_currency, arena, spend);
                let read = list.read(json);
                return match (read, list.refusal) {
                    (Ok(()), _) => Ok(list.items),
                    (Err(_), Some(refusal)) => Err(refusal),
                    (Err(error), None) => Err(first_bad(json, found, &error)),
                };
            }
            _ => return Err(bad(format!("{} is no list of items", found.shown()))),
        }
    }
    Err(bad(format!(
        "{} is a text in a text, more than {MAX_STRINGS} deep",
        found.shown()
    )))
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
        .position(|element| !element.get().starts_with('{'))
        .unwrap_or(0);
    let detail = format!("item {} of {} is no object", index + 1, elements.len());
    Refusal::at(Reason::BadItems, detail, format!("{place}[{index}]"))
}

/// A list of items in the making.
struct List<'a, 'f> {
    items: Vec<Item<'a>>,
    event_currency: Option<&'f str>,
    arena: &'a Arena,
    spend: &'f mut dyn FnMut() -> Result<(), Refusal>,
    /// Why there was no room for one more item.
    refusal: Option<Refusal>,
    /// The unknown keys of the item that is being read.
    unknown: Unknown<'a>,
}

impl<'a, 'f> List<'a, 'f> {
    fn new(
        event_currency: Option<&'f str>,
        arena: &'a Arena,
        spend: &'f mut dyn FnMut() -> Result<(), Refusal>,
    ) -> Self {
        Self {
            items: Vec::new(),
            event_currency,
            arena,
            spend,
            refusal: None,
            unknown: Unknown::default(),
        }
    }

    fn read(&mut self, json: &'a str) -> serde_json::Result<()> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        if json.starts_with('[') {
            deserializer.deserialize_seq(&mut *self)?;
        } else {
            One(self).deserialize(&mut deserializer)?;
        }
        deserializer.end()
    }
}

impl<'a> Visitor<'a> for &mut List<'a, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of items")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(One(self))?.is_some() {}
        Ok(())
    }
}

/// The next item of a list.
struct One<'l, 'a, 'f>(&'l mut List<'a, 'f>);

impl<'a> DeserializeSeed<'a> for One<'_, 'a, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        let List {
            items,
            event_currency,
            arena,
            spend,
            refusal,
            unknown,
        } = self.0;
        let arena: &'a Arena = arena;
        if let Err(too_large) = spend() {
            *refusal = Some(too_large);
            return Err(D::Error::custom("too many items"));
        }
        let mut item = Item::default();
        let take = |key, raw| item.take(key, raw, unknown, arena);
        Entries { arena, take }.deserialize(deserializer)?;
        items.push(item.finish(*event_currency, unknown, arena));
        Ok(())
    }
}
