//! The messages of one queue and their visibility.
//!
//! Messages are found by number or by time in ordered sets, so a receive costs the same with half a
//! million waiting messages as with ten. Callers pass the time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::attributes::MessageAttributes;
use crate::limits;

/// The checked content of a message.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) body: Arc<str>,
    pub(crate) body_md5: Arc<str>,
    pub(crate) attributes: MessageAttributes,
    pub(crate) trace_header: Option<Arc<str>>,
}

/// A receipt handle: identifies one receive of one message in one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// Identifies the queue, also among queues that had the same name.
    pub(crate) queue: u64,
    /// The message's number in the queue.
    pub(crate) message: u64,
    /// The message's receive count at that receive.
    pub(crate) receive: u32,
}

/// The text is not a receipt handle of this endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl fmt::Display for Receipt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:016x}.{:x}.{:x}",
            self.queue, self.message, self.receive
        )
    }
}

impl FromStr for Receipt {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.split('.');
        let mut next = || {
            parts
                .next()
                .and_then(|part| u64::from_str_radix(part, 16).ok())
                .ok_or(Malformed)
        };
        let receipt = Self {
            queue: next()?,
            message: next()?,
            receive: u32::try_from(next()?).map_err(|_| Malformed)?,
        };
        if parts.next().is_some() {
            Err(Malformed)
        } else {
            Ok(receipt)
        }
    }
}

/// A received message.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) id: Uuid,
    pub(crate) receipt: Receipt,
    pub(crate) content: Content,
    pub(crate) sent_ms: u64,
    pub(crate) first_received_ms: u64,
}

/// A visibility timeout can't be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotChanged {
    /// The receipt handle is stale: the message was deleted or received again.
    Stale,
    /// The message's visibility timeout has run out.
    NotInFlight,
    /// The message would be hidden for more than 12 hours after its receive.
    TooLong,
}

struct Message {
    id: Uuid,
    content: Content,
    sent_ms: u64,
    first_received_ms: Option<u64>,
    received_at: Instant,
    receives: u32,
    place: Place,
}

/// The state of a message, indexed by the sets of [`Backlog`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Visible,
    Delayed(Instant),
    InFlight(Instant),
}

/// All messages of a queue.
pub(crate) struct Backlog {
    queue: u64,
    next: u64,
    messages: BTreeMap<u64, Message>,
    visible: BTreeSet<u64>,
    hidden: BTreeSet<(Instant, u64)>,
    in_flight: usize,
}

impl Backlog {
    /// Returns an empty backlog. `queue` becomes part of its receipt handles.
    pub(crate) fn new(queue: u64) -> Self {
        Self {
            queue,
            next: 0,
            messages: BTreeMap::new(),
            visible: BTreeSet::new(),
            hidden: BTreeSet::new(),
            in_flight: 0,
        }
    }

