//! Tests of the warehouse and the sink against a real PostgreSQL, with a server for each test.
#![recursion_limit = "256"]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod aggregates;
mod analytics;
mod clusters;
mod connections;
mod corrections;
mod dictionary;
mod dimensions;
mod duplicates;
mod fact_partitions;
mod failures;
mod impostors;
mod locks;
mod long_texts;
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
mod silence;
mod start;
mod support;
mod values;
mod versions;
mod writer;
