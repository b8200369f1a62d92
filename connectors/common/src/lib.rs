//! The contract between Fluvio's connector tools and a connector, shared by all connectors.
//!
//! `cdk` starts a connector as a process with `--config FILE [--secrets FILE]`, the log level in
//! the environment and the cluster in the current Fluvio profile. The file is Fluvio's public
//! connector YAML. Upstream's SDK is on no registry, and this one improves on it: a stop signal
//! lets the connector finish its work in flight, and unknown fields are errors.
//!
//! # Layout
//!
//! - [`run`]: a connector's `main`, and [`Stop`], its stop signal; `logging`: the log on stderr
//! - [`mod@config`], [`meta`], [`secrets`]: the YAML document; `error` is the enum of their errors
//! - [`cluster`]: clients, topics and offsets; `connection`: their TCP connections;
//!   [`cluster_id`](mod@cluster_id): the cluster's identity
//! - [`keys`]: the keys of records, and their partitions
//! - [`committed`]: the commit notifications from a sink to a source
//! - [`metrics`]: Prometheus metrics and Fluvio's metric socket
//! - [`traces`]: spans of records, exported to a collector
//! - [`health`], [`monitor`]: the health, and the HTTP server for it and the metrics; [`http`]:
//!   the connections of that server
//! - [`mod@escape`]: text from data, safe for a terminal
//! - [`backoff`]: pauses between attempts, and a limit on repeated log lines; [`chain()`]: an error
//!   with its causes

pub mod backoff;
mod chain;
pub mod cluster;
pub mod cluster_id;
pub mod committed;
pub mod config;
mod connection;
mod error;
pub mod escape;
pub mod health;
pub mod http;
pub mod keys;
mod logging;
pub mod meta;
pub mod metrics;
pub mod monitor;
mod process;
pub mod secrets;
pub mod traces;

pub use backoff::{Backoff, Warnings, pause_after};
pub use chain::chain;
pub use cluster::{
    connect, end_of_partition, end_with, ensure_notifications, ensure_topic, is_transient,
    leader_answers, no_retries, of_leader, partition_count, producer,
};
pub use cluster_id::cluster_id;
pub use config::{Connector, Transform, Validate, smartmodules};
pub use error::Error;
pub use health::Health;
pub use meta::{Consumer, ConsumerOffset, Meta, Partitions, Producer, Start, Topic};
pub use metrics::Meters;
pub use monitor::Monitor;
pub use process::{Stop, run};
pub use secrets::Secret;
pub use traces::Traces;
