//! Reads an event's keys, its own and those of its parameter objects, and assigns values to
//! columns.

use std::fmt::Display;

use crate::explain;
use crate::extra::Keys;
use crate::formats::container::{is_numbered, opened};
use crate::formats::vendors;
use crate::item::Item;
use crate::items::{self, ReadAhead};
use crate::json::read_entries;
use crate::limits::MAX_TEXT;
use crate::names::{
    KNOWN, Known, NESTED, NESTED_RANK, is_ecommerce_event, is_known, is_nested, item_key,
};
use crate::raw::{Found, Place, Raw};
use crate::rejection::{Reason, Refusal};
use crate::scan::{GiveUp, Scanner};
use crate::text::Arena;
use crate::unknown::Unknown;
use crate::value::{self, Column, is_null};
use crate::write::object_of;

/// The keys of one event and of its parameter objects.
#[derive(Debug, Default)]
pub(crate) struct EventKeys<'a> {
    known: [Option<Found<'a>>; KNOWN],
    /// Keys without a column, by place.
    unknown: [Unknown<'a>; 3],
    /// The items, if they were read while their event was read.
    ahead: Option<ReadAhead<'a>>,
    params: Option<Raw<'a>>,
    event_params: Option<Raw<'a>>,
    /// The bytes of the texts that were cut for their column.
    pub(crate) cut_bytes: usize,
    /// True if a key hints at another shape than a plain event's.
    is_shaped: bool,
    /// True if the event itself has a product's id or name.
    has_product: bool,
}

impl<'a> EventKeys<'a> {
    /// Reads the event `json`, which must be an object.
    pub(crate) fn read(json: &'a str, arena: &'a Arena) -> Result<Self, Refusal> {
        let mut keys = Self::default();
        let mut nested: Vec<(&str, Raw<'_>)> = Vec::new();
        read_entries(json, arena, |scanner, key| {
            let raw = keys.value(key, scanner, arena)?;
            match key {
                "params" if raw.is_object() => keys.params = Some(raw),
                "event_params" if raw.is_object() => keys.event_params = Some(raw),
                _ if (raw.is_object() || raw.get().starts_with("\"{")) && is_nested(key) => {
                    // The last value of a repeated key wins.
                    nested.retain(|(earlier, _)| *earlier != key);
                    nested.push((key, raw));
                }
                _ => keys.entry(Place::Top, key, raw),
            }
            Ok(())
        })
        .map_err(|error| {
            Refusal::new(Reason::NotJson, format!("the event is not JSON: {error}"))
        })?;
        for (place, object) in keys.objects() {
            // It can't fail: the object was parsed as part of the event.
            let _ = read_entries(object.get(), arena, |scanner, key| {
                let raw = keys.value(key, scanner, arena)?;
                keys.entry(place, key, raw);
                Ok(())
            });
        }
        for (key, object) in nested {
            keys.lift(key, object, arena);
        }
        Ok(keys)
    }

    /// Reads a value. Items are parsed at once, so that their text, most of an event, is scanned
    /// only once.
    fn value(
        &mut self,
        key: &str,
        scanner: &mut Scanner<'a>,
        arena: &'a Arena,
    ) -> Result<Raw<'a>, GiveUp> {
        if key == "items"
            && let Ok(ahead) = items::read_ahead(scanner, arena)
        {
            return Ok(self.ahead.insert(ahead).raw);
        }
        scanner.value()
    }

    /// Returns true if this may have another [shape](crate::formats::shape) than a plain event.
    pub(crate) fn is_shaped(&self) -> bool {
        self.is_shaped
    }

    /// Returns true if the event has a name.
    pub(crate) fn is_named(&self) -> bool {
        matches!(self.known.get(Known::Name as usize), Some(Some(_)))
    }

    fn objects(&self) -> impl Iterator<Item = (Place, Raw<'a>)> + use<'a> {
        [
            (Place::Params, self.params),
            (Place::EventParams, self.event_params),
        ]
        .into_iter()
        .filter_map(|(place, object)| Some((place, object?)))
    }

    fn entry(&mut self, place: Place, key: &'a str, raw: Raw<'a>) {
        let named =
            Known::named(key).filter(|(known, _)| !(known.is_never_nested() && raw.is_nested()));
        let Some((known, name)) = named else {
            self.is_shaped |= match place {
                Place::Top => hints_at_shape(key, raw),
                Place::Params | Place::EventParams => is_numbered(key, raw),
            };
            self.has_product |= matches!(key, "item_id" | "item_name") && !is_null(raw);
            return self.keep(place, key, raw);
        };
        if is_null(raw) || known == Known::Items && matches!(raw.get(), "[]" | "\"[]\"") {
            return;
        }
        let rank = (place, name);
        self.hold(known, Found { raw, key, rank });
    }

    /// Moves the values with a column out of one of the [`NESTED`] objects and keeps the rest. A
    /// value stays in the object if a key of the event itself has a different one.
    fn lift(&mut self, name: &'a str, object: Raw<'a>, arena: &'a Arena) {
        let mut ranked = NESTED.iter().zip(NESTED_RANK..);
        let Some(((_, columns), rank)) = ranked.find(|((known, _), _)| *known == name) else {
            return;
        };
        let rank = (Place::Top, rank);
        let mut rest = Vec::new();
        let mut has_lifted = false;
        // It can't fail: the object was parsed as part of the event.
        let _ = read_entries(opened(object, arena).get(), arena, |scanner, key| {
            let raw = scanner.value()?;
            let column = columns.iter().find(|(column, _)| *column == key);
            let known = column.map(|(_, known)| *known).filter(|known| {
                let held = self.known.get(*known as usize).copied().flatten();
                let is_beaten =
                    held.is_some_and(|held| held.rank < rank && held.raw.get() != raw.get());
                !is_beaten && !raw.is_nested()
            });
            match known {
                Some(_) if is_null(raw) => has_lifted = true,
                Some(known) => {
                    has_lifted = true;
                    self.hold(known, Found { raw, key, rank });
                }
                None => rest.push((key, raw)),
            }
            Ok(())
        });
        if !has_lifted {
            self.keep(Place::Top, name, object);
        } else if !rest.is_empty() {
            self.keep(Place::Top, name, object_of(rest, arena));
        }
    }

    fn hold(&mut self, known: Known, found: Found<'a>) {
        let Some(held) = self.known.get_mut(known as usize) else {
            return;
        };
        let loser = match held {
            None => {
                *held = Some(found);
                return;
            }
            Some(held) if wins(known, &found, held) => std::mem::replace(held, found),
            Some(_) => found,
        };
        // A different value under another name is kept. A key that is repeated in one object counts
        // once, as in every JSON parser.
        let winner = held.map(|held| (held.rank, held.raw.get()));
        if winner.is_some_and(|(rank, raw)| rank != loser.rank && raw != loser.raw.get()) {
            self.keep(loser.rank.0, loser.key, loser.raw);
        }
    }

    fn keep(&mut self, place: Place, key: &'a str, raw: Raw<'a>) {
        if let Some(unknown) = self.unknown.get_mut(place as usize) {
            unknown.push(key, raw);
        }
    }

    /// Removes and returns a property.
    pub(crate) fn take(&mut self, known: Known) -> Option<Found<'a>> {
        self.known.get_mut(known as usize)?.take()
    }

    /// Removes and returns the items, parsed if they were read ahead.
    pub(crate) fn take_items(&mut self) -> Option<(Found<'a>, Option<Vec<Item<'a>>>)> {
        let found = self.take(Known::Items)?;
        let ahead = self.ahead.take();
        let items = ahead.filter(|ahead| std::ptr::eq(ahead.raw.get(), found.raw.get()));
        Some((found, items.map(|ahead| ahead.items)))
    }

    /// Removes and returns the product of an event that has one in its own keys instead of `items`.
    /// Keys that an event may have too, such as `coupon`, stay the event's.
    pub(crate) fn take_product(&mut self, arena: &'a Arena) -> Option<Item<'a>> {
        if !self.has_product {
            return None;
        }
        let mut found: Vec<(&str, Raw<'_>)> = Vec::new();
        for place in &mut self.unknown {
            place.take_if(|key, raw| {
                let is_taken = item_key(key).is_some()
                    && !is_known(key)
                    && found.iter().all(|(name, _)| *name != key);
                if is_taken {
                    found.push((key, raw));
                }
                is_taken
            });
        }
        let mut item = Item::default();
        let mut unknown = Unknown::default();
        for (key, raw) in found {
            item.take(key, raw, &mut unknown, arena);
        }
        item.finish(&mut unknown, arena);
        Some(item)
    }

    /// Removes a property and reads it. A value that its column can't hold, or not whole, is kept
    /// for [`Self::extra`].
    pub(crate) fn column<T: Display>(
        &mut self,
        known: Known,
        arena: &Arena,
        read: impl FnOnce(Raw<'a>) -> Column<T>,
    ) -> Option<T> {
        let found = self.take(known)?;
        let value = read(found.raw);
        if let Some(path) = arena.path() {
            explain::value(found.key, found.raw, &value, path);
        }
        match value {
            Column::Value(value) => Some(value),
            Column::Cut(value) => {
                self.keep_cut(&found);
                Some(value)
            }
            Column::Null => None,
            Column::Misfit => {
                self.keep(found.rank.0, found.key, found.raw);
                None
            }
        }
    }

    /// Keeps a text whole that was cut for its column.
    pub(crate) fn keep_cut(&mut self, found: &Found<'a>) {
        self.cut_bytes += MAX_TEXT;
        self.keep(found.rank.0, found.key, found.raw);
    }

    /// Removes a property and reads it as text.
    pub(crate) fn text(&mut self, known: Known, arena: &'a Arena) -> Option<&'a str> {
        self.column(known, arena, |raw| value::column_text(raw, arena))
    }

    /// Returns all keys without a column. Parameters join the event's own keys. If a key is in
    /// both, the event's value stays and the parameter object is kept whole beside it.
    pub(crate) fn extra(self, arena: &'a Arena) -> Keys<'a> {
        let objects = self.objects();
        let [mut extra, params, event_params] = self.unknown;
        for (place, object) in objects {
            let entries = if place == Place::Params {
                &params
            } else {
                &event_params
            };
            extra.sort();
            let clash = extra.join(entries);
            if clash {
                extra.push(place.key(), object);
            }
        }
        extra.take(arena)
    }
}

/// Returns true if `found` wins over `held`: the lower rank does. Of `event` and `name` in one
/// object that wins which is an event of GA4's e-commerce, else `event`, the name of a push to a
/// data layer (<https://developers.google.com/tag-platform/tag-manager/datalayer>), whose `name` is
/// any variable's.
fn wins(known: Known, found: &Found<'_>, held: &Found<'_>) -> bool {
    let rank = |found: &Found<'_>| {
        let (place, rank) = found.rank;
        let is_beaten = known == Known::Name
            && rank > 0
            && !is_ecommerce_event(found.raw.get().trim_matches('"'));
        (place, is_beaten, rank)
    };
    rank(found) <= rank(held)
}

/// Returns true if a key without a column hints that its object has another
/// [shape](crate::formats::shape) than a plain event.
fn hints_at_shape(key: &str, value: Raw<'_>) -> bool {
    let first = value.get().as_bytes().first();
    match key {
        "events" => matches!(first, Some(b'[' | b'{' | b'"')),
        "event_params" => matches!(first, Some(b'[' | b'"')),
        "params" | "Message" => first == Some(&b'"'),
        "eventModel" => matches!(first, Some(b'{' | b'"')),
        "transactionProducts" | "transactionTotal" => true,
        "detail" => matches!(first, Some(b'{' | b'"')),
        "sqs" => first == Some(&b'{'),
        "ecommerce" => true,
        _ => is_numbered(key, value) || vendors::hints(key, value),
    }
}
