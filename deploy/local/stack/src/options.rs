//! What a stack is made of: its own parts, or somebody's servers.

use std::path::PathBuf;
use std::time::Duration;

/// What to start, and on what.
#[derive(Debug, Default)]
pub struct StackOptions {
    /// Where everything is kept; without it in a temporary folder that goes away at the end.
    pub data_dir: Option<PathBuf>,
    /// A database to write to instead of a private server.
    pub database_url: Option<String>,
    /// The SQS server.
    pub sqs: Sqs,
    /// The Fluvio cluster.
    pub fluvio: Fluvio,
    /// Whether the queue is FIFO, which our own endpoint does not have.
    pub fifo: bool,
    /// How long a message stays invisible after it was received; without it the server's default.
    pub visibility_timeout: Option<Duration>,
    /// The number of partitions of the topic; without it what `deploy/cluster/topic.yaml` says.
    pub partitions: Option<u32>,
    /// Parameters of the SmartModule that the sink reads through.
    pub parameters: Vec<(String, String)>,
}

/// The Fluvio cluster of a stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fluvio {
    /// A node of its own.
    #[default]
    Embedded,
    /// The cluster of the current Fluvio profile. The stack makes a topic of its own there, which goes
    /// away when it stops.
    CurrentProfile,
}

/// The SQS server of a stack.
#[derive(Clone, Debug, Default)]
pub enum Sqs {
    /// Our own endpoint, in this process.
    #[default]
    Embedded,
    /// Somebody's server at this URL.
    At(String),
}
