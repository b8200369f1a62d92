//! The PostgreSQL sink: every fact once, however often its event arrives.
//!
//! A connector that reads a topic of shop events through the SmartModule `flatten-items` and writes
//! the facts into the star schema of `sql/migrations`. PostgreSQL holds the truth about offsets:
//! facts, dimensions, rejected events and the offset reached are one transaction, so that a crash
//! at any instant leaves a batch there whole with its offset, or not at all.
//!
//! # Layout, along the way of a record
//!
//! - [`sink`]: the connector itself; `lanes`: which of the `partitions` it writes, and `shares`, how many of them are
//!   its own; [`claims`]: the locks that tell whose each is
//! - `lane`: one partition's way, of which there is a task for each; `kit`: what they are made of
//! - [`reader`]: records from the topic, with no gap unnoticed ([`continuity`]), as far as there is `room`
//! - [`batch`]: records become rows ([`rows`]), dimensions ([`dimension`]) and rejections ([`rejected`])
//! - [`mod@retry`]: rejections sent through again, for the command line
//! - [`delivery`]: a batch is tried until it is in; an event that PostgreSQL refuses is set aside
//! - [`writer`]: the transaction, and what is `put` into the tables in it, or has [`vanished`]; before it the partitions are created ([`fact_partitions`])
//! - [`refreshing`]: the hourly aggregates of the schema `analytics`
//! - `announce`: what is committed, told to the sources of the records
//! - [`metrics`], `progress`, `lag`: what came of it, for Prometheus, the metric socket and the log
//! - [`database`]: connections (`connection_string`, `password`, `tls`); `statements`: what is prepared on
//!   them; [`errors`]: what an SQLSTATE means for the sink
//! - [`migrate`](mod@migrate): the schema, and whether it can be written ([`schema`]); [`config`]: the reference of the section `postgres`

mod announce;
mod backoff;
pub mod batch;
pub mod claims;
pub mod config;
mod connection_string;
pub mod continuity;
pub mod database;
pub mod delivery;
pub mod dimension;
pub mod errors;
pub mod fact_partitions;
mod kit;
mod lag;
mod lane;
mod lanes;
pub mod metrics;
pub mod migrate;
mod partition;
mod partitions;
mod password;
mod progress;
mod put;
pub mod reader;
pub mod refreshing;
pub mod rejected;
pub mod retry;
mod room;
pub mod rows;
pub mod schema;
mod shares;
pub mod sink;
mod statements;
mod tls;
pub mod vanished;
pub mod writer;

pub use config::{Config, OnConflict};
pub use migrate::{MigrateError, MigrationReport, migrate};
pub use sink::run;
