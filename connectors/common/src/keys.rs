//! The keys of records from SQS, and the partition that a record goes to.
//!
//! A key is made of words with one space between them. The first word is the message id, or the
//! message group id of a FIFO queue, which selects the partition, so that one partition has a group
//! in its order. Neither can contain a space. The words after it have names:
//!
//! ```text
//! 8b1f… sent=1795382400123 trace=Root=1-5759e988-bd862e3fe1be46a994272793
//! user-1 id=8b1f… sent=1795382400123 sequence=18849496460467696128
//! ```
//!
//! - `id` is the message id, of messages of a FIFO queue.
//! - `sent` is the time when the message was sent (SQS, `SentTimestamp`): milliseconds since the
//!   Unix epoch.
//! - `sequence` is the sequence number that a FIFO queue gave the message (SQS, `SequenceNumber`).
//! - `trace` is the trace context of the sender: `AWSTraceHeader` of AWS X-Ray, else the message
//!   attribute `traceparent` of the W3C. One that is longer than 256 bytes, or not printable ASCII
//!   without spaces, is left out.
//!
//! A sink names committed messages by their ids, takes the version of an event from `sequence` or
//! `sent`, and stores `sent` with its facts. Keys with other words are those of another producer,
//! which mean nothing here.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use siphasher::sip::SipHasher;

const SEPARATOR: char = ' ';
const ID: &str = "id";
const SENT: &str = "sent";
const SEQUENCE: &str = "sequence";
const TRACE: &str = "trace";

/// Longer trace contexts are left out.
const LONGEST_TRACE: usize = 256;

/// Milliseconds that a message can be in its queue and in a dead-letter queue, of which each keeps
/// it for up to 14 days (SQS, `MessageRetentionPeriod`).
const LONGEST_IN_QUEUES: u64 = 28 * 86_400_000;

/// The longest key that the source makes: a group of 128 characters (SQS, `MessageGroupId`), an id
/// of 100, a trace context, the numbers and the names.
const LONGEST_KEY: usize = 640;

/// The key of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// The message group of a FIFO queue.
    pub group: Option<&'a str>,
    /// The message id.
    pub id: &'a str,
    /// The time and the sequence number of the message.
    pub sent: Sent,
    /// The trace context.
    pub trace: Option<&'a str>,
}

impl<'a> Key<'a> {
    /// Parses a record's key. `None` if it is not of the source. A single word is a message id.
    #[must_use]
    pub fn parse(key: &'a [u8]) -> Option<Self> {
        let key = std::str::from_utf8(key).ok()?;
        let (first, words) = match key.split_once(SEPARATOR) {
            Some((first, words)) => (first, Words::parse(words)?),
            None => (key, Words::default()),
        };
        if first.is_empty() {
            return None;
        }
        Some(Self {
            group: words.id.is_some().then_some(first),
            id: words.id.unwrap_or(first),
            sent: words.sent,
            trace: words.trace,
        })
    }
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group {
            Some(group) => write!(formatter, "{group}{SEPARATOR}{ID}={}", self.id)?,
            None => formatter.write_str(self.id)?,
        }
        if self.sent != Sent::default() {
            write!(formatter, "{SEPARATOR}{}", self.sent)?;
        }
        match self.trace {
            Some(trace) => write!(formatter, "{SEPARATOR}{TRACE}={trace}"),
            None => Ok(()),
        }
    }
}

/// The position of a message in the order of sending, which is the version of its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The time when it was sent, in milliseconds since the Unix epoch.
    pub millis: Option<u64>,
    /// The sequence number in its FIFO queue: 20 digits, more than 64 bits hold.
    pub sequence: Option<u128>,
}

impl Sent {
    /// Parses the words `sent=…` and `sequence=…`, as [`Sent`] is displayed.
    #[must_use]
    pub fn parse(words: &str) -> Option<Self> {
        let words = Words::parse(words)?;
        (words.id.is_none() && words.trace.is_none()).then_some(words.sent)
    }

