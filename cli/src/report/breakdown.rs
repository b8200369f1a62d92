//! Explains the change of a metric: how much each value of a dimension contributes to it.

use std::collections::BTreeMap;

use crate::report::numbers::Sums;
use crate::report::table::Cell;

/// A smaller part of a change does not explain it.
const PART: f64 = 0.2;

/// A possible explanation of a change.
pub enum Cause {
    Unknown,
    /// The metric by the values of each dimension.
    Within(Vec<Breakdown>),
    /// The refunds of the days compared and of the previous period.
    Refunds([Cell; 2]),
}

/// The dimension of a breakdown.
#[derive(Clone, Copy)]
pub enum Dimension {
    Platform,
    Category,
    List,
}

/// A metric by the values of a dimension.
pub struct Breakdown {
    pub dimension: Dimension,
    slices: BTreeMap<String, Slice>,
}

/// The part of a metric that one value of a dimension has, now and in the previous period.
pub struct Slice {
    name: String,
    part: [f64; 2],
    /// Its part of the denominator, if the metric is a ratio.
    of: Option<[f64; 2]>,
}

impl Slice {
    pub fn sum(name: &str, count: Sums) -> Self {
        Self::amount(name, count.compared())
    }

    pub fn amount(name: &str, part: [f64; 2]) -> Self {
        Self {
            name: name.to_owned(),
            part,
            of: None,
        }
    }

    pub fn ratio(name: &str, part: [f64; 2], of: Sums) -> Self {
        Self {
            of: Some(of.compared()),
            ..Self::amount(name, part)
        }
    }

    fn add(&mut self, other: &Self) {
        let add = |to: &mut [f64; 2], other: [f64; 2]| {
            for (sum, more) in to.iter_mut().zip(other) {
                *sum += more;
            }
        };
        add(&mut self.part, other.part);
        if let (Some(of), Some(other)) = (&mut self.of, other.of) {
            add(of, other);
        }
    }
}

impl Breakdown {
    pub fn new(dimension: Dimension, slices: impl Iterator<Item = Slice>) -> Self {
        let mut merged: BTreeMap<String, Slice> = BTreeMap::new();
        for slice in slices {
            match merged.get_mut(&slice.name) {
                Some(same) => same.add(&slice),
                None => drop(merged.insert(slice.name.clone(), slice)),
            }
        }
        Self {
            dimension,
            slices: merged,
        }
    }

    /// The value that contributes most to the change, and its part of it. The parts of all values
    /// add up to one.
    pub fn leading(&self) -> Option<(&str, f64)> {
        // A single value explains nothing.
        if self.slices.len() < 2 {
            return None;
        }
        let sum = |of: fn(&Slice) -> [f64; 2]| {
            let parts = self.slices.values().map(of);
            parts.fold([0.0, 0.0], |[now, before], part| {
                [now + part[0], before + part[1]]
            })
        };
        let ones = sum(|slice| slice.of.unwrap_or_default());
        let is_ratio = self.slices.values().any(|slice| slice.of.is_some());
        let [all, of] = [
            sum(|slice| slice.part),
            if is_ratio { ones } else { [1.0, 1.0] },
        ];
        let change = all[0] / of[0] - all[1] / of[1];
        // A ratio also changes when values above its mean gain weight.
        let mean = f64::midpoint(all[0] / of[0], all[1] / of[1]);
        let contribution = |slice: &Slice| {
            let weight = slice.of.unwrap_or_default();
            (slice.part[0] - mean * weight[0]) / of[0] - (slice.part[1] - mean * weight[1]) / of[1]
        };
        let parts = self
            .slices
            .values()
            .map(|slice| (slice.name.as_str(), contribution(slice) / change));
        parts
            .filter(|(_, part)| part.is_finite() && *part >= PART)
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(now: i64, before: i64) -> Sums {
        Sums {
            shown: now,
            now,
            before,
        }
    }

    #[test]
    fn the_largest_part_of_a_sum_leads() {
        let fall = Breakdown::new(
            Dimension::Platform,
            [
                Slice::sum("IOS", sums(30, 100)),
                Slice::sum("ANDROID", sums(190, 200)),
                Slice::sum("WEB", sums(120, 100)),
            ]
            .into_iter(),
        );
        let (name, part) = fall.leading().unwrap();
        assert_eq!(name, "IOS");
        assert!((part - 70.0 / 60.0).abs() < 1e-9, "{part}");
        let one = Breakdown::new(
            Dimension::Platform,
            std::iter::once(Slice::sum("IOS", sums(1, 2))),
        );
        assert!(one.leading().is_none());
    }

    #[test]
    fn a_ratio_changes_by_rates_and_by_weights() {
        // The rate of WEB falls, that of IOS stays.
        let rates = Breakdown::new(
            Dimension::Platform,
            [
                Slice::ratio("IOS", [10.0, 10.0], sums(100, 100)),
                Slice::ratio("WEB", [2.0, 10.0], sums(100, 100)),
            ]
            .into_iter(),
        );
        assert_eq!(rates.leading().unwrap().0, "WEB");
        assert!((rates.leading().unwrap().1 - 1.0).abs() < 1e-9);
        // No rate changes, but more sessions are on WEB, which converts less.
        let weights = Breakdown::new(
            Dimension::Platform,
            [
                Slice::ratio("IOS", [10.0, 10.0], sums(100, 100)),
                Slice::ratio("WEB", [4.0, 1.0], sums(400, 100)),
            ]
            .into_iter(),
        );
        assert!(weights.leading().is_some());
    }
}
