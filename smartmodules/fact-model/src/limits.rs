//! Limits for one body: size of the output, number of items, depth of wrapping, length of texts.
//!
//! Each fact repeats its event's values. Without a limit, a hostile body of one megabyte, half of
//! it one long name and half of it empty items, would become 80 gigabytes.

use chrono::{DateTime, Utc};
use xxhash_rust::xxh3::xxh3_128;

use crate::options::{MissingTime, Options};
use crate::rejection::{Reason, Refusal};
use crate::time;

/// Bytes of a fact or a rejection besides the strings of the body.
const OVERHEAD: usize = 512;
/// Output bytes that any body may have: enough for 200 small items (Google's limit) in a large
/// event.
const FREE: usize = 1024 * 1024;
/// Output bytes allowed for each byte of the body. Events of ten items need three.
const FACTOR: usize = 64;
/// Output bytes that no body may exceed: the output must fit into one batch of the topic's readers.
const LIMIT: usize = 16 * 1024 * 1024;
/// String literals that may be nested in each other.
pub(crate) const MAX_STRINGS: usize = 3;

/// The remaining output of one body, and the options to read it with.
#[derive(Debug)]
pub(crate) struct Budget<'o> {
    pub(crate) options: &'o Options,
    /// The record's time in the topic, in ms of Unix time, if it is known.
    pub(crate) record_time: Option<i64>,
    /// Remaining output bytes.
    rest: usize,
}

impl<'o> Budget<'o> {
    /// Returns the budget of a body of `size` bytes.
    pub(crate) fn of_body(size: usize, options: &'o Options, record_time: Option<i64>) -> Self {
        Self {
            options,
            record_time,
            rest: size.saturating_mul(FACTOR).saturating_add(FREE).min(LIMIT),
        }
    }

    /// Refuses a body that is larger than `max-body`.
    pub(crate) fn check_size(&self, body: usize) -> Result<(), Refusal> {
        let limit = self.options.max_body;
        if body <= limit {
            return Ok(());
        }
        let detail = format!("the body has {body} bytes, and max-body allows {limit}");
        Err(Refusal::new(Reason::BodyTooLarge, detail))
    }

    /// Refuses an event's next item if it has `max-items` already.
    pub(crate) fn check_items(&self, before: usize) -> Result<(), Refusal> {
        let limit = self.options.max_items;
        if before < limit {
            return Ok(());
        }
        let detail = format!("the event has more items than the {limit} that max-items allows");
        Err(Refusal::new(Reason::TooManyItems, detail))
    }

    /// Returns the record's time for an event without one, if `missing-time` is `record`.
    pub(crate) fn time_of_record(&self) -> Option<DateTime<Utc>> {
        match self.options.missing_time {
            MissingTime::Reject => None,
            MissingTime::Record => time::of_millis(self.record_time?),
        }
    }

    /// Returns the remaining output bytes, which also limit the inflated size.
    pub(crate) fn rest(&self) -> usize {
        self.rest
    }

    /// Takes the bytes of one more fact or rejection with `size` bytes of strings.
    pub(crate) fn spend(&mut self, size: usize) -> Result<(), Refusal> {
        match self.rest.checked_sub(size.saturating_add(OVERHEAD)) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(Refusal::new(
                Reason::TooLarge,
                "so many items repeat so much of their event that the facts would be more than \
                 1 MiB and 64 times the body, or more than 16 MiB",
            )),
        }
    }
}

/// Envelopes that may be around a body. Each wrapper of AWS, CloudEvents or the SQS source, a
/// batch, a list with numbers as keys, gzip and base64 count one.
const MAX_ENVELOPES: usize = 6;

/// Counts the layers around the text that is being read. A hostile body nests as deep as its size
/// allows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Layers {
    /// Strings since the last envelope.
    strings: usize,
    envelopes: usize,
}

impl Layers {
    /// Enters one more string.
    pub(crate) fn string(self) -> Result<Self, Refusal> {
        if self.strings == MAX_STRINGS {
            let detail = format!("the body has more than {MAX_STRINGS} nested JSON strings");
            return Err(Refusal::new(Reason::TooDeep, detail));
        }
        Ok(Self {
            strings: self.strings + 1,
            ..self
        })
    }

    /// Enters one more envelope.
    pub(crate) fn envelope(self) -> Result<Self, Refusal> {
        if self.envelopes == MAX_ENVELOPES {
            let detail = format!("there are more than {MAX_ENVELOPES} envelopes around the body");
            return Err(Refusal::new(Reason::TooDeep, detail));
        }
        Ok(Self {
            strings: 0,
            envelopes: self.envelopes + 1,
        })
    }
}

/// The most bytes of a text in a column. An entry of PostgreSQL's B-trees holds 2,704 bytes, and
/// the natural key of a list joins two texts.
pub const MAX_TEXT: usize = 512;

/// Stands between the beginning of a cut text and the hash of the whole.
const MARK: char = '…';
/// The size of a 128-bit hash in hex digits.
const DIGITS: usize = 32;

/// Cuts a text of more than `limit` bytes: its beginning, `…`, and the XXH3-128 of the whole text
/// as 32 hex digits, so that long texts with the same beginning stay different. Returns `None` if
/// the text fits.
pub fn cut_text(text: &str, limit: usize) -> Option<String> {
    if text.len() <= limit {
        return None;
    }
    let room = limit.saturating_sub(MARK.len_utf8() + DIGITS);
    let beginning = text.get(..text.floor_char_boundary(room));
    let hash = xxh3_128(text.as_bytes());
    Some(format!(
        "{}{MARK}{hash:032x}",
        beginning.unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_fits_and_differs_from_all_others() {
        let whole = "é".repeat(256);
        assert_eq!(cut_text(&whole, MAX_TEXT), None);
        let cut = |end: &str| cut_text(&format!("{whole}{end}"), MAX_TEXT).unwrap();
        // The beginning ends before the character that the limit would split.
        assert_eq!(cut("x").len(), 511);
        assert!(cut("x").starts_with(&format!("{}…", "é".repeat(238))));
        assert_ne!(cut("x"), cut("y"));
        assert_eq!(cut("x"), cut("x"));
    }
}
