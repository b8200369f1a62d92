//! The lake sink: writes facts, or records as they are, into Apache Iceberg tables, each once.
//!
//! A connector that reads a topic of shop events and commits Parquet files to tables that Spark,
//! Trino and DuckDB read. The table holds the truth about offsets: a commit adds the files
//! of some records and moves the offsets behind them. A crash at any time leaves a commit made as a
//! whole, or not at all.
//!
//! # Layout, along the way of a record
//!
//! - [`config`]: the section `lake` of the connector's file
//! - [`sink`]: the connector: opens the tables and starts the tasks, in rounds
//! - [`shares`]: the partitions of a sink that shares them with others
//! - [`worker`]: reads a partition, through [`sink_common`]
//! - [`batch`], [`rows`]: decodes records into the columns of the tables
//! - [`lake`]: collects the batches of all partitions and commits them
//! - [`files`]: sorts rows and writes them into a Parquet file for each day
//! - [`table`], [`offsets`]: a table, its committed offsets, and commits that are fenced on them
//! - [`catalog`]: the catalogs, and the fence; [`storage`]: S3 or a folder
//! - [`schema`]: the columns of the tables
//! - [`maintenance`]: what `etl lake` does: looks into tables, expires snapshots, finds orphans
//! - [`metrics`]: metrics for Prometheus and the metric socket
//! - [`error`]: the errors that end a round or the sink

use std::process::ExitCode;

pub mod batch;
pub mod catalog;
pub mod config;
pub mod error;
pub mod files;
pub mod lake;
pub mod maintenance;
pub mod metrics;
pub mod offsets;
pub mod rows;
pub mod schema;
pub mod shares;
pub mod sink;
pub mod storage;
pub mod table;
pub mod worker;

pub use config::Config;
pub use error::Error;
pub use sink::run;

/// The connector's process. It is here, because a program that called [`run`] would compile all of
/// the connector again.
#[must_use]
pub fn main() -> ExitCode {
    sink_common::return_large_blocks();
    connector_common::run("lake", run)
}
