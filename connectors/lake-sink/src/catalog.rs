//! The catalog: it names the current state of each table, and swaps it at a commit.

mod fence;
mod glue;
mod pointers;
mod rest;
mod sql;

use std::sync::Arc;

use anyhow::Context as _;
use iceberg::Catalog;
use iceberg::io::FileIO;
use warehouse::Database;

use self::glue::GluePointers;
use self::pointers::{PointerCatalog, Pointers};
use self::sql::SqlPointers;
use crate::config::{CatalogKind, Config};
use crate::error::Error;
use crate::storage;

pub use fence::Fenced;

/// The catalog of a configuration, with its storage.
///
/// # Errors
/// The catalog can't be reached or refuses.
pub async fn open(config: &Config) -> anyhow::Result<Arc<dyn Catalog>> {
    let s3 = config.s3();
    let files = storage::open(&config.warehouse, &s3);
    let catalog: iceberg::Result<Arc<dyn Catalog>> = match config.catalog() {
        CatalogKind::Postgres => {
            let database = Database::new(&config.database()).context("catalog-url")?;
            if let Some(warning) = database.unverified() {
                tracing::warn!(database = database.address(), "{warning}");
            }
            let pointers = SqlPointers::open(database, config.catalog_name()).await;
            of(pointers.map_err(Error::from)?, config, files.await)
        }
        CatalogKind::Glue { account } => {
            of(GluePointers::open(account, &s3).await, config, files.await)
        }
        CatalogKind::Rest => rest::open(config, &s3).await,
    };
    Ok(catalog.map_err(Error::from)?)
}

fn of<P: Pointers + 'static>(
    pointers: P,
    config: &Config,
    files: FileIO,
) -> iceberg::Result<Arc<dyn Catalog>> {
    let catalog = PointerCatalog::new(pointers, &config.warehouse, files)?;
    Ok(Arc::new(catalog))
}
