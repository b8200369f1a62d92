//! Tests the node with Fluvio's client, in this process and as a separate process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod consumer_offsets;
mod process;
mod protocol;
mod smartmodules;
mod streams;
mod support;
mod topics;
mod transcript;
mod wasm;
