//! The parts of a sink that all sinks have: a partition of the topic is read once and in order,
//! within limits of memory, and sources are notified of commits.
//!
//! # Layout
//!
//! - [`record`]: a record, and the identity of the last one that was written
//! - [`batch`]: the interface of the batches that a reader fills
//! - [`topic`]: partitions and their streams of batches
//! - [`reader`]: reads a partition into batches, within [`limits`], and detects gaps
//! - [`flattener`]: the parameters of flatten-items
//! - [`lag`]: measures how far a sink is behind the topic
//! - [`notifications`]: commit notifications to sources
//! - `memory`: the settings of the allocator
//! - [`error`]: the errors that end the reading of a partition

pub mod batch;
pub mod error;
pub mod flattener;
pub mod lag;
pub mod limits;
mod memory;
pub mod notifications;
pub mod reader;
pub mod record;
pub mod topic;

pub use batch::ReadBatch;
pub use error::ReadError;
pub use lag::LagGauges;
pub use limits::Limits;
pub use memory::return_large_blocks;
pub use notifications::{CommitNotifications, NotificationSender, NotifyingSink, notifications};
pub use reader::Reader;
pub use record::{LastRecord, Record};
pub use topic::{Partition, partition_count, wait_for_topic};

/// The size of a response to request, unless `meta.consumer.max-bytes` has one.
pub const DEFAULT_MAX_BYTES: i32 = 16 << 20;
