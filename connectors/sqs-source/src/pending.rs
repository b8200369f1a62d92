//! The messages that wait for the topic: those a producer has, and those that it is still to get.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::custody::Message;
use crate::topic::{Acknowledgement, NotProduced, Place};

/// What a record weighs beside its body: its key and Fluvio's frame.
const RECORD_OVERHEAD: usize = 64;

/// Messages that one producer has and that are not acknowledged yet, oldest first.
#[derive(Default)]
pub(crate) struct Sent {
    queue: VecDeque<Entry>,
    bytes: usize,
    has_acknowledged: bool,
}

struct Entry {
    message: Message,
    is_alone: bool,
    deadline: Instant,
    acknowledgement: Acknowledgement,
}

/// What became of a message.
pub(crate) enum Outcome {
    Acknowledged(Place),
    NotProduced(NotProduced),
    Overdue,
}

impl Sent {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the producer has acknowledged anything. Until then it gets a single record: a topic
    /// that is away for long shall cost one record an attempt, not a window full.
    pub(crate) fn is_trusted(&self) -> bool {
        self.has_acknowledged
    }

    /// Whether the producer may get another record now.
    pub(crate) fn has_room(&self, window: usize, needs_solitude: bool) -> bool {
        let is_shared = self.queue.back().is_none_or(|last| !last.is_alone);
        let window = if self.has_acknowledged { window } else { 1 };
        if needs_solitude {
            self.is_empty()
        } else {
            is_shared && self.bytes < window
        }
    }

    pub(crate) fn push(
        &mut self,
        message: Message,
        is_alone: bool,
        acknowledgement: Acknowledgement,
        within: Duration,
    ) {
        self.bytes += weight(&message);
        self.queue.push_back(Entry {
            message,
            is_alone,
            deadline: Instant::now() + within,
            acknowledgement,
        });
    }

    /// Waits for the outcome of the oldest message; without one, for ever. May be dropped and called again.
    pub(crate) async fn oldest(&mut self) -> Outcome {
        match self.queue.front_mut() {
            Some(oldest) => match timeout_at(oldest.deadline, &mut oldest.acknowledgement).await {
                Ok(outcome) => outcome.into(),
                Err(_) => Outcome::Overdue,
            },
            None => std::future::pending().await,
        }
    }

    /// The outcome of the oldest message, if it is there without waiting.
    pub(crate) fn oldest_if_settled(&mut self) -> Option<Outcome> {
        (&mut self.queue.front_mut()?.acknowledgement)
            .now_or_never()
            .map(Outcome::from)
    }

    pub(crate) fn acknowledge_oldest(&mut self) -> Option<Message> {
        self.has_acknowledged = true;
        self.drop_oldest().map(|(message, _)| message)
    }

    /// Takes out the oldest message; with it, whether it was alone with the producer.
    pub(crate) fn drop_oldest(&mut self) -> Option<(Message, bool)> {
        let entry = self.queue.pop_front()?;
        self.bytes -= weight(&entry.message);
        Some((entry.message, entry.is_alone))
    }
}

impl From<Result<Place, NotProduced>> for Outcome {
    fn from(result: Result<Place, NotProduced>) -> Self {
        match result {
            Ok(place) => Self::Acknowledged(place),
            Err(error) => Self::NotProduced(error),
        }
    }
}

/// Messages for the next producer, or for this one once there is room.
#[derive(Default)]
pub(crate) struct Waiting {
    /// In the order in which they were received.
    again: VecDeque<Message>,
    /// To be produced one by one: the topic found too large what they went with.
    alone: VecDeque<Message>,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.again.len() + self.alone.len()
    }

    pub(crate) fn wants_solitude(&self) -> bool {
        !self.alone.is_empty()
    }

    /// Waits until there is a message. False if none will come.
    pub(crate) async fn fill(&mut self, inbox: &mut mpsc::Receiver<Message>) -> bool {
        if self.len() == 0 {
            self.again.extend(inbox.recv().await);
        }
        self.len() > 0
    }

    /// The next message to send, and whether it has to be alone. None when none will come.
    pub(crate) async fn next(
        &mut self,
        inbox: &mut mpsc::Receiver<Message>,
    ) -> Option<(Message, bool)> {
        if let Some(message) = self.alone.pop_front() {
            return Some((message, true));
        }
        match self.again.pop_front() {
            Some(message) => Some((message, false)),
            None => inbox.recv().await.map(|message| (message, false)),
        }
    }

    /// The next message to send, and whether it has to be alone, if there is one already.
    pub(crate) fn at_hand(
        &mut self,
        inbox: &mut mpsc::Receiver<Message>,
    ) -> Option<(Message, bool)> {
        self.next(inbox).now_or_never().flatten()
    }

    pub(crate) fn put_alone(&mut self, message: Message) {
        self.alone.push_back(message);
    }

    pub(crate) fn put_back(&mut self, message: Message) {
        self.again.push_front(message);
    }

    /// Takes back what a failed producer did not acknowledge.
    pub(crate) fn take_back(&mut self, sent: Sent) {
        for entry in sent.queue.into_iter().rev() {
            self.put_back(entry.message);
        }
    }
}

fn weight(message: &Message) -> usize {
    message.body.len() + RECORD_OVERHEAD
}
