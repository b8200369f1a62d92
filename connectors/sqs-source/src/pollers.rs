//! How many receives run at once: as many as the flow needs.
//!
//! A receive that comes back rather full shows that there is more, so another poller joins in; the last one that comes
//! back empty leaves, which on a quiet queue takes a long poll each. Between a floor and a ceiling that are the operator's.

use std::ops::RangeInclusive;

use tokio::sync::watch;

use crate::queue::BATCH;

/// From so many messages on an answer is rather full: SQS samples its servers, and rarely fills one to the brim.
const RATHER_FULL: usize = BATCH / 2;

/// Pollers of one queue, each with a number from 0 on.
#[derive(Debug)]
pub(crate) struct Pollers {
    wanted: watch::Sender<usize>,
    allowed: RangeInclusive<usize>,
}

impl Pollers {
    pub(crate) fn new(allowed: RangeInclusive<usize>) -> Self {
        Self {
            wanted: watch::Sender::new(*allowed.start()),
            allowed,
        }
    }

    /// Waits until the poller of this number is needed.
    pub(crate) async fn needed(&self, number: usize) {
        // The sender lives as long as this does.
        let _ = self
            .wanted
            .subscribe()
            .wait_for(|wanted| number < *wanted)
            .await;
    }

    /// The poller of this number has received so many messages.
    pub(crate) fn received(&self, number: usize, messages: usize) {
        self.wanted.send_if_modified(|wanted| {
            let before = *wanted;
            if messages >= RATHER_FULL {
                *wanted = (before + 1).min(*self.allowed.end());
            } else if messages == 0 && number + 1 == before {
                *wanted = (before - 1).max(*self.allowed.start());
            }
            *wanted != before
        });
    }

    /// How many are needed now.
    pub(crate) fn wanted(&self) -> usize {
        *self.wanted.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn as_many_as_the_flow_needs_between_floor_and_ceiling() {
        let pollers = Pollers::new(1..=3);
        pollers.needed(0).await;
        assert_eq!(pollers.wanted(), 1);
        pollers.received(0, 10);
        pollers.needed(1).await;
        pollers.received(1, 5);
        pollers.received(1, 10);
        assert_eq!(pollers.wanted(), 3, "no more than the ceiling");
        pollers.received(0, 0);
        pollers.received(0, 4);
        assert_eq!(pollers.wanted(), 3, "only the last one leaves");
        pollers.received(2, 0);
        pollers.received(1, 0);
        pollers.received(0, 0);
        assert_eq!(pollers.wanted(), 1, "no fewer than the floor");
        let second = tokio::time::timeout(std::time::Duration::from_millis(10), pollers.needed(1));
        assert!(second.await.is_err());
    }
}
