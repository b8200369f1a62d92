//! The catalog: it names the current state of each table, and swaps it at a commit.

#[cfg(test)]
mod canned;
mod fence;
mod glue;
mod planned;
mod pointers;
mod rest;
mod sql;

use std::sync::Arc;

use anyhow::Context as _;
use iceberg::io::FileIO;
use iceberg::{Catalog, TableIdent};
use warehouse::Database;

use self::glue::GluePointers;
use self::pointers::{PointerCatalog, Pointers};
use self::sql::SqlPointers;
use crate::config::{CatalogKind, Config};
use crate::error::Error;
use crate::storage;

pub use fence::Fenced;
pub(crate) use planned::Planned;

/// The catalog of a configuration, with its storage. Creates one that is missing in its database.
///
/// # Errors
/// The catalog can't be reached or refuses.
pub async fn open(config: &Config) -> anyhow::Result<Arc<dyn Catalog>> {
    let database = database(config)?;
    if let Some(pointers) = &database {
        pointers.create().await.map_err(Error::from)?;
    }
    connect(config, database).await
}

/// The catalog of a configuration; `None` if its database has no catalog.
///
/// # Errors
/// The catalog can't be reached or refuses.
pub async fn open_existing(config: &Config) -> anyhow::Result<Option<Arc<dyn Catalog>>> {
    let database = database(config)?;
    if let Some(pointers) = &database
        && !pointers.exist().await.map_err(Error::from)?
    {
        return Ok(None);
    }
    connect(config, database).await.map(Some)
}

/// The folder of a table as Glue names it. It may be in a bucket that the credentials can't read.
/// `None` for other catalogs: the folder is in the table's metadata.
pub(crate) async fn folder(config: &Config, table: &TableIdent) -> iceberg::Result<Option<String>> {
    let CatalogKind::Glue { account } = config.catalog() else {
        return Ok(None);
    };
    let pointers = GluePointers::open(account, &config.s3()).await;
    pointers.folder(table).await
}

fn database(config: &Config) -> anyhow::Result<Option<SqlPointers>> {
    if config.catalog() != CatalogKind::Postgres {
        return Ok(None);
    }
    let database = Database::new(&config.database()).context("catalog-url")?;
    if let Some(warning) = database.unverified() {
        tracing::warn!(database = database.address(), "{warning}");
    }
    Ok(Some(SqlPointers::new(database, config.catalog_name())))
}

async fn connect(
    config: &Config,
    database: Option<SqlPointers>,
) -> anyhow::Result<Arc<dyn Catalog>> {
    let s3 = config.s3();
    let files = storage::open(&config.warehouse, &s3).await;
    let catalog = if let Some(pointers) = database {
        of(pointers, config, files)
    } else if let CatalogKind::Glue { account } = config.catalog() {
        of(GluePointers::open(account, &s3).await, config, files)
    } else {
        rest::open(config, &s3).await
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
