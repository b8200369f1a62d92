//! The keys of an event: which of them are known, by which names, and in which places.

use crate::arena::Arena;
use crate::extra::Keys;
use crate::formats::shape;
use crate::item::{Item, KnownName};
use crate::items::{self, ReadAhead};
use crate::json::read_entries;
use crate::raw::Raw;
use crate::rejection::{Reason, Refusal};
use crate::scan::{GiveUp, Scanner};
use crate::unknown::Unknown;
use crate::value::{self, Column, is_null};

/// What an event can say of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Time,
    Name,
    Id,
    UserId,
    UserPseudoId,
    SessionId,
    Platform,
    Items,
    Currency,
    Value,
    TransactionId,
    Tax,
    Shipping,
    Coupon,
    Affiliation,
    ListId,
    ListName,
    PromotionId,
    PromotionName,
    CreativeName,
    CreativeSlot,
}

/// How many there are.
const KNOWN: usize = Known::CreativeSlot as usize + 1;

impl Known {
    /// What `key` stands for. Of several names for the same thing, the one with the lower number wins.
    fn named(key: &str) -> Option<(Self, u8)> {
        Some(match key.as_bytes() {
            b"event_name" => (Self::Name, 0),
            b"name" => (Self::Name, 1),
            b"event" => (Self::Name, 2),
            b"event_time" => (Self::Time, 0),
            b"event_timestamp" => (Self::Time, 1),
            b"timestamp_micros" => (Self::Time, 2),
            b"timestamp" => (Self::Time, 3),
            b"time" => (Self::Time, 4),
            b"ts" => (Self::Time, 5),
            b"event_id" => (Self::Id, 0),
            b"user_id" => (Self::UserId, 0),
            b"user_pseudo_id" => (Self::UserPseudoId, 0),
            b"client_id" => (Self::UserPseudoId, 1),
            b"session_id" => (Self::SessionId, 0),
            b"ga_session_id" => (Self::SessionId, 1),
            b"platform" => (Self::Platform, 0),
            b"items" => (Self::Items, 0),
            b"currency" => (Self::Currency, 0),
            b"value" => (Self::Value, 0),
            b"transaction_id" => (Self::TransactionId, 0),
            b"tax" => (Self::Tax, 0),
            b"shipping" => (Self::Shipping, 0),
            b"coupon" => (Self::Coupon, 0),
            b"affiliation" => (Self::Affiliation, 0),
            b"item_list_id" => (Self::ListId, 0),
            b"item_list_name" => (Self::ListName, 0),
            b"promotion_id" => (Self::PromotionId, 0),
            b"promotion_name" => (Self::PromotionName, 0),
            b"creative_name" => (Self::CreativeName, 0),
            b"creative_slot" => (Self::CreativeSlot, 0),
            _ => return None,
        })
    }
}

/// Tells whether a key of an event has a column or is `items`.
pub(crate) fn is_known(key: &str) -> bool {
    Known::named(key).is_some()
}

/// Looks up a key of an event that has a column, `items`, or another column of an event in GA4's BigQuery export.
pub(crate) fn known_name(key: &str) -> Option<KnownName> {
    use Known::{Affiliation, Coupon, CreativeName, CreativeSlot, ListName, PromotionName};
    let known = Known::named(key).map(|(known, _)| known);
    let is_text = known.is_some_and(|known| {
        matches!(
            known,
            Coupon | Affiliation | ListName | PromotionName | CreativeName | CreativeSlot
        )
    });
    let is_known = known.is_some() || OTHER_COLUMNS.contains(&key);
    is_known.then_some(KnownName {
        number: None,
        is_text,
    })
}

/// Columns of an event in GA4's export that become no column of a fact, and what wraps an event's parameters.
const OTHER_COLUMNS: [&str; 24] = [
    "app_info",
    "batch_event_index",
    "batch_ordering_id",
    "batch_page_id",
    "collected_traffic_source",
    "device",
    "ecommerce",
    "event_bundle_sequence_id",
    "event_date",
    "event_dimensions",
    "event_params",
    "event_previous_timestamp",
    "event_server_timestamp_offset",
    "event_value_in_usd",
    "geo",
    "is_active_user",
    "params",
    "privacy_info",
    "replay_timestamp",
    "stream_id",
    "traffic_source",
    "user_first_touch_timestamp",
    "user_ltv",
    "user_properties",
];

/// Where in an event a key stands. Earlier places win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Top,
    Params,
    EventParams,
}

impl Place {
    /// The object that the place is, as a key of the event.
    const fn key(self) -> &'static str {
        match self {
            Self::Top => "",
            Self::Params => "params",
            Self::EventParams => "event_params",
        }
    }
}

