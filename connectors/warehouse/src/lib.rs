//! The tables of the star schema as a library: the sink writes them, `etl` reads and maintains
//! them.
//!
//! # Layout
//!
//! - [`settings`], `connection_string`, `tls`, `require_auth`, `server_stream`, [`database`]:
//!   connections to PostgreSQL
//! - [`migrate`](mod@migrate), [`schema`]: migrations, and checks of the tables and of rights
//! - [`source`]: the partitions that records come from, and committed offsets
//! - [`batch`]: decodes records into facts ([`rows`]), dimension members ([`dimension`]) and
//!   rejected events ([`rejected`])
//! - [`writer`]: writes a batch and its offset in one transaction
//! - [`fact_partitions`]: creates partitions of `fact_events`
//! - [`refused`]: finds the events of a batch that PostgreSQL refuses
//! - [`removed_items`]: settles the versions of events, and removes facts of items that a corrected
//!   event no longer has
//! - [`retry`](mod@retry): flattens rejected events again
//! - [`refresh`]: refreshes the hourly aggregates of the schema `analytics`
//! - [`locks`]: advisory locks on partitions, and how far each sink is
//! - [`error`]: errors, and the remedy for each
//! - `checks`: invariants of what is copied, for tests and fuzz targets

pub mod batch;
#[cfg(any(test, feature = "fuzzing"))]
pub mod checks;
mod connection_string;
pub mod database;
pub mod dimension;
pub mod error;
pub mod fact_partitions;
pub mod locks;
pub mod migrate;
pub mod refresh;
pub mod refused;
pub mod rejected;
pub mod removed_items;
mod require_auth;
pub mod retry;
pub mod rows;
pub mod schema;
mod server_stream;
pub mod settings;
pub mod source;
mod tls;
mod transaction;
pub mod writer;

pub use batch::{Batch, Refused};
pub use database::Database;
pub use error::{Cause, Error, Remedy, ServerError};
pub use migrate::{MigrationReport, migrate};
pub use refused::Trial;
pub use rows::OnConflict;
pub use settings::Settings;
pub use source::{LastRecord, Record, Source};
pub use writer::{Writer, Written};
