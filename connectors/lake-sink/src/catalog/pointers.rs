//! A catalog that keeps, for each table, only the location of its metadata.
//!
//! The metadata itself is a file of the table. A commit writes a new one and replaces the location,
//! if it is still the one that the commit was made for.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::str::FromStr;

use async_trait::async_trait;
use iceberg::io::FileIO;
use iceberg::spec::{TableMetadata, TableMetadataBuilder};
use iceberg::table::Table;
use iceberg::{
    Catalog, Error, ErrorKind, MetadataLocation, Namespace, NamespaceIdent, Result, Runtime,
    TableCommit, TableCreation, TableIdent,
};

/// The property with a namespace's own location.
const NAMESPACE_LOCATION: &str = "location";

/// A table's entry in a store.
#[derive(Clone, Debug, Default)]
pub struct Pointer {
    /// The location of its metadata.
    pub location: String,
    /// The version of the pointer, if the store counts them.
    pub version: Option<String>,
    /// Other properties of the table in the store, for other programs.
    pub parameters: HashMap<String, String>,
}

/// A store of pointers. Namespaces are named with points between their levels.
#[async_trait]
pub trait Pointers: Debug + Send + Sync {
    /// The names of all namespaces.
    async fn namespaces(&self) -> Result<BTreeSet<String>>;

    /// Returns true if a namespace exists.
    async fn has(&self, namespace: &NamespaceIdent) -> Result<bool>;

    /// The properties of a namespace that exists.
    async fn properties(&self, namespace: &NamespaceIdent) -> Result<HashMap<String, String>>;

    /// Creates a namespace.
    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<()>;

    /// Sets some properties of a namespace.
    async fn update_namespace(&self, _: &NamespaceIdent, _: HashMap<String, String>) -> Result<()> {
        unsupported()
    }

    /// Drops a namespace without tables.
    async fn drop_namespace(&self, _: &NamespaceIdent) -> Result<()> {
        unsupported()
    }

    /// The names of the tables of a namespace.
    async fn tables(&self, namespace: &NamespaceIdent) -> Result<BTreeSet<String>>;

    /// The pointer of a table, if it exists.
    async fn get(&self, table: &TableIdent) -> Result<Option<Pointer>>;

    /// Adds a table.
    async fn insert(
        &self,
        table: &TableIdent,
        location: &str,
        metadata: &TableMetadata,
    ) -> Result<()>;

    /// Replaces a pointer by one to `location`. Returns false, if it is another one by now.
    async fn swap(
        &self,
        table: &TableIdent,
        replaced: Pointer,
        location: &str,
        metadata: &TableMetadata,
    ) -> Result<bool>;

    /// Forgets a table.
    async fn remove(&self, _: &TableIdent) -> Result<()> {
        unsupported()
    }

    /// Gives a table another name.
    async fn rename(&self, _: &TableIdent, _: &TableIdent) -> Result<()> {
        unsupported()
    }
}

/// Nothing here drops or renames.
fn unsupported<T>() -> Result<T> {
    Err(Error::new(
        ErrorKind::FeatureUnsupported,
        "use the catalog's own tools for this",
    ))
}

/// The catalog of a store of pointers.
#[derive(Debug)]
pub struct PointerCatalog<P> {
    pointers: P,
    warehouse: String,
    files: FileIO,
    runtime: Runtime,
}

impl<P: Pointers> PointerCatalog<P> {
    /// The catalog of these pointers, whose tables are in folders of `warehouse`.
    ///
    /// # Errors
    /// There is no Tokio runtime.
    pub fn new(pointers: P, warehouse: &str, files: FileIO) -> Result<Self> {
        Ok(Self {
            pointers,
            warehouse: warehouse.trim_end_matches('/').to_owned(),
            files,
            runtime: Runtime::try_current()?,
        })
    }

    /// The table whose metadata is at `location`.
    async fn read(&self, table: &TableIdent, location: String) -> Result<Table> {
        let metadata = TableMetadata::read_from(&self.files, &location).await?;
        self.table(table, location, metadata)
    }

    fn table(
        &self,
        table: &TableIdent,
        location: String,
        metadata: TableMetadata,
    ) -> Result<Table> {
        Table::builder()
            .file_io(self.files.clone())
            .identifier(table.clone())
            .metadata_location(location)
            .metadata(metadata)
            .runtime(self.runtime.clone())
            .build()
    }

    async fn must_have(&self, namespace: &NamespaceIdent) -> Result<()> {
        if self.namespace_exists(namespace).await? {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::NamespaceNotFound,
            format!("there is no namespace {}", namespace.join(".")),
        ))
    }

    async fn pointer(&self, table: &TableIdent) -> Result<Pointer> {
        self.pointers.get(table).await?.ok_or_else(|| {
            Error::new(
                ErrorKind::TableNotFound,
                format!("there is no table {table}"),
            )
        })
    }
}

