//! Fluvio connector: streams the messages of an SQS queue into a topic.
//!
//! A message is deleted from the queue only after the topic has acknowledged its own record, and with
//! `delete-after: tables` only after a sink has committed its facts. Until then it is kept hidden from
//! other receivers. Whatever fails in between, the message stays in the
//! queue and is delivered again: a record may be in the topic more than once, never not at all.
//! With `delete-after: never` no message is deleted or extended, and each is produced once after
//! each start, as far as the source remembers it.
//!
//! # Layout
//!
//! - [`config`]: the section `sqs` of the connector's YAML
//! - [`queue`], [`sqs`]: what is needed of a queue, and AWS's own
//! - [`topic`], [`fluvio_topic`]: what is needed of a topic, and Fluvio's own
//! - `receive` → `produce` (`pending`) → `tables` → `delete`: the stages that a message goes through;
//!   `tables` only with `delete-after: tables`, fed by `fluvio_commits`; with `delete-after: never`
//!   only `receive` → `produce`
//! - `tracker`: what both need to know of a message: by [`custody`] where messages are deleted, by
//!   `produced_ids` where they stay
//! - [`custody`]: the messages in hand; `visibility` keeps them hidden, [`bodies`] is the memory they take
//! - `pollers`: how many receives run at once
//! - [`record`]: what a record holds of a message; [`dead_letters`]: where those go that nothing can be done with
//! - `depth`: how many messages wait; [`metrics`], [`progress`]: what is counted; [`backoff`]: pauses
//! - `stages`, [`stream`]: one queue's stages put together, started and stopped; [`source`]: all queues

pub mod backoff;
pub mod bodies;
pub mod config;
pub mod custody;
pub mod dead_letters;
mod delete;
mod depth;
mod fluvio_commits;
pub mod fluvio_topic;
pub mod metrics;
mod pending;
mod pollers;
mod produce;
mod produced_ids;
pub mod progress;
pub mod queue;
mod receive;
pub mod record;
pub mod source;
pub mod sqs;
mod stages;
pub mod stream;
mod tables;
pub mod topic;
mod tracker;
mod unread;
mod visibility;

pub use config::Config;
pub use source::run;
