//! The parts that run as processes of their own.

use std::fmt;

use crate::artefacts;

/// A part that runs as a process of its own and can be killed and started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The embedded Fluvio node.
    Node,
    /// The SQS source connector.
    Source,
    /// The PostgreSQL sink connector.
    Sink,
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Node => "fluvio-node",
            Self::Source => "sqs-source",
            Self::Sink => "postgres-sink",
        })
    }
}

impl Part {
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Node => artefacts::NODE,
            Self::Source => artefacts::SOURCE,
            Self::Sink => artefacts::SINK,
        }
    }
}

/// Every part, in the order in which they start.
pub const PARTS: [Part; 3] = [Part::Node, Part::Source, Part::Sink];
