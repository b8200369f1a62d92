//! The messages that were produced and stay in the queue, with `delete-after: never`.
//!
//! SQS delivers them again and again. Their ids are remembered, each from the acknowledgement of
//! its record on, so that no failure before it loses a message. The memory is bounded: the oldest
//! id is forgotten first, since its message is the first to reach the end of the queue's retention.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use md5::{Digest, Md5};
use tokio::sync::OwnedSemaphorePermit;

use crate::backoff::Backoff;
use crate::bodies::{Bodies, Room};
use crate::custody::{InHand, Message};
use crate::queue::{MessageId, Received};
use crate::topic::Place;
use crate::tracker::{Taken, Tracker};

/// The least time that a pass over the queue takes which follows one without a new message.
const SHORTEST_PASS: Duration = Duration::from_millis(100);

/// The same after many passes without a new message, of which up to half is left to chance.
const LONGEST_PASS: Duration = Duration::from_secs(5);

/// 96 bits of the MD5 of a message id. Among a million of them, the chance that a new id is taken
/// for one is 10^-23.
type Key = [u8; 12];

/// Remembers which messages were produced.
#[derive(Debug)]
pub(crate) struct ProducedIds {
    most: usize,
    bodies: Bodies,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    /// Messages on their way to the topic.
    producing: HashMap<Key, Producing>,
    /// Produced messages, each with the pass in which it was received last.
    produced: HashMap<Key, u32>,
    /// The same, oldest first.
    order: VecDeque<Key>,
    /// Numbers the passes over the queue, in each of which a message is received once.
    pass: u32,
    began: Instant,
    /// Counts the passes without a new message.
    idle: Backoff,
}

#[derive(Debug)]
struct Producing {
    sent_at: Option<SystemTime>,
    /// The pass in which it was received last.
    pass: u32,
    _body: Room,
    _in_flight: OwnedSemaphorePermit,
}

impl ProducedIds {
    /// Remembers up to `most` messages.
    pub(crate) fn new(most: usize, bodies: Bodies) -> Self {
        Self {
            most,
            bodies,
            table: Mutex::new(Table {
                producing: HashMap::new(),
                produced: HashMap::new(),
                order: VecDeque::new(),
                pass: 0,
                began: Instant::now(),
                idle: Backoff::default(),
            }),
        }
    }

    /// The messages on their way to the topic, and those remembered.
    pub(crate) fn in_hand(&self) -> InHand {
        let table = self.table();
        InHand {
            messages: table.producing.len(),
            bytes: self.bodies.bytes(),
            oldest_sent_at: table.producing.values().filter_map(|one| one.sent_at).min(),
            remembered: table.produced.len(),
        }
    }

