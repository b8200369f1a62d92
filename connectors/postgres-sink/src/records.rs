//! The records of a batch, one behind the other in one block.
//!
//! Thousands of blocks of their own, made in one thread and freed in another, leave holes that take as much memory as they.

use bytes::Bytes;

use crate::batch::Record;

/// Records, in their order.
#[derive(Debug, Default)]
pub(crate) struct Records {
    block: Vec<u8>,
    index: Vec<Place>,
}

/// Where a record ends in the block, and where its value begins behind its key.
#[derive(Debug)]
struct Place {
    offset: i64,
    has_key: bool,
    value: usize,
    end: usize,
}

/// A record, as it lies there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept<'a> {
    pub(crate) offset: i64,
    pub(crate) key: Option<&'a [u8]>,
    value: &'a [u8],
}

impl Records {
    /// None yet, with room for as many as `before` holds.
    pub(crate) fn as_many_as(before: &Self) -> Self {
        let and_some = |length: usize| length + length / 16;
        Self {
            block: Vec::with_capacity(and_some(before.block.len())),
            index: Vec::with_capacity(and_some(before.index.len())),
        }
    }

    pub(crate) fn push(&mut self, record: &Record) {
        self.block
            .extend_from_slice(record.key.as_deref().unwrap_or_default());
        let value = self.block.len();
        self.block.extend_from_slice(&record.value);
        self.index.push(Place {
            offset: record.offset,
            has_key: record.key.is_some(),
            value,
            end: self.block.len(),
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Kept<'_>> {
        let mut start = 0;
        self.index.iter().map(move |place| {
            let slice = |from, to| self.block.get(from..to).unwrap_or_default();
            let key = place.has_key.then(|| slice(start, place.value));
            start = place.end;
            Kept {
                offset: place.offset,
                key,
                value: slice(place.value, place.end),
            }
        })
    }
}

impl Kept<'_> {
    /// A record of its own.
    pub(crate) fn to_record(self) -> Record {
        Record {
            offset: self.offset,
            key: self.key.map(Bytes::copy_from_slice),
            value: Bytes::copy_from_slice(self.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let record = |offset, key: Option<&'static str>, value: &'static str| Record {
            offset,
            key: key.map(|key| Bytes::from_static(key.as_bytes())),
            value: Bytes::from_static(value.as_bytes()),
        };
        let all = [
            record(3, Some("k"), "value"),
            record(5, None, "other"),
            record(6, Some(""), ""),
        ];
        let mut records = Records::default();
        all.iter().for_each(|record| records.push(record));
        let back: Vec<Record> = records.iter().map(Kept::to_record).collect();
        assert_eq!(back, all);
    }
}
