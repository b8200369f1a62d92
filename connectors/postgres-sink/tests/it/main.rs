//! The sink's insides against a real PostgreSQL, one private server for each test.
#![recursion_limit = "256"]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod aggregates;
mod analytics;
mod claims;
mod connections;
mod corrections;
mod dictionary;
mod dimensions;
mod duplicates;
mod fact_partitions;
mod failures;
mod pooler;
mod proxy;
mod purchases;
mod questions;
mod recomputed;
mod rejected;
mod retry;
mod rights;
mod servers;
mod side_by_side;
mod start;
mod support;
mod values;
mod writer;
