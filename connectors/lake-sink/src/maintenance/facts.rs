//! The identities of a day's facts.
//!
//! A fact is the same in the lake and in PostgreSQL if its time and its hash are. The identities of
//! a day are held in memory, 24 bytes each; a day with more rows than fit is read in several slices,
//! each of which has the same identities on both sides.

use chrono::NaiveDate;
use futures_util::TryStreamExt as _;
use iceberg::table::Table;

use crate::error::Error;
use crate::maintenance::rows::{Columns, of_day, read};
use crate::schema::FACTS;

/// The rows of a slice, about.
const SLICE_ROWS: u64 = 4 << 20;
const HASH: &str = "fact_hash";

/// A fact's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FactId {
    /// The event's time in microseconds since the Unix epoch.
    pub time: i64,
    /// The upper half of `fact_hash`.
    pub high: u64,
    /// The lower half.
    pub low: u64,
}

impl FactId {
    /// The identity of the fact with this time and hash.
    #[must_use]
    pub fn new(time: i64, hash: u128) -> Self {
        Self {
            time,
            high: (hash >> 64) as u64,
            low: hash as u64,
        }
    }

    /// `fact_hash`.
    #[must_use]
    pub fn hash(&self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }
}

/// A part of a day's identities.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    number: u64,
    of: u64,
}

impl Slice {
    /// The slices of a day with so many rows.
    pub fn all(rows: u64) -> impl Iterator<Item = Self> {
        Self::of_size(rows, SLICE_ROWS)
    }

    fn of_size(rows: u64, size: u64) -> impl Iterator<Item = Self> {
        let of = rows.div_ceil(size).max(1);
        (0..of).map(move |number| Self { number, of })
    }

    /// Returns true if the slice has the identity.
    #[must_use]
    pub fn has(&self, id: &FactId) -> bool {
        id.low % self.of == self.number
    }
}

/// The number of some identities and an order-independent hash of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// Their number.
    pub count: i64,
    /// The exclusive or of the hashes' upper halves.
    pub high: u64,
    /// That of their lower halves.
    pub low: u64,
    /// The sum of their times.
    pub times: i128,
}

impl Digest {
    /// Adds an identity.
    pub fn add(&mut self, id: &FactId) {
        self.count += 1;
        self.high ^= id.high;
        self.low ^= id.low;
        self.times += i128::from(id.time);
    }
}

/// The identities of a slice of a day.
#[derive(Debug, Default)]
pub struct Facts {
    /// The number of rows.
    pub rows: u64,
    /// The distinct identities, in order.
    pub ids: Vec<FactId>,
}

/// The row of a fact: its record, and its event.
#[derive(Clone, Debug)]
pub struct FactRow {
    /// The fact.
    pub id: FactId,
    /// The topic of the record.
    pub topic: String,
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The producer's id of the event.
    pub event_id: Option<String>,
    /// The event's name.
    pub event_name: String,
    /// The event's version.
    pub event_version: Option<i128>,
}

impl Facts {
    /// Reads the identities of a slice of a day (UTC).
    ///
    /// # Errors
    /// The storage failed, or the table has a row that the sink did not write.
    pub async fn read(table: &Table, day: NaiveDate, slice: Slice) -> Result<Self, Error> {
        let columns = [FACTS.time, HASH];
        let mut batches = read(table, &columns, Some(of_day(FACTS.time, day))).await?;
        let mut facts = Self::default();
        while let Some(batch) = batches.try_next().await.map_err(Error::from)? {
            for id in ids(&Columns {
                table,
                batch: &batch,
            })? {
                let id = id?;
                if slice.has(&id) {
                    facts.rows += 1;
                    facts.ids.push(id);
                }
            }
        }
        facts.ids.sort_unstable();
        facts.ids.dedup();
        Ok(facts)
    }

