//! Items that a corrected event no longer has.
//!
//! Where facts are replaced (`on-conflict: update`), an event that comes again with fewer items, or with none, leaves facts behind
//! that no new one takes the place of. For each event of a batch it is noted how far its items go the last time it comes, and
//! once its facts are in, those beyond are removed.

use chrono::{DateTime, Utc};
use fact_model::Envelope;
use hashbrown::HashMap;

use crate::errors::{DatabaseError, Doing};
use crate::statements::Work;

const REMOVE: &str = "SELECT etl_remove_vanished($1, $2, $3, $4)";

/// The events of a batch that have an id, as they came last.
#[derive(Debug, Default)]
pub(crate) struct Versions(HashMap<Event, Version>);

/// What tells an event from others; with the ordinal it is what a fact's hash is made of.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Event {
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

impl Versions {
    /// Takes note of the events of the record at `offset`.
    pub(crate) fn note(&mut self, envelope: &Envelope<'_>, offset: i64) {
        let is_whole = envelope.rejected.is_empty();
        for fact in &envelope.facts {
            let Some(id) = fact.event_id.as_deref() else {
                continue;
            };
            let event = Event {
                time: fact.event_time,
                id: id.to_owned(),
                name: fact.event_name.to_string(),
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
