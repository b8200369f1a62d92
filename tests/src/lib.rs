//! The product, tested end to end through its real binaries.
//!
//! The tests send message bodies to a queue and compare every row of the tables with those computed
//! from the bodies: [`shop`] makes the bodies, [`direct`] computes the expected rows without the
//! product's code, [`found`] reads the actual ones. [`queue_check`] does the same for the messages
//! of a shop's queue, by a program in Python. [`pipeline`] runs the pipeline, [`connector`] an
//! additional connector, [`cli`] the `etl` command, and [`pypi`] programs from PyPI. [`lake`] reads
//! the tables of a lake.

pub mod cli;
pub mod connector;
pub mod direct;
pub mod found;
pub mod lake;
pub mod pipeline;
pub mod pypi;
pub mod queue_check;
pub mod shop;
