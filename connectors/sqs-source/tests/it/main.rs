//! The source on SQS servers and a stand-in for the topic, and as a process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod answers;
mod ministack;
mod partitions;
mod process;
mod queues;
mod read_only;
mod source;
mod support;
mod tables;
