//! Saying what goes wrong without flooding the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the same trouble is worth a line in the log.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(30);

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

    /// The trouble is over: the next one is news again.
    pub fn reset(&self) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *since = Since::default();
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
    fn warnings_are_let_through_once_in_a_while_and_the_rest_is_counted() {
        let warnings = Warnings::default();
        let start = Instant::now();
        assert_eq!(warnings.due_at(start), Some(0));
        assert_eq!(warnings.due_at(start), None);
        assert_eq!(warnings.due_at(start + BETWEEN_WARNINGS / 2), None);
        assert_eq!(warnings.due_at(start + BETWEEN_WARNINGS), Some(2));
    }
}
