//! The pause between attempts: longer after each failure, and never two processes at the same beat.

use std::time::Duration;

/// How long to wait after `failures` earlier failures in a row: doubles from `first` to `longest`,
/// and the upper half of it is left to chance.
#[must_use]
pub fn pause_after(failures: u32, first: Duration, longest: Duration) -> Duration {
    let whole = first
        .saturating_mul(2_u32.saturating_pow(failures))
        .min(longest);
    whole.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_differ() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(10));
        let pauses: Vec<_> = (0..100)
            .map(|failures| pause_after(failures, first, longest))
            .collect();
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
}
