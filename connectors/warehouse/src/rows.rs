//! Facts as rows of `COPY … (FORMAT binary)`, and the statements that write them.
//!
//! A fact is encoded while the JSON of its record is in memory: from the borrowed fact into one
//! buffer for the batch, without an owned copy. The surrogate keys of its dimensions are not known
//! then. They are at the end of a row, before the columns that all rows of a batch share, and are
//! added when the row is sent.

mod fields;

use std::cmp::Reverse;
use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use chrono::{DateTime, Utc};
use fact_model::Fact;
use serde::Deserialize;

use self::fields::{
    Array, fields, fields_of_row, is_null, put, put_decimal, put_i64, put_jsonb, put_null,
    put_numeric, put_text, put_time,
};

/// `PGCOPY\n\377\r\n\0`, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = (-1i16).to_be_bytes();
/// The size of a message of COPY.
const CHUNK: usize = 256 << 10;
/// In microseconds.
const HOUR: i64 = 3600 * 1_000_000;
/// A fact can change the aggregates of moments this near to it; see `analytics.touched_hours`.
const AROUND: i64 = HOUR / 2;

/// The policy for facts that are in the table already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnConflict {
    /// The stored fact stays.
    #[default]
    Ignore,
    /// The newer version of an event replaces the older one, in whichever order they arrive: a
    /// correction that the producer sends with the same event id and event time. The version is
    /// the sequence number or the sent time in the record's key. Of equal versions, and of events
    /// without one, the last to arrive wins; an event without a version is older than one with a
    /// version. Facts of items that the newer version does not have are removed, unless some of its
    /// items can't be read.
    Update,
}

/// The columns that differ between facts, in the order of [`Rows::push`] and [`RowEnds`].
const COLUMNS: [(&str, &str); 44] = [
    ("event_time", "timestamptz"),
    ("event_name", "text"),
    ("event_id", "text"),
    ("user_id", "text"),
    ("user_pseudo_id", "text"),
    ("session_id", "text"),
    ("platform", "text"),
    ("traffic_source", "text"),
    ("traffic_medium", "text"),
    ("traffic_campaign", "text"),
    ("device_category", "text"),
    ("country", "text"),
    ("app_version", "text"),
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
    ("event_version", "numeric"),
    ("sent_at", "timestamptz"),
    ("fact_hash", "uuid"),
    ("source_offset", "bigint"),
    ("product_key", "bigint"),
    ("list_key", "bigint"),
];
/// The columns after them, which are the same in all rows of a batch.
const SOURCE_COLUMNS: [&str; 2] = ["source_topic", "source_partition"];

/// The columns among them that say nothing about the event.
const NO_CONTENT: [&str; 5] = [
    "event_time",
    "event_version",
    "sent_at",
    "fact_hash",
    "source_offset",
];

/// The facts of a batch.
#[derive(Debug, Default)]
pub struct Rows {
    encoded: Vec<u8>,
    index: Vec<Row>,
    /// The version of each record.
    versions: Vec<Option<u128>>,
    /// The fields of the last record's version and sent time.
    sent_fields: Vec<u8>,
    duplicates: usize,
    conflicts: usize,
}

#[derive(Debug)]
struct Row {
    /// The unique key: microseconds since the Unix epoch, then the hash.
    key: (i64, [u8; 16]),
    start: usize,
    end: usize,
    product: Option<u32>,
    list: Option<u32>,
    /// The index of its version in [`Rows::versions`].
    version: u32,
}

impl Rows {
    /// The number of facts, before [`Rows::finish`] with duplicates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Returns true if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The number of facts that [`Rows::finish`] dropped.
    #[must_use]
    pub fn duplicates(&self) -> usize {
        self.duplicates
    }

    /// The number of these whose content differs from that of the fact that [`Rows::finish`] kept.
    pub(crate) fn conflicts(&self) -> usize {
        self.conflicts
    }

    /// The times of the facts, in microseconds since the Unix epoch; after [`Rows::finish`] in
    /// order.
    pub fn times(&self) -> impl Iterator<Item = i64> {
        self.index.iter().map(|row| row.key.0)
    }

