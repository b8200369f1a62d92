//! The messages in hand: received, and answerable for until they are deleted.
//!
//! A message goes through four stages: received (it is being produced), produced (the topic has
//! acknowledged its record at a [`Place`]), safe (it may be deleted), deleted. [`Safe`] is the only
//! ticket to a delete, and only this module makes one. With [`DeleteAfter::Topic`] a message is safe
//! as soon as it is produced. With [`DeleteAfter::Tables`] a sink must have named its id as well, as
//! that of a committed record: never a mere offset, since a topic that loses its end gives the same
//! offset to another record.
//!
//! While it is in hand, a message is extended before its visibility timeout ends (`extensions`), holds one
//! permit of the in-flight bound, and is known by its id, so that a second delivery isn't produced again.

mod extensions;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use connector_common::keys;
use fluvio::dataplane::record::RecordData;
use tokio::sync::OwnedSemaphorePermit;

pub use self::extensions::Extension;
use crate::bodies::{Bodies, Room};
use crate::config::DeleteAfter;
use crate::queue::{MessageId, Receipt, Received};
use crate::topic::Place;

/// A message on its way to the topic.
#[derive(Clone, Debug)]
pub struct Message {
    /// The message.
    pub id: MessageId,
    /// The record's key, as [`keys`] has it.
    pub key: Arc<str>,
    /// The record's value. Cloning it copies nothing.
    pub body: RecordData,
    /// When the message was sent.
    pub sent_at: Option<SystemTime>,
}

/// The right to delete a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Safe {
    id: MessageId,
    place: Option<Place>,
}

impl Safe {
    /// The message's id, for the log.
    #[must_use]
    pub fn id(&self) -> &MessageId {
        &self.id
    }

    /// Where the topic has its record; `None` for a message that a dead-letter queue has.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.place
    }
}

/// All messages in hand.
#[derive(Debug)]
pub struct Custody {
    visibility_timeout: Duration,
    delete_after: DeleteAfter,
    bodies: Bodies,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    held: HashMap<MessageId, Held>,
    /// When to extend what; each held message is in here at most once, under its `extend_at`.
    extensions: BTreeSet<(Instant, MessageId)>,
}

#[derive(Debug)]
struct Held {
    receipt: Receipt,
    receive_count: u32,
    received_at: Instant,
    extend_at: Option<Instant>,
    sent_at: Option<SystemTime>,
    stage: Stage,
    /// The memory of its body, until the topic has acknowledged it.
    body: Option<Room>,
    _in_flight: OwnedSemaphorePermit,
}

/// What is in hand, as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InHand {
    /// Messages.
    pub messages: usize,
    /// Bytes of the bodies that are in memory, of all queues.
    pub bytes: usize,
    /// When the oldest of them was sent.
    pub oldest_sent_at: Option<SystemTime>,
    /// Messages that are produced, stay in the queue and are remembered, with `delete-after:
    /// never`.
    pub remembered: usize,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Being produced. A record of an earlier delivery may be in the tables already.
    Received { in_tables: bool },
    /// In the topic since then, and not known to be in the tables.
    Produced { place: Place, since: Instant },
    /// Its ticket is given out.
    Safe,
}

/// A message that is produced and not known to be in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Where its record was put.
    pub place: Place,
    /// When that was acknowledged.
    pub since: Instant,
}

impl Custody {
    /// An empty one for messages that are received with this visibility timeout.
    #[must_use]
    pub fn new(visibility_timeout: Duration, delete_after: DeleteAfter, bodies: Bodies) -> Self {
        Self {
            visibility_timeout,
            delete_after,
            bodies,
            table: Mutex::default(),
        }
    }

    /// Takes a delivery in hand. None if its message is in hand already: then the newer receipt is
    /// kept, since the older is no good any more; two polls may hand them in in either order.
    pub fn take_in(
        &self,
        received: Received,
        now: Instant,
        in_flight: OwnedSemaphorePermit,
    ) -> Option<Message> {
        let Received {
            id,
            receipt,
            receive_count,
            sent_at,
            group,
            body,
            ..
        } = received;
        let mut table = self.table();
        if let Some(held) = table.held.get_mut(&id) {
            if receive_count >= held.receive_count {
                held.receipt = receipt;
                held.receive_count = receive_count;
                held.received_at = now;
                table.extend_at(&id, Some(now + self.visibility_timeout / 2));
            }
            return None;
        }
        let held = Held {
            receipt,
            receive_count,
            received_at: now,
            extend_at: None,
            sent_at,
            stage: Stage::Received { in_tables: false },
            body: Some(self.bodies.take(body.len())),
            _in_flight: in_flight,
        };
        table.held.insert(id.clone(), held);
        table.extend_at(&id, Some(now + self.visibility_timeout / 2));
        let key = match group {
            None => Arc::clone(&id),
            Some(group) if self.delete_after == DeleteAfter::Tables => {
                keys::of_group_and_message(&group, &id).into()
            }
            Some(group) => group,
        };
        Some(Message {
            key,
            id,
            body: body.into(),
            sent_at,
        })
    }