/// A value of an event and where it was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) raw: Raw<'a>,
    key: &'a str,
    rank: (Place, u8),
}

impl Found<'_> {
    /// The place below the event, for a rejection.
    pub(crate) fn place(&self) -> String {
        match self.rank.0 {
            Place::Top => format!(".{}", self.key),
            place => format!(".{}.{}", place.key(), self.key),
        }
    }

    /// The key and the beginning of its value, for a sentence.
    pub(crate) fn shown(&self) -> String {
        let value = beginning(self.raw.get());
        format!("{} = {value}", self.key)
    }
}

/// The beginning of a text, for a sentence.
pub(crate) fn beginning(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// The keys of one event, its own and those of its objects of parameters.
#[derive(Debug, Default)]
pub(crate) struct EventKeys<'a> {
    known: [Option<Found<'a>>; KNOWN],
    /// What no column takes, by place.
    unknown: [Unknown<'a>; 3],
    /// The items, where they were read as soon as they were met.
    ahead: Option<ReadAhead<'a>>,
    params: Option<Raw<'a>>,
    event_params: Option<Raw<'a>>,
    /// Whether a key tells that this may be no plain event.
    is_shaped: bool,
}

impl<'a> EventKeys<'a> {
    /// Reads the event `json`, which must be one object.
    pub(crate) fn read(json: &'a str, arena: &'a Arena) -> Result<Self, Refusal> {
        let mut keys = Self::default();
        read_entries(json, arena, |scanner, key| {
            let raw = keys.value(key, scanner, arena)?;
            match key {
                "params" if raw.is_object() => keys.params = Some(raw),
                "event_params" if raw.is_object() => keys.event_params = Some(raw),
                _ => keys.entry(Place::Top, key, raw),
            }
            Ok(())
        })
        .map_err(|error| Refusal::new(Reason::NotJson, format!("the event is no JSON: {error}")))?;
        for (place, object) in keys.objects() {
            // The object was read once as part of the event, so it is JSON.
            let _ = read_entries(object.get(), arena, |scanner, key| {
                let raw = keys.value(key, scanner, arena)?;
                keys.entry(place, key, raw);
                Ok(())
            });
        }
        Ok(keys)
    }

    /// Reads a value: items at once, so that their text, nearly the whole of an event, is not gone through twice.
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

    /// Whether this may be something else than a plain event; see [`shape`].
    pub(crate) fn is_shaped(&self) -> bool {
        self.is_shaped
    }

    /// Whether the event has a name.
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
        let Some((known, name)) = Known::named(key) else {
            self.is_shaped |= place == Place::Top && shape::hints(key, raw);
            return self.keep(place, key, raw);
        };
        let Some(held) = self.known.get_mut(known as usize) else {
            return;
        };
        if is_null(raw) {
            return;
        }
        let found = Found {
            raw,
            key,
            rank: (place, name),
        };
        let loser = match held {
            None => {
                *held = Some(found);
                return;
            }
            Some(held) if found.rank <= held.rank => std::mem::replace(held, found),
            Some(_) => found,
        };
        // A value under another name is kept, unless it says the same again; a key that came twice
        // in one object counts once, as with every JSON parser.
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

    /// Takes out a value, if the event has it.
    pub(crate) fn take(&mut self, known: Known) -> Option<Found<'a>> {
        self.known.get_mut(known as usize)?.take()
    }

    /// Takes out the items, with what they are if they were read already.
    pub(crate) fn take_items(&mut self) -> Option<(Found<'a>, Option<Vec<Item<'a>>>)> {
        let found = self.take(Known::Items)?;
        let ahead = self.ahead.take();
        let items = ahead.filter(|ahead| std::ptr::eq(ahead.raw.get(), found.raw.get()));
        Some((found, items.map(|ahead| ahead.items)))
    }

    /// Takes out a value for a column; one that the column can't hold is kept for [`Self::extra`].
    pub(crate) fn column<T>(
        &mut self,
        known: Known,
        read: impl FnOnce(Raw<'a>) -> Column<T>,
    ) -> Option<T> {
        let found = self.take(known)?;
        match read(found.raw) {
            Column::Value(value) => Some(value),
            Column::Null => None,
            Column::Misfit => {
                self.keep(found.rank.0, found.key, found.raw);
                None
            }
        }
    }

    /// Takes out a value for a text column.
    pub(crate) fn text(&mut self, known: Known, arena: &'a Arena) -> Option<&'a str> {
        self.column(known, |raw| value::text(raw, arena))
    }

    /// All that no column took. The parameters' keys join those of the event; where a key stands in
    /// both, the event's stays and the parameters are kept whole beside it.
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
