//! The product, tested end to end through its real binaries.
//!
//! Every test sends message bodies into a queue and compares every row of the tables with what a
//! direct computation over the same bodies gives: [`shop`] makes the bodies, [`direct`] computes
//! the rows with nothing of the product's own code, [`found`] reads the rows of the tables,
//! [`queue_check`] does the same for the messages of a shop's queue, with a program in Python,
//! [`pipeline`] runs what is in between, and [`cli`] the command that goes with it.

pub mod cli;
pub mod direct;
pub mod found;
pub mod pipeline;
pub mod queue_check;
pub mod shop;
