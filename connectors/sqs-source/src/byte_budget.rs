//! The memory budget for message bodies of all queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts the bytes of message bodies in memory. Clones share the count.
#[derive(Clone, Debug)]
pub struct ByteBudget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: AtomicUsize,
    limit: usize,
    below_limit: Notify,
}

/// The bytes of one body. Dropping the permit returns them to the budget.
#[derive(Debug)]
pub struct BytePermit {
    budget: ByteBudget,
    bytes: usize,
}

impl ByteBudget {
    /// A budget of `limit` bytes. At the limit receiving pauses.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner {
            bytes: AtomicUsize::new(0),
            limit,
            below_limit: Notify::new(),
        }))
    }

    /// Counts a received body. It is in memory already, so this exceeds the limit rather than wait.
    pub(crate) fn take(&self, bytes: usize) -> BytePermit {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        BytePermit {
            budget: self.clone(),
            bytes,
        }
    }

    /// Waits until the count is below the limit.
    pub(crate) async fn below_limit(&self) {
        loop {
            let mut freed = std::pin::pin!(self.0.below_limit.notified());
            // Registers before the count is read, so that no notification is missed.
            freed.as_mut().enable();
            if self.bytes() < self.0.limit {
                return;
            }
            freed.await;
        }
    }

    /// The limit in bytes.
    pub(crate) fn limit(&self) -> usize {
        self.0.limit
    }

    /// The bytes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for BytePermit {
    fn drop(&mut self) {
        let inner = &self.budget.0;
        let before = inner.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if before >= inner.limit && before - self.bytes < inner.limit {
            inner.below_limit.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_receive_waits_until_a_body_is_dropped() {
        let budget = ByteBudget::new(10);
        let first = budget.take(8);
        budget.below_limit().await;
        let second = budget.take(8);
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.below_limit().await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished(), "16 bytes of 10 are taken");
        drop(first);
        waiting.await.unwrap();
        assert_eq!(budget.bytes(), 8);
        drop(second);
        assert_eq!(budget.bytes(), 0);
    }
}
