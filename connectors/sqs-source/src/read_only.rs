//! Tracks messages that stay in the queue, with `delete-after: never`.
//!
//! SQS delivers them again and again. Their ids are remembered, each from the acknowledgement of
//! its record on, so that an earlier failure loses no message. The memory is bounded: the oldest id
//! is forgotten first, since its message reaches the end of the queue's retention first.
//!
//! A message is delivered again after its visibility timeout. If that is shorter than a pass over
//! the queue, the queue may return the same messages again and never reach the others.
//! [`UnreadCheck`] reports this.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use connector_common::{Backoff, Health};
use md5::{Digest, Md5};
use tokio::sync::OwnedSemaphorePermit;

use crate::byte_budget::{ByteBudget, BytePermit};
use crate::in_flight::{Tracked, Tracker};
use crate::metrics::{InFlightCounts, QueueMetrics};
use crate::queue::{Depth, MessageId, Receipt, Received};
use crate::record::{Record, RecordPosition};

/// The shortest pass over the queue after one without a new message.
const SHORTEST_PASS: Duration = Duration::from_millis(100);

/// The same after many passes without a new message; up to half of it is taken off at random.
const LONGEST_PASS: Duration = Duration::from_secs(5);

/// SQS counts messages approximately: one of a hundred may be missing.
const TOLERANCE: u64 = 100;

/// 96 bits of the MD5 of a message id. The chance that a new id matches one of a million is 10^-23.
type Key = [u8; 12];

/// The ids of produced messages.
#[derive(Debug)]
pub(crate) struct ProducedIds {
    max_remembered: usize,
    byte_budget: ByteBudget,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    /// Messages whose records are being produced.
    producing: HashMap<Key, Producing>,
    /// Produced messages, each with the pass in which it was last received.
    produced: HashMap<Key, u32>,
    /// The produced messages, oldest first.
    order: VecDeque<Key>,
    /// The number of the pass over the queue. A message is received once in each pass.
    pass: u32,
    pass_began: Instant,
    /// Counts the passes without a new message.
    idle_passes: Backoff,
}

#[derive(Debug)]
struct Producing {
    since: Instant,
    /// The pass in which it was last received.
    pass: u32,
    _body: BytePermit,
    _in_flight: OwnedSemaphorePermit,
}

impl ProducedIds {
    /// Remembers up to `max_remembered` messages.
    pub(crate) fn new(max_remembered: usize, byte_budget: ByteBudget) -> Self {
        Self {
            max_remembered,
            byte_budget,
            table: Mutex::new(Table {
                producing: HashMap::new(),
                produced: HashMap::new(),
                order: VecDeque::new(),
                pass: 0,
                pass_began: Instant::now(),
                idle_passes: Backoff::new(SHORTEST_PASS, LONGEST_PASS),
            }),
        }
    }

