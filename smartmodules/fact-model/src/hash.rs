//! A fact's identity: what happened, never how it arrived. Redelivery, a replay of the topic and a
//! producer that sends an event twice all end in the same 128 bits.
//!
//! # The rule
//!
//! All hashes are XXH3-128 with seed 0, written as its canonical (big-endian) 32 hex digits. What is
//! hashed is a sequence of **fields**: each is the length of its UTF-8 text in bytes as a 32-bit
//! little-endian number, then the text; a field that is null is the number `0xFFFFFFFF` alone.
//! Lengths in front leave no way for two different sequences to be the same bytes.
//!
//! - An event **with an event id**: `fact_hash` = hash of the fields `etl-fact-1`, `id`, `event_id`,
//!   `event_name`, `item_ordinal`.
//! - An event **without**, and every event where the parameter `identity` is `content`: `content` = hash of the fields `etl-fact-1`, `content` and then, for each
//!   fact of the event in the order of `item_ordinal`, all columns of [`Fact`] in their order from
//!   `event_time` to `extra`, as their envelope texts, `event_id` always as null, `extra` without the event's keys
//!   that tell of its delivery (`replay_timestamp`, and those that the parameter `identity-ignores` names), or null
//!   where nothing is left; then `fact_hash` = hash of the fields
//!   `etl-fact-1`, `fact`, `content` (its 32 hex digits), `item_ordinal`.
//!
//! Numbers are decimal texts, those of the envelope, which are equal when the numbers are. `extra` is
//! canonical JSON: no white space, keys sorted by code points, numbers as [`Decimal`] writes them
//! (those that it can't hold as they came), strings with the fewest escapes (as Python's
//! `json.dumps(…, ensure_ascii=False)` writes them). So the second rule can be computed from the rows
//! of a table as well as from an envelope, and it doesn't matter whether `items` came as an array or
//! as a string, in which order keys came, or whether a price was `9.90` or `9.9`.
//!
//! In Python, with the package `xxhash`:
//!
//! ```python
//! def field(text):
//!     return b"\xff\xff\xff\xff" if text is None else struct.pack("<I", len(text.encode())) + text.encode()
//! def digest(*texts):
//!     return xxhash.xxh3_128_hexdigest(b"".join(map(field, texts)))
//! def with_id(fact):
//!     return digest("etl-fact-1", "id", fact["event_id"], fact["event_name"], fact["item_ordinal"])
//! def without_id(facts):
//!     content = digest("etl-fact-1", "content", *[fact.get(column) for fact in facts for column in COLUMNS])
//!     return [digest("etl-fact-1", "fact", content, fact["item_ordinal"]) for fact in facts]
//! ```
//!
//! # Test vectors
//!
//! Computed with that program (`COLUMNS` being those of [`Fact`], all values as texts):
//!
//! | the facts | `fact_hash` |
//! |---|---|
//! | `event_id` `e-1`, `event_name` `purchase`, `item_ordinal` `1` | `07cb5846d191f7343b387d366cabbc54` |
//! | the same, `item_ordinal` `2` | `a307b8e2ac3daf25dd051f79bd489ad9` |
//! | `event_time` `2026-11-22T21:20:00.000000Z`, `event_name` `view_item`, `item_ordinal` `0`, all else null | `5aaabe47162b48e22947e5de8b6a94e9` |
//!
//! The tests hold one with two items and `extra`, and one whose event was sent into the queue again.
//!
//! # Why an event id stands alone
//!
//! With an id neither the user nor the time is hashed. A producer that retries may know the user by
//! then, or correct a price; it says by the id that this is the same event. The name is hashed, because
//! one user action is often sent as several events under one id. The table is unique on event time and hash together,
//! so a producer whose ids are weak (a counter for each device) loses an event only to another of
//! the same id, name and microsecond. The price is that a retry with a new time is a new row.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use xxhash_rust::xxh3::xxh3_128;

use crate::borrow::Text;
use crate::decimal::Decimal;
use crate::extra::Extra;
use crate::fact::Fact;
use crate::options::{Identity, Options};
use crate::time::rfc3339_micros;
use crate::write::{write_integer, write_plain};

/// The version of the rule, first of all fields. Another rule is another identity for every fact.
const RULE: &str = "etl-fact-1";

/// The 128 bits that are a fact's identity, most significant byte first, written as 32 lower-case
/// hex digits. The module describes the rule.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactHash(pub [u8; 16]);

impl FactHash {
    fn of(fields: &Fields) -> Self {
        Self(xxh3_128(&fields.0).to_be_bytes())
    }

    /// The 32 hex digits, as ASCII.
    pub(crate) fn digits(self) -> [u8; 32] {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 0xf]) {
                *digit = if nibble < 10 {
                    b'0' + nibble
                } else {
                    b'a' + nibble - 10
                };
            }
        }
        digits
    }
}

