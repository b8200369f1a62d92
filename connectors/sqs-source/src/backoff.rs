//! Pauses between attempts: longer each time, never two sources at the same beat.

use std::time::Duration;

use connector_common::pause_after;

use crate::queue::Kind;

/// Counts failures in a row, and tells how long to wait after each.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// After a success: the next failure is a first one. Tells whether there were any before.
    pub fn reset(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }

    /// The pause after a failure of a queue. Permissions and queues are mended by people, so there
    /// is no hurry; a network comes back by itself.
    pub fn after(&mut self, kind: Kind) -> Duration {
        let (first, longest) = match kind {
            Kind::Throttled => (Duration::from_millis(250), Duration::from_secs(20)),
            Kind::Unreachable => (Duration::from_millis(100), Duration::from_secs(10)),
            Kind::Other => (Duration::from_millis(500), Duration::from_secs(20)),
            Kind::AccessDenied | Kind::Credentials | Kind::NoSuchQueue => {
                (Duration::from_secs(5), Duration::from_secs(60))
            }
        };
        self.pause(first, longest)
    }

    /// The pause after a failure, from `first` up to `longest`.
    pub fn pause(&mut self, first: Duration, longest: Duration) -> Duration {
        let pause = pause_after(self.failures, first, longest);
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_makes_the_next_failure_a_first_one() {
        let mut backoff = Backoff::default();
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(10));
        for _ in 0..5 {
            backoff.pause(first, longest);
        }
        assert!(backoff.pause(first, longest) > first);
        backoff.reset();
        assert!(backoff.pause(first, longest) <= first);
    }

    #[test]
    fn what_people_must_mend_is_not_tried_in_a_hurry() {
        let first = |kind| Backoff::default().after(kind);
        assert!(first(Kind::AccessDenied) > first(Kind::Throttled));
        assert!(first(Kind::NoSuchQueue) > first(Kind::Unreachable));
    }
}
