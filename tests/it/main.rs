//! The product through its real programs: one binary, so that its tests run beside each other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod clusters;
mod command;
mod consume;
mod crashes;
mod doctor;
mod lake;
mod mistakes;
mod operate;
mod others;
mod people;
mod pipeline;
mod queue;
mod read_only;
mod rejected;
mod report;
mod samples;
mod set_aside;
mod several_sinks;
mod sharing;
mod tables;
