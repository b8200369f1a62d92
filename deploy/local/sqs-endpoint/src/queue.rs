//! Queues: their messages, attributes and waiting receivers, and the queue registry.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::backlog::{Backlog, Content, Delivery, NotChanged, Receipt};
use crate::limits;
use crate::protocol::{Code, SqsError};

/// A queue.
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) created_s: u64,
    /// Part of receipt handles, so those of another queue are recognized.
    mark: u64,
    state: Mutex<State>,
    /// Wakes one receiver when messages become available. A receiver that leaves messages wakes the
    /// next.
    arrivals: Notify,
    gone: CancellationToken,
}

struct State {
    backlog: Backlog,
    settings: Settings,
    changed_s: u64,
    purged_at: Option<Instant>,
}

/// The settable attributes of a queue, in their units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) visibility_seconds: u64,
    pub(crate) delay_seconds: u64,
    pub(crate) wait_seconds: u64,
    pub(crate) body_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            visibility_seconds: limits::DEFAULT_VISIBILITY_SECONDS,
            delay_seconds: 0,
            wait_seconds: 0,
            body_bytes: limits::BODY_BYTES,
        }
    }
}

/// The number of messages in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) visible: usize,
    pub(crate) in_flight: usize,
    pub(crate) delayed: usize,
}

impl Queue {
    pub(crate) fn new(name: &str, settings: Settings) -> Self {
        let mark = rand::random();
        Self {
            name: name.to_owned(),
            created_s: wall_ms() / 1000,
            mark,
            state: Mutex::new(State {
                backlog: Backlog::new(mark),
                settings,
                changed_s: wall_ms() / 1000,
                purged_at: None,
            }),
            arrivals: Notify::new(),
            gone: CancellationToken::new(),
        }
    }

    pub(crate) fn settings(&self) -> (Settings, u64) {
        let state = self.state();
        (state.settings.clone(), state.changed_s)
    }

    pub(crate) fn set(
        &self,
        change: impl FnOnce(&mut Settings) -> Result<(), SqsError>,
    ) -> Result<(), SqsError> {
        let mut state = self.state();
        let mut settings = state.settings.clone();
        change(&mut settings)?;
        state.settings = settings;
        state.changed_s = wall_ms() / 1000;
        Ok(())
    }

    pub(crate) fn counts(&self) -> Counts {
        let state = self.state();
        Counts {
            visible: state.backlog.visible(),
            in_flight: state.backlog.in_flight(),
            delayed: state.backlog.delayed(),
        }
    }

    /// Adds a message. The default of `delay` is the queue's.
    pub(crate) fn send(&self, content: Content, delay: Option<Duration>) -> Uuid {
        let id = {
            let mut state = self.state();
            let delay = delay.unwrap_or(Duration::from_secs(state.settings.delay_seconds));
            state
                .backlog
                .send(Instant::now(), wall_ms(), content, delay)
        };
        self.arrivals.notify_one();
        id
    }

