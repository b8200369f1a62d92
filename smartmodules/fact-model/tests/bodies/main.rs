//! What becomes of a body, in whatever format and wrapping it comes: a golden case for each sample, each trap in one,
//! and each reason to refuse one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod data_layers;
mod firebase;
mod ga4;
mod golden;
mod hits;
mod literals;
mod nuls;
mod rejections;
mod wrapped;
