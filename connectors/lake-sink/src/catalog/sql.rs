//! A catalog in PostgreSQL: a row for each table, with the location of its metadata.
//!
//! The tables are those of Iceberg's JDBC catalog, so Spark, Trino, Flink and PyIceberg
//! (`SqlCatalog`) can use the same catalog. A commit replaces a location that is still the one it
//! was built on. The connections are those of the PostgreSQL sink: TLS, passwords from a file or a
//! command, several hosts.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use iceberg::io::FileIO;
use iceberg::spec::{TableMetadata, TableMetadataBuilder};
use iceberg::table::Table;
use iceberg::{
    Catalog, Error, ErrorKind, MetadataLocation, Namespace, NamespaceIdent, Result, Runtime,
    TableCommit, TableCreation, TableIdent,
};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use warehouse::Database;

/// Timeout for a statement, with the time for a connection.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Creates the tables of the JDBC catalog. Older versions of it have no types.
const CREATE: &str = "\
    CREATE TABLE IF NOT EXISTS iceberg_tables ( \
        catalog_name varchar(255) NOT NULL, table_namespace varchar(255) NOT NULL, \
        table_name varchar(255) NOT NULL, metadata_location varchar(1000), \
        previous_metadata_location varchar(1000), iceberg_type varchar(5), \
        PRIMARY KEY (catalog_name, table_namespace, table_name)); \
    ALTER TABLE iceberg_tables ADD COLUMN IF NOT EXISTS iceberg_type varchar(5); \
    CREATE TABLE IF NOT EXISTS iceberg_namespace_properties ( \
        catalog_name varchar(255) NOT NULL, namespace varchar(255) NOT NULL, \
        property_key varchar(255) NOT NULL, property_value varchar(1000), \
        PRIMARY KEY (catalog_name, namespace, property_key))";
const EXIST: &str = "\
    SELECT EXISTS (SELECT FROM pg_attribute \
                   WHERE attrelid = to_regclass('iceberg_tables') AND attname = 'iceberg_type') \
       AND to_regclass('iceberg_namespace_properties') IS NOT NULL";
const NAMESPACES: &str = "\
    SELECT table_namespace FROM iceberg_tables WHERE catalog_name = $1 UNION \
    SELECT namespace FROM iceberg_namespace_properties WHERE catalog_name = $1";
const CREATE_NAMESPACE: &str = "\
    INSERT INTO iceberg_namespace_properties VALUES ($1, $2, $3, $4)";
const PROPERTIES: &str = "\
    SELECT property_key, property_value FROM iceberg_namespace_properties \
    WHERE catalog_name = $1 AND namespace = $2";
const SET_PROPERTY: &str = "\
    INSERT INTO iceberg_namespace_properties VALUES ($1, $2, $3, $4) \
    ON CONFLICT (catalog_name, namespace, property_key) \
    DO UPDATE SET property_value = excluded.property_value";
const DROP_NAMESPACE: &str = "\
    DELETE FROM iceberg_namespace_properties WHERE catalog_name = $1 AND namespace = $2";
/// A view has another type; tables of older catalogs have none.
const TABLES: &str = "\
    SELECT table_name FROM iceberg_tables \
    WHERE catalog_name = $1 AND table_namespace = $2 AND coalesce(iceberg_type, 'TABLE') = 'TABLE'";
const LOCATION: &str = "\
    SELECT metadata_location FROM iceberg_tables \
    WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 \
      AND coalesce(iceberg_type, 'TABLE') = 'TABLE'";
const INSERT_TABLE: &str = "\
    INSERT INTO iceberg_tables \
        (catalog_name, table_namespace, table_name, metadata_location, iceberg_type) \
    VALUES ($1, $2, $3, $4, 'TABLE')";
const DROP_TABLE: &str = "\
    DELETE FROM iceberg_tables \
    WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3";
const RENAME_TABLE: &str = "\
    UPDATE iceberg_tables SET table_namespace = $4, table_name = $5 \
    WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3";
const SWAP: &str = "\
    UPDATE iceberg_tables SET metadata_location = $4, previous_metadata_location = $5 \
    WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 \
      AND metadata_location = $5";
