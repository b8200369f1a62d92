//! The memory that bodies take until the topic has them, over all queues, and its bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts the bytes of bodies in memory. Clones count together.
#[derive(Clone, Debug)]
pub struct Bodies(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: AtomicUsize,
    most: usize,
    has_room: Notify,
}

/// The room that one body takes; dropped, it is free again.
#[derive(Debug)]
pub struct Room {
    bodies: Bodies,
    bytes: usize,
}

impl Bodies {
    /// Of which `most` bytes may be there before receiving pauses.
    #[must_use]
    pub fn up_to(most: usize) -> Self {
        Self(Arc::new(Inner {
            bytes: AtomicUsize::new(0),
            most,
            has_room: Notify::new(),
        }))
    }

    /// Takes room for a body that was received. It is there already, so this never waits.
    pub(crate) fn take(&self, bytes: usize) -> Room {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        Room {
            bodies: self.clone(),
            bytes,
        }
    }

    /// Waits until another receive is within the bound.
    pub(crate) async fn have_room(&self) {
        loop {
            let mut freed = std::pin::pin!(self.0.has_room.notified());
            // What is freed from here on is noticed.
            freed.as_mut().enable();
            if self.bytes() < self.0.most {
                return;
            }
            freed.await;
        }
    }

    /// The bytes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let inner = &self.bodies.0;
        let before = inner.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if before >= inner.most && before - self.bytes < inner.most {
            inner.has_room.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_receive_waits_until_a_body_is_gone() {
        let bodies = Bodies::up_to(10);
        let first = bodies.take(8);
        bodies.have_room().await;
        let second = bodies.take(8);
        let waiting = tokio::spawn({
            let bodies = bodies.clone();
            async move { bodies.have_room().await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished(), "16 bytes of 10 are taken");
        drop(first);
        waiting.await.unwrap();
        assert_eq!(bodies.bytes(), 8);
        drop(second);
        assert_eq!(bodies.bytes(), 0);
    }
}
