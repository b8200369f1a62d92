//! The envelope: all facts and rejections of one message, written by the SmartModule and read by
//! the sink.
//!
//! A SmartModule writes millions of facts an hour. So text is copied eight bytes at a time while it
//! is searched for characters to escape, and columns that repeat in the facts of one event are
//! copied from the fact before. In WebAssembly this is several times as fast as a general
//! serializer, with the same output byte for byte.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::decimal::Decimal;
use crate::fact::Fact;
use crate::rejection::Rejection;
use crate::time::rfc3339_micros;
use crate::write::{serialize_json, write_integer, write_plain, write_text};

/// All facts and rejections of one message body, as one JSON record.
///
/// A body may hold readable and unreadable events, so both lists may be filled. An empty list is
/// not written. If [`Options`](crate::Options) filtered all events out, the record is
/// `{"facts":[]}`. Deserializing fails if both lists are missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Envelope<'a> {
    /// One fact for each product interaction, in the order of the body.
    pub facts: Vec<Fact<'a>>,
    /// The events that could not be read.
    pub rejected: Vec<Rejection<'a>>,
    /// The number of U+0000 that were removed from strings, since PostgreSQL can't store them.
    pub nuls_removed: u32,
}

impl<'de: 'a, 'a> Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(expecting = "an envelope of facts and rejections")]
        struct Lists<'a> {
            #[serde(borrow)]
            facts: Option<Vec<Fact<'a>>>,
            #[serde(borrow)]
            rejected: Option<Vec<Rejection<'a>>>,
            #[serde(default)]
            nuls_removed: u32,
        }
        let lists = Lists::deserialize(deserializer)?;
        if lists.facts.is_none() && lists.rejected.is_none() {
            return Err(de::Error::custom("there are neither facts nor rejections"));
        }
        Ok(Self {
            facts: lists.facts.unwrap_or_default(),
            rejected: lists.rejected.unwrap_or_default(),
            nuls_removed: lists.nuls_removed,
        })
    }
}

impl Envelope<'_> {
    /// Copies all borrowed strings, so the envelope can outlive the body and the arena.
    pub fn into_owned(self) -> Envelope<'static> {
        Envelope {
            facts: self.facts.into_iter().map(Fact::into_owned).collect(),
            rejected: self
                .rejected
                .into_iter()
                .map(Rejection::into_owned)
                .collect(),
            nuls_removed: self.nuls_removed,
        }
    }
}

impl Envelope<'_> {
    /// Appends the envelope as JSON; [`serde::Serialize`] writes the same bytes.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let Self {
            facts,
            rejected,
            nuls_removed,
        } = self;
        out.push(b'{');
        if !facts.is_empty() || rejected.is_empty() {
            out.extend_from_slice(b"\"facts\":[");
            write_facts(facts, out);
            out.push(b']');
        }
        if !rejected.is_empty() {
            if !facts.is_empty() {
                out.push(b',');
            }
            out.extend_from_slice(b"\"rejected\":");
            // Writing to a `Vec` can't fail.
            serde_json::to_writer(&mut *out, rejected).unwrap_or_default();
        }
        if *nuls_removed > 0 {
            out.extend_from_slice(b",\"nuls_removed\":");
            out.extend_from_slice(itoa::Buffer::new().format(*nuls_removed).as_bytes());
        }
        out.push(b'}');
    }
}

impl Serialize for Envelope<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_json(|out| self.write_json(out), serializer)
    }
}

impl Fact<'_> {
    /// Appends the fact as JSON; [`serde::Serialize`] writes the same bytes.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        write_event(self, out);
        write_product(self, out);
        write_list(self, out);
        write_offer(self, out);
        write_order(self, out);
        write_end(self, out);
    }
}

impl Serialize for Fact<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_json(|out| self.write_json(out), serializer)
    }
}

fn write_facts(facts: &[Fact<'_>], out: &mut Vec<u8>) {
    let mut before = None;
    let [mut event, mut list, mut order] = [0..0, 0..0, 0..0];
    for fact in facts {
        if before.is_some() {
            out.push(b',');
        }
        let same = |same: fn(&Fact<'_>, &Fact<'_>) -> bool| before.is_some_and(|it| same(it, fact));
        repeat(&mut event, same(same_event), out, |out| {
            write_event(fact, out)
        });
        write_product(fact, out);
        repeat(&mut list, same(same_list), out, |out| write_list(fact, out));
        write_offer(fact, out);
        repeat(&mut order, same(same_order), out, |out| {
            write_order(fact, out)
        });
        write_end(fact, out);
        before = Some(fact);
    }
}

/// Calls `write`, or copies its previous output at `place` if `is_same`. Updates `place`.
fn repeat(
    place: &mut Range<usize>,
    is_same: bool,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    if is_same {
        out.extend_from_within(place.clone());
    } else {
        write(out);
    }
    *place = start..out.len();
}

/// Returns true if two columns borrow the same memory, as those of one event do. Comparing
/// addresses is cheaper than comparing texts.
fn same(one: &Option<Cow<'_, str>>, other: &Option<Cow<'_, str>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => std::ptr::eq::<str>(&**one, &**other),
        _ => false,
    }
}

