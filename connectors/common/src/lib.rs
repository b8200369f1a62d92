//! The contract between Fluvio's connector tools and a connector, once for both connectors.
//!
//! `cdk` starts a connector as a process with `--config FILE [--secrets FILE]`, the log level in
//! the environment and the cluster in the current Fluvio profile. The file is Fluvio's public
//! connector YAML. Upstream's SDK for this is on no registry, and where it is weak (a stop signal
//! drops the work in hand, unknown fields pass unseen) this one does better.
//!
//! # Layout
//!
//! - [`run`]: a connector's `main`: arguments, logging, configuration, runtime, exit code
//! - [`mod@config`]: the YAML document and its `meta` section
//! - [`offset`]: where a consumer begins, and why Fluvio's own offsets are refused
//! - [`secrets`]: `${{ secrets.NAME }}`, and values that never reach a log
//! - [`transforms`]: the SmartModules that the cluster runs on the stream
//! - [`cluster`]: clients built from the configuration
//! - [`keys`]: what the keys of records say, and which partition they go to
//! - [`committed`]: what a sink tells a source, so that it deletes only what is in the tables
//! - [`metrics`]: the socket that Fluvio's monitoring reads
//! - [`meters`], [`monitor`], [`health`]: what Prometheus and an orchestrator ask over HTTP; `healthcheck` asks it
//!   from within a container, and [`answer`] is how one asks
//! - [`backoff`], [`mod@warnings`]: the pause between attempts, and a log that is not flooded by them
//! - [`stop`]: the stop signal, as something to wait for rather than something that kills

pub mod answer;
pub mod backoff;
pub mod cluster;
pub mod committed;
pub mod config;
pub mod health;
mod healthcheck;
pub mod keys;
pub mod meters;
pub mod metrics;
pub mod monitor;
pub mod offset;
mod process;
pub mod secrets;
pub mod stop;
pub mod transforms;
pub mod warnings;

pub use backoff::pause_after;
pub use cluster::{connect, end_of_partition, end_with, ensure_topic, producer};
pub use config::{ConfigError, Connector, Consumer, Meta, Partitions, Producer, Topic, Validate};
pub use health::Health;
pub use meters::Meters;
pub use monitor::Monitor;
pub use offset::{ConsumerOffset, Start};
pub use process::run;
pub use secrets::Secret;
pub use stop::Stop;
pub use transforms::{Transform, smartmodules};
pub use warnings::Warnings;
