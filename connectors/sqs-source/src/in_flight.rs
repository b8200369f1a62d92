//! Tracks in-flight messages: received and not yet deleted.
//!
//! A message is received (its record is being produced), produced (the topic has acknowledged its
//! record at a [`RecordPosition`]), acked (it may be deleted) and deleted. An [`AckToken`] is the
//! right to delete a message, and only this module creates one. With `delete-after: topic` a
//! message is acked as soon as it is produced. Otherwise each of the sinks that are waited for must
//! also have reported its id as committed. An offset alone is not enough: a topic that loses its
//! end assigns the same offset to another record.
//!
//! While it is in flight, a message is extended before its visibility timeout ends
//! ([`visibility`]), holds one permit of `max-in-flight`, and is known by its id, so that a second
//! delivery isn't produced again.

pub(crate) mod visibility;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::awaited::SinkSet;
use crate::byte_budget::{ByteBudget, BytePermit};
use crate::metrics::InFlightCounts;
use crate::queue::{MessageId, Receipt, Received};
use crate::record::{Record, RecordPosition};

/// Decides which deliveries become records, and is informed of the outcome of each record.
pub(crate) trait Tracker: Send + Sync + 'static {
    /// Starts tracking a delivery. Its permit is held until its record is settled.
    fn track(&self, received: Received, now: Instant, permit: OwnedSemaphorePermit) -> Tracked;

    /// The message's body has this size: it was read from S3.
    fn has_body(&self, id: &MessageId, bytes: usize);

    /// The topic has acknowledged the message's own record at `position`.
    fn acknowledged(&self, id: &MessageId, position: RecordPosition);

    /// The topic refuses the message's record for good.
    fn refused(&self, id: &MessageId);

    /// Stops tracking a message whose record is not sent. Returns its receipt and the number of its
    /// receives if it is to be hidden for a while; otherwise its visibility timeout hides it.
    fn give_back(&self, id: &MessageId) -> Option<(Receipt, u32)>;

    /// Starts the next pass over the queue: a receive returned only messages that were received
    /// before in this pass. Returns the pause before the next receive.
    fn next_pass(&self) -> Duration;
}

/// The outcome of [`Tracker::track`].
pub(crate) enum Tracked {
    /// The record is to be produced.
    New(Record),
    /// The message needs no record.
    Known {
        /// True if its record is in the topic and the message stays in the queue; false if its
        /// record is being produced.
        is_produced: bool,
        /// True if it was received before in this pass over the queue.
        is_again: bool,
    },
}

/// The right to delete a message.
#[derive(Debug, PartialEq, Eq)]
pub struct AckToken {
    id: MessageId,
    position: Option<RecordPosition>,
}

impl AckToken {
    /// The message's id, for the log.
    #[must_use]
    pub fn id(&self) -> &MessageId {
        &self.id
    }

    /// The position of its record in the topic; `None` for a message that was forwarded to the
    /// dead-letter queue.
    #[must_use]
    pub fn position(&self) -> Option<RecordPosition> {
        self.position
    }
}

/// The in-flight messages of one queue.
#[derive(Debug)]
pub struct InFlight {
    visibility_timeout: Duration,
    /// The sinks that have to commit a message; none if the topic's acknowledgement is enough.
    awaited: SinkSet,
    byte_budget: ByteBudget,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    messages: HashMap<MessageId, Entry>,
    /// Times of the next extensions. Each message is in here at most once, under its `extend_at`.
    extensions: BTreeSet<(Instant, MessageId)>,
}

#[derive(Debug)]
struct Entry {
    receipt: Receipt,
    receive_count: u32,
    received_at: Instant,
    extend_at: Option<Instant>,
    /// The time of its first receive.
    since: Instant,
    state: State,
    /// The memory of its body, until the topic has acknowledged the record.
    body: Option<BytePermit>,
    _in_flight: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The record is being produced. That of an earlier delivery may be committed already, so that
    /// fewer sinks are missing.
    Received { missing: SinkSet },
    /// The record is in the topic, and sinks are missing.
    Produced(Uncommitted),
    /// An ack token was issued.
    Acked,
}

/// A message whose record is in the topic and not known to be committed by all sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncommitted {
    /// The position of its record.
    pub position: RecordPosition,
    /// The time when the topic acknowledged the record.
    pub since: Instant,
    /// The number of receives of its message; 0 if the queue does not report it.
    pub receives: u32,
    /// The sinks that have yet to commit it.
    pub missing: SinkSet,
}

impl InFlight {
    /// An empty tracker for messages that are received with this visibility timeout, and deleted
    /// when the `awaited` sinks have committed them.
    #[must_use]
    pub fn new(visibility_timeout: Duration, awaited: SinkSet, byte_budget: ByteBudget) -> Self {
        Self {
            visibility_timeout,
            awaited,
            byte_budget,
            table: Mutex::default(),
        }
    }