    /// Begins the facts of a record, whose events have this version, and which was sent then, in
    /// microseconds since the Unix epoch.
    pub(crate) fn begin_record(&mut self, version: Option<u128>, sent_at: Option<i64>) {
        self.versions.push(version);
        let fields = &mut self.sent_fields;
        fields.clear();
        match version {
            Some(version) => put_numeric(fields, itoa::Buffer::new().format(version)),
            None => put_null(fields),
        }
        match sent_at {
            Some(sent_at) => put_time(fields, sent_at),
            None => put_null(fields),
        }
    }

    /// Adds a fact of the record at `offset`, which has begun. `product` and `list` are indexes in
    /// the dimensions of the batch.
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
        // Both lengths are constants that an i16 can hold.
        row.put_i16((COLUMNS.len() + SOURCE_COLUMNS.len()) as i16);
        put_time(row, time);
        put(row, fact.event_name.as_bytes());
        put_text(row, fact.event_id.as_deref());
        put_text(row, fact.user_id.as_deref());
        put_text(row, fact.user_pseudo_id.as_deref());
        put_text(row, fact.session_id.as_deref());
        put_text(row, fact.platform.as_deref());
        put_text(row, fact.traffic_source.as_deref());
        put_text(row, fact.traffic_medium.as_deref());
        put_text(row, fact.traffic_campaign.as_deref());
        put_text(row, fact.device_category.as_deref());
        put_text(row, fact.country.as_deref());
        put_text(row, fact.app_version.as_deref());
        put_text(row, fact.product_variant.as_deref());
        match fact.list_position {
            Some(position) => put(row, &position.to_be_bytes()),
            None => put_null(row),
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
            Some(extra) => put_jsonb(row, &extra.json()),
            None => put_null(row),
        }
        row.extend_from_slice(&self.sent_fields);
        put(row, &fact.fact_hash.0);
        put_i64(row, offset);
        let end = row.len();
        self.index.push(Row {
            key: (time, fact.fact_hash.0),
            start,
            end,
            product,
            list,
            version: u32::try_from(self.versions.len().saturating_sub(1)).unwrap_or(u32::MAX),
        });
    }

    /// No rows, with capacity for as many as `before` has: a buffer that grows by doubling takes up
    /// to twice as much memory.
    pub(crate) fn with_capacity_of(before: &Self) -> Self {
        let capacity = |length: usize| length + length / 16;
        Self {
            encoded: Vec::with_capacity(capacity(before.encoded.len())),
            index: Vec::with_capacity(capacity(before.index.len())),
            versions: Vec::with_capacity(capacity(before.versions.len())),
            ..Self::default()
        }
    }

    /// Sorts the facts by key, so that sinks side by side take their locks in the same order. Of
    /// facts with the same key it keeps the first, or with [`OnConflict::Update`] the last of the
    /// newest version.
    pub(crate) fn finish(&mut self, on_conflict: OnConflict) {
        let before = self.index.len();
        let versions = &self.versions;
        let version = |row: &Row| versions.get(row.version as usize).copied().flatten();
        match on_conflict {
            OnConflict::Ignore => self.index.sort_by_key(|row| row.key),
            OnConflict::Update => {
                self.index.reverse();
                self.index
                    .sort_by_key(|row| (row.key, Reverse(version(row))));
            }
        }
        let Self {
            encoded,
            index,
            conflicts,
            ..
        } = self;
        index.dedup_by(|later, first| {
            let is_duplicate = later.key == first.key;
            if is_duplicate && on_conflict == OnConflict::Ignore {
                *conflicts += usize::from(first.conflicts_with(later, encoded));
            }
            is_duplicate
        });
        self.duplicates += before - self.index.len();
    }

    /// The times, the hashes and the offsets of all facts, in order.
    pub(crate) fn keys(&self) -> [Array; 3] {
        let mut columns = [Array::default(), Array::default(), Array::default()];
        let mut key = Vec::new();
        for row in &self.index {
            let (time, hash) = row.key;
            key.clear();
            put_time(&mut key, time);
            let middle = key.len();
            put(&mut key, &hash);
            let (time, hash) = key.split_at(middle);
            columns[0].push(time);
            columns[1].push(hash);
            columns[2].push(row.offset_field(&self.encoded));
        }
        columns
    }

    /// The facts in `stored`, as an array for each of [`COLUMNS`].
    pub(crate) fn arrays(&self, stored: &Stored, ends: &RowEnds<'_>) -> Vec<Array> {
        let mut arrays: Vec<Array> = COLUMNS.iter().map(|_| Array::default()).collect();
        let mut end = BytesMut::new();
        for (index, row) in self.index.iter().enumerate() {
            if !stored.contains(index) {
                continue;
            }
            end.clear();
            ends.put_keys(&mut end, row);
            let fields = fields_of_row(row.encoded(&self.encoded)).chain(fields(&end));
            for (array, field) in arrays.iter_mut().zip(fields) {
                array.push(field);
            }
        }
        arrays
    }

    /// The facts in `stored` that other records brought, as an array for each of the columns that
    /// [`COUNT_CONFLICTS`] needs.
    pub(crate) fn compared_arrays(&self, stored: &Stored, ends: &RowEnds<'_>) -> Vec<Array> {
        let of_other_records = Stored::at(&stored.of_other_records, Vec::new(), self.len());
        let arrays = self.arrays(&of_other_records, ends).into_iter();
        let columns = COLUMNS.iter().zip(arrays);
        columns
            .filter(|((name, _), _)| is_needed(name))
            .map(|(_, array)| array)
            .collect()
    }

    /// The facts that are not in `stored`.
    fn without<'a>(&'a self, stored: &'a Stored) -> impl Iterator<Item = &'a Row> {
        let all = self.index.iter().enumerate();
        all.filter(|(index, _)| !stored.contains(*index))
            .map(|(_, row)| row)
    }

    /// The offsets of the records of the facts that are not in `stored`, one for each fact.
    pub(crate) fn offsets<'a>(&'a self, stored: &'a Stored) -> impl Iterator<Item = i64> + 'a {
        self.without(stored).filter_map(|row| {
            let field = row.offset_field(&self.encoded);
            field.last_chunk().copied().map(i64::from_be_bytes)
        })
    }

    /// The hours of all moments within [`AROUND`] of the facts that are not in `stored`, in order:
    /// the aggregates of these hours are out of date once the facts are in.
    pub(crate) fn touched_hours(&self, stored: &Stored) -> Vec<DateTime<Utc>> {
        let mut hours: Vec<i64> = Vec::new();
        for row in self.without(stored) {
            let (time, _) = row.key;
            for moment in [-AROUND, 0, AROUND].map(|around| time.saturating_add(around)) {
                let hour = moment.div_euclid(HOUR);
                // Facts are in order of time, so an hour that is known is one of the last two.
                if !hours.iter().rev().take(2).any(|known| *known == hour) {
                    hours.push(hour);
                }
            }
        }
        let starts = hours.into_iter().map(|hour| hour.saturating_mul(HOUR));
        starts.filter_map(DateTime::from_timestamp_micros).collect()
    }

    /// The data of a COPY of the facts that are not in `stored`, in chunks.
    pub(crate) fn copy_data<'a>(
        &'a self,
        stored: &'a Stored,
        ends: &'a RowEnds<'a>,
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
                chunk.put_slice(row.encoded(&self.encoded));
                ends.put(&mut chunk, row);
            }
            let full = std::mem::replace(
                &mut chunk,
                BytesMut::with_capacity(if ended { 0 } else { CHUNK }),
            );
            (!full.is_empty()).then(|| full.freeze())
        })
    }
}

