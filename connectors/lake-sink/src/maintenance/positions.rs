//! The offsets of the raw records, as ranges without gaps.

use std::collections::BTreeMap;
use std::ops::Range;

use futures_util::TryStreamExt as _;
use iceberg::table::Table;

use crate::error::Error;
use crate::maintenance::rows::{Columns, read};

/// The offsets of a partition's records in the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// The number of rows.
    pub rows: u64,
    /// The number of rows whose offset another row has, too.
    pub repeated: u64,
    /// The end of each range by its start. Neighbours are one range.
    ranges: BTreeMap<i64, i64>,
}

impl Positions {
    /// The offsets in a table of records by partition. Rows of other topics are left out.
    ///
    /// # Errors
    /// The storage failed, or the table has a row that the sink did not write.
    pub async fn read(table: &Table, topic: &str) -> Result<BTreeMap<i32, Self>, Error> {
        let columns = ["source_topic", "source_partition", "source_offset"];
        let mut batches = read(table, &columns, None).await?;
        let mut found: BTreeMap<i32, Self> = BTreeMap::new();
        while let Some(batch) = batches.try_next().await.map_err(Error::from)? {
            let columns = Columns {
                table,
                batch: &batch,
            };
            let (topics, partitions) = (columns.texts("source_topic")?, columns.partitions()?);
            for ((of, partition), offset) in topics.iter().zip(partitions).zip(columns.offsets()?) {
                if let (true, Some(partition), Some(offset)) =
                    (of == Some(topic), partition, offset)
                {
                    found.entry(partition).or_default().add(offset);
                }
            }
        }
        Ok(found)
    }

    fn add(&mut self, offset: i64) {
        self.rows += 1;
        let next = offset.saturating_add(1);
        let before = self.ranges.range_mut(..=offset).next_back();
        let start = match before {
            Some((_, end)) if *end > offset => {
                self.repeated += 1;
                return;
            }
            Some((start, end)) if *end == offset => {
                *end = next;
                *start
            }
            _ => {
                self.ranges.insert(offset, next);
                offset
            }
        };
        if let Some(end) = self.ranges.remove(&next) {
            self.ranges.insert(start, end);
        }
    }

    /// Returns true if a row has the offset.
    #[must_use]
    pub fn has(&self, offset: i64) -> bool {
        let before = self.ranges.range(..=offset).next_back();
        before.is_some_and(|(_, end)| offset < *end)
    }

    /// The first offset.
    #[must_use]
    pub fn first(&self) -> Option<i64> {
        self.ranges.keys().next().copied()
    }

    /// The offset behind the last one.
    #[must_use]
    pub fn end(&self) -> Option<i64> {
        self.ranges.values().next_back().copied()
    }

    /// The offsets between the first one and `end` that are missing; without rows all before `end`.
    #[must_use]
    pub fn gaps(&self, end: i64) -> Vec<Range<i64>> {
        let none = self.ranges.is_empty().then_some(0..end);
        let starts = self.ranges.keys().skip(1).copied().chain([end]);
        let gaps = self.ranges.values().zip(starts);
        gaps.map(|(end, start)| *end..start)
            .chain(none)
            .filter(|gap| !gap.is_empty())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_repeats_are_found_in_any_order() {
        let mut positions = Positions::default();
        for offset in [5, 7, 6, 9, 3, 6, 4, 12, 9] {
            positions.add(offset);
        }
        assert_eq!((positions.rows, positions.repeated), (9, 2));
        assert_eq!((positions.first(), positions.end()), (Some(3), Some(13)));
        assert_eq!(positions.gaps(13), [8..9, 10..12]);
        let found: Vec<i64> = (0..15).filter(|offset| positions.has(*offset)).collect();
        assert_eq!(found, [3, 4, 5, 6, 7, 9, 12]);
        assert_eq!(positions.gaps(15), [8..9, 10..12, 13..15]);
        assert_eq!(Positions::default().gaps(5).first(), Some(&(0..5)));
        assert!(Positions::default().gaps(0).is_empty());
    }
}
