//! The recovery times of the faults.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::plan::Fault;

/// The times after the end of a fault, or of the group that it was in.
#[derive(Clone, Copy, Debug)]
pub struct Recovery {
    /// Until messages were received, committed and deleted again.
    pub works: Duration,
    /// Until at most some seconds of the load were in the queue.
    pub caught_up: Duration,
}

/// The recovery times by kind of fault.
#[derive(Default)]
pub struct Results(BTreeMap<String, Vec<Recovery>>);

impl Results {
    /// Adds a group of faults that overlapped.
    pub fn add(&mut self, group: &[Fault], recovery: Recovery) {
        for fault in group {
            self.0.entry(fault.kind.name()).or_default().push(recovery);
        }
    }

    /// Prints a line for each kind, and one for all.
    pub fn print(&self) {
        println!(
            "{:<48} {:>5}  {:>22}  {:>22}",
            "", "", "works again", "caught up"
        );
        println!(
            "{:<48} {:>5}  {:>6} {:>7} {:>7}  {:>6} {:>7} {:>7}",
            "fault", "count", "p50", "p90", "max", "p50", "p90", "max"
        );
        let all: Vec<Recovery> = self.0.values().flatten().copied().collect();
        let rows = self.0.iter().map(|(name, times)| (name.as_str(), times));
        for (name, times) in rows.chain([("all", &all)]) {
            let works = Spread::of(times, |time| time.works);
            let caught_up = Spread::of(times, |time| time.caught_up);
            println!(
                "{name:<48} {:>5}  {:>6.1} {:>7.1} {:>7.1}  {:>6.1} {:>7.1} {:>7.1}",
                times.len(),
                works.p50,
                works.p90,
                works.max,
                caught_up.p50,
                caught_up.p90,
                caught_up.max,
            );
        }
    }

    /// The same as JSON, in seconds.
    pub fn json(&self) -> Value {
        let rows = self.0.iter().map(|(name, times)| {
            json!({
                "fault": name,
                "count": times.len(),
                "works": Spread::of(times, |time| time.works).json(),
                "caught_up": Spread::of(times, |time| time.caught_up).json(),
            })
        });
        rows.collect()
    }
}

/// Quantiles in seconds.
struct Spread {
    p50: f64,
    p90: f64,
    max: f64,
}

impl Spread {
    fn of(times: &[Recovery], time: impl Fn(&Recovery) -> Duration) -> Self {
        let mut sorted: Vec<f64> = times.iter().map(|one| time(one).as_secs_f64()).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(index).copied().unwrap_or_default()
        };
        Self {
            p50: at(50),
            p90: at(90),
            max: at(100),
        }
    }

    fn json(&self) -> Value {
        json!({ "p50": self.p50, "p90": self.p90, "max": self.max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_occurred() {
        let times: Vec<Recovery> = (1..=10)
            .map(|second| Recovery {
                works: Duration::from_secs(second),
                caught_up: Duration::ZERO,
            })
            .collect();
        let spread = Spread::of(&times, |time| time.works);
        assert_eq!([spread.p50, spread.p90, spread.max], [5.0, 9.0, 10.0]);
        assert_eq!(Spread::of(&[], |time| time.works).max, 0.0);
    }
}
