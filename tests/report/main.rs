//! `etl report`: its page in a browser, its tables on the terminal, its errors, and the aggregates
//! that it reads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod aggregates;
mod page;
mod serve;
mod shop;
mod terminal;
