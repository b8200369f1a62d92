//! Facts as rows of `COPY … (FORMAT binary)`, encoded while the record's JSON is at hand.
//!
//! A row goes straight from the borrowed fact into one buffer for the whole batch; there is no owned
//! fact in between. What is still unknown then, the two surrogate keys, stands at the end of the row
//! and is put in when the row is sent. A few rows are sent as arrays instead ([`arrays`]).

mod arrays;
pub(crate) mod statements;

use bytes::{BufMut, Bytes, BytesMut};
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

/// The stage's columns, in the order in which [`Rows::push`] and [`Rows::copy_data`] write them.
/// Decimals travel as text and are cast by the server: exact, and of any length.
const COLUMNS: [(&str, &str); 31] = [
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
    ("price", DECIMAL),
    ("quantity", DECIMAL),
    ("discount", DECIMAL),
    ("item_coupon", "text"),
    ("affiliation", "text"),
    ("location_id", "text"),
    ("promotion_id", "text"),
    ("promotion_name", "text"),
    ("creative_name", "text"),
    ("creative_slot", "text"),
    ("currency", "text"),
    ("value", DECIMAL),
    ("transaction_id", "text"),
    ("tax", DECIMAL),
    ("shipping", DECIMAL),
    ("event_coupon", "text"),
    ("extra", "jsonb"),
    ("fact_hash", "uuid"),
    ("source_offset", "bigint"),
    ("product_key", "bigint"),
    ("list_key", "bigint"),
];
const DECIMAL: &str = "text COLLATE \"C\"";

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
    /// The number of facts, before [`Rows::sort`] with duplicates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Facts that [`Rows::sort`] found twice.
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
        // There are as many columns as the type of COLUMNS says.
        row.put_i16(COLUMNS.len() as i16);
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

    /// Brings the facts into the order of their key, so that sinks side by side take their locks in
    /// the same order, and keeps one of those that are equal: the first, or where facts are
    /// replaced the last.
    pub(crate) fn sort(&mut self, on_conflict: OnConflict) {
        let before = self.index.len();
        if on_conflict == OnConflict::Update {
            self.index.reverse();
        }
        self.index.sort_by_key(|row| row.key);
        self.index.dedup_by_key(|row| row.key);
        self.duplicates += before - self.index.len();
    }

    /// The facts as an array for each column. `products` and `lists` as for [`Rows::copy_data`].
    pub(crate) fn arrays(&self, products: &[i64], lists: &[i64]) -> Vec<Array> {
        let mut arrays: Vec<Array> = COLUMNS.iter().map(|_| Array::default()).collect();
        let mut keys = BytesMut::new();
        for row in &self.index {
            keys.clear();
            // Read as a row of its own, whose number of columns nobody looks at.
            keys.put_i16(2);
            put_key(&mut keys, row.product, products);
            put_key(&mut keys, row.list, lists);
            let encoded = self.encoded.get(row.start..row.end).unwrap_or_default();
            let fields = arrays::fields(encoded).chain(arrays::fields(&keys));
            for (array, field) in arrays.iter_mut().zip(fields) {
                array.push(field);
            }
        }
        arrays
    }

    /// The data of a COPY into the stage, in pieces. `products` and `lists` are the surrogate keys
    /// of the batch's dimensions.
    pub(crate) fn copy_data<'a>(
        &'a self,
        products: &'a [i64],
        lists: &'a [i64],
    ) -> impl Iterator<Item = Bytes> + 'a {
        let mut rows = self.index.iter();
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
                put_key(&mut chunk, row.product, products);
                put_key(&mut chunk, row.list, lists);
            }
            let piece = std::mem::replace(
                &mut chunk,
                BytesMut::with_capacity(if ended { 0 } else { CHUNK }),
            );
            (!piece.is_empty()).then(|| piece.freeze())
        })
    }
}

fn put_key(row: &mut BytesMut, place: Option<u32>, keys: &[i64]) {
    match place.and_then(|place| keys.get(place as usize)) {
        Some(key) => {
            row.put_i32(8);
            row.put_i64(*key);
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
    put_text(row, decimal.map(Decimal::as_str));
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
