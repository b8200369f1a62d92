//! Facts as rows of `COPY … (FORMAT binary)`, encoded while the record's JSON is at hand.
//!
//! A row goes straight from the borrowed fact into one buffer for the whole batch; there is no owned
//! fact in between. What is still unknown then, the two surrogate keys, stands at the end of the row
//! with what is the same for all rows of a batch, and is put in when the row is sent.

mod arrays;
mod numeric;
pub(crate) mod statements;

use bytes::{BufMut, Bytes, BytesMut};
use chrono::{DateTime, Utc};
use fact_model::{Decimal, Fact};

use self::arrays::Array;
use crate::config::OnConflict;

/// Microseconds from the Unix epoch to PostgreSQL's, 2000-01-01.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;
/// `PGCOPY\n\377\r\n\0`, no flags, no extension; see "Binary Format" in the manual's page on COPY.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = (-1i16).to_be_bytes();
const NULL: [u8; 4] = (-1i32).to_be_bytes();
const JSONB_VERSION: u8 = 1;
const CHUNK: usize = 256 << 10;
/// In microseconds.
const HOUR: i64 = 3600 * 1_000_000;
/// A fact can change what is aggregated of all moments this near to it; see `analytics.touched_hours`.
const AROUND: i64 = HOUR / 2;

/// The columns that differ from fact to fact, in the order in which [`Rows::push`] and [`Ends`] write them.
const COLUMNS: [(&str, &str); 36] = [
    ("event_time", "timestamptz"),
    ("event_name", "text"),
    ("event_id", "text"),
    ("user_id", "text"),
    ("user_pseudo_id", "text"),
    ("session_id", "text"),
    ("platform", "text"),
    ("product_variant", "text"),
    ("list_position", "int"),
    ("item_ordinal", "int"),
    ("price", "numeric"),
    ("quantity", "numeric"),
    ("discount", "numeric"),
    ("price_in_usd", "numeric"),
    ("item_revenue", "numeric"),
    ("item_revenue_in_usd", "numeric"),
    ("item_refund", "numeric"),
    ("item_refund_in_usd", "numeric"),
    ("item_coupon", "text"),
    ("affiliation", "text"),
    ("location_id", "text"),
    ("promotion_id", "text"),
    ("promotion_name", "text"),
    ("creative_name", "text"),
    ("creative_slot", "text"),
    ("currency", "text"),
    ("value", "numeric"),
    ("transaction_id", "text"),
    ("tax", "numeric"),
    ("shipping", "numeric"),
    ("event_coupon", "text"),
    ("extra", "jsonb"),
    ("fact_hash", "uuid"),
    ("source_offset", "bigint"),
    ("product_key", "bigint"),
    ("list_key", "bigint"),
];
/// The columns behind them, the same in all rows of a batch.
const SOURCE_COLUMNS: [&str; 2] = ["source_topic", "source_partition"];

/// The facts of a batch.
#[derive(Debug, Default)]
pub struct Rows {
    encoded: Vec<u8>,
    index: Vec<Row>,
    duplicates: usize,
}

#[derive(Debug)]
struct Row {
    /// The unique key: microseconds since the Unix epoch, then the hash.
    key: (i64, [u8; 16]),
    start: usize,
    end: usize,
    product: Option<u32>,
    list: Option<u32>,
}

impl Rows {
    /// The number of facts, before [`Rows::finish`] with duplicates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Facts that [`Rows::finish`] found twice.
    #[must_use]
    pub fn duplicates(&self) -> usize {
        self.duplicates
    }

    /// The times of the facts, in microseconds since the Unix epoch, in order once sorted.
    pub fn times(&self) -> impl Iterator<Item = i64> {
        self.index.iter().map(|row| row.key.0)
    }