    /// The version of the message's events: the sequence number if there is one, else the time. The
    /// greater one is the newer.
    #[must_use]
    pub fn version(&self) -> Option<u128> {
        self.sequence.or(self.millis.map(u128::from))
    }

    /// Returns true if a message that was `sent` then may be a later copy of this one: it has the
    /// same numbers, none is lower, and the original was in queues for up to four weeks.
    #[must_use]
    pub fn may_precede(&self, sent: &Self) -> bool {
        let [mine, theirs] = [self, sent].map(|one| [one.millis.map(u128::from), one.sequence]);
        let mut pairs = mine.into_iter().zip(theirs);
        let age = sent
            .millis
            .zip(self.millis)
            .map(|(at, first)| at.saturating_sub(first));
        pairs.all(|(mine, theirs)| mine.is_some() == theirs.is_some() && mine <= theirs)
            && age.is_none_or(|age| age <= LONGEST_IN_QUEUES)
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(millis) = self.millis {
            write!(formatter, "{SENT}={millis}")?;
        }
        match self.sequence {
            Some(sequence) if self.millis.is_none() => write!(formatter, "{SEQUENCE}={sequence}"),
            Some(sequence) => write!(formatter, "{SEPARATOR}{SEQUENCE}={sequence}"),
            None => Ok(()),
        }
    }
}

/// The trace context if a key can hold it.
#[must_use]
pub fn trace(context: &str) -> Option<&str> {
    let is_word = (1..=LONGEST_TRACE).contains(&context.len())
        && context.bytes().all(|byte| byte.is_ascii_graphic());
    is_word.then_some(context)
}

/// The words with names.
#[derive(Default)]
struct Words<'a> {
    id: Option<&'a str>,
    sent: Sent,
    trace: Option<&'a str>,
}

