//! What the tables must hold once everything that was sent has arrived.
//!
//! Computed from the bodies alone, before they are sent, with the same rules for reading an event
//! and none of the machinery in between: if a queue, a topic or a transaction loses or doubles
//! anything, the two no longer agree.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use fact_model::{Arena, FactHash, Options, flatten_in};

/// Where the times of records begin that stand in for those of the topic, in ms of Unix time: the last second of the
/// year 2099, in which no event happens.
const NO_TIME: i64 = 4_102_444_799_999;

/// The sums over a set of facts that the database can compute, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// Number of events that are distinct.
    pub events: u64,
    /// Number of facts.
    pub facts: u64,
    /// Exclusive or over the facts' hashes: one fact more, fewer or other changes it.
    pub hashes: u128,
}

/// Everything that was sent, and when.
pub struct Expectation {
    options: Options,
    sent_at: HashMap<FactHash, u64>,
    messages: u64,
    duplicates: u64,
    rejected: u64,
    distinct: Fingerprint,
    timeless: u64,
}

impl Expectation {
    /// Expects what the SmartModule makes of events with `options`.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            sent_at: HashMap::new(),
            messages: 0,
            duplicates: 0,
            rejected: 0,
            distinct: Fingerprint::default(),
            timeless: 0,
        }
    }

    /// Takes note of a message's body, sent at `micros` after the epoch.
    pub fn add(&mut self, body: &str, micros: u64) {
        let arena = Arena::new();
        // A time of its own, so that equal bodies without a time are different events, as in the topic.
        let record_time = NO_TIME - i64::try_from(self.messages).unwrap_or_default();
        let envelope = flatten_in(&arena, &self.options, body.as_bytes(), Some(record_time));
        self.messages += 1;
        self.rejected += envelope.rejected.len() as u64;
        // The facts of one event stand together; the first has ordinal 1, or 0 where it is alone.
        let events = envelope.facts.chunk_by(|_, next| next.item_ordinal > 1);
        for event in events {
            let Some(first) = event.first() else { continue };
            if first.event_time.timestamp_millis() == record_time {
                self.timeless += 1;
            }
            match self.sent_at.entry(first.fact_hash) {
                Entry::Occupied(_) => self.duplicates += 1,
                Entry::Vacant(entry) => {
                    entry.insert(micros);
                    self.distinct.events += 1;
                    self.distinct.facts += event.len() as u64;
                    for fact in event {
                        self.distinct.hashes ^= u128::from_be_bytes(fact.fact_hash.0);
                    }
                }
            }
        }
    }

    /// Messages sent.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Events sent: of a message that holds several each counts.
    pub fn events(&self) -> u64 {
        self.distinct.events + self.duplicates + self.rejected
    }

    /// Events that were sent before.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Events that can't be read.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Events that take the time of their record, which nobody knows before: so their hashes are not known either.
    pub fn timeless(&self) -> u64 {
        self.timeless
    }

    /// What `fact_events` must hold.
    pub fn distinct(&self) -> Fingerprint {
        self.distinct
    }

    /// When the event whose first fact has this hash was first sent, in microseconds after the epoch.
    pub fn sent_at(&self, first_fact: &FactHash) -> Option<u64> {
        self.sent_at.get(first_fact).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: &str = r#"{"event_id":"e1","event_name":"view_item","event_timestamp":1767225600000,"items":[{"item_id":"A"},{"item_id":"B"}]}"#;

    #[test]
    fn sent_is_distinct_and_duplicates_and_rejected() {
        let mut expectation = Expectation::new(Options::default());
        expectation.add(VIEW, 1);
        expectation.add(VIEW, 2);
        expectation.add("no json", 3);
        expectation.add(&VIEW.replace("e1", "e2"), 4);
        assert_eq!(expectation.events(), 4);
        assert_eq!((expectation.duplicates(), expectation.rejected()), (1, 1));
        assert_eq!(
            (expectation.distinct().events, expectation.distinct().facts),
            (2, 4)
        );
        assert_eq!(expectation.timeless(), 0);
    }

    #[test]
    fn events_without_a_time_are_distinct_as_their_records_are() {
        let options = Options::parse([("missing-time", "record")]).unwrap();
        let mut expectation = Expectation::new(options);
        expectation.add("v=2&en=page_view", 1);
        expectation.add("v=2&en=page_view", 2);
        expectation.add(VIEW, 3);
        assert_eq!(
            (expectation.distinct().events, expectation.timeless()),
            (3, 2)
        );
    }
}
