//! Bodies in every format and wrapping: a golden case for each sample, special case and rejection.
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
mod vendors;
mod wild;
mod wrapped;