    /// Tracks a delivery. Returns `None` if its message is in flight already; then the newer
    /// receipt is kept, since SQS invalidates the older. Deliveries may arrive in either order.
    pub fn track(
        &self,
        received: Received,
        now: Instant,
        in_flight: OwnedSemaphorePermit,
    ) -> Option<Record> {
        let key = received.key().into();
        let is_grouped = received.group.is_some();
        let Received {
            id,
            receipt,
            receive_count,
            sent_at,
            body,
            ..
        } = received;
        let mut table = self.table();
        if let Some(entry) = table.messages.get_mut(&id) {
            if receive_count >= entry.receive_count {
                entry.receipt = receipt;
                entry.receive_count = receive_count;
                entry.received_at = now;
                table.extend_at(&id, Some(now + self.visibility_timeout / 2));
            }
            return None;
        }
        let entry = Entry {
            receipt,
            receive_count,
            received_at: now,
            extend_at: None,
            since: now,
            state: State::Received {
                missing: self.awaited,
            },
            body: Some(self.byte_budget.take(body.len())),
            _in_flight: in_flight,
        };
        table.messages.insert(id.clone(), entry);
        table.extend_at(&id, Some(now + self.visibility_timeout / 2));
        Some(Record {
            id,
            key,
            is_grouped,
            value: body.into(),
            sent_at,
        })
    }

    /// Records that the body of a message that is being produced was read from S3.
    pub fn has_body(&self, id: &MessageId, bytes: usize) {
        if let Some(entry) = self.table().messages.get_mut(id) {
            entry.body = Some(self.byte_budget.take(bytes));
        }
    }

    /// Records that the topic has acknowledged the message's own record at `position`. Returns
    /// `None` if it isn't in flight, or sinks have yet to commit it.
    pub fn acknowledged(
        &self,
        id: &MessageId,
        position: RecordPosition,
        now: Instant,
    ) -> Option<AckToken> {
        let mut table = self.table();
        let entry = table.messages.get_mut(id)?;
        entry.body = None;
        let missing = match entry.state {
            State::Acked => return None,
            State::Received { missing } | State::Produced(Uncommitted { missing, .. }) => missing,
        };
        if missing.is_empty() {
            entry.state = State::Acked;
            return Some(AckToken {
                id: id.clone(),
                position: Some(position),
            });
        }
        entry.state = State::Produced(Uncommitted {
            position,
            since: now,
            receives: entry.receive_count,
            missing,
        });
        None
    }

    /// Records that the dead-letter queue has a copy of the message. Returns `None` if it isn't in
    /// flight.
    pub fn forwarded(&self, id: &MessageId) -> Option<AckToken> {
        let mut table = self.table();
        let entry = table.messages.get_mut(id)?;
        entry.state = State::Acked;
        entry.body = None;
        Some(AckToken {
            id: id.clone(),
            position: None,
        })
    }

    /// Records that the `sinks` have committed the record of this message. Returns `None` if the
    /// message isn't in flight, its record is not acknowledged yet, or another sink is missing.
    pub fn committed(&self, id: &str, sinks: SinkSet) -> Option<AckToken> {
        let mut table = self.table();
        let (id, _) = table.messages.get_key_value(id)?;
        let id = id.clone();
        let entry = table.messages.get_mut(&id)?;
        match &mut entry.state {
            State::Received { missing } => {
                *missing = missing.without(sinks);
                None
            }
            State::Produced(uncommitted) => {
                uncommitted.missing = uncommitted.missing.without(sinks);
                if !uncommitted.missing.is_empty() {
                    return None;
                }
                let position = Some(uncommitted.position);
                entry.state = State::Acked;
                Some(AckToken { id, position })
            }
            State::Acked => None,
        }
    }

    /// All messages that are produced and not known to be committed by all sinks.
    pub fn uncommitted(&self) -> Vec<Uncommitted> {
        let table = self.table();
        let entries = table.messages.values();
        entries.filter_map(Entry::uncommitted).collect()
    }

    /// Stops tracking the uncommitted messages whose records `is_lost`. Returns the receipts to
    /// make them visible with, so that they are delivered and produced again.
    pub fn release_lost(&self, is_lost: impl Fn(&Uncommitted) -> bool) -> Vec<Receipt> {
        let mut table = self.table();
        let lost: Vec<(MessageId, Receipt)> = table
            .messages
            .iter()
            .filter(|(_, entry)| entry.uncommitted().is_some_and(|one| is_lost(&one)))
            .map(|(id, entry)| (id.clone(), entry.receipt.clone()))
            .collect();
        let release = |(id, receipt)| {
            table.release(&id);
            receipt
        };
        lost.into_iter().map(release).collect()
    }

