//! Tests the endpoint with the real AWS SDK.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod faults;
mod fixture;
mod messages;
mod queues;
