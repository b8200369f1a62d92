//! Items that a corrected event no longer has.
//!
//! Where facts are replaced (`on-conflict: update`), an event that comes again with fewer items, or with none, leaves facts behind
//! that no new one takes the place of. For each event of a batch it is noted how far its items go the last time it comes, and
//! once its facts are in, those beyond are removed.

use chrono::{DateTime, Utc};
use fact_model::{Envelope, Fact};
use hashbrown::HashMap;

use crate::errors::{DatabaseError, Doing};
use crate::statements::Work;

const REMOVE: &str = "SELECT etl_remove_vanished($1, $2, $3, $4)";

/// The events of some records that have an id, as they came last.
#[derive(Debug, Default)]
pub struct Versions(HashMap<Event, Version>);

/// What tells an event from others; with the ordinal it is what a fact's hash is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    time: DateTime<Utc>,
    id: String,
    name: String,
}

#[derive(Debug)]
struct Version {
    offset: i64,
    /// `None` where some of the record's items can't be read: nobody knows which ones are left out.
    last_ordinal: Option<i32>,
}

impl Event {
    /// The event of a fact; `None` where it has no id.
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
    /// Takes note of the events of the record at `offset`, which is behind those before.
    pub fn note(&mut self, envelope: &Envelope<'_>, offset: i64) {
        let is_whole = envelope.rejected.is_empty();
        for fact in &envelope.facts {
            let Some(event) = Event::of(fact) else {
                continue;
            };
            let ordinal = is_whole.then_some(fact.item_ordinal);
            let version = self.0.entry(event).or_insert(Version {
                offset,
                last_ordinal: ordinal,
            });
            let before = (version.offset == offset)
                .then_some(version.last_ordinal)
                .flatten();
            *version = Version {
                offset,
                last_ordinal: ordinal.max(before),
            };
        }
    }

    /// Whether the event came again behind `offset`, and has no item `ordinal` any more: the rule of the function
    /// `etl_remove_vanished`.
    #[must_use]
    pub fn have_lost(&self, event: &Event, offset: i64, ordinal: i32) -> bool {
        let version = self.0.get(event).filter(|version| version.offset > offset);
        let last = version.and_then(|version| version.last_ordinal);
        last.is_some_and(|last| ordinal > last || (ordinal == 0 && last > 0))
    }

    /// Removes the facts of items that these events no longer have. Returns the offset of the record for each.
    pub(crate) async fn remove_vanished(
        &self,
        transaction: &Work<'_>,
    ) -> Result<Vec<i64>, DatabaseError> {
        let (mut times, mut ids, mut names) = (Vec::new(), Vec::new(), Vec::new());
        let (mut last_ordinals, mut offsets) = (Vec::new(), Vec::new());
        for (event, version) in &self.0 {
            let Some(last) = version.last_ordinal else {
                continue;
            };
            times.push(event.time);
            ids.push(event.id.as_str());
            names.push(event.name.as_str());
            last_ordinals.push(last);
            offsets.push(version.offset);
        }
        if times.is_empty() {
            return Ok(Vec::new());
        }
        let rows = transaction
            .query(REMOVE, &[&times, &ids, &names, &last_ordinals])
            .await
            .doing("cannot remove the facts of items that are gone")?;
        let places: Vec<i32> = rows.first().map(|row| row.get(0)).unwrap_or_default();
        let offset_at = |place: &i32| {
            let index = usize::try_from(*place).ok()?.checked_sub(1)?;
            offsets.get(index).copied()
        };
        Ok(places.iter().filter_map(offset_at).collect())
    }
}