    /// Receives up to `most` messages and waits up to `wait` for the first.
    pub(crate) async fn receive(
        &self,
        most: usize,
        wait: Duration,
        visibility: Duration,
        is_duplicated: &(dyn Fn() -> bool + Sync),
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery>, SqsError> {
        let give_up_at = Instant::now() + wait;
        loop {
            // Registered before the backlog is read, so a message that is sent meanwhile wakes us.
            let arrival = self.arrivals.notified();
            tokio::pin!(arrival);
            arrival.as_mut().enable();
            let (deliveries, next_visible_at) = self.take(most, wait, visibility, is_duplicated)?;
            let now = Instant::now();
            if !deliveries.is_empty() || now >= give_up_at {
                return Ok(deliveries);
            }
            let next_poll_at = next_visible_at
                .map_or(give_up_at, |at| at.min(give_up_at))
                .max(now);
            tokio::select! {
                () = &mut arrival => {}
                () = tokio::time::sleep_until(next_poll_at.into()) => {}
                () = self.gone.cancelled() => return Err(does_not_exist()),
                () = stop.cancelled() => return Ok(Vec::new()),
            }
        }
    }

    fn take(
        &self,
        most: usize,
        wait: Duration,
        visibility: Duration,
        is_duplicated: &dyn Fn() -> bool,
    ) -> Result<(Vec<Delivery>, Option<Instant>), SqsError> {
        let mut state = self.state();
        // At the limit a long poll waits and a short poll fails.
        if wait.is_zero() && state.backlog.in_flight() >= limits::IN_FLIGHT {
            return Err(SqsError::new(
                Code::OverLimit,
                "Too many messages are in flight in this queue.",
            ));
        }
        let deliveries =
            state
                .backlog
                .receive(Instant::now(), wall_ms(), most, visibility, is_duplicated);
        if !deliveries.is_empty() && state.backlog.visible() > 0 {
            self.arrivals.notify_one();
        }
        Ok((deliveries, state.backlog.next_visible_at()))
    }

    /// Parses a receipt handle and checks that it is of this queue.
    pub(crate) fn receipt(&self, handle: &str) -> Result<Receipt, SqsError> {
        handle
            .parse()
            .ok()
            .filter(|receipt: &Receipt| receipt.queue == self.mark)
            .ok_or_else(|| {
                SqsError::new(
                    Code::ReceiptHandleIsInvalid,
                    "The input receipt handle is invalid.",
                )
            })
    }

    pub(crate) fn delete(&self, receipt: Receipt) {
        self.state().backlog.delete(receipt);
    }

    pub(crate) fn change_visibility(
        &self,
        receipt: Receipt,
        hidden_for: Duration,
    ) -> Result<(), SqsError> {
        let changed = self
            .state()
            .backlog
            .change_visibility(Instant::now(), receipt, hidden_for);
        match changed {
            Ok(()) => {
                if hidden_for.is_zero() {
                    self.arrivals.notify_one();
                }
                Ok(())
            }
            Err(NotChanged::Stale) => Err(SqsError::invalid(
                "ReceiptHandle",
                receipt,
                "Message does not exist or is not available for visibility timeout change.",
            )),
            Err(NotChanged::NotInFlight) => Err(SqsError::new(
                Code::MessageNotInflight,
                "The specified message isn't in flight.",
            )),
            Err(NotChanged::TooLong) => Err(SqsError::invalid(
                "VisibilityTimeout",
                hidden_for.as_secs(),
                "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
            )),
        }
    }

    pub(crate) fn purge(&self) -> Result<(), SqsError> {
        let mut state = self.state();
        if state
            .purged_at
            .is_some_and(|at| at.elapsed() < limits::PURGE_PAUSE)
        {
            let message = format!(
                "Only one PurgeQueue operation on {} is allowed every 60 seconds.",
                self.name
            );
            return Err(SqsError::new(Code::PurgeQueueInProgress, message));
        }
        state.purged_at = Some(Instant::now());
        state.backlog.purge();
        Ok(())
    }

    /// Ends the long polls of a deleted queue.
    pub(crate) fn close(&self) {
        self.gone.cancel();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No change of the state can panic halfway, so poisoning is ignored.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.backlog.settle(Instant::now());
        state
    }
}

/// Returns the error for a missing queue.
pub(crate) fn does_not_exist() -> SqsError {
    SqsError::new(
        Code::QueueDoesNotExist,
        "The specified queue does not exist.",
    )
}

/// Returns milliseconds of Unix time, as in `SentTimestamp`.
fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

/// A queue that is shared by calls.
pub(crate) type SharedQueue = Arc<Queue>;

/// The queue registry: all queues of the endpoint, by name and by URL.
pub(crate) struct QueueRegistry {
    /// The URL of a queue without its name.
    base: String,
    queues: RwLock<BTreeMap<String, SharedQueue>>,
}

impl QueueRegistry {
    /// Returns an empty registry for the endpoint at `url`.
    pub(crate) fn new(url: &str) -> Self {
        Self {
            base: format!("{url}/000000000000/"),
            queues: RwLock::default(),
        }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }

    /// Creates a queue, or returns the existing one if it has the same settings.
    pub(crate) fn create(&self, name: &str, settings: Settings) -> Result<SharedQueue, SqsError> {
        if name.ends_with(".fifo") {
            return Err(SqsError::unsupported("FIFO queues"));
        }
        if !limits::is_plain_name(name, limits::QUEUE_NAME_CHARS) {
            let reason = "Can only include alphanumeric characters, hyphens, or underscores. \
                          1 to 80 in length";
            return Err(SqsError::invalid("QueueName", name, reason));
        }
        let mut queues = self.write();
        if let Some(queue) = queues.get(name) {
            if queue.settings().0 != settings {
                let message =
                    format!("A queue named {name} exists already, with other attributes.");
                return Err(SqsError::new(Code::QueueNameExists, message));
            }
            return Ok(Arc::clone(queue));
        }
        let queue = Arc::new(Queue::new(name, settings));
        queues.insert(name.to_owned(), Arc::clone(&queue));
        Ok(queue)
    }

    pub(crate) fn by_name(&self, name: &str) -> Result<SharedQueue, SqsError> {
        self.read().get(name).cloned().ok_or_else(does_not_exist)
    }

    /// Returns the queue with this URL, under any host name.
    pub(crate) fn by_url(&self, url: &str) -> Result<SharedQueue, SqsError> {
        self.by_name(url.rsplit('/').next().unwrap_or_default())
    }

    /// Returns up to `most` names that start with `prefix` and follow `after`, in order.
    pub(crate) fn names(&self, prefix: &str, after: Option<&str>, most: usize) -> Vec<String> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.to_owned()));
        let queues = self.read();
        let names = queues.range((from, Bound::Unbounded)).map(|(name, _)| name);
        names
            .filter(|name| name.starts_with(prefix))
            .take(most)
            .cloned()
            .collect()
    }

    pub(crate) fn remove(&self, queue: &SharedQueue) {
        self.write().remove(&queue.name);
        queue.close();
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, SharedQueue>> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, SharedQueue>> {
        self.queues.write().unwrap_or_else(PoisonError::into_inner)
    }
}
