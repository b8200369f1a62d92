//! Waiting longer after each failure, and saying so without flooding the log.

use std::time::Duration;

use connector_common::{Warnings, pause_after};

/// The pauses between attempts: doubling, with jitter so that partitions don't come back in step.
pub(crate) struct Backoff {
    floor: Duration,
    ceiling: Duration,
    failures: u32,
    warnings: Warnings,
}

impl Backoff {
    pub(crate) fn new(floor: Duration, ceiling: Duration) -> Self {
        Self {
            floor,
            ceiling,
            failures: 0,
            warnings: Warnings::default(),
        }
    }

    /// The pause before the next attempt.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = pause_after(self.failures, self.floor, self.ceiling);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// Attempts that failed since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether the failure at hand is worth a log line: the first one, and one every half minute.
    pub(crate) fn is_news(&self) -> bool {
        self.warnings.due().is_some()
    }

    /// An attempt succeeded.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
        self.warnings.reset();
    }
}