    /// The position of an identity.
    #[must_use]
    pub fn find(&self, id: &FactId) -> Option<usize> {
        self.ids.binary_search(id).ok()
    }

    /// Adds the identities to a digest.
    pub fn add_to(&self, digest: &mut Digest) {
        for id in &self.ids {
            digest.add(id);
        }
    }
}

/// The rows of some facts of a day. `ids` are in order.
///
/// # Errors
/// The storage failed, or the table has a row that the sink did not write.
pub async fn rows_of(
    table: &Table,
    day: NaiveDate,
    wanted: &[FactId],
) -> Result<Vec<FactRow>, Error> {
    let columns = [
        FACTS.time,
        HASH,
        "source_topic",
        "source_partition",
        "source_offset",
        "event_id",
        "event_name",
        "event_version",
    ];
    let mut batches = read(table, &columns, Some(of_day(FACTS.time, day))).await?;
    let mut rows = Vec::new();
    while let Some(batch) = batches.try_next().await.map_err(Error::from)? {
        let columns = Columns {
            table,
            batch: &batch,
        };
        let (topics, partitions) = (columns.texts("source_topic")?, columns.partitions()?);
        let (offsets, event_ids) = (columns.offsets()?, columns.texts("event_id")?);
        let names = columns.texts("event_name")?;
        let versions = columns.wholes("event_version")?;
        let places = topics.iter().zip(partitions).zip(offsets);
        let events = event_ids.iter().zip(names).zip(versions);
        for ((id, ((topic, partition), offset)), ((event_id, name), event_version)) in
            ids(&columns)?.zip(places).zip(events)
        {
            let id = id?;
            if wanted.binary_search(&id).is_ok() {
                rows.push(FactRow {
                    id,
                    topic: topic.unwrap_or_default().to_owned(),
                    partition: partition.unwrap_or_default(),
                    offset: offset.unwrap_or_default(),
                    event_id: event_id.map(str::to_owned),
                    event_name: name.unwrap_or_default().to_owned(),
                    event_version,
                });
            }
        }
    }
    Ok(rows)
}

fn ids<'b>(
    columns: &Columns<'b>,
) -> Result<impl Iterator<Item = Result<FactId, Error>> + use<'b>, Error> {
    let name = columns.table.identifier().to_string();
    let (times, hashes) = (columns.times(FACTS.time)?, columns.texts(HASH)?);
    Ok(times.iter().zip(hashes).map(move |(time, hash)| {
        let id = || {
            let hash = hash.filter(|hash| hash.len() == 32)?;
            let hash = u128::from_str_radix(hash, 16).ok()?;
            Some(FactId::new(time?, hash))
        };
        id().ok_or_else(|| Error::Row {
            table: name.clone(),
            problem: format!("its {HASH} is not 32 hexadecimal digits"),
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_have_each_identity_once() {
        let ids = (0..1000_u128).map(|n| FactId::new(n as i64, n * n * 0x9e37_79b9_7f4a_7c15));
        let slices: Vec<Slice> = Slice::of_size(1000, 300).collect();
        assert_eq!(slices.len(), 4);
        for id in ids {
            assert_eq!(slices.iter().filter(|slice| slice.has(&id)).count(), 1);
        }
        assert_eq!(Slice::all(0).count(), 1);
    }

    #[test]
    fn a_digest_does_not_depend_on_the_order() {
        let ids: Vec<FactId> = (1..=9)
            .map(|n| FactId::new(n, 7 << 100 | n as u128))
            .collect();
        let digest = |ids: &mut dyn Iterator<Item = &FactId>| {
            let mut digest = Digest::default();
            ids.for_each(|id| digest.add(id));
            digest
        };
        let all = digest(&mut ids.iter());
        assert_eq!(all, digest(&mut ids.iter().rev()));
        assert_ne!(all, digest(&mut ids.iter().skip(1)));
        assert_eq!(ids.first().map(FactId::hash), Some(7 << 100 | 1));
    }
}