/// The property that a namespace without others has, as in Iceberg's JDBC catalog.
const EXISTS: (&str, &str) = ("exists", "true");
/// The property with a namespace's own location.
const NAMESPACE_LOCATION: &str = "location";

/// A catalog in PostgreSQL.
pub struct SqlCatalog {
    database: Arc<Database>,
    name: String,
    warehouse: String,
    files: FileIO,
    runtime: Runtime,
}

impl fmt::Debug for SqlCatalog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("SqlCatalog");
        shown.field("database", &self.database.address());
        shown.field("name", &self.name).finish_non_exhaustive()
    }
}

impl SqlCatalog {
    /// The catalog called `name`, whose tables are in folders of `warehouse`. Creates its own
    /// tables in the database if they are missing.
    ///
    /// # Errors
    /// The server can't be reached or refuses.
    pub async fn open(
        database: Arc<Database>,
        name: &str,
        warehouse: &str,
        files: FileIO,
    ) -> Result<Self> {
        let catalog = Self {
            database,
            name: name.to_owned(),
            warehouse: warehouse.trim_end_matches('/').to_owned(),
            files,
            runtime: Runtime::try_current()?,
        };
        let exist = catalog.query(EXIST, &[]).await?;
        if !exist.first().is_some_and(|row| row.get(0)) {
            catalog.create().await?;
        }
        Ok(catalog)
    }

    async fn create(&self) -> Result<()> {
        let created = async {
            let mut lease = self.database.lease().await.map_err(unreachable)?;
            let created = lease.client().batch_execute(CREATE).await;
            match created {
                // Another sink creates them at the same time.
                Err(error) if error.code() != Some(&SqlState::UNIQUE_VIOLATION) => {
                    return Err(failed(error));
                }
                _ => {}
            }
            lease.keep();
            Ok(())
        };
        answer(created).await
    }