    pub(crate) fn visible(&self) -> usize {
        self.visible.len()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn delayed(&self) -> usize {
        self.hidden.len() - self.in_flight
    }

    /// Returns the time when the next hidden message becomes visible.
    pub(crate) fn next_visible_at(&self) -> Option<Instant> {
        self.hidden.first().map(|(at, _)| *at)
    }

    pub(crate) fn send(
        &mut self,
        now: Instant,
        wall_ms: u64,
        content: Content,
        delay: Duration,
    ) -> Uuid {
        let id = Uuid::new_v4();
        let number = self.next;
        self.next += 1;
        let place = if delay.is_zero() {
            Place::Visible
        } else {
            Place::Delayed(now + delay)
        };
        self.index(number, place);
        self.messages.insert(
            number,
            Message {
                id,
                content,
                sent_ms: wall_ms,
                first_received_ms: None,
                received_at: now,
                receives: 0,
                place,
            },
        );
        id
    }

    /// Receives up to `most` visible messages, oldest first. A message for which `is_duplicated`
    /// returns true stays visible, so it is delivered again.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        wall_ms: u64,
        most: usize,
        visibility: Duration,
        mut is_duplicated: impl FnMut() -> bool,
    ) -> Vec<Delivery> {
        let most = most.min(limits::IN_FLIGHT.saturating_sub(self.in_flight));
        let numbers: Vec<u64> = self.visible.iter().take(most).copied().collect();
        let mut deliveries = Vec::with_capacity(numbers.len());
        for number in numbers {
            let hidden_for = if is_duplicated() {
                Duration::ZERO
            } else {
                visibility
            };
            self.move_to(
                number,
                if hidden_for.is_zero() {
                    Place::Visible
                } else {
                    Place::InFlight(now + hidden_for)
                },
            );
            let Some(message) = self.messages.get_mut(&number) else {
                continue;
            };
            message.receives = message.receives.saturating_add(1);
            message.received_at = now;
            deliveries.push(Delivery {
                id: message.id,
                receipt: Receipt {
                    queue: self.queue,
                    message: number,
                    receive: message.receives,
                },
                content: message.content.clone(),
                sent_ms: message.sent_ms,
                first_received_ms: *message.first_received_ms.get_or_insert(wall_ms),
            });
        }
        deliveries
    }

    /// Deletes the message if `receipt` is of its latest receive. SQS reports success either way.
    pub(crate) fn delete(&mut self, receipt: Receipt) {
        if self.is_latest(receipt) {
            self.remove(receipt.message);
        }
    }

    pub(crate) fn change_visibility(
        &mut self,
        now: Instant,
        receipt: Receipt,
        hidden_for: Duration,
    ) -> Result<(), NotChanged> {
        let message = self
            .messages
            .get(&receipt.message)
            .filter(|message| message.receives == receipt.receive);
        let message = message.ok_or(NotChanged::Stale)?;
        if !matches!(message.place, Place::InFlight(_)) {
            return Err(NotChanged::NotInFlight);
        }
        if now + hidden_for > message.received_at + limits::VISIBILITY {
            return Err(NotChanged::TooLong);
        }
        let place = if hidden_for.is_zero() {
            Place::Visible
        } else {
            Place::InFlight(now + hidden_for)
        };
        self.move_to(receipt.message, place);
        Ok(())
    }

    pub(crate) fn purge(&mut self) {
        *self = Self {
            next: self.next,
            ..Self::new(self.queue)
        };
    }

    /// Makes messages visible whose timeout or delay has ended.
    pub(crate) fn settle(&mut self, now: Instant) {
        while let Some((_, number)) = self.hidden.first().copied().filter(|(at, _)| *at <= now) {
            self.move_to(number, Place::Visible);
        }
    }

    fn is_latest(&self, receipt: Receipt) -> bool {
        self.messages
            .get(&receipt.message)
            .is_some_and(|message| message.receives == receipt.receive)
    }

    fn move_to(&mut self, number: u64, place: Place) {
        let Some(message) = self.messages.get_mut(&number) else {
            return;
        };
        let before = std::mem::replace(&mut message.place, place);
        self.unindex(number, before);
        self.index(number, place);
    }

    fn remove(&mut self, number: u64) {
        if let Some(message) = self.messages.remove(&number) {
            self.unindex(number, message.place);
        }
    }

    fn index(&mut self, number: u64, place: Place) {
        match place {
            Place::Visible => {
                self.visible.insert(number);
            }
            Place::Delayed(until) => {
                self.hidden.insert((until, number));
            }
            Place::InFlight(until) => {
                self.hidden.insert((until, number));
                self.in_flight += 1;
            }
        }
    }

    fn unindex(&mut self, number: u64, place: Place) {
        match place {
            Place::Visible => {
                self.visible.remove(&number);
            }
            Place::Delayed(until) => {
                self.hidden.remove(&(until, number));
            }
            Place::InFlight(until) => {
                self.hidden.remove(&(until, number));
                self.in_flight -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
