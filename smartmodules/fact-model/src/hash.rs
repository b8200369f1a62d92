//! Computes a fact's identity from its content, not from its delivery: an SQS redelivery, a replay
//! of the topic and an event that the producer sends twice all get the same 128 bits.
//!
//! # Definition
//!
//! All hashes are XXH3-128 with seed 0, written as 32 hex digits in canonical (big-endian) order.
//! The input is a sequence of **fields**. A field is the length of its UTF-8 text in bytes as a
//! 32-bit little-endian number, followed by the text; a null field is only the number `0xFFFFFFFF`.
//! The length prefixes ensure that different sequences have different bytes.
//!
//! - An event **with an event id**: `fact_hash` = hash of the fields `etl-fact-1`, `id`,
//!   `event_id`, `event_name`, `item_ordinal`.
//! - An event **without one**, and every event if the parameter `identity` is `content`:
//!   1. `content` = hash of the fields `etl-fact-1`, `content` and then, for each fact of the event
//!      in the order of `item_ordinal`, all columns of [`Fact`] from `event_time` to `extra`, in
//!      their order and as their envelope texts. `event_id` is always null. `extra` omits the
//!      event's delivery keys (`replay_timestamp` and those in the parameter `identity-ignores`)
//!      and `plan`, and is null if no other key is left. Keys that the tracking plan leaves out
//!      are part of it.
//!   2. `fact_hash` = hash of the fields `etl-fact-1`, `fact`, `content` (its 32 hex digits),
//!      `item_ordinal`.
//!
//! Events without an id that are equal and came in one body are events of their own: for the second
//! and each further one, `fact_hash` = hash of the fields `etl-fact-1`, `repeat`, the `fact_hash`
//! above (its 32 hex digits), the number of the event among its equals, from `2`. So a body that is
//! delivered twice has the same facts, and a body with an event twice has both.
//!
//! A text that is [cut](crate::cut_text) for its column counts as its column has it: the hash at
//! its end stands for the rest. Numbers are the envelope's decimal texts; equal numbers have equal
//! texts. `extra` is canonical JSON: no white space, keys sorted by code points, numbers as
//! [`Decimal`] writes them (unchanged if it can't hold them), strings with the fewest escapes, as
//! Python's `json.dumps(…, ensure_ascii=False)` writes them. So the second rule can be computed from
//! table rows as well as from an envelope, and the result does not depend on whether `items` was an
//! array or a string, on the order of keys, or on whether a price was `9.90` or `9.9`.
//!
//! In Python, with the package `xxhash`:
//!
//! ```python
//! RULE = "etl-fact-1"
//! def field(text):
//!     if text is None:
//!         return b"\xff\xff\xff\xff"
//!     return struct.pack("<I", len(text.encode())) + text.encode()
//! def digest(*texts):
//!     return xxhash.xxh3_128_hexdigest(b"".join(map(field, texts)))
//! def with_id(fact):
//!     return digest(RULE, "id", fact["event_id"], fact["event_name"], fact["item_ordinal"])
//! def without_id(facts):
//!     columns = [fact.get(column) for fact in facts for column in COLUMNS]
//!     content = digest(RULE, "content", *columns)
//!     return [digest(RULE, "fact", content, fact["item_ordinal"]) for fact in facts]
//! ```
//!
//! # Test vectors
//!
//! Computed with that program; `COLUMNS` are those of [`Fact`], all values are texts:
//!
//! - `event_id` `e-1`, `event_name` `purchase`, `item_ordinal` `1`:
//!   `07cb5846d191f7343b387d366cabbc54`
//! - the same with `item_ordinal` `2`: `a307b8e2ac3daf25dd051f79bd489ad9`
//! - `event_time` `2026-11-22T21:20:00.000000Z`, `event_name` `view_item`, `item_ordinal` `0`, all
//!   other columns null: `1022745a57e656e0120412e158324e3e`
//!
//! The tests also cover two items with `extra`, and an event that was sent into the queue again.
//!
//! # Why nothing but the name is hashed with an event id
//!
//! A producer that retries may have learned the user since, or corrected a price; the id states
//! that it is the same event. The name is included because producers often send one user action as
//! several events under one id. The table is unique on event time and hash, so a producer with weak
//! ids (a counter for each device) loses an event only to another with the same id, name and
//! microsecond. The cost is that a retry with a new time is a new row.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_128;

use crate::decimal::Decimal;
use crate::extra::Extra;
use crate::fact::{Fact, FactHash};
use crate::options::{Identity, Options};
use crate::time::rfc3339_micros;
use crate::write::{write_integer, write_plain};

/// The version of the definition, the first field of each hash. A new version changes every
/// identity.
const RULE: &str = "etl-fact-1";

/// Sets the identities of one event's facts, which must be complete and in order.
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
        fact.fact_hash = fields.hash();
    }
}

/// Changes the identities of events without an id that repeat an earlier one of the same body. All
/// facts of a body must be there, in order.
pub(crate) fn number_repeats(facts: &mut [Fact<'_>]) {
    // An event's facts have the ordinal 0, or those from 1 on. Nearly all bodies hold one event.
    if facts
        .iter()
        .filter(|fact| fact.item_ordinal <= 1)
        .nth(1)
        .is_none()
    {
        return;
    }
    let mut counts: BTreeMap<FactHash, i32> = BTreeMap::new();
    let mut number = 1;
    for fact in facts {
        if fact.item_ordinal <= 1 {
            number = 1;
            if fact.event_id.is_none() {
                let count = counts.entry(fact.fact_hash).or_default();
                *count += 1;
                number = *count;
            }
        }
        if number > 1 {
            let mut fields = Fields::with_room(ROOM);
            fields.rule("repeat");
            fields.text(std::str::from_utf8(&fact.fact_hash.digits()).unwrap_or_default());
            fields.integer(number);
            fact.fact_hash = fields.hash();
        }
    }
}

/// Hashes the content of an event.
fn content(facts: &[Fact<'_>], options: &Options, fields: &mut Fields) -> FactHash {
    fields.rule("content");
    // The event's own columns are equal in each fact: they are copied after the first one.
    let mut event = None;
    // So is `extra` if the items have none; its canonical form is computed once.
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
    fields.hash()
}

/// Bytes that nearly always hold a fact's fields. Growing the buffer would cost more than the hash.
const ROOM: usize = 512;

/// Appends the columns before those of the product.
fn event_fields(fact: &Fact<'_>, fields: &mut Fields) {
    fields.text(std::str::from_utf8(&rfc3339_micros::text(&fact.event_time)).unwrap_or_default());
    fields.text(&fact.event_name);
    fields.optional(None); // The event id.
    for text in [
        &fact.user_id,
        &fact.user_pseudo_id,
        &fact.session_id,
        &fact.platform,
        &fact.traffic_source,
        &fact.traffic_medium,
        &fact.traffic_campaign,
        &fact.device_category,
        &fact.country,
        &fact.app_version,
    ] {
        fields.optional(text.as_deref());
    }
}

/// The size of a field's length prefix.
const LENGTH: usize = 4;

/// The input of a hash.
struct Fields(Vec<u8>);

impl Fields {
    fn hash(&self) -> FactHash {
        FactHash(xxh3_128(&self.0).to_be_bytes())
    }

    fn with_room(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Clears the fields and appends the first two of a hash of this kind.
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

    /// Appends what `write` appends as one field, with its length in front.
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
