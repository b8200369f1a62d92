//! The PostgreSQL sink: writes every fact once, however often its event arrives.
//!
//! A connector that reads a topic of shop events through the SmartModule `flatten-items` and writes
//! the facts into the star schema ([`warehouse`]). PostgreSQL holds the truth about offsets: facts,
//! dimensions, rejected events and the committed offset are one transaction. A crash at any time
//! leaves a batch committed with its offset, or not at all.
//!
//! # Layout, along the way of a record
//!
//! - [`config`]: the section `postgres` of the connector's file
//! - [`sink`]: the connector: prepares the database and starts the tasks
//! - `workers`: a worker for each partition that this sink writes, and the assignment of partitions
//!   to sinks that share them
//! - [`sink_common`]: reads a partition of the topic into batches, and detects gaps
//! - [`delivery`]: retries a batch until it commits, and rejects events that PostgreSQL refuses
//! - [`metrics`]: metrics for Prometheus, the metric socket and the log
//! - [`error`]: the errors that end a worker

use std::process::ExitCode;

pub mod config;
pub mod delivery;
pub mod error;
pub mod metrics;
pub mod sink;
mod workers;

pub use config::Config;
pub use error::Error;
pub use sink::run;

/// The connector's process. It is here, because a program that called [`run`] would compile all of
/// the connector again.
#[must_use]
pub fn main() -> ExitCode {
    sink_common::return_large_blocks();
    connector_common::run("postgres", run)
}
