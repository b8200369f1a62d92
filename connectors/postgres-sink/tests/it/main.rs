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
mod corrections;
mod dictionary;
mod dimensions;
mod duplicates;
mod failures;
mod months;
mod pooler;
mod proxy;
mod purchases;
mod questions;
mod recomputed;
mod rejected;
mod retry;
mod rights;
mod rollups;
mod sealed;
mod servers;
mod side_by_side;
mod start;
mod support;
mod values;
mod writer;
