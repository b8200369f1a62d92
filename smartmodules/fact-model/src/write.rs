//! Writing facts as JSON, many millions an hour: a text is copied eight bytes at a time while it is searched for what
//! needs an escape, and what an event says of itself is copied from its fact before it. In WebAssembly that is
//! several times as fast as a general serializer, and the JSON is the same byte for byte.

use std::borrow::Cow;
use std::ops::Range;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::decimal::Decimal;
use crate::envelope::Envelope;
use crate::fact::Fact;
use crate::swar;
use crate::time::rfc3339_micros;

impl Envelope<'_> {
    /// Appends the envelope as JSON; [`serde::Serialize`] gives the same.
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
    /// Appends the fact as JSON; [`serde::Serialize`] gives the same.
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

/// Serializes what `write` appends, which must be JSON; only `serde_json` takes it as that.
pub(crate) fn serialize_json<S: Serializer>(
    write: impl FnOnce(&mut Vec<u8>),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut json = Vec::new();
    write(&mut json);
    String::from_utf8(json)
        .map_err(S::Error::custom)
        .and_then(|json| RawValue::from_string(json).map_err(S::Error::custom))?
        .serialize(serializer)
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

/// Appends what `write` appends, or copies it from where it stands if it is the same again.
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

/// Whether two columns are the same text, not only an equal one: that is so where the event says it once.
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

/// Appends a column that is a text, where there is one.
macro_rules! text {
    ($fact:ident, $out:ident, $($column:ident)*) => { $(
        if let Some(text) = &$fact.$column {
            $out.extend_from_slice(concat!(",\"", stringify!($column), "\":").as_bytes());
            write_text(text, $out);
        }
    )* };
}

/// Appends a column that is a decimal, where there is one.
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
    text!(fact, out, event_id user_id user_pseudo_id session_id platform);
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
        price quantity discount price_in_usd item_revenue item_revenue_in_usd item_refund item_refund_in_usd
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

/// Appends the digits of a number.
pub(crate) fn write_integer(number: i32, out: &mut Vec<u8>) {
    if let digit @ 0..=9 = number {
        out.push(b'0' + digit as u8);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
}

/// Appends a JSON string.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    if !write_unescaped(text, out) {
        // Writing to a `Vec` can't fail.
        serde_json::to_writer(out, text).unwrap_or_default();
    }
}

/// Appends a JSON string, if the text needs no escapes. Otherwise appends nothing and returns false.
pub(crate) fn write_unescaped(text: &str, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.push(b'"');
    let mut escapes = 0;
    copy(text.as_bytes(), out, |bytes| {
        escapes |= swar::special(bytes)
    });
    if escapes == 0 {
        out.push(b'"');
    } else {
        out.truncate(start);
    }
    escapes == 0
}

/// Appends bytes of which few are expected.
pub(crate) fn write_plain(bytes: &[u8], out: &mut Vec<u8>) {
    copy(bytes, out, |_| {});
}

/// Appends bytes, eight at a time, and shows each eight to `see`; some of them twice, some beside blanks. A call of the
/// system's own copy would take longer than copying a short text, above all out of WebAssembly.
fn copy(bytes: &[u8], out: &mut Vec<u8>, mut see: impl FnMut(u64)) {
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        see(u64::from_le_bytes(*chunk));
        out.extend_from_slice(chunk);
    }
    if rest.is_empty() {
        return;
    }
    if let Some(last) = bytes.last_chunk::<8>() {
        see(u64::from_le_bytes(*last));
        out.truncate(out.len() - (8 - rest.len()));
        out.extend_from_slice(last);
        return;
    }
    for byte in rest {
        see(swar::one(*byte));
        out.push(*byte);
    }
}
