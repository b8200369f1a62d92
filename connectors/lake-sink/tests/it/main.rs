//! Tests of the lake sink with a catalog in a real PostgreSQL and tables in a folder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod exactly_once;
mod faulty;
mod maintenance;
mod readers;
mod s3;
mod support;
mod tables;
