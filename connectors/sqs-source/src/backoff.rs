//! Pauses between attempts: longer each time, never two sources at the same beat.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use connector_common::pause_after;

use crate::queue::Kind;

/// How often the same trouble is worth a line in the log.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(30);

/// Counts failures in a row, and tells how long to wait after each.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// After a success: the next failure is a first one.
    pub fn reset(&mut self) {
        self.failures = 0;
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

/// Lets through one warning in a while of those that many tasks have to say, and counts the rest.
#[derive(Debug, Default)]
pub struct Warnings(Mutex<Since>);

#[derive(Debug, Default)]
struct Since {
    last: Option<Instant>,
    held_back: u64,
}

impl Warnings {
    /// Whether to warn now; with it, how many times it was not said before.
    pub fn due(&self) -> Option<u64> {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let mut since = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if since
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < BETWEEN_WARNINGS)
        {
            since.held_back += 1;
            return None;
        }
        since.last = Some(now);
        Some(std::mem::take(&mut since.held_back))
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

    #[test]
    fn warnings_are_let_through_once_in_a_while_and_the_rest_is_counted() {
        let warnings = Warnings::default();
        let start = Instant::now();
        assert_eq!(warnings.due_at(start), Some(0));
        assert_eq!(warnings.due_at(start), None);
        assert_eq!(warnings.due_at(start + BETWEEN_WARNINGS / 2), None);
        assert_eq!(warnings.due_at(start + BETWEEN_WARNINGS), Some(2));
    }
}
