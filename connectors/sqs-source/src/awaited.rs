//! The sinks whose commits a message waits for before it is deleted.

use std::fmt;

use connector_common::committed::{Commit, Destination};

/// A sink that messages wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwaitedSink {
    /// Any sink that commits to the tables in PostgreSQL.
    Tables,
    /// Any sink that commits to a lake.
    Lake,
    /// The sink of this name.
    Named(String),
}

impl AwaitedSink {
    /// The sink of an entry of a list.
    pub(crate) fn parse(entry: &str) -> Self {
        match entry {
            "tables" => Self::Tables,
            "lake" => Self::Lake,
            name => Self::Named(name.to_owned()),
        }
    }

    /// Returns true if the commit is one of this sink.
    pub(crate) fn has_made(&self, commit: &Commit) -> bool {
        match self {
            Self::Tables => commit.destination == Destination::Tables,
            Self::Lake => commit.destination == Destination::Lake,
            Self::Named(name) => *name == commit.sink,
        }
    }

    /// Its part of the connector's health.
    pub(crate) fn health_part(&self) -> String {
        match self {
            Self::Tables => "tables".to_owned(),
            Self::Lake => "lake".to_owned(),
            Self::Named(name) => format!("sink {name}"),
        }
    }
}

impl fmt::Display for AwaitedSink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tables => formatter.write_str("a PostgreSQL sink"),
            Self::Lake => formatter.write_str("a lake sink"),
            Self::Named(name) => write!(formatter, "the sink `{name}`"),
        }
    }
}

/// Some of the sinks that a source waits for, by their positions in its list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkSet(u8);

impl SinkSet {
    /// The most sinks that a source can wait for.
    pub const MAX: usize = 8;

    /// Returns true for no sink.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns true if the sink at this position is in the set.
    #[must_use]
    pub fn contains(self, index: usize) -> bool {
        u32::try_from(index).is_ok_and(|index| self.0.checked_shr(index).unwrap_or(0) & 1 == 1)
    }

    /// Returns true if both have a sink.
    #[must_use]
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// This set without the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// The set of the sinks at positions of which this is true, in their order.
impl FromIterator<bool> for SinkSet {
    fn from_iter<I: IntoIterator<Item = bool>>(sinks: I) -> Self {
        let sinks = sinks.into_iter().take(Self::MAX).zip(0..);
        Self(sinks.fold(0, |set, (is_in, index)| set | u8::from(is_in) << index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_sinks_that_were_put_in_as_many_as_there_may_be() {
        let all: SinkSet = [true; SinkSet::MAX].into_iter().collect();
        let some: SinkSet = [true, false, true].into_iter().collect();
        let found = |set: SinkSet| -> Vec<usize> {
            (0..300).filter(|index| set.contains(*index)).collect()
        };
        assert_eq!(found(all), (0..SinkSet::MAX).collect::<Vec<_>>());
        assert_eq!(found(some), [0, 2]);
        assert_eq!(found(all.without(some)), [1, 3, 4, 5, 6, 7]);
        assert!(all.intersects(some) && !some.intersects(all.without(some)));
        assert!(some.without(all).is_empty() && !some.is_empty());
    }

    #[test]
    fn a_sink_is_recognised_by_its_destination_or_its_name() {
        let commit = |sink: &str, destination| Commit {
            sink: sink.to_owned(),
            destination,
            ..Commit::default()
        };
        let tables = commit("a", Destination::Tables);
        let lake = commit("b", Destination::Lake);
        for (entry, is_tables, is_lake) in [
            ("tables", true, false),
            ("lake", false, true),
            ("a", true, false),
            ("b", false, true),
            ("c", false, false),
        ] {
            let sink = AwaitedSink::parse(entry);
            let made = (sink.has_made(&tables), sink.has_made(&lake));
            assert_eq!(made, (is_tables, is_lake), "{entry}");
        }
    }
}
