//! `etl doctor`: each check, by making wrong what it is about.
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
