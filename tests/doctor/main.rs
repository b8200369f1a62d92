//! `etl doctor`: each check on a deployment with the error that it finds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod database;
mod deployment;
mod findings;