impl Row {
    fn encoded<'a>(&self, all: &'a [u8]) -> &'a [u8] {
        all.get(self.start..self.end).unwrap_or_default()
    }

    /// The field of the offset, which [`Rows::push`] writes last, with its length.
    fn offset_field<'a>(&self, all: &'a [u8]) -> &'a [u8] {
        let encoded = self.encoded(all);
        let start = encoded.len().saturating_sub(4 + size_of::<i64>());
        encoded.get(start..).unwrap_or_default()
    }

    /// Returns true if both have an event id and differ in their content, as [`COUNT_CONFLICTS`]
    /// compares it.
    fn conflicts_with(&self, other: &Self, all: &[u8]) -> bool {
        let fields = fields_of_row(self.encoded(all)).zip(fields_of_row(other.encoded(all)));
        let mut differs = (self.product, self.list) != (other.product, other.list);
        let mut has_id = false;
        for ((column, _), (ours, theirs)) in COLUMNS.iter().zip(fields) {
            has_id |= *column == "event_id" && !is_null(ours) && !is_null(theirs);
            differs |= is_compared(column) && ours != theirs;
        }
        has_id && differs
    }
}

/// The facts of a batch that are in the table already.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    by_index: Vec<bool>,
    count: usize,
    /// The indexes of those that another record brought and that may differ.
    pub(crate) of_other_records: Vec<i32>,
}

