//! Fluvio connector: streams the messages of an SQS queue into a topic.
//!
//! A message is deleted from the queue only after a sink has committed its facts, or with
//! `delete-after: topic` after the topic has acknowledged its own record. Until then it is kept
//! hidden from other receivers. After any failure the message is still in the queue and is
//! delivered again: a record may be in the topic more than once, but none is missing. With
//! `delete-after: never` no message is deleted or extended, and each is produced once after each
//! start, as far as the source remembers it.
//!
//! # Layout
//!
//! The way of a message: [`sqs`] → `receive` → `in_flight` → `produce` → [`topic`] → `commits`
//! (if it waits for sinks) → [`delete`] → [`sqs`], which implements [`queue`].
//!
//! - [`source`]: opens all queues and the topic; [`pipeline`]: starts and stops the stages of one
//!   queue
//! - [`config`]: the section `sqs` of the connector's YAML
//! - [`record`]: the value and the key of a record
//! - [`s3`]: bodies that the sender has put into S3
//! - `in_flight`: tracks messages until they are deleted, and extends their visibility timeouts
//! - `read_only`: tracks messages that stay in the queue, with `delete-after: never`
//! - `commits`: reads commit notifications, and acks the messages that they name; [`awaited`]: the
//!   sinks that a message waits for
//! - [`delete`]: deletes acked messages, and forwards dead letters
//! - [`byte_budget`]: the memory for message bodies; [`metrics`]: metrics and progress

use std::process::ExitCode;

#[cfg(feature = "jemalloc")]
pub mod allocator;
pub mod awaited;
pub mod byte_budget;
mod commits;
pub mod config;
pub mod delete;
mod in_flight;
pub mod metrics;
pub mod pipeline;
mod produce;
pub mod queue;
mod read_only;
mod receive;
pub mod record;
pub mod s3;
pub mod source;
pub mod sqs;
pub mod topic;

pub use commits::Unreadable;
pub use config::Config;
pub use source::run;

/// The connector's process. It is here, because a program that called [`run`] would compile all of
/// the connector again.
#[must_use]
pub fn main() -> ExitCode {
    connector_common::run("sqs", run)
}
