//! Looks into the tables of a lake and keeps them in order, for `etl lake`.
//!
//! - [`contents`]: the files, rows and bytes of each day
//! - [`facts`]: the identities of a day's facts, to compare them with PostgreSQL
//! - [`positions`]: the offsets of the raw records
//! - [`person`]: somebody's rows
//! - [`expire`]: removes old snapshots
//! - [`orphans`]: finds files that no snapshot has; [`listing`] lists a folder or a bucket
//! - [`storage`]: finds files of a snapshot that the storage has lost, and tries the storage
//!
//! Nothing here writes rows, so it needs no fence: the sink goes on meanwhile.

pub mod contents;
pub mod expire;
pub mod facts;
mod listing;
pub mod orphans;
pub mod person;
pub mod positions;
mod rows;
pub mod storage;

use std::sync::Arc;

use iceberg::table::Table;
use iceberg::{Catalog, TableIdent};

use crate::batch::Content;
use crate::config::Config;
use crate::error::Error;
use crate::schema::{self, Definition, REJECTIONS};
use crate::table::{LakeTable, is_missing, write_hint};

/// The catalog of a configuration, and the names of its tables.
#[derive(Debug)]
pub struct Lake {
    catalog: Arc<dyn Catalog>,
    rows: TableIdent,
    rejections: Option<TableIdent>,
    content: Content,
}

impl Lake {
    /// The tables of the configuration `config` in `catalog`.
    ///
    /// # Errors
    /// The namespace is empty.
    pub fn new(catalog: Arc<dyn Catalog>, config: &Config) -> Result<Self, Error> {
        let namespace = schema::namespace(&config.namespace)?;
        let table = |name: &str| TableIdent::new(namespace.clone(), name.to_owned());
        let rejections = match config.content {
            Content::Facts => Some(table(&config.rejections_table)),
            Content::Raw => None,
        };
        Ok(Self {
            rows: table(config.table()),
            rejections,
            content: config.content,
            catalog,
        })
    }

    /// The catalog.
    #[must_use]
    pub fn catalog(&self) -> &Arc<dyn Catalog> {
        &self.catalog
    }

    /// The tables and their definitions: that of facts or records, and that of rejected events.
    pub fn tables(&self) -> impl Iterator<Item = (&TableIdent, &'static Definition)> {
        let rejections = self.rejections.iter().map(|table| (table, &REJECTIONS));
        std::iter::once((&self.rows, self.content.definition())).chain(rejections)
    }

    /// Creates the namespace and the tables that are missing, and adds missing columns. Returns the
    /// tables.
    ///
    /// # Errors
    /// The catalog or the storage failed, or a table can't be used.
    pub async fn init(&self, topic: &str) -> Result<Vec<Table>, Error> {
        let mut tables = Vec::new();
        for (id, definition) in self.tables() {
            let catalog = Arc::clone(&self.catalog);
            let namespace = id.namespace();
            let opened = LakeTable::open(catalog, namespace, id.name(), definition, topic).await?;
            write_hint(opened.table()).await?;
            tables.push(opened.table().clone());
        }
        Ok(tables)
    }

    /// The table of facts or records, as it is now.
    ///
    /// # Errors
    /// It is missing, or the catalog or the storage failed.
    pub async fn rows(&self) -> Result<Table, Error> {
        self.load(&self.rows).await
    }

    /// A table as it is now.
    ///
    /// # Errors
    /// It is missing, or the catalog or the storage failed.
    pub async fn load(&self, table: &TableIdent) -> Result<Table, Error> {
        match self.catalog.load_table(table).await {
            Err(error) if is_missing(&error) => Err(Error::NoTable {
                table: table.to_string(),
            }),
            loaded => Ok(loaded?),
        }
    }
}
