//! `etl report`: its page in a real browser, its tables on the terminal, what it says when it can't, and the aggregates
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
#[path = "../pypi/mod.rs"]
mod pypi;
mod shop;
mod terminal;
