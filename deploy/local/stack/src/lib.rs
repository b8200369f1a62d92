//! The whole pipeline on one machine without installation: a private PostgreSQL, the embedded
//! Fluvio node, an SQS endpoint, and the connectors and files that are deployed to a cluster.
//!
//! The demo, `etl up` and the end-to-end tests use it, so all run the same pipeline.

pub mod artefacts;
pub mod cluster;
pub mod files;
pub mod launch;
pub mod queue;
pub mod stack;

pub use cluster::TopicEnd;
pub use launch::Part;
pub use stack::{Fluvio, Sqs, Stack, StackOptions};
