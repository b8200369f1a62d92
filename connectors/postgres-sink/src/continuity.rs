//! Whether each batch from the cluster follows the one before it.
//!
//! A response is cut at `max_bytes`, and the client drops what was cut off and goes on behind it.
//! A batch whose transformed records are larger than `max_bytes` is left out altogether. Neither
//! is an error to the client, so the offsets are the only witnesses.

/// The offset that must come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Continuity {
    next: i64,
}

/// What is wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// Records are missing before it.
    #[error("records from offset {from} up to {to} are missing")]
    Gap {
        /// The first that is missing.
        from: i64,
        /// The first behind the gap.
        to: i64,
    },
    /// It holds more records than offsets, so that no record's offset is known.
    #[error("the batch at offset {base} covers {offsets} offsets and holds {records} records")]
    Multiplied {
        /// The batch's offset.
        base: i64,
        /// The offsets that it covers.
        offsets: usize,
        /// The records in it.
        records: usize,
    },
}

impl Continuity {
    /// The record at `next` must come next.
    #[must_use]
    pub fn from(next: i64) -> Self {
        Self { next }
    }

    /// The offset that must come next.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Looks at a batch that starts at the offset `base`, covers `offsets` offsets and holds
    /// `records` records. Returns how many of its first records were seen before: a stream starts
    /// with the batch that holds the offset asked for.
    ///
    /// A batch that holds too few records is taken as far as it goes; the batch behind it shows the gap.
    ///
    /// # Errors
    /// See [`Break`]. Nothing of the batch may be used.
    pub fn accept(&mut self, base: i64, offsets: usize, records: usize) -> Result<usize, Break> {
        if base > self.next {
            return Err(Break::Gap {
                from: self.next,
                to: base,
            });
        }
        if records > offsets {
            return Err(Break::Multiplied {
                base,
                offsets,
                records,
            });
        }
        let seen = usize::try_from(self.next.saturating_sub(base))
            .unwrap_or(usize::MAX)
            .min(records);
        let end = base.saturating_add(i64::try_from(records).unwrap_or(i64::MAX));
        self.next = self.next.max(end);
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_batch_may_hold_what_was_read_before() {
        let mut continuity = Continuity::from(296);
        assert_eq!(continuity.accept(290, 10, 10), Ok(6));
        assert_eq!(continuity.accept(300, 5, 5), Ok(0));
        assert_eq!(continuity.next(), 305);
        assert_eq!(
            continuity.accept(300, 5, 5),
            Ok(5),
            "a batch that comes twice is skipped whole"
        );
        assert_eq!(continuity.next(), 305);
    }

    #[test]
    fn what_is_left_out_shows_in_the_batch_behind_it() {
        let mut continuity = Continuity::from(0);
        let cut = continuity.accept(0, 100, 60);
        assert_eq!(cut, Ok(0));
        assert_eq!(
            continuity.accept(100, 100, 100),
            Err(Break::Gap { from: 60, to: 100 })
        );
        assert_eq!(continuity.next(), 60, "a batch behind a gap must not count");
        assert_eq!(continuity.accept(0, 100, 100), Ok(60));
        assert_eq!(continuity.next(), 100);
    }

    #[test]
    fn more_records_than_offsets_are_refused() {
        let mut continuity = Continuity::from(0);
        assert_eq!(
            continuity.accept(0, 60, 300),
            Err(Break::Multiplied {
                base: 0,
                offsets: 60,
                records: 300
            })
        );
    }
}