    /// The topic has acknowledged the message's own record at `place`. None if it isn't in hand, or
    /// has yet to reach the tables.
    pub fn acknowledged(&self, id: &MessageId, place: Place, now: Instant) -> Option<Safe> {
        let mut table = self.table();
        let held = table.held.get_mut(id)?;
        held.body = None;
        match held.stage {
            Stage::Safe => None,
            Stage::Received { in_tables: false } | Stage::Produced { .. }
                if self.delete_after == DeleteAfter::Tables =>
            {
                held.stage = Stage::Produced { place, since: now };
                None
            }
            Stage::Received { .. } | Stage::Produced { .. } => {
                held.stage = Stage::Safe;
                Some(Safe {
                    id: id.clone(),
                    place: Some(place),
                })
            }
        }
    }

    /// A dead-letter queue has a copy of the message. None if it isn't in hand.
    pub fn buried(&self, id: &MessageId) -> Option<Safe> {
        let mut table = self.table();
        let held = table.held.get_mut(id)?;
        held.stage = Stage::Safe;
        held.body = None;
        Some(Safe {
            id: id.clone(),
            place: None,
        })
    }

    /// A sink has committed the record with this key. None if the message isn't in
    /// hand, or waits for the acknowledgement of its record still.
    pub fn committed(&self, key: &str) -> Option<Safe> {
        let mut table = self.table();
        let (id, _) = table.held.get_key_value(keys::message_id(key))?;
        let id = id.clone();
        let held = table.held.get_mut(&id)?;
        match held.stage {
            Stage::Received { .. } => {
                held.stage = Stage::Received { in_tables: true };
                None
            }
            Stage::Produced { place, .. } => {
                held.stage = Stage::Safe;
                Some(Safe {
                    id,
                    place: Some(place),
                })
            }
            Stage::Safe => None,
        }
    }

    /// Every message that is produced and not known to be in the tables.
    pub fn waiting(&self) -> Vec<Waiting> {
        let table = self.table();
        table.held.values().filter_map(Held::waiting).collect()
    }

    /// Lets go of those that wait for the tables in vain, and returns the receipts to make them
    /// visible with: they are to be delivered, and produced, again.
    pub fn give_up(&self, in_vain: impl Fn(&Waiting) -> bool) -> Vec<Receipt> {
        let mut table = self.table();
        let given_up: Vec<(MessageId, Receipt)> = table
            .held
            .iter()
            .filter(|(_, held)| held.waiting().is_some_and(|waiting| in_vain(&waiting)))
            .map(|(id, held)| (id.clone(), held.receipt.clone()))
            .collect();
        let release = |(id, receipt)| {
            table.release(&id);
            receipt
        };
        given_up.into_iter().map(release).collect()
    }

    /// The receipt to delete the message with.
    pub fn receipt(&self, safe: &Safe) -> Option<Receipt> {
        self.table()
            .held
            .get(&safe.id)
            .map(|held| held.receipt.clone())
    }

    /// The queue says that it deleted the message of `receipt`. A delivery that came meanwhile may
    /// mean that it did not; then the message stays in hand and is to be deleted again.
    pub fn deleted(&self, safe: Safe, receipt: &Receipt) -> Option<Safe> {
        let mut table = self.table();
        match table.held.get(&safe.id) {
            Some(held) if held.receipt != *receipt => Some(safe),
            _ => {
                table.release(&safe.id);
                None
            }
        }
    }

    /// Lets go of a message without deleting it: the queue will deliver it again.
    pub fn release(&self, id: &MessageId) {
        self.table().release(id);
    }

    /// What is in hand.
    pub fn in_hand(&self) -> InHand {
        let table = self.table();
        InHand {
            messages: table.held.len(),
            bytes: self.bodies.bytes(),
            oldest_sent_at: table.held.values().filter_map(|held| held.sent_at).min(),
            remembered: 0,
        }
    }

    /// How many messages are in hand.
    pub fn len(&self) -> usize {
        self.table().held.len()
    }

    /// Whether no message is in hand.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets go of everything, and returns the receipts to make it visible with.
    pub fn give_up_all(&self) -> Vec<Receipt> {
        let mut table = self.table();
        table.extensions.clear();
        table.held.drain().map(|(_, held)| held.receipt).collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing inside can panic half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn waiting(&self) -> Option<Waiting> {
        match self.stage {
            Stage::Produced { place, since } => Some(Waiting { place, since }),
            Stage::Received { .. } | Stage::Safe => None,
        }
    }
}

impl Table {
    fn release(&mut self, id: &MessageId) {
        self.extend_at(id, None);
        self.held.remove(id);
    }
}

#[cfg(test)]
mod tests;