impl Stored {
    /// The facts at `indexes`, which are distinct, in a batch of `facts`.
    pub(crate) fn at(indexes: &[i32], of_other_records: Vec<i32>, facts: usize) -> Self {
        let mut by_index = vec![false; facts];
        for index in indexes {
            let index = usize::try_from(*index).ok();
            if let Some(stored) = index.and_then(|index| by_index.get_mut(index)) {
                *stored = true;
            }
        }
        Self {
            by_index,
            count: indexes.len(),
            of_other_records,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    fn contains(&self, index: usize) -> bool {
        self.by_index.get(index).copied().unwrap_or_default()
    }
}

/// The field of a number.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn numeric(text: &str) -> Vec<u8> {
    let mut field = Vec::new();
    put_numeric(&mut field, text);
    field
}

/// The ends of a batch's rows: the surrogate keys of its dimensions' members by their index, and
/// the columns that all rows share.
#[derive(Debug)]
pub(crate) struct RowEnds<'a> {
    products: &'a [i64],
    lists: &'a [i64],
    source: Vec<u8>,
}

impl<'a> RowEnds<'a> {
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
        put_key(out, self.products, row.product);
        put_key(out, self.lists, row.list);
    }
}

/// Puts the key of the member at `index`.
fn put_key(out: &mut BytesMut, keys: &[i64], index: Option<u32>) {
    match index.and_then(|index| keys.get(index as usize)) {
        Some(key) => put_i64(out, *key),
        None => put_null(out),
    }
}

/// Starts a COPY of the data of [`Rows::copy_data`].
pub(crate) static COPY: LazyLock<String> = LazyLock::new(|| {
    let columns = COLUMNS.iter().map(|(name, _)| *name);
    let columns: Vec<&str> = columns.chain(SOURCE_COLUMNS).collect();
    format!(
        "COPY fact_events ({}) FROM STDIN (FORMAT binary)",
        columns.join(", ")
    )
});

/// Opens hours: queries compute them from the facts until they are stored again.
pub(crate) const NOTE_HOURS: &str =
    "INSERT INTO analytics.touched_hours (hour) SELECT unnest($1::timestamptz[])";

/// Returns the indexes of the stored facts among [`Rows::keys`], and of those among them that have
/// an event id and that another record than that of `$4` and `$5` brought. OFFSET 0 keeps the
/// planner from a join that would read the whole table.
pub(crate) const FIND_STORED: &str = "\
    SELECT coalesce(array_agg(new.place::int - 1), '{}'), \
           coalesce(array_agg(new.place::int - 1) FILTER (WHERE old.is_of_another_record), '{}') \
    FROM unnest($1::timestamptz[], $2::uuid[], $3::bigint[]) \
         WITH ORDINALITY AS new (event_time, fact_hash, source_offset, place), \
         LATERAL (SELECT f.event_id IS NOT NULL \
                         AND (f.source_topic, f.source_partition, f.source_offset) \
                             <> ($4::text, $5::int, new.source_offset) AS is_of_another_record \
                  FROM fact_events f \
                  WHERE f.event_time = new.event_time AND f.fact_hash = new.fact_hash \
                  OFFSET 0) old";

/// Returns true for a column in which two facts of the same identity conflict. `extra` holds what
/// the identity ignores, such as `replay_timestamp`, and with `identity: content` so does
/// `event_id`.
fn is_compared(column: &str) -> bool {
    !NO_CONTENT.contains(&column) && !["event_id", "extra"].contains(&column)
}

fn is_key(column: &str) -> bool {
    ["event_time", "fact_hash"].contains(&column)
}

/// Returns true for a column that [`COUNT_CONFLICTS`] needs.
fn is_needed(column: &str) -> bool {
    is_key(column) || is_compared(column)
}

/// The columns to keep of a row, as one value.
fn content(of: &str, keep: fn(&str) -> bool) -> String {
    let columns = COLUMNS.iter().filter(|(name, _)| keep(name));
    let columns: Vec<String> = columns.map(|(name, _)| format!("{of}.{name}")).collect();
    format!("ROW({})", columns.join(", "))
}

