//! The expected contents of the tables once all messages have arrived, and their actual contents.
//!
//! The expectation is computed from the bodies before they are sent, with the same rules for
//! reading an event but without queue, topic and transactions. If one of these loses or doubles
//! anything, the two differ.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use fact_model::{Arena, FactHash, Options, flatten_in};
use futures_util::{TryStreamExt, pin_mut};
use tokio_postgres::Client;
use uuid::Uuid;

/// The substitute for the time of the first record, in ms of Unix time: the last second of the year
/// 2099. No event has this time.
const NO_TIME: i64 = 4_102_444_799_999;

/// Sums over a set of facts, which the database can compute as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// Number of distinct events.
    pub events: u64,
    /// Number of facts.
    pub facts: u64,
    /// Exclusive or over the facts' hashes: an additional, missing or changed fact changes it.
    pub hashes: u128,
}

/// The events that were sent, with the time of each.
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
    /// Expects the facts of a SmartModule with `options`.
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

    /// Adds the body of a message sent at `micros` of Unix time.
    pub fn add(&mut self, body: &str, micros: u64) {
        let arena = Arena::new();
        // A distinct time, so that equal bodies without a time are distinct events, as in the
        // topic.
        let record_time = NO_TIME - i64::try_from(self.messages).unwrap_or_default();
        let envelope = flatten_in(&arena, &self.options, body.as_bytes(), Some(record_time));
        self.messages += 1;
        self.rejected += envelope.rejected.len() as u64;
        // The facts of an event are adjacent; the first has ordinal 1, or 0 without items.
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

    /// The number of messages sent.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// The number of events sent; a message can hold several.
    pub fn events(&self) -> u64 {
        self.distinct.events + self.duplicates + self.rejected
    }

    /// The number of events that were sent before.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// The number of events that can't be read.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// The number of events that take the time of their record. It is unknown before they are sent,
    /// so their hashes are unknown, too.
    pub fn timeless(&self) -> u64 {
        self.timeless
    }

    /// The expected sums over `fact_events`.
    pub fn distinct(&self) -> Fingerprint {
        self.distinct
    }

    /// The time at which the event with this first fact was first sent, in microseconds of Unix
    /// time.
    pub fn sent_at(&self, first_fact: &FactHash) -> Option<u64> {
        self.sent_at.get(first_fact).copied()
    }
}

/// The number of records of `topic` that the sink has committed, over all partitions.
///
/// # Errors
/// Fails if a query fails.
pub async fn committed(client: &Client, topic: &str) -> anyhow::Result<i64> {
    let there = client
        .query_one("SELECT to_regclass('sink_offsets') IS NOT NULL", &[])
        .await?;
    if !there.get::<_, bool>(0) {
        return Ok(0);
    }
    let row = client
        .query_one(
            "SELECT coalesce(sum(next_offset), 0)::bigint FROM sink_offsets WHERE topic = $1",
            &[&topic],
        )
        .await?;
    Ok(row.get(0))
}

/// The sums over the facts in the tables.
///
/// # Errors
/// Fails if the query fails.
pub async fn fingerprint(client: &Client) -> anyhow::Result<Fingerprint> {
    let row = client
        .query_one(
            "SELECT count(*) FILTER (WHERE item_ordinal <= 1), count(*),
                    coalesce(bit_xor(('x' || left(hash, 16))::bit(64)::bigint), 0),
                    coalesce(bit_xor(('x' || right(hash, 16))::bit(64)::bigint), 0)
             FROM (SELECT item_ordinal, replace(fact_hash::text, '-', '') AS hash
                   FROM fact_events) AS facts",
            &[],
        )
        .await?;
    let half = |column: usize| u128::from(row.get::<_, i64>(column).cast_unsigned());
    Ok(Fingerprint {
        events: row.get::<_, i64>(0).unsigned_abs(),
        facts: row.get::<_, i64>(1).unsigned_abs(),
        hashes: half(2) << 64 | half(3),
    })
}

/// The rejected events in the tables by reason, most frequent first.
///
/// # Errors
/// Fails if the query fails.
pub async fn rejected(client: &Client) -> anyhow::Result<Vec<(String, u64)>> {
    let rows = client
        .query(
            "SELECT reason, count(*) FROM rejected_events GROUP BY reason \
             ORDER BY count(*) DESC, reason",
            &[],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs()))
        .collect())
}

/// Calls `with` for each event with the hash of its first fact and the time of its commit, in
/// microseconds of Unix time. If the server does not track commit times, that is the start of the
/// transaction.
///
/// # Errors
/// Fails if a query fails.
pub async fn each_commit(
    client: &Client,
    mut with: impl FnMut(FactHash, u64),
) -> anyhow::Result<()> {
    let kept = client
        .query_one(
            "SELECT current_setting('track_commit_timestamp')::boolean",
            &[],
        )
        .await?;
    let time = if kept.get(0) {
        "pg_xact_commit_timestamp(xmin)"
    } else {
        "ingested_at"
    };
    let query = format!(
        "SELECT fact_hash, (extract(epoch FROM {time}) * 1000000)::bigint FROM fact_events \
         WHERE item_ordinal <= 1"
    );
    let rows = client.query_raw(&query, std::iter::empty::<&str>()).await?;
    pin_mut!(rows);
    while let Some(row) = rows.try_next().await? {
        let hash: Uuid = row.get(0);
        with(
            FactHash(*hash.as_bytes()),
            row.get::<_, i64>(1).unsigned_abs(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: &str = r#"{"event_id":"e1","event_name":"view_item","event_timestamp":1767225600000,"items":[{"item_id":"A"},{"item_id":"B"}]}"#;

    #[test]
    fn events_are_distinct_duplicate_or_rejected() {
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
