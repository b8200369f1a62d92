//! A catalog that commits nothing, to learn which snapshots a commit would remove.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use iceberg::table::Table;
use iceberg::{
    Catalog, Error, ErrorKind, Namespace, NamespaceIdent, Result, TableCommit, TableCreation,
    TableIdent, TableUpdate,
};

/// A catalog for one commit, which it notes and does not make. It refuses every other change.
#[derive(Debug)]
pub(crate) struct Planned<'c> {
    catalog: &'c Arc<dyn Catalog>,
    removed: Mutex<Vec<i64>>,
}

impl<'c> Planned<'c> {
    /// Reads from `catalog`.
    pub(crate) fn new(catalog: &'c Arc<dyn Catalog>) -> Self {
        Self {
            catalog,
            removed: Mutex::default(),
        }
    }

    /// The ids of the snapshots that the commit would remove.
    pub(crate) fn removed(self) -> Vec<i64> {
        let removed = self.removed.into_inner();
        removed.unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused<T>() -> Result<T> {
    let reason = "a plan changes nothing";
    Err(Error::new(ErrorKind::FeatureUnsupported, reason))
}

#[async_trait]
impl Catalog for Planned<'_> {
    async fn load_table(&self, table: &TableIdent) -> Result<Table> {
        self.catalog.load_table(table).await
    }

    async fn update_table(&self, mut commit: TableCommit) -> Result<Table> {
        let table = self.catalog.load_table(commit.identifier()).await?;
        let ids = commit
            .take_updates()
            .into_iter()
            .flat_map(|update| match update {
                TableUpdate::RemoveSnapshots { snapshot_ids } => snapshot_ids,
                _ => Vec::new(),
            });
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        *removed = ids.collect();
        Ok(table)
    }

    async fn list_namespaces(
        &self,
        parent: Option<&NamespaceIdent>,
    ) -> Result<Vec<NamespaceIdent>> {
        self.catalog.list_namespaces(parent).await
    }

    async fn create_namespace(
        &self,
        _: &NamespaceIdent,
        _: HashMap<String, String>,
    ) -> Result<Namespace> {
        refused()
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        self.catalog.get_namespace(namespace).await
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        self.catalog.namespace_exists(namespace).await
    }

    async fn update_namespace(&self, _: &NamespaceIdent, _: HashMap<String, String>) -> Result<()> {
        refused()
    }

    async fn drop_namespace(&self, _: &NamespaceIdent) -> Result<()> {
        refused()
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        self.catalog.list_tables(namespace).await
    }

    async fn create_table(&self, _: &NamespaceIdent, _: TableCreation) -> Result<Table> {
        refused()
    }

    async fn drop_table(&self, _: &TableIdent) -> Result<()> {
        refused()
    }

    async fn purge_table(&self, _: &TableIdent) -> Result<()> {
        refused()
    }

    async fn table_exists(&self, table: &TableIdent) -> Result<bool> {
        self.catalog.table_exists(table).await
    }

    async fn rename_table(&self, _: &TableIdent, _: &TableIdent) -> Result<()> {
        refused()
    }

    async fn register_table(&self, _: &TableIdent, _: String) -> Result<Table> {
        refused()
    }
}
