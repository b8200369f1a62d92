//! The queues of the endpoint, by name and by URL.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::{Code, SqsError};
use crate::limits;
use crate::queue::{Queue, Settings, SharedQueue, does_not_exist};

/// All queues.
pub(crate) struct Shelf {
    /// What stands before the queue's name in its URL.
    base: String,
    queues: RwLock<BTreeMap<String, SharedQueue>>,
}

impl Shelf {
    /// An empty one for the endpoint at `url`.
    pub(crate) fn new(url: &str) -> Self {
        Self {
            base: format!("{url}/000000000000/"),
            queues: RwLock::default(),
        }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }

    /// Creates a queue, or finds the one of that name if it was created alike.
    pub(crate) fn create(&self, name: &str, settings: Settings) -> Result<SharedQueue, SqsError> {
        if name.ends_with(".fifo") {
            return Err(SqsError::unsupported("FIFO queues"));
        }
        if !limits::is_plain_name(name, limits::QUEUE_NAME_CHARS) {
            let reason = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
            return Err(SqsError::invalid("QueueName", name, reason));
        }
        let mut queues = self.change();
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
        self.look().get(name).cloned().ok_or_else(does_not_exist)
    }

    /// The queue whose URL is `url`, whichever host name it was reached by.
    pub(crate) fn by_url(&self, url: &str) -> Result<SharedQueue, SqsError> {
        self.by_name(url.rsplit('/').next().unwrap_or_default())
    }

    /// Up to `most` names that begin with `prefix`, those behind `after`, in order.
    pub(crate) fn names(&self, prefix: &str, after: Option<&str>, most: usize) -> Vec<String> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.to_owned()));
        let queues = self.look();
        let names = queues.range((from, Bound::Unbounded)).map(|(name, _)| name);
        names
            .filter(|name| name.starts_with(prefix))
            .take(most)
            .cloned()
            .collect()
    }

    pub(crate) fn remove(&self, queue: &SharedQueue) {
        self.change().remove(&queue.name);
        queue.close();
    }

    fn look(&self) -> RwLockReadGuard<'_, BTreeMap<String, SharedQueue>> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, BTreeMap<String, SharedQueue>> {
        self.queues.write().unwrap_or_else(PoisonError::into_inner)
    }
}