#[async_trait]
impl<P: Pointers> Catalog for PointerCatalog<P> {
    async fn list_namespaces(
        &self,
        parent: Option<&NamespaceIdent>,
    ) -> Result<Vec<NamespaceIdent>> {
        let all = self.pointers.namespaces().await?;
        let above: Vec<String> = parent.map(|parent| parent.to_vec()).unwrap_or_default();
        let below = all.iter().filter_map(|name| {
            let levels: Vec<&str> = name.split('.').collect();
            let is_below = levels
                .iter()
                .zip(&above)
                .all(|(level, above)| level == above);
            (is_below && levels.len() > above.len()).then(|| {
                levels
                    .into_iter()
                    .take(above.len() + 1)
                    .map(str::to_owned)
                    .collect()
            })
        });
        let below: BTreeSet<Vec<String>> = below.collect();
        below.into_iter().map(NamespaceIdent::from_vec).collect()
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<Namespace> {
        let name = namespace.join(".");
        if self.namespace_exists(namespace).await? {
            return Err(Error::new(
                ErrorKind::NamespaceAlreadyExists,
                format!("there is a namespace {name} already"),
            ));
        }
        let pointers = &self.pointers;
        pointers
            .create_namespace(namespace, properties.clone())
            .await?;
        Ok(Namespace::with_properties(namespace.clone(), properties))
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        self.must_have(namespace).await?;
        let properties = self.pointers.properties(namespace).await?;
        Ok(Namespace::with_properties(namespace.clone(), properties))
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        self.pointers.has(namespace).await
    }

    async fn update_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<()> {
        self.pointers.update_namespace(namespace, properties).await
    }

    async fn drop_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        if !self.list_tables(namespace).await?.is_empty() {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                format!("the namespace {} has tables", namespace.join(".")),
            ));
        }
        self.pointers.drop_namespace(namespace).await
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        self.must_have(namespace).await?;
        let names = self.pointers.tables(namespace).await?.into_iter();
        Ok(names
            .map(|name| TableIdent::new(namespace.clone(), name))
            .collect())
    }

    async fn create_table(
        &self,
        namespace: &NamespaceIdent,
        creation: TableCreation,
    ) -> Result<Table> {
        let table = TableIdent::new(namespace.clone(), creation.name.clone());
        let folder = match creation.location.clone() {
            Some(folder) => folder,
            None => {
                let of_namespace = self.get_namespace(namespace).await?;
                let parent = of_namespace.properties().get(NAMESPACE_LOCATION).cloned();
                let parent =
                    parent.unwrap_or_else(|| format!("{}/{}", self.warehouse, namespace.join("/")));
                format!("{parent}/{}", creation.name)
            }
        };
        let creation = TableCreation {
            location: Some(folder.clone()),
            ..creation
        };
        let metadata = TableMetadataBuilder::from_table_creation(creation)?.build()?;
        let metadata = metadata.metadata;
        let location = MetadataLocation::new_with_metadata(folder, &metadata);
        metadata.write_to(&self.files, &location).await?;
        let location = location.to_string();
        self.pointers.insert(&table, &location, &metadata).await?;
        self.table(&table, location, metadata)
    }

    async fn load_table(&self, table: &TableIdent) -> Result<Table> {
        let pointer = self.pointer(table).await?;
        self.read(table, pointer.location).await
    }

    async fn drop_table(&self, table: &TableIdent) -> Result<()> {
        self.pointers.remove(table).await
    }

    async fn purge_table(&self, table: &TableIdent) -> Result<()> {
        let loaded = self.load_table(table).await?;
        self.drop_table(table).await?;
        iceberg::drop_table_data(&loaded).await
    }

    async fn table_exists(&self, table: &TableIdent) -> Result<bool> {
        Ok(self.pointers.get(table).await?.is_some())
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        self.must_have(to.namespace()).await?;
        self.pointers.rename(from, to).await
    }

    async fn register_table(&self, table: &TableIdent, location: String) -> Result<Table> {
        let read = self.read(table, location.clone()).await?;
        let pointers = &self.pointers;
        pointers.insert(table, &location, read.metadata()).await?;
        Ok(read)
    }

    /// Leaves the metadata of a commit that is refused. It may be the current one: the store can
    /// have made the commit and the answer got lost.
    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        let table = commit.identifier().clone();
        let replaced = self.pointer(&table).await?;
        let current = self.read(&table, replaced.location.clone()).await?;
        let staged = commit.apply(current)?;
        let location = staged.metadata_location_result()?.to_owned();
        let parsed = MetadataLocation::from_str(&location)?;
        staged.metadata().write_to(&self.files, &parsed).await?;
        let swapping = self
            .pointers
            .swap(&table, replaced, &location, staged.metadata());
        if !swapping.await? {
            return Err(Error::new(
                ErrorKind::CatalogCommitConflicts,
                format!("another commit to {table} came first"),
            )
            .with_retryable(true));
        }
        Ok(staged)
    }
}