    /// Adds the fact of the record at `offset`. `product` and `list` are places in the batch's
    /// dimensions.
    pub(crate) fn push(
        &mut self,
        fact: &Fact<'_>,
        offset: i64,
        product: Option<u32>,
        list: Option<u32>,
    ) {
        let start = self.encoded.len();
        let time = fact.event_time.timestamp_micros();
        let row = &mut self.encoded;
        // There are as many columns as the types of these two say.
        row.put_i16((COLUMNS.len() + SOURCE_COLUMNS.len()) as i16);
        put_i64(row, time.saturating_sub(POSTGRES_EPOCH));
        put(row, fact.event_name.as_bytes());
        put_text(row, fact.event_id.as_deref());
        put_text(row, fact.user_id.as_deref());
        put_text(row, fact.user_pseudo_id.as_deref());
        put_text(row, fact.session_id.as_deref());
        put_text(row, fact.platform.as_deref());
        put_text(row, fact.product_variant.as_deref());
        match fact.list_position {
            Some(position) => put(row, &position.to_be_bytes()),
            None => row.put_slice(&NULL),
        }
        put(row, &fact.item_ordinal.to_be_bytes());
        put_decimal(row, fact.price.as_ref());
        put_decimal(row, fact.quantity.as_ref());
        put_decimal(row, fact.discount.as_ref());
        put_decimal(row, fact.price_in_usd.as_ref());
        put_decimal(row, fact.item_revenue.as_ref());
        put_decimal(row, fact.item_revenue_in_usd.as_ref());
        put_decimal(row, fact.item_refund.as_ref());
        put_decimal(row, fact.item_refund_in_usd.as_ref());
        put_text(row, fact.item_coupon.as_deref());
        put_text(row, fact.affiliation.as_deref());
        put_text(row, fact.location_id.as_deref());
        put_text(row, fact.promotion_id.as_deref());
        put_text(row, fact.promotion_name.as_deref());
        put_text(row, fact.creative_name.as_deref());
        put_text(row, fact.creative_slot.as_deref());
        put_text(row, fact.currency.as_deref());
        put_decimal(row, fact.value.as_ref());
        put_text(row, fact.transaction_id.as_deref());
        put_decimal(row, fact.tax.as_ref());
        put_decimal(row, fact.shipping.as_ref());
        put_text(row, fact.event_coupon.as_deref());
        match &fact.extra {
            Some(extra) => {
                let json = extra.json();
                row.put_i32(length(json.len() + 1));
                row.put_u8(JSONB_VERSION);
                row.put_slice(json.as_bytes());
            }
            None => row.put_slice(&NULL),
        }
        put(row, &fact.fact_hash.0);
        put_i64(row, offset);
        let end = row.len();
        self.index.push(Row {
            key: (time, fact.fact_hash.0),
            start,
            end,
            product,
            list,
        });
    }

    /// None yet, with room for as many as `before` holds: what grows by doubling would take twice as much.
    pub(crate) fn as_large_as(before: &Self) -> Self {
        let and_some = |length: usize| length + length / 16;
        Self {
            encoded: Vec::with_capacity(and_some(before.encoded.len())),
            index: Vec::with_capacity(and_some(before.index.len())),
            ..Self::default()
        }
    }

    /// Brings the facts into the order of their key, so that sinks side by side take their locks in
    /// the same order, and keeps one of those that are equal (the first, or where facts are
    /// replaced the last).
    pub(crate) fn finish(&mut self, on_conflict: OnConflict) {
        let before = self.index.len();
        if on_conflict == OnConflict::Update {
            self.index.reverse();
        }
        self.index.sort_by_key(|row| row.key);
        self.index.dedup_by_key(|row| row.key);
        self.duplicates += before - self.index.len();
    }

    /// The times and the hashes of all facts, in their order.
    pub(crate) fn keys(&self) -> [Array; 2] {
        let mut columns = [Array::default(), Array::default()];
        let mut fields = Vec::new();
        for row in &self.index {
            let (time, hash) = row.key;
            fields.clear();
            put_i64(&mut fields, time.saturating_sub(POSTGRES_EPOCH));
            let behind = fields.len();
            put(&mut fields, &hash);
            let (time, hash) = fields.split_at(behind);
            columns[0].push(time);
            columns[1].push(hash);
        }
        columns
    }

    /// The facts in `stored`, as an array for each of [`COLUMNS`].
    pub(crate) fn arrays(&self, stored: &Stored, ends: &Ends<'_>) -> Vec<Array> {
        let mut arrays: Vec<Array> = COLUMNS.iter().map(|_| Array::default()).collect();
        let mut end = BytesMut::new();
        for (place, row) in self.index.iter().enumerate() {
            if !stored.contains(place) {
                continue;
            }
            end.clear();
            ends.put_keys(&mut end, row);
            let encoded = self.encoded.get(row.start..row.end).unwrap_or_default();
            let fields = arrays::fields_of_row(encoded).chain(arrays::fields(&end));
            for (array, field) in arrays.iter_mut().zip(fields) {
                array.push(field);
            }
        }
        arrays
    }

    /// The facts that are not in `stored`.
    fn without<'a>(&'a self, stored: &'a Stored) -> impl Iterator<Item = &'a Row> {
        let all = self.index.iter().enumerate();
        all.filter(|(place, _)| !stored.contains(*place))
            .map(|(_, row)| row)
    }

    /// The offsets of the records that the facts which are not in `stored` came from; one for each fact.
    pub(crate) fn offsets<'a>(&'a self, stored: &'a Stored) -> impl Iterator<Item = i64> + 'a {
        // The last thing that `push` writes.
        self.without(stored).filter_map(|row| {
            let encoded = self.encoded.get(row.start..row.end)?;
            encoded.last_chunk().copied().map(i64::from_be_bytes)
        })
    }