    /// Stops tracking up to `most` of the uncommitted messages that `may_go`, the oldest first.
    /// Returns their receipts and the numbers of their receives.
    pub fn release_oldest(
        &self,
        most: usize,
        may_go: impl Fn(&Uncommitted) -> bool,
    ) -> Vec<(Receipt, u32)> {
        let mut table = self.table();
        let uncommitted = table.messages.iter().filter_map(|(id, entry)| {
            let one = entry.uncommitted().filter(&may_go)?;
            Some((one.since, id.clone(), entry.receipt.clone(), one.receives))
        });
        let mut oldest: Vec<_> = uncommitted.collect();
        oldest.sort_unstable_by_key(|(since, ..)| *since);
        oldest.truncate(most);
        let release = |(_, id, receipt, receives): (Instant, MessageId, Receipt, u32)| {
            table.release(&id);
            (receipt, receives)
        };
        oldest.into_iter().map(release).collect()
    }

    /// The receipt to delete the message with.
    pub fn receipt(&self, ack: &AckToken) -> Option<Receipt> {
        self.table()
            .messages
            .get(&ack.id)
            .map(|entry| entry.receipt.clone())
    }

    /// Records that the queue reports the message of `receipt` as deleted. A newer delivery may
    /// mean that it was not: then the message stays in flight, and the token is returned for
    /// another delete.
    pub fn deleted(&self, ack: AckToken, receipt: &Receipt) -> Option<AckToken> {
        let mut table = self.table();
        match table.messages.get(&ack.id) {
            Some(entry) if entry.receipt != *receipt => Some(ack),
            _ => {
                table.release(&ack.id);
                None
            }
        }
    }

    /// Stops tracking a message without deleting it: the queue will deliver it again.
    pub fn release(&self, id: &MessageId) {
        self.table().release(id);
    }

    /// Stops tracking a message without deleting it. Returns the receipt to change its visibility
    /// with, and the number of its receives.
    pub fn give_back(&self, id: &MessageId) -> Option<(Receipt, u32)> {
        let mut table = self.table();
        table.extend_at(id, None);
        let entry = table.messages.remove(id)?;
        Some((entry.receipt, entry.receive_count))
    }

    /// Stops tracking all messages. Returns the receipts to make them visible with.
    pub fn release_all(&self) -> Vec<Receipt> {
        let mut table = self.table();
        table.extensions.clear();
        table
            .messages
            .drain()
            .map(|(_, entry)| entry.receipt)
            .collect()
    }

    /// Counts the messages in flight.
    pub fn counts(&self) -> InFlightCounts {
        let table = self.table();
        InFlightCounts {
            messages: table.messages.len(),
            bytes: self.byte_budget.bytes(),
            oldest_since: table.messages.values().map(|entry| entry.since).min(),
            remembered: 0,
        }
    }

    /// The number of messages in flight.
    pub fn len(&self) -> usize {
        self.table().messages.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No code that holds the lock can panic half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn uncommitted(&self) -> Option<Uncommitted> {
        match self.state {
            State::Produced(uncommitted) => Some(uncommitted),
            State::Received { .. } | State::Acked => None,
        }
    }
}

impl Table {
    fn release(&mut self, id: &MessageId) {
        self.extend_at(id, None);
        self.messages.remove(id);
    }

    /// Schedules the message's next extension; `None` cancels it.
    fn extend_at(&mut self, id: &MessageId, when: Option<Instant>) {
        let Some(entry) = self.messages.get_mut(id) else {
            return;
        };
        if let Some(before) = std::mem::replace(&mut entry.extend_at, when) {
            self.extensions.remove(&(before, id.clone()));
        }
        if let Some(when) = when {
            self.extensions.insert((when, id.clone()));
        }
    }
}

/// Tracks messages in flight, and sends the token of each acked message to the deleter.
pub(crate) struct AckingTracker {
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) acks: mpsc::UnboundedSender<AckToken>,
}

impl Tracker for AckingTracker {
    fn track(&self, received: Received, now: Instant, permit: OwnedSemaphorePermit) -> Tracked {
        let record = self.in_flight.track(received, now, permit);
        let known = Tracked::Known {
            is_produced: false,
            is_again: false,
        };
        record.map_or(known, Tracked::New)
    }

    fn has_body(&self, id: &MessageId, bytes: usize) {
        self.in_flight.has_body(id, bytes);
    }

    fn acknowledged(&self, id: &MessageId, position: RecordPosition) {
        let ack = self.in_flight.acknowledged(id, position, Instant::now());
        // The send fails only if the deleter has failed, which ends the whole source.
        ack.map(|ack| self.acks.send(ack));
    }

    fn refused(&self, id: &MessageId) {
        self.in_flight.release(id);
    }

    fn give_back(&self, id: &MessageId) -> Option<(Receipt, u32)> {
        self.in_flight.give_back(id)
    }

    fn next_pass(&self) -> Duration {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests;
