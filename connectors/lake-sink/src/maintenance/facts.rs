//! The identities and versions of a day's facts.
//!
//! A fact is the same in the lake and in PostgreSQL if its time and its hash are. With an event id
//! the hash does not cover the content, but the event's version tells newer content from older: the
//! lake has a fact's content if it has the fact in PostgreSQL's version or in a newer one. The facts
//! of a day are held in memory, 48 bytes each; a day with more rows than fit is read in several
//! slices, each of which has the same identities on both sides.

use arrow_array::RecordBatch;
use chrono::NaiveDate;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use iceberg::table::Table;

use crate::error::Error;
use crate::maintenance::rows::{Columns, of_day, read};
use crate::schema::FACTS;

/// The rows of a slice, about.
const SLICE_ROWS: u64 = 2 << 20;
const HASH: &str = "fact_hash";
const VERSION: &str = "event_version";

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

/// A fact's version, in the order of versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u128);

impl Version {
    /// The version with this number: 0 of an event without a version, else one more than
    /// `event_version`. Digests sum these numbers.
    #[must_use]
    pub fn of_number(number: u128) -> Self {
        Self(number)
    }

    fn of_event(version: Option<i128>) -> Self {
        let version = version.and_then(|version| u128::try_from(version).ok());
        Self(version.map_or(0, |version| version.saturating_add(1)))
    }
}

/// A fact in one of its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    /// The fact.
    pub id: FactId,
    /// The version.
    pub version: Version,
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

/// The number of some facts and an order-independent hash of their identities and versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// Their number.
    pub count: i64,
    /// The exclusive or of the hashes' upper halves.
    pub high: u64,
    /// The exclusive or of their lower halves.
    pub low: u64,
    /// The sum of their times.
    pub times: i128,
    /// The sum of their versions' numbers, modulo 2^128. A newer version makes it greater.
    pub versions: u128,
}

impl Digest {
    /// Adds a fact.
    pub fn add(&mut self, fact: &Fact) {
        self.count += 1;
        self.high ^= fact.id.high;
        self.low ^= fact.id.low;
        self.times += i128::from(fact.id.time);
        self.versions = self.versions.wrapping_add(fact.version.0);
    }
}

/// The facts of a slice of a day.
#[derive(Debug, Default)]
pub struct Facts {
    /// The number of rows.
    pub rows: u64,
    /// The facts in the order of their identities, each in its newest version.
    pub all: Vec<Fact>,
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
    /// Reads the facts of a slice of a day (UTC).
    ///
    /// # Errors
    /// The storage failed, or the table has a row that the sink did not write.
    pub async fn read(table: &Table, day: NaiveDate, slice: Slice) -> Result<Self, Error> {
        let columns = [FACTS.time, HASH, VERSION];
        let mut batches = read(table, &columns, Some(of_day(FACTS.time, day))).await?;
        let mut facts = Self::default();
        while let Some(batch) = batches.try_next().await.map_err(Error::from)? {
            let columns = Columns {
                table,
                batch: &batch,
            };
            for (id, version) in ids(&columns)?.zip(columns.wholes(VERSION)?) {
                let id = id?;
                if slice.has(&id) {
                    let version = Version::of_event(version);
                    facts.rows += 1;
                    facts.all.push(Fact { id, version });
                }
            }
        }
        facts.all.sort_unstable();
        facts.all.dedup_by(|next, kept| {
            let is_same = next.id == kept.id;
            if is_same {
                kept.version = next.version;
            }
            is_same
        });
        Ok(facts)
    }

    /// The position of a fact and its newest version.
    #[must_use]
    pub fn find(&self, id: &FactId) -> Option<(usize, Version)> {
        let index = self.all.binary_search_by(|fact| fact.id.cmp(id)).ok()?;
        Some((index, self.all.get(index)?.version))
    }

    /// Adds the facts to a digest.
    pub fn add_to(&self, digest: &mut Digest) {
        for fact in &self.all {
            digest.add(fact);
        }
    }
}

/// Streams the rows of some facts of a day, a batch of the reader at a time. `wanted` is in order.
///
/// # Errors
/// The storage failed, or the table has a row that the sink did not write.
pub async fn rows_of(
    table: &Table,
    day: NaiveDate,
    wanted: &[FactId],
) -> Result<impl Stream<Item = Result<Vec<FactRow>, Error>>, Error> {
    let columns = [
        FACTS.time,
        HASH,
        "source_topic",
        "source_partition",
        "source_offset",
        "event_id",
        "event_name",
        VERSION,
    ];
    let batches = read(table, &columns, Some(of_day(FACTS.time, day))).await?;
    Ok(batches.map(move |batch| rows(table, &batch?, wanted)))
}

/// The rows of a batch whose facts are wanted.
fn rows(table: &Table, batch: &RecordBatch, wanted: &[FactId]) -> Result<Vec<FactRow>, Error> {
    let columns = Columns { table, batch };
    let (topics, partitions) = (columns.texts("source_topic")?, columns.partitions()?);
    let (offsets, event_ids) = (columns.offsets()?, columns.texts("event_id")?);
    let names = columns.texts("event_name")?;
    let versions = columns.wholes(VERSION)?;
    let places = topics.iter().zip(partitions).zip(offsets);
    let events = event_ids.iter().zip(names).zip(versions);
    let mut rows = Vec::new();
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
        let mut facts: Vec<Fact> = (1..=9)
            .map(|n| Fact {
                id: FactId::new(n, 7 << 100 | n as u128),
                version: Version::of_event((n > 3).then_some(i128::from(n))),
            })
            .collect();
        let digest = |facts: &mut dyn Iterator<Item = &Fact>| {
            let mut digest = Digest::default();
            facts.for_each(|fact| digest.add(fact));
            digest
        };
        let all = digest(&mut facts.iter());
        assert_eq!(all, digest(&mut facts.iter().rev()));
        assert_ne!(all, digest(&mut facts.iter().skip(1)));
        assert_eq!(facts[0].id.hash(), 7 << 100 | 1);
        facts[0].version = Version::of_event(Some(0));
        assert_ne!(all, digest(&mut facts.iter()));
    }

    #[test]
    fn no_version_is_the_oldest() {
        assert!(Version::of_event(None) < Version::of_event(Some(0)));
        assert!(Version::of_event(Some(0)) < Version::of_event(Some(1)));
        assert_eq!(Version::of_event(Some(6)), Version::of_number(7));
    }
}