    fn settle(&self, id: &MessageId) {
        let key = key(id);
        let mut table = self.table();
        let Some(producing) = table.producing.remove(&key) else {
            return;
        };
        table.produced.insert(key, producing.pass);
        table.order.push_back(key);
        if table.order.len() > self.most
            && let Some(oldest) = table.order.pop_front()
        {
            table.produced.remove(&oldest);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing inside can panic half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tracker for ProducedIds {
    fn take_in(&self, received: Received, _now: Instant, permit: OwnedSemaphorePermit) -> Taken {
        let Received {
            id, sent_at, body, ..
        } = received;
        let key = key(&id);
        let mut table = self.table();
        let pass = table.pass;
        if let Some(last) = table.produced.get_mut(&key) {
            return Taken::Known {
                is_produced: true,
                is_again: std::mem::replace(last, pass) == pass,
            };
        }
        if let Some(producing) = table.producing.get_mut(&key) {
            return Taken::Known {
                is_produced: false,
                is_again: std::mem::replace(&mut producing.pass, pass) == pass,
            };
        }
        let producing = Producing {
            sent_at,
            pass,
            _body: self.bodies.take(body.len()),
            _in_flight: permit,
        };
        table.producing.insert(key, producing);
        table.idle.reset();
        Taken::New(Message {
            key: Arc::clone(&id),
            id,
            body: body.into(),
            sent_at,
        })
    }

    fn acknowledged(&self, id: &MessageId, _place: Place) {
        self.settle(id);
    }

    /// Remembered as well: it would be refused with every receive.
    fn refused(&self, id: &MessageId) {
        self.settle(id);
    }

    fn next_pass(&self) -> Duration {
        let mut table = self.table();
        let shortest = table.idle.pause(SHORTEST_PASS, LONGEST_PASS);
        let pause = shortest.saturating_sub(table.began.elapsed());
        table.pass = table.pass.wrapping_add(1);
        table.began = Instant::now() + pause;
        pause
    }
}

fn key(id: &str) -> Key {
    let [key @ .., _, _, _, _] = <[u8; 16]>::from(Md5::digest(id));
    key
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    fn take_in(ids: &ProducedIds, id: &str) -> Taken {
        let permits = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&permits).try_acquire_owned().unwrap();
        let received = Received {
            id: id.into(),
            receipt: "r".into(),
            receive_count: 1,
            sent_at: Some(SystemTime::UNIX_EPOCH),
            group: None,
            attributes: Default::default(),
            body: b"{}".to_vec(),
        };
        let taken = ids.take_in(received, Instant::now(), permit);
        let is_held = permits.available_permits() == 0;
        assert_eq!(is_held, matches!(taken, Taken::New(_)));
        taken
    }

    fn acknowledge(ids: &ProducedIds, id: &str) {
        let place = Place {
            partition: 0,
            offset: 0,
        };
        ids.acknowledged(&id.into(), place);
    }

    /// Returns `(is_produced, is_again)`.
    fn known(ids: &ProducedIds, id: &str) -> (bool, bool) {
        match take_in(ids, id) {
            Taken::New(_) => panic!("{id} is new"),
            Taken::Known {
                is_produced,
                is_again,
            } => (is_produced, is_again),
        }
    }

    fn produce(ids: &ProducedIds, id: &str) {
        assert!(matches!(take_in(ids, id), Taken::New(_)), "{id} is known");
        acknowledge(ids, id);
    }

    #[test]
    fn a_message_is_remembered_from_its_acknowledgement_on() {
        let ids = ProducedIds::new(10, Bodies::up_to(10));
        assert!(matches!(take_in(&ids, "a"), Taken::New(_)));
        assert_eq!(known(&ids, "a"), (false, true));
        assert_eq!((ids.in_hand().messages, ids.in_hand().bytes), (1, 2));
        assert_eq!(ids.in_hand().remembered, 0);
        assert_eq!(ids.in_hand().oldest_sent_at, Some(SystemTime::UNIX_EPOCH));
        acknowledge(&ids, "a");
        assert_eq!(known(&ids, "a"), (true, true));
        assert_eq!((ids.in_hand().messages, ids.in_hand().bytes), (0, 0));
        assert_eq!(ids.in_hand().oldest_sent_at, None);
        assert_eq!(ids.in_hand().remembered, 1);
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let ids = ProducedIds::new(2, Bodies::up_to(10));
        for id in ["a", "b", "c"] {
            produce(&ids, id);
        }
        assert_eq!(ids.in_hand().remembered, 2);
        assert_eq!(known(&ids, "b"), (true, true));
        assert_eq!(known(&ids, "c"), (true, true));
        produce(&ids, "a");
    }

    #[test]
    fn a_pass_is_over_when_a_message_comes_again_and_idle_passes_take_longer() {
        let ids = ProducedIds::new(2, Bodies::up_to(10));
        produce(&ids, "a");
        let mut pause = ids.next_pass();
        assert!(pause <= SHORTEST_PASS);
        for _ in 0..10 {
            assert_eq!(known(&ids, "a"), (true, false));
            assert_eq!(known(&ids, "a"), (true, true));
            pause = ids.next_pass();
        }
        assert!(
            (LONGEST_PASS / 3..=LONGEST_PASS).contains(&pause),
            "{pause:?}"
        );
        produce(&ids, "b");
        assert!(ids.next_pass() <= SHORTEST_PASS);
    }
}
