//! Fences commits on the committed offsets of a table.
//!
//! `iceberg` reloads a table at each attempt of a commit and puts the commit on top of whatever it
//! finds. A sink that is late, or that tries again after an answer got lost, would append its rows
//! a second time. Behind this catalog the table loads only as long as it has the offsets that the
//! commit follows. A catalog's own check does the rest: the commit fails if the table's snapshot
//! changed after the load, and is tried again from the load on.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use iceberg::table::Table;
use iceberg::{
    Catalog, Error, ErrorKind, Namespace, NamespaceIdent, Result, TableCommit, TableCreation,
    TableIdent,
};

use crate::error::Offsets;
use crate::offsets;
use crate::schema::Definition;

/// A catalog for one commit, which follows these offsets.
#[derive(Debug)]
pub struct Fenced<'f> {
    /// The catalog.
    pub catalog: &'f Arc<dyn Catalog>,
    /// The topic of the offsets.
    pub topic: &'f str,
    /// The offset that each partition has; `None` for one that was never read.
    pub expected: &'f HashMap<u32, Option<i64>>,
    /// The columns that the table has.
    pub definition: &'static Definition,
}

impl Fenced<'_> {
    /// Returns true if the table has the expected offsets.
    #[must_use]
    pub fn allows(&self, table: &Table) -> bool {
        let found: Offsets = offsets::committed(table, self.topic);
        let mut expected = self.expected.iter();
        expected.all(|(partition, offset)| found.get(partition) == offset.as_ref())
    }
}

#[async_trait]
impl Catalog for Fenced<'_> {
    async fn load_table(&self, table: &TableIdent) -> Result<Table> {
        let loaded = self.catalog.load_table(table).await?;
        let refuse = |reason: &str| {
            let reason = format!("the {reason} of {table} were changed");
            Err(Error::new(ErrorKind::PreconditionFailed, reason))
        };
        if !self.allows(&loaded) {
            return refuse("committed offsets");
        }
        let name = table.to_string();
        let missing = self
            .definition
            .missing(&name, loaded.metadata().current_schema());
        if missing.is_ok_and(|missing| missing.is_empty()) {
            Ok(loaded)
        } else {
            refuse("columns")
        }
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        self.catalog.update_table(commit).await
    }

    async fn list_namespaces(
        &self,
        parent: Option<&NamespaceIdent>,
    ) -> Result<Vec<NamespaceIdent>> {
        self.catalog.list_namespaces(parent).await
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<Namespace> {
        self.catalog.create_namespace(namespace, properties).await
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        self.catalog.get_namespace(namespace).await
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        self.catalog.namespace_exists(namespace).await
    }

    async fn update_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<()> {
        self.catalog.update_namespace(namespace, properties).await
    }

    async fn drop_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.catalog.drop_namespace(namespace).await
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        self.catalog.list_tables(namespace).await
    }

    async fn create_table(
        &self,
        namespace: &NamespaceIdent,
        creation: TableCreation,
    ) -> Result<Table> {
        self.catalog.create_table(namespace, creation).await
    }

    async fn drop_table(&self, table: &TableIdent) -> Result<()> {
        self.catalog.drop_table(table).await
    }

    async fn purge_table(&self, table: &TableIdent) -> Result<()> {
        self.catalog.purge_table(table).await
    }

    async fn table_exists(&self, table: &TableIdent) -> Result<bool> {
        self.catalog.table_exists(table).await
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        self.catalog.rename_table(from, to).await
    }

    async fn register_table(&self, table: &TableIdent, location: String) -> Result<Table> {
        self.catalog.register_table(table, location).await
    }
}
