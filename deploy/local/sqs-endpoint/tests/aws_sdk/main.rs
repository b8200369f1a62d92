//! The endpoint as a program that uses the real AWS SDK sees it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod bench;
mod faults;
mod messages;
mod queues;