/// Gives the facts of one event, all of them and in their order, their identities.
pub(crate) fn identify(facts: &mut [Fact<'_>], options: &Options) {
    let Some(first) = facts.first() else { return };
    let mut fields;
    if let (Some(event_id), Identity::EventId) = (&first.event_id, options.identity) {
        fields = Fields::with_room(ROOM);
        fields.rule("id");
        fields.text(event_id);
        fields.text(&first.event_name);
    } else {
        fields = Fields::with_room(facts.len().saturating_mul(ROOM));
        let content = content(facts, options, &mut fields);
        fields.rule("fact");
        fields.text(std::str::from_utf8(&content.digits()).unwrap_or_default());
    }
    let common = fields.0.len();
    for fact in facts {
        fields.0.truncate(common);
        fields.integer(fact.item_ordinal);
        fact.fact_hash = FactHash::of(&fields);
    }
}

/// The hash of all that an event says.
fn content(facts: &[Fact<'_>], options: &Options, fields: &mut Fields) -> FactHash {
    fields.rule("content");
    // What the event says of itself, the same in each of its facts.
    let mut event = None;
    // Facts without an extra of their item have that of the event, canonical once.
    let mut last_extra: Option<&Extra<'_>> = None;
    let mut extra_place = 0..0;
    for fact in facts {
        match event.clone() {
            Some(same) => fields.0.extend_from_within(same),
            None => {
                let start = fields.0.len();
                event_fields(fact, fields);
                event = Some(start..fields.0.len());
            }
        }
        for text in [
            &fact.product_id,
            &fact.product_name,
            &fact.product_brand,
            &fact.product_category,
            &fact.product_category2,
            &fact.product_category3,
            &fact.product_category4,
            &fact.product_category5,
            &fact.product_variant,
            &fact.list_id,
            &fact.list_name,
        ] {
            fields.optional(text.as_deref());
        }
        match fact.list_position {
            Some(position) => fields.integer(position),
            None => fields.optional(None),
        }
        fields.integer(fact.item_ordinal);
        for decimal in [
            &fact.price,
            &fact.quantity,
            &fact.discount,
            &fact.price_in_usd,
            &fact.item_revenue,
            &fact.item_revenue_in_usd,
            &fact.item_refund,
            &fact.item_refund_in_usd,
        ] {
            fields.optional(decimal.as_ref().map(Decimal::as_str));
        }
        for text in [
            &fact.item_coupon,
            &fact.affiliation,
            &fact.location_id,
            &fact.promotion_id,
            &fact.promotion_name,
            &fact.creative_name,
            &fact.creative_slot,
            &fact.currency,
        ] {
            fields.optional(text.as_deref());
        }
        fields.optional(fact.value.as_ref().map(Decimal::as_str));
        fields.optional(fact.transaction_id.as_deref());
        for decimal in [&fact.tax, &fact.shipping] {
            fields.optional(decimal.as_ref().map(Decimal::as_str));
        }
        fields.optional(fact.event_coupon.as_deref());
        match &fact.extra {
            Some(extra) if last_extra.is_some_and(|last| extra.is_same(last)) => {
                let start = fields.0.len();
                fields.0.extend_from_within(extra_place);
                extra_place = start..fields.0.len();
            }
            Some(extra) => {
                let start = fields.0.len();
                fields.with(|bytes| extra.write_canonical(|key| options.is_ignored(key), bytes));
                if fields.0.len() == start + LENGTH {
                    fields.0.truncate(start);
                    fields.optional(None);
                }
                extra_place = start..fields.0.len();
            }
            None => fields.optional(None),
        }
        last_extra = fact.extra.as_ref();
    }
    FactHash::of(fields)
}

/// What the fields of a fact nearly always fit into. A buffer that has to grow costs more than its hash.
const ROOM: usize = 512;

/// The columns in front of those of the product.
fn event_fields(fact: &Fact<'_>, fields: &mut Fields) {
    fields.text(std::str::from_utf8(&rfc3339_micros::text(&fact.event_time)).unwrap_or_default());
    fields.text(&fact.event_name);
    fields.optional(None); // The event id.
    for text in [
        &fact.user_id,
        &fact.user_pseudo_id,
        &fact.session_id,
        &fact.platform,
    ] {
        fields.optional(text.as_deref());
    }
}

/// The bytes of a field's length.
const LENGTH: usize = 4;

/// The bytes that are hashed.
struct Fields(Vec<u8>);

impl Fields {
    fn with_room(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Begins anew, with the fields that every hash of this kind begins with.
    fn rule(&mut self, kind: &str) {
        self.0.clear();
        self.text(RULE);
        self.text(kind);
    }

    fn text(&mut self, text: &str) {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX - 1);
        self.0.extend_from_slice(&length.to_le_bytes());
        write_plain(text.as_bytes(), &mut self.0);
    }

    fn optional(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.0.extend_from_slice(&u32::MAX.to_le_bytes()),
        }
    }

    fn integer(&mut self, number: i32) {
        self.with(|bytes| write_integer(number, bytes));
    }

    /// A field of whatever `write` appends, with the length of it in front.
    fn with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; LENGTH]);
        write(&mut self.0);
        let length = u32::try_from(self.0.len() - start - LENGTH).unwrap_or(u32::MAX - 1);
        if let Some(place) = self.0.get_mut(start..start + LENGTH) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }
}

impl fmt::Display for FactHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl fmt::Debug for FactHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The error for a text that is no fact hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fact hash is 32 hex digits")]
pub struct NoFactHash;

impl FromStr for FactHash {
    type Err = NoFactHash;

    fn from_str(text: &str) -> Result<Self, NoFactHash> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoFactHash);
        }
        // In halves, since 128 bits are four times as slow to multiply.
        let (high, low) = text.split_at_checked(16).ok_or(NoFactHash)?;
        let half = |digits| u64::from_str_radix(digits, 16).map_err(|_| NoFactHash);
        let bits = u128::from(half(high)?) << 64 | u128::from(half(low)?);
        Ok(Self(bits.to_be_bytes()))
    }
}

impl Serialize for FactHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for FactHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