    /// Counts the messages whose records are being produced, and those remembered.
    pub(crate) fn counts(&self) -> InFlightCounts {
        let table = self.table();
        InFlightCounts {
            messages: table.producing.len(),
            bytes: self.byte_budget.bytes(),
            oldest_since: table.producing.values().map(|one| one.since).min(),
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
        if table.order.len() > self.max_remembered
            && let Some(oldest) = table.order.pop_front()
        {
            table.produced.remove(&oldest);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No code that holds the lock can panic half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tracker for ProducedIds {
    fn track(&self, received: Received, now: Instant, permit: OwnedSemaphorePermit) -> Tracked {
        let record_key = received.key().into();
        let Received {
            id, sent_at, body, ..
        } = received;
        let key = key(&id);
        let mut table = self.table();
        let pass = table.pass;
        if let Some(last) = table.produced.get_mut(&key) {
            return Tracked::Known {
                is_produced: true,
                is_again: std::mem::replace(last, pass) == pass,
            };
        }
        if let Some(producing) = table.producing.get_mut(&key) {
            return Tracked::Known {
                is_produced: false,
                is_again: std::mem::replace(&mut producing.pass, pass) == pass,
            };
        }
        let producing = Producing {
            since: now,
            pass,
            _body: self.byte_budget.take(body.len()),
            _in_flight: permit,
        };
        table.producing.insert(key, producing);
        table.idle_passes.reset();
        Tracked::New(Record {
            key: record_key,
            id,
            is_grouped: false,
            value: body.into(),
            sent_at,
        })
    }

    fn has_body(&self, id: &MessageId, bytes: usize) {
        if let Some(producing) = self.table().producing.get_mut(&key(id)) {
            producing._body = self.byte_budget.take(bytes);
        }
    }

    fn acknowledged(&self, id: &MessageId, _position: RecordPosition) {
        self.settle(id);
    }

    /// Remembers the message as well: it would be refused after every receive.
    fn refused(&self, id: &MessageId) {
        self.settle(id);
    }

    fn give_back(&self, id: &MessageId) -> Option<(Receipt, u32)> {
        self.table().producing.remove(&key(id));
        None
    }

    fn next_pass(&self) -> Duration {
        let mut table = self.table();
        let duration = table.idle_passes.next_pause();
        let pause = duration.saturating_sub(table.pass_began.elapsed());
        table.pass = table.pass.wrapping_add(1);
        table.pass_began = Instant::now() + pause;
        pause
    }
}

fn key(id: &str) -> Key {
    let [key @ .., _, _, _, _] = <[u8; 16]>::from(Md5::digest(id));
    key
}

/// Reports messages that the queue holds and does not return.
pub(crate) struct UnreadCheck {
    queue: String,
    visibility_timeout: Duration,
    produced: Arc<ProducedIds>,
    metrics: Arc<QueueMetrics>,
    health: Health,
    /// The counters of produced records and of repeats at the last check.
    last: (u64, u64),
    is_reported: bool,
}

impl UnreadCheck {
    pub(crate) fn new(
        queue: &str,
        visibility_timeout: Duration,
        produced: Arc<ProducedIds>,
        metrics: Arc<QueueMetrics>,
        health: Health,
    ) -> Self {
        Self {
            queue: queue.to_owned(),
            visibility_timeout,
            produced,
            metrics,
            health,
            last: (0, 0),
            is_reported: false,
        }
    }

    /// Reports the connector as unready if messages were received again since the last check, none
    /// was new, and the queue holds more than was read.
    pub(crate) fn check(&mut self, depth: Depth) {
        let held: u64 = [depth.visible, depth.in_flight].into_iter().flatten().sum();
        let counts = self.produced.counts();
        let read = (counts.remembered + counts.messages) as u64;
        let (produced, repeats) = (self.metrics.produced.get(), self.metrics.repeats.get());
        let is_idle = produced == self.last.0 && repeats > self.last.1;
        self.last = (produced, repeats);
        let is_unread = is_idle && held > read + read / TOLERANCE;
        if is_unread == self.is_reported {
            return;
        }
        self.is_reported = is_unread;
        let part = format!("reading all of {}", self.queue);
        if !is_unread {
            return self.health.works(&part);
        }
        let why = format!(
            "the queue holds about {held} messages and returns only the {read} that were read: set \
             a `visibility-timeout` that is longer than a pass over the queue takes (it is {:?})",
            self.visibility_timeout
        );
        tracing::warn!(queue = self.queue, held, read, "{why}");
        self.health.troubled(&part, why);
    }
}

#[cfg(test)]
mod tests {
    use connector_common::keys::Sent;
    use tokio::sync::Semaphore;

    use super::*;

    fn track(ids: &ProducedIds, id: &str) -> Tracked {
        let permits = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&permits).try_acquire_owned().unwrap();
        let received = Received {
            id: id.into(),
            receipt: "r".into(),
            receive_count: 1,
            sent_at: None,
            sent: Sent::default(),
            group: None,
            trace_header: None,
            attributes: Default::default(),
            body: b"{}".to_vec(),
        };
        let tracked = ids.track(received, Instant::now(), permit);
        let is_held = permits.available_permits() == 0;
        assert_eq!(is_held, matches!(tracked, Tracked::New(_)));
        tracked
    }

    fn acknowledge(ids: &ProducedIds, id: &str) {
        let position = RecordPosition {
            partition: 0,
            offset: 0,
        };
        ids.acknowledged(&id.into(), position);
    }

    /// Returns `(is_produced, is_again)`.
    fn known(ids: &ProducedIds, id: &str) -> (bool, bool) {
        match track(ids, id) {
            Tracked::New(_) => panic!("{id} is new"),
            Tracked::Known {
                is_produced,
                is_again,
            } => (is_produced, is_again),
        }
    }

    fn produce(ids: &ProducedIds, id: &str) {
        assert!(matches!(track(ids, id), Tracked::New(_)), "{id} is known");
        acknowledge(ids, id);
    }

    #[test]
    fn a_message_is_remembered_from_its_acknowledgement_on() {
        let ids = ProducedIds::new(10, ByteBudget::new(10));
        assert!(matches!(track(&ids, "a"), Tracked::New(_)));
        assert_eq!(known(&ids, "a"), (false, true));
        assert_eq!((ids.counts().messages, ids.counts().bytes), (1, 2));
        assert_eq!(ids.counts().remembered, 0);
        assert!(ids.counts().oldest_since.is_some());
        acknowledge(&ids, "a");
        assert_eq!(known(&ids, "a"), (true, true));
        assert_eq!((ids.counts().messages, ids.counts().bytes), (0, 0));
        assert_eq!(ids.counts().oldest_since, None);
        assert_eq!(ids.counts().remembered, 1);
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let ids = ProducedIds::new(2, ByteBudget::new(10));
        for id in ["a", "b", "c"] {
            produce(&ids, id);
        }
        assert_eq!(ids.counts().remembered, 2);
        assert_eq!(known(&ids, "b"), (true, true));
        assert_eq!(known(&ids, "c"), (true, true));
        produce(&ids, "a");
    }

    #[test]
    fn a_pass_is_over_when_a_message_is_received_again_and_idle_passes_take_longer() {
        let ids = ProducedIds::new(2, ByteBudget::new(10));
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