fn same_event(one: &Fact<'_>, other: &Fact<'_>) -> bool {
    one.event_time == other.event_time
        && std::ptr::eq::<str>(&*one.event_name, &*other.event_name)
        && same(&one.event_id, &other.event_id)
        && same(&one.user_id, &other.user_id)
        && same(&one.user_pseudo_id, &other.user_pseudo_id)
        && same(&one.session_id, &other.session_id)
        && same(&one.platform, &other.platform)
        && same(&one.traffic_source, &other.traffic_source)
        && same(&one.traffic_medium, &other.traffic_medium)
        && same(&one.traffic_campaign, &other.traffic_campaign)
        && same(&one.device_category, &other.device_category)
        && same(&one.country, &other.country)
        && same(&one.app_version, &other.app_version)
}

fn same_list(one: &Fact<'_>, other: &Fact<'_>) -> bool {
    same(&one.list_id, &other.list_id) && same(&one.list_name, &other.list_name)
}

fn same_order(one: &Fact<'_>, other: &Fact<'_>) -> bool {
    same(&one.currency, &other.currency)
        && one.value == other.value
        && same(&one.transaction_id, &other.transaction_id)
        && one.tax == other.tax
        && one.shipping == other.shipping
        && same(&one.event_coupon, &other.event_coupon)
        && match (&one.extra, &other.extra) {
            (None, None) => true,
            (Some(one), Some(other)) => one.is_same(other),
            _ => false,
        }
}

/// Appends text columns, if they have a value.
macro_rules! text {
    ($fact:ident, $out:ident, $($column:ident)*) => { $(
        if let Some(text) = &$fact.$column {
            $out.extend_from_slice(concat!(",\"", stringify!($column), "\":").as_bytes());
            write_text(text, $out);
        }
    )* };
}

/// Appends decimal columns, if they have a value.
macro_rules! decimal {
    ($fact:ident, $out:ident, $($column:ident)*) => { $(
        if let Some(decimal) = &$fact.$column {
            $out.extend_from_slice(concat!(",\"", stringify!($column), "\":\"").as_bytes());
            write_plain(Decimal::as_str(decimal).as_bytes(), $out);
            $out.push(b'"');
        }
    )* };
}

fn write_event(fact: &Fact<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"event_time\":\"");
    out.extend_from_slice(&rfc3339_micros::text(&fact.event_time));
    out.extend_from_slice(b"\",\"event_name\":");
    write_text(&fact.event_name, out);
    text!(fact, out,
        event_id user_id user_pseudo_id session_id platform traffic_source traffic_medium
        traffic_campaign device_category country app_version
    );
}

fn write_product(fact: &Fact<'_>, out: &mut Vec<u8>) {
    text!(fact, out,
        product_id product_name product_brand product_category product_category2 product_category3
        product_category4 product_category5 product_variant
    );
}

fn write_list(fact: &Fact<'_>, out: &mut Vec<u8>) {
    text!(fact, out, list_id list_name);
}

fn write_offer(fact: &Fact<'_>, out: &mut Vec<u8>) {
    if let Some(position) = fact.list_position {
        out.extend_from_slice(b",\"list_position\":");
        write_integer(position, out);
    }
    out.extend_from_slice(b",\"item_ordinal\":");
    write_integer(fact.item_ordinal, out);
    decimal!(fact, out,
        price quantity discount price_in_usd item_revenue item_revenue_in_usd item_refund
        item_refund_in_usd
    );
    text!(fact, out,
        item_coupon affiliation location_id promotion_id promotion_name creative_name creative_slot
    );
}

fn write_order(fact: &Fact<'_>, out: &mut Vec<u8>) {
    text!(fact, out, currency);
    decimal!(fact, out, value);
    text!(fact, out, transaction_id);
    decimal!(fact, out, tax shipping);
    text!(fact, out, event_coupon);
    if let Some(extra) = &fact.extra {
        out.extend_from_slice(b",\"extra\":");
        extra.write_json(out);
    }
}

fn write_end(fact: &Fact<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"fact_hash\":\"");
    out.extend_from_slice(&fact.fact_hash.digits());
    out.extend_from_slice(b"\"}");
}