    async fn query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let answered = async {
            let mut lease = self.database.lease().await.map_err(unreachable)?;
            let rows = lease.client().query(sql, params).await.map_err(failed)?;
            lease.keep();
            Ok(rows)
        };
        answer(answered).await
    }

    /// The number of rows that a statement changed.
    async fn execute(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<u64> {
        let answered = async {
            let mut lease = self.database.lease().await.map_err(unreachable)?;
            let rows = lease.client().execute(sql, params).await.map_err(failed)?;
            lease.keep();
            Ok(rows)
        };
        answer(answered).await
    }

    async fn texts(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<BTreeSet<String>> {
        let rows = self.query(sql, params).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn location(&self, table: &TableIdent) -> Result<Option<String>> {
        let (namespace, name) = names(table);
        let rows = self
            .query(LOCATION, &[&self.name, &namespace, &name])
            .await?;
        Ok(rows.first().and_then(|row| row.get(0)))
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

    async fn insert(&self, table: &TableIdent, location: &str) -> Result<()> {
        let (namespace, name) = names(table);
        let params: [&(dyn ToSql + Sync); 4] = [&self.name, &namespace, &name, &location];
        self.execute(INSERT_TABLE, &params).await.map(drop)
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
}

#[async_trait]
impl Catalog for SqlCatalog {
    async fn list_namespaces(
        &self,
        parent: Option<&NamespaceIdent>,
    ) -> Result<Vec<NamespaceIdent>> {
        let all = self.texts(NAMESPACES, &[&self.name]).await?;
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
        let (key, value) = EXISTS;
        let params: [&(dyn ToSql + Sync); 4] = [&self.name, &name, &key, &value];
        self.execute(CREATE_NAMESPACE, &params).await?;
        self.update_namespace(namespace, properties.clone()).await?;
        Ok(Namespace::with_properties(namespace.clone(), properties))
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        self.must_have(namespace).await?;
        let name = namespace.join(".");
        let rows = self.query(PROPERTIES, &[&self.name, &name]).await?;
        let properties = rows.iter().filter_map(|row| {
            let (key, value): (String, Option<String>) = (row.get(0), row.get(1));
            Some((key, value?))
        });
        Ok(Namespace::with_properties(
            namespace.clone(),
            properties.collect(),
        ))
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        let all = self.texts(NAMESPACES, &[&self.name]).await?;
        Ok(all.contains(&namespace.join(".")))
    }

    async fn update_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<()> {
        let name = namespace.join(".");
        for (key, value) in properties {
            let params: [&(dyn ToSql + Sync); 4] = [&self.name, &name, &key, &value];
            self.execute(SET_PROPERTY, &params).await?;
        }
        Ok(())
    }

    async fn drop_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        if !self.list_tables(namespace).await?.is_empty() {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                format!("the namespace {} has tables", namespace.join(".")),
            ));
        }
        let params: [&(dyn ToSql + Sync); 2] = [&self.name, &namespace.join(".")];
        self.execute(DROP_NAMESPACE, &params).await.map(drop)
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        self.must_have(namespace).await?;
        let params: [&(dyn ToSql + Sync); 2] = [&self.name, &namespace.join(".")];
        let names = self.texts(TABLES, &params).await?.into_iter();
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
        self.insert(&table, &location).await?;
        self.table(&table, location, metadata)
    }

    async fn load_table(&self, table: &TableIdent) -> Result<Table> {
        let Some(location) = self.location(table).await? else {
            return Err(Error::new(
                ErrorKind::TableNotFound,
                format!("there is no table {table}"),
            ));
        };
        self.read(table, location).await
    }

    async fn drop_table(&self, table: &TableIdent) -> Result<()> {
        let (namespace, name) = names(table);
        let params: [&(dyn ToSql + Sync); 3] = [&self.name, &namespace, &name];
        self.execute(DROP_TABLE, &params).await.map(drop)
    }

    async fn purge_table(&self, table: &TableIdent) -> Result<()> {
        let loaded = self.load_table(table).await?;
        self.drop_table(table).await?;
        iceberg::drop_table_data(&loaded).await
    }

    async fn table_exists(&self, table: &TableIdent) -> Result<bool> {
        Ok(self.location(table).await?.is_some())
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        self.must_have(to.namespace()).await?;
        let ((namespace, name), (new_namespace, new_name)) = (names(from), names(to));
        let params: [&(dyn ToSql + Sync); 5] =
            [&self.name, &namespace, &name, &new_namespace, &new_name];
        self.execute(RENAME_TABLE, &params).await.map(drop)
    }

    async fn register_table(&self, table: &TableIdent, location: String) -> Result<Table> {
        self.insert(table, &location).await?;
        self.read(table, location).await
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        let table = commit.identifier().clone();
        let current = self.load_table(&table).await?;
        let replaced = current.metadata_location_result()?.to_owned();
        let staged = commit.apply(current)?;
        let location = staged.metadata_location_result()?.to_owned();
        let parsed = MetadataLocation::from_str(&location)?;
        staged.metadata().write_to(&self.files, &parsed).await?;
        let (namespace, name) = names(&table);
        let params: [&(dyn ToSql + Sync); 5] =
            [&self.name, &namespace, &name, &location, &replaced];
        if self.execute(SWAP, &params).await? == 0 {
            // Nothing refers to the metadata that was written.
            let _ = self.files.delete(&location).await;
            return Err(Error::new(
                ErrorKind::CatalogCommitConflicts,
                format!("another commit to {table} came first"),
            )
            .with_retryable(true));
        }
        Ok(staged)
    }
}

fn names(table: &TableIdent) -> (String, String) {
    (table.namespace().join("."), table.name().to_owned())
}

/// The answer, if it comes within the timeout.
async fn answer<T>(request: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(answered) => answered,
        Err(_) => Err(Error::new(
            ErrorKind::Unexpected,
            format!("no answer from the catalog's database in {TIMEOUT:?}"),
        )),
    }
}

fn unreachable(error: warehouse::Error) -> Error {
    Error::new(
        ErrorKind::Unexpected,
        format!(
            "cannot connect to the catalog's database: {}",
            error.chain()
        ),
    )
}

fn failed(error: tokio_postgres::Error) -> Error {
    let reason = match error.as_db_error() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    };
    let reason = format!("the catalog's database returned an error: {reason}");
    Error::new(ErrorKind::Unexpected, reason).with_source(error)
}
