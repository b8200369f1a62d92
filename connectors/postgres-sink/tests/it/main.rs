//! The sink's insides against a real PostgreSQL, one private server for each test.
#![recursion_limit = "256"]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod analytics;
mod claims;
mod connections;
mod dimensions;
mod months;
mod questions;
mod rejected;
mod start;
mod support;
mod writer;