impl<'a> Words<'a> {
    /// `None` if a word is unknown, malformed or there twice.
    fn parse(words: &'a str) -> Option<Self> {
        let mut parsed = Self::default();
        for word in words.split(SEPARATOR) {
            let is_new = match word.split_once('=')? {
                (ID, id) => parsed.id.replace(non_empty(id)?).is_none(),
                (SENT, millis) => parsed.sent.millis.replace(number(millis)?).is_none(),
                (SEQUENCE, sequence) => parsed.sent.sequence.replace(number(sequence)?).is_none(),
                (TRACE, context) => parsed.trace.replace(trace(context)?).is_none(),
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        Some(parsed)
    }
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A number of digits only.
fn number<N: FromStr>(text: &str) -> Option<N> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// The key if the tables can store it: text without NUL, no longer than the source's keys are.
#[must_use]
pub fn stored(key: &[u8]) -> Option<&str> {
    let key = std::str::from_utf8(key).ok()?;
    (key.len() <= LONGEST_KEY && !key.contains('\0')).then_some(key)
}

/// The first word of a key: the message group of a FIFO queue, else the message id.
#[must_use]
pub fn first_word(key: &str) -> &str {
    key.split(SEPARATOR).next().unwrap_or(key)
}

/// The partition of the records of a group, whose keys have the same first word: the one to which
/// Fluvio's own partitioner assigns records with that word as key.
#[must_use]
pub fn partition_of(key: &str, partitions: u32) -> u32 {
    let mut hasher = SipHasher::new();
    first_word(key).as_bytes().hash(&mut hasher);
    // The remainder is less than the number of partitions, which has this type.
    u32::try_from(hasher.finish() % u64::from(partitions.max(1))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_stays_in_its_partition_and_groups_are_spread() {
        let partition = |key: &str| partition_of(key, 8);
        assert_eq!(partition("user-1 id=8b1f sent=1"), partition("user-1"));
        let of_groups: std::collections::BTreeSet<_> = (0..100)
            .map(|number| partition(&format!("user-{number} id=8b1f")))
            .collect();
        assert_eq!(of_groups.len(), 8);
    }

    #[test]
    fn a_key_is_the_documented_text_in_both_directions() {
        let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1";
        let standard = Key {
            group: None,
            id: "8b1f",
            sent: Sent {
                millis: Some(1_795_382_400_123),
                sequence: None,
            },
            trace: Some(trace),
        };
        let fifo = Key {
            group: Some("user=1"),
            sent: Sent {
                sequence: Some(18_849_496_460_467_696_128),
                ..standard.sent
            },
            trace: None,
            ..standard
        };
        let bare = Key {
            sent: Sent::default(),
            trace: None,
            ..standard
        };
        for (key, text) in [
            (standard, format!("8b1f sent=1795382400123 trace={trace}")),
            (
                fifo,
                "user=1 id=8b1f sent=1795382400123 sequence=18849496460467696128".to_owned(),
            ),
            (bare, "8b1f".to_owned()),
        ] {
            assert_eq!(key.to_string(), text);
            assert_eq!(Key::parse(text.as_bytes()), Some(key));
        }
        assert_eq!(standard.sent.version(), Some(1_795_382_400_123));
        assert_eq!(fifo.sent.version(), Some(18_849_496_460_467_696_128));
        assert_eq!(bare.sent.version(), None);
    }

    #[test]
    fn an_original_is_at_most_four_weeks_older_than_its_copy() {
        let sent = |millis| Sent {
            millis: Some(millis),
            sequence: None,
        };
        let copy = sent(LONGEST_IN_QUEUES + 1_000);
        for (millis, may) in [
            (LONGEST_IN_QUEUES + 1_000, true),
            (1_000, true),
            (LONGEST_IN_QUEUES + 1_001, false),
            (999, false),
        ] {
            assert_eq!(sent(millis).may_precede(&copy), may, "{millis}");
        }
        assert!(!Sent::default().may_precede(&copy));
    }

    #[test]
    fn keys_of_other_producers_have_no_version() {
        let others: [&[u8]; 9] = [
            b"",
            b"a b",
            b"a sent=1 more=2",
            b"a sent=1 sent=2",
            b"a sent=",
            b"a sent=-1",
            b"a  sent=1",
            b" sent=1",
            b"a\xff sent=1",
        ];
        for key in others {
            assert_eq!(Key::parse(key), None, "{}", key.escape_ascii());
        }
    }

    #[test]
    fn only_a_printable_word_is_a_trace_context() {
        assert_eq!(trace("00-4bf9-00f0-01"), Some("00-4bf9-00f0-01"));
        for unusable in ["", "a b", "a\nb", "ä", &"a".repeat(LONGEST_TRACE + 1)] {
            assert_eq!(trace(unusable), None, "{unusable}");
        }
        let longest = Key {
            group: Some(&"g".repeat(128)),
            id: &"i".repeat(100),
            sent: Sent {
                millis: Some(u64::MAX),
                sequence: Some(u128::MAX),
            },
            trace: Some(&"t".repeat(LONGEST_TRACE)),
        };
        assert!(longest.to_string().len() <= LONGEST_KEY);
    }

    #[test]
    fn the_tables_store_text_without_nul_that_is_no_longer_than_a_key() {
        let longest = "k".repeat(LONGEST_KEY);
        assert_eq!(stored(longest.as_bytes()), Some(longest.as_str()));
        assert_eq!(stored(b""), Some(""));
        let longer = format!("{longest}k");
        for other in [longer.as_bytes(), b"8b1f\0", b"8b1f\xff"] {
            assert_eq!(stored(other), None, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn an_earlier_sending_is_one_with_no_greater_number() {
        let sent = |words| Sent::parse(words).unwrap();
        assert_eq!(sent("sent=1 sequence=2").to_string(), "sent=1 sequence=2");
        assert_eq!(Sent::parse("sent=1 id=8b1f"), None);
        assert!(sent("sent=1").may_precede(&sent("sent=1")));
        assert!(sent("sent=1 sequence=2").may_precede(&sent("sent=3 sequence=4")));
        for (forged, own) in [
            ("sent=2", "sent=1"),
            ("sent=1 sequence=5", "sent=3 sequence=4"),
            ("sent=1 sequence=5", "sent=3"),
            ("sent=1", "sent=3 sequence=4"),
        ] {
            assert!(!sent(forged).may_precede(&sent(own)), "{forged}, {own}");
        }
    }
}