/// Counts those of the facts in [`Rows::compared_arrays`] whose content differs from that of the
/// stored fact.
pub(crate) static COUNT_CONFLICTS: LazyLock<String> = LazyLock::new(|| {
    let needed = || COLUMNS.iter().filter(|(name, _)| is_needed(name));
    let arrays: Vec<String> = (1..)
        .zip(needed())
        .map(|(number, (_, sql_type))| format!("${number}::{sql_type}[]"))
        .collect();
    let names: Vec<&str> = needed().map(|(name, _)| *name).collect();
    format!(
        "SELECT count(*) FROM unnest({arrays}) AS new ({names}) \
         WHERE EXISTS (SELECT FROM fact_events old \
                       WHERE old.event_time = new.event_time AND old.fact_hash = new.fact_hash \
                       AND {old} IS DISTINCT FROM {new} OFFSET 0)",
        arrays = arrays.join(", "),
        names = names.join(", "),
        old = content("old", is_compared),
        new = content("new", is_compared),
    )
});

/// Replaces stored facts by those in [`Rows::arrays`] that are newer, or of the same version with
/// other content. They are `$3` and the parameters after it; `$1` is the topic, `$2` the partition.
/// Returns the offset of each replacement. A fact whose event is stored in a newer version changes
/// nothing; it may be one of the removed items, so one that was deleted since it was found is
/// inserted again only if its event is not newer.
pub(crate) static REPLACE: LazyLock<String> = LazyLock::new(|| {
    let arrays: Vec<String> = (3..)
        .zip(COLUMNS)
        .map(|(number, (_, sql_type))| format!("${number}::{sql_type}[]"))
        .collect();
    let names = COLUMNS.map(|(name, _)| name).join(", ");
    let is_content = |name: &str| !NO_CONTENT.contains(&name);
    let assignments: Vec<String> = COLUMNS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !is_key(name))
        .chain(SOURCE_COLUMNS)
        .chain(["ingested_at"])
        .map(|name| match name {
            // NULL is the earliest. A version that is stored no more counts, too.
            "sent_at" => "sent_at = CASE WHEN fact_events.sent_at < excluded.sent_at \
                          OR fact_events.sent_at IS NULL \
                          THEN fact_events.sent_at ELSE excluded.sent_at END"
                .to_owned(),
            name => format!("{name} = excluded.{name}"),
        })
        .collect();
    let is_replaced = |old: &str, new: &str| {
        let [version, new_version] =
            [old, new].map(|of| format!("coalesce({of}.event_version, -1)"));
        // Without an id the hash has the content, and there are no versions.
        format!(
            "({new_version} >= {version} AND ({} IS DISTINCT FROM {} \
              OR {new_version} > {version} AND {new}.event_id IS NOT NULL))",
            content(old, is_content),
            content(new, is_content)
        )
    };
    // The condition comes first, since DO UPDATE locks a row and writes to it even if it then
    // changes nothing. CASE, since the server must look for a newer version only of events that
    // change: that look-up reads all facts of their time.
    format!(
        "INSERT INTO fact_events (source_topic, source_partition, {names}) \
         SELECT $1, $2, {names} FROM unnest({arrays}) AS new ({names}) \
         WHERE CASE WHEN EXISTS (SELECT FROM fact_events old \
                                 WHERE old.event_time = new.event_time \
                                 AND old.fact_hash = new.fact_hash AND NOT {is_new} OFFSET 0) \
                    THEN false \
                    ELSE NOT EXISTS (SELECT FROM fact_events old \
                                     WHERE old.event_time = new.event_time \
                                     AND old.event_id = new.event_id \
                                     AND old.event_name = new.event_name \
                                     AND old.event_version > coalesce(new.event_version, -1) \
                                     OFFSET 0) END \
         ON CONFLICT (event_time, fact_hash) DO UPDATE SET {assignments} \
         WHERE {is_still_new} \
         RETURNING source_offset",
        arrays = arrays.join(", "),
        is_new = is_replaced("old", "new"),
        assignments = assignments.join(", "),
        is_still_new = is_replaced("fact_events", "excluded"),
    )
});
