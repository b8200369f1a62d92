//! A catalog whose commits fail on purpose.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use iceberg::table::Table;
use iceberg::{
    Catalog, Error, ErrorKind, Namespace, NamespaceIdent, Result, TableCommit, TableCreation,
    TableIdent,
};
use tokio::sync::Barrier;

/// What happens to a commit.
#[derive(Clone, Debug)]
pub enum Commit {
    Works,
    /// It is not made.
    Fails,
    /// It is made, and its answer gets lost.
    LosesAnswer,
    /// No answer comes, and it is not made.
    Hangs,
    /// It is made, its answer gets lost, and the catalog does not answer any more.
    IsTheLast,
    /// It is made at the same time as those of other catalogs.
    Meets(Arc<Barrier>),
}

/// Commits to a table meet these fates, in order; after them all work.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Catalog>,
    table: &'static str,
    fates: Mutex<VecDeque<Commit>>,
    is_away: AtomicBool,
}

impl Faulty {
    pub fn around(
        inner: Arc<dyn Catalog>,
        table: &'static str,
        fates: impl IntoIterator<Item = Commit>,
    ) -> Arc<dyn Catalog> {
        Arc::new(Self {
            inner,
            table,
            fates: Mutex::new(fates.into_iter().collect()),
            is_away: AtomicBool::new(false),
        })
    }

    fn fate(&self, commit: &TableCommit) -> Commit {
        if commit.identifier().name() != self.table {
            return Commit::Works;
        }
        let fate = self.fates.lock().unwrap().pop_front();
        fate.unwrap_or(Commit::Works)
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Unexpected, "the connection was lost")
}

#[async_trait]
impl Catalog for Faulty {
    async fn load_table(&self, table: &TableIdent) -> Result<Table> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(lost());
        }
        self.inner.load_table(table).await
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        match self.fate(&commit) {
            Commit::Works => self.inner.update_table(commit).await,
            Commit::Fails => Err(lost()),
            Commit::LosesAnswer => {
                self.inner.update_table(commit).await?;
                Err(lost())
            }
            Commit::Hangs => std::future::pending().await,
            Commit::IsTheLast => {
                self.inner.update_table(commit).await?;
                self.is_away.store(true, Ordering::Relaxed);
                Err(lost())
            }
            Commit::Meets(others) => {
                others.wait().await;
                self.inner.update_table(commit).await
            }
        }
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        self.inner.namespace_exists(namespace).await
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<Namespace> {
        self.inner.create_namespace(namespace, properties).await
    }

    async fn create_table(
        &self,
        namespace: &NamespaceIdent,
        creation: TableCreation,
    ) -> Result<Table> {
        self.inner.create_table(namespace, creation).await
    }

    async fn list_namespaces(&self, _: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        unimplemented!()
    }

    async fn get_namespace(&self, _: &NamespaceIdent) -> Result<Namespace> {
        unimplemented!()
    }

    async fn update_namespace(&self, _: &NamespaceIdent, _: HashMap<String, String>) -> Result<()> {
        unimplemented!()
    }

    async fn drop_namespace(&self, _: &NamespaceIdent) -> Result<()> {
        unimplemented!()
    }

    async fn list_tables(&self, _: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        unimplemented!()
    }

    async fn drop_table(&self, _: &TableIdent) -> Result<()> {
        unimplemented!()
    }

    async fn purge_table(&self, _: &TableIdent) -> Result<()> {
        unimplemented!()
    }

    async fn table_exists(&self, _: &TableIdent) -> Result<bool> {
        unimplemented!()
    }

    async fn rename_table(&self, _: &TableIdent, _: &TableIdent) -> Result<()> {
        unimplemented!()
    }

    async fn register_table(&self, _: &TableIdent, _: String) -> Result<Table> {
        unimplemented!()
    }
}
