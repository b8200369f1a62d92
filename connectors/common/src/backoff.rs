//! Pauses between attempts, and a limit on repeated log lines.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two log lines of one [`Warnings`].
const WARNING_INTERVAL: Duration = Duration::from_secs(30);

/// Pauses after consecutive failures: they double from one to the next, with jitter, so that
/// processes that fail together don't retry together.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    warnings: Warnings,
}

impl Backoff {
    /// Pauses from `first` to `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
            warnings: Warnings::default(),
        }
    }

    /// Counts a failure and returns the pause before the next attempt.
    pub fn next_pause(&mut self) -> Duration {
        self.next_pause_between(self.first, self.longest)
    }

    /// The same with other limits, for failures that differ in how soon a retry can help.
    pub fn next_pause_between(&mut self, first: Duration, longest: Duration) -> Duration {
        let pause = pause_after(self.failures, first, longest);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// The number of consecutive failures.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// As [`Warnings::due`], for the failures of these attempts.
    pub fn warning_due(&self) -> Option<u64> {
        self.warnings.due()
    }

    /// Starts over after a success. Returns true if there were failures before.
    pub fn reset(&mut self) -> bool {
        self.warnings.reset();
        std::mem::take(&mut self.failures) > 0
    }
}

impl Default for Backoff {
    /// Pauses from 200 ms to 30 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(30))
    }
}

/// The pause after `failures` earlier consecutive failures: doubles from `first` to `longest`; up
/// to half of it is taken off at random.
#[must_use]
pub fn pause_after(failures: u32, first: Duration, longest: Duration) -> Duration {
    let whole = first
        .saturating_mul(2_u32.saturating_pow(failures))
        .min(longest);
    whole.mul_f64(rand::random_range(0.5..=1.0))
}

/// Limits how often a repeated problem is logged. Tasks that meet the same problem share one.
#[derive(Debug, Default)]
pub struct Warnings(Mutex<Repeats>);

#[derive(Debug, Default)]
struct Repeats {
    last: Option<Instant>,
    suppressed: u64,
}

impl Warnings {
    /// `Some` if a warning is to be logged now, at most once in 30 seconds, with the number of
    /// warnings that were suppressed since the last one.
    pub fn due(&self) -> Option<u64> {
        self.due_at(Instant::now())
    }

    /// Has the next warning logged at once: the problem is solved.
    pub fn reset(&self) {
        let mut repeats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *repeats = Repeats::default();
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let mut repeats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if repeats
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < WARNING_INTERVAL)
        {
            repeats.suppressed += 1;
            return None;
        }
        repeats.last = Some(now);
        Some(std::mem::take(&mut repeats.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_differ() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(10));
        let mut backoff = Backoff::new(first, longest);
        let pauses: Vec<_> = (0..100).map(|_| backoff.next_pause()).collect();
        assert!((first / 2..=first).contains(&pauses[0]), "{pauses:?}");
        assert!((first..=first * 2).contains(&pauses[1]), "{pauses:?}");
        let late = &pauses[20..];
        assert!(
            late.iter()
                .all(|pause| (longest / 2..=longest).contains(pause)),
            "{pauses:?}"
        );
        assert!(late.iter().any(|pause| *pause != late[0]), "no jitter");
    }

    #[test]
    fn a_success_makes_the_next_failure_a_first_one() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(10));
        let mut backoff = Backoff::new(first, longest);
        for _ in 0..5 {
            backoff.next_pause();
        }
        assert!(backoff.next_pause() > first);
        assert_eq!(backoff.failures(), 6);
        assert!(backoff.reset());
        assert!(!backoff.reset());
        assert!(backoff.next_pause() <= first);
    }

    #[test]
    fn warnings_are_logged_once_in_a_while_and_the_rest_is_counted() {
        let warnings = Warnings::default();
        let start = Instant::now();
        assert_eq!(warnings.due_at(start), Some(0));
        assert_eq!(warnings.due_at(start), None);
        assert_eq!(warnings.due_at(start + WARNING_INTERVAL / 2), None);
        assert_eq!(warnings.due_at(start + WARNING_INTERVAL), Some(2));
    }
}
