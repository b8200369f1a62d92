//! Settles which version of an event is stored, and removes the facts of items that it does not
//! have.
//!
//! With `on-conflict: update`, an event that arrives again with fewer items, or with none, leaves
//! facts behind that no new fact replaces. And an older version that arrives late may have items
//! that the stored one does not have. A batch notes the newest version of each of its events, and
//! settles them after it has written its facts.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use fact_model::{Envelope, Fact};
use hashbrown::HashMap;

use crate::error::{Context, Error};
use crate::transaction::Transaction;

/// Held from the replacement of facts to the end of the transaction. Two versions of an event need
/// not have a fact in common whose key one transaction could wait for: one may have no items. So of
/// two transactions the later one must see all facts of the earlier one. `etl evt` in ASCII.
const LOCK: &str = "SELECT pg_advisory_xact_lock(x'65746c20657674'::bigint)";
const SETTLE: &str = "\
    SELECT place, outdated_offset \
    FROM etl_settle_events($1, $2, $3, $4, $5::text[]::numeric[], $6, $7, $8, $9)";

/// The newest versions of the events with an id in some records.
#[derive(Debug, Default)]
pub struct Versions(HashMap<Event, Newest>);

/// The identity of an event. With an item's ordinal it makes the hash of a fact.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// The event's time.
    pub time: DateTime<Utc>,
    /// The producer's id of the event.
    pub id: String,
    /// The event's name.
    pub name: String,
}

#[derive(Debug)]
struct Newest {
    /// The version, then the offset of its record: of equal versions the later one is the newer.
    order: (Option<u128>, i64),
    /// `None` if some items of the record can't be read: the removed ones are unknown then.
    last_ordinal: Option<i32>,
    /// The earliest time when a version was sent; an unknown one is the earliest.
    first_sent_at: Option<DateTime<Utc>>,
}

/// The facts that were deleted, each as the offset of a record.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Of items that the newest version does not have: the record with that version.
    pub(crate) removed: Vec<i64>,
    /// Of events that are stored in a newer version: the record of the fact, which this transaction
    /// had inserted.
    pub(crate) outdated: Vec<i64>,
}

impl Event {
    /// The event of a fact; `None` if it has no id.
    #[must_use]
    pub fn of(fact: &Fact<'_>) -> Option<Self> {
        Some(Self {
            time: fact.event_time,
            id: fact.event_id.as_deref()?.to_owned(),
            name: fact.event_name.to_string(),
        })
    }
}

impl Versions {
    /// Adds the events of the record at `offset`, which have this version and were sent then.
    pub fn add(
        &mut self,
        envelope: &Envelope<'_>,
        version: Option<u128>,
        sent_at: Option<DateTime<Utc>>,
        offset: i64,
    ) {
        let is_complete = envelope.rejected.is_empty();
        let order = (version, offset);
        for fact in &envelope.facts {
            let Some(event) = Event::of(fact) else {
                continue;
            };
            let last_ordinal = is_complete.then_some(fact.item_ordinal);
            let newest = self.0.entry(event).or_insert(Newest {
                order,
                last_ordinal,
                first_sent_at: sent_at,
            });
            // None is less than any time.
            newest.first_sent_at = newest.first_sent_at.min(sent_at);
            match order.cmp(&newest.order) {
                Ordering::Less => {}
                Ordering::Equal => newest.last_ordinal = last_ordinal.max(newest.last_ordinal),
                Ordering::Greater => {
                    newest.order = order;
                    newest.last_ordinal = last_ordinal;
                }
            }
        }
    }

    /// Returns true if there are no events with an id.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if a newer version of the event than this one, from the record at `offset`,
    /// does not have the item `ordinal`, by the same rule as the function `etl_settle_events`.
    #[must_use]
    pub fn is_removed(
        &self,
        event: &Event,
        version: Option<u128>,
        offset: i64,
        ordinal: i32,
    ) -> bool {
        let newest = self.0.get(event);
        let newest = newest.filter(|newest| newest.order > (version, offset));
        let last = newest.and_then(|newest| newest.last_ordinal);
        last.is_some_and(|last| ordinal > last || (ordinal == 0 && last > 0))
    }

    /// Waits until no other transaction settles events. Until this one ends, none does.
    pub(crate) async fn lock(transaction: &Transaction<'_>) -> Result<(), Error> {
        let locked = transaction.execute(LOCK, &[]).await;
        locked.context("cannot lock the versions of events")?;
        Ok(())
    }

    /// Deletes facts of items that these events do not have, and facts of this transaction whose
    /// event is stored in a newer version; the others get the earliest sent time of all versions.
    /// Unless it `is_correcting`, it deletes the latter facts only.
    pub(crate) async fn settle(
        &self,
        transaction: &Transaction<'_>,
        topic: &str,
        partition: i32,
        is_correcting: bool,
    ) -> Result<Settled, Error> {
        let (mut times, mut ids, mut names) = (Vec::new(), Vec::new(), Vec::new());
        let (mut last_ordinals, mut versions) = (Vec::new(), Vec::new());
        let (mut sent_ats, mut offsets) = (Vec::new(), Vec::new());
        for (event, newest) in &self.0 {
            let (version, offset) = newest.order;
            times.push(event.time);
            ids.push(event.id.as_str());
            names.push(event.name.as_str());
            last_ordinals.push(newest.last_ordinal.filter(|_| is_correcting));
            versions.push(version.map(|version| version.to_string()));
            sent_ats.push(newest.first_sent_at);
            offsets.push(offset);
        }
        let rows = transaction
            .query(
                SETTLE,
                &[
                    &times,
                    &ids,
                    &names,
                    &last_ordinals,
                    &versions,
                    &sent_ats,
                    &is_correcting,
                    &topic,
                    &partition,
                ],
            )
            .await
            .context("cannot settle the versions of events")?;
        let mut settled = Settled::default();
        for row in rows {
            if let Some(offset) = row.get(1) {
                settled.outdated.push(offset);
                continue;
            }
            let index = usize::try_from(row.get::<_, i32>(0)).unwrap_or_default();
            let offset = index.checked_sub(1).and_then(|index| offsets.get(index));
            settled.removed.extend(offset);
        }
        Ok(settled)
    }
}