    /// The hours of all moments within [`AROUND`] of the facts that are not in `stored`: what is aggregated of these
    /// hours is out of date once the facts are in. In order.
    pub(crate) fn touched_hours(&self, stored: &Stored) -> Vec<DateTime<Utc>> {
        let mut hours: Vec<i64> = Vec::new();
        for row in self.without(stored) {
            let (time, _) = row.key;
            for moment in [-AROUND, 0, AROUND].map(|around| time.saturating_add(around)) {
                let hour = moment.div_euclid(HOUR);
                // The facts are in order of time, so that the hours of one are among the last two of those before.
                if !hours.iter().rev().take(2).any(|known| *known == hour) {
                    hours.push(hour);
                }
            }
        }
        let starts = hours.into_iter().map(|hour| hour.saturating_mul(HOUR));
        starts.filter_map(DateTime::from_timestamp_micros).collect()
    }

    /// The data of a COPY of the facts that are not in `stored`, in pieces.
    pub(crate) fn copy_data<'a>(
        &'a self,
        stored: &'a Stored,
        ends: &'a Ends<'a>,
    ) -> impl Iterator<Item = Bytes> + 'a {
        let mut rows = self.without(stored);
        let mut chunk = BytesMut::with_capacity(CHUNK);
        chunk.put_slice(HEADER);
        let mut ended = false;
        std::iter::from_fn(move || {
            while chunk.len() < CHUNK {
                let Some(row) = rows.next() else {
                    if !ended {
                        ended = true;
                        chunk.put_slice(&TRAILER);
                    }
                    break;
                };
                chunk.put_slice(self.encoded.get(row.start..row.end).unwrap_or_default());
                ends.put(&mut chunk, row);
            }
            let piece = std::mem::replace(
                &mut chunk,
                BytesMut::with_capacity(if ended { 0 } else { CHUNK }),
            );
            (!piece.is_empty()).then(|| piece.freeze())
        })
    }
}

/// Which facts of a batch are in the table already.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    by_place: Vec<bool>,
    count: usize,
}

impl Stored {
    /// The facts at these places of a batch of `facts`, each named once.
    pub(crate) fn at(places: &[i32], facts: usize) -> Self {
        let mut by_place = vec![false; facts];
        for place in places {
            if let Some(known) = usize::try_from(*place)
                .ok()
                .and_then(|place| by_place.get_mut(place))
            {
                *known = true;
            }
        }
        Self {
            by_place,
            count: places.len(),
        }
    }

    /// How many they are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    fn contains(&self, place: usize) -> bool {
        self.by_place.get(place).copied().unwrap_or_default()
    }
}

/// How the rows of a batch end: with the surrogate keys of the dimensions' members, by their place, and where the batch
/// came from.
#[derive(Debug)]
pub(crate) struct Ends<'a> {
    products: &'a [i64],
    lists: &'a [i64],
    source: Vec<u8>,
}

impl<'a> Ends<'a> {
    pub(crate) fn new(products: &'a [i64], lists: &'a [i64], topic: &str, partition: i32) -> Self {
        let mut source = Vec::new();
        put_text(&mut source, Some(topic));
        put(&mut source, &partition.to_be_bytes());
        Self {
            products,
            lists,
            source,
        }
    }

    fn put(&self, out: &mut BytesMut, row: &Row) {
        self.put_keys(out, row);
        out.put_slice(&self.source);
    }

    fn put_keys(&self, out: &mut BytesMut, row: &Row) {
        put_key(out, key(self.products, row.product));
        put_key(out, key(self.lists, row.list));
    }
}

/// The key of the dimension's member at `place`.
fn key(keys: &[i64], place: Option<u32>) -> Option<i64> {
    keys.get(place? as usize).copied()
}

fn put_key(row: &mut BytesMut, key: Option<i64>) {
    match key {
        Some(key) => {
            row.put_i32(8);
            row.put_i64(key);
        }
        None => row.put_slice(&NULL),
    }
}

fn put_text(row: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put(row, text.as_bytes()),
        None => row.put_slice(&NULL),
    }
}

fn put_decimal(row: &mut Vec<u8>, decimal: Option<&Decimal<'_>>) {
    match decimal {
        Some(decimal) => numeric::put(row, decimal.as_str()),
        None => row.put_slice(&NULL),
    }
}

fn put_i64(row: &mut Vec<u8>, value: i64) {
    put(row, &value.to_be_bytes());
}

fn put(row: &mut Vec<u8>, value: &[u8]) {
    row.put_i32(length(value.len()));
    row.put_slice(value);
}

/// A record is bounded far below this by the cluster.
fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}
