//! Pointers in PostgreSQL: a row for each table, with the location of its metadata.
//!
//! The tables are those of Iceberg's JDBC catalog, so Spark, Trino, Flink and PyIceberg
//! (`SqlCatalog`) can use the same catalog. A commit replaces a location that is still the one it
//! was built on. The connections are those of the PostgreSQL sink: TLS, passwords from a file or a
//! command, several hosts.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use iceberg::spec::TableMetadata;
use iceberg::{Error, ErrorKind, NamespaceIdent, Result, TableIdent};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use warehouse::Database;

use super::pointers::{Pointer, Pointers};

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

/// The rows of one catalog in a database.
pub struct SqlPointers {
    database: Arc<Database>,
    name: String,
}

impl fmt::Debug for SqlPointers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("SqlPointers");
        shown.field("database", &self.database.address());
        shown.field("name", &self.name).finish()
    }
}

impl SqlPointers {
    /// The rows of the catalog called `name`.
    pub fn new(database: Arc<Database>, name: &str) -> Self {
        Self {
            database,
            name: name.to_owned(),
        }
    }

    /// Returns true if the tables exist.
    ///
    /// # Errors
    /// The server can't be reached or refuses.
    pub async fn exist(&self) -> Result<bool> {
        let exist = self.query(EXIST, &[]).await?;
        Ok(exist.first().is_some_and(|row| row.get(0)))
    }

    /// Creates the tables if they are missing.
    ///
    /// # Errors
    /// The server can't be reached or refuses.
    pub async fn create(&self) -> Result<()> {
        if self.exist().await? {
            return Ok(());
        }
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

    async fn set_properties(&self, name: &str, properties: HashMap<String, String>) -> Result<()> {
        for (key, value) in properties {
            let params: [&(dyn ToSql + Sync); 4] = [&self.name, &name, &key, &value];
            self.execute(SET_PROPERTY, &params).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Pointers for SqlPointers {
    async fn namespaces(&self) -> Result<BTreeSet<String>> {
        self.texts(NAMESPACES, &[&self.name]).await
    }

    async fn has(&self, namespace: &NamespaceIdent) -> Result<bool> {
        Ok(self.namespaces().await?.contains(&namespace.join(".")))
    }

    async fn properties(&self, namespace: &NamespaceIdent) -> Result<HashMap<String, String>> {
        let params: [&(dyn ToSql + Sync); 2] = [&self.name, &namespace.join(".")];
        let rows = self.query(PROPERTIES, &params).await?;
        let properties = rows.iter().filter_map(|row| {
            let (key, value): (String, Option<String>) = (row.get(0), row.get(1));
            Some((key, value?))
        });
        Ok(properties.collect())
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<()> {
        let name = namespace.join(".");
        let (key, value) = EXISTS;
        let params: [&(dyn ToSql + Sync); 4] = [&self.name, &name, &key, &value];
        self.execute(CREATE_NAMESPACE, &params).await?;
        self.set_properties(&name, properties).await
    }

    async fn update_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<()> {
        self.set_properties(&namespace.join("."), properties).await
    }

    async fn drop_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        let params: [&(dyn ToSql + Sync); 2] = [&self.name, &namespace.join(".")];
        self.execute(DROP_NAMESPACE, &params).await.map(drop)
    }

    async fn tables(&self, namespace: &NamespaceIdent) -> Result<BTreeSet<String>> {
        let params: [&(dyn ToSql + Sync); 2] = [&self.name, &namespace.join(".")];
        self.texts(TABLES, &params).await
    }

    async fn get(&self, table: &TableIdent) -> Result<Option<Pointer>> {
        let (namespace, name) = names(table);
        let rows = self
            .query(LOCATION, &[&self.name, &namespace, &name])
            .await?;
        let location: Option<String> = rows.first().and_then(|row| row.get(0));
        Ok(location.map(|location| Pointer {
            location,
            ..Pointer::default()
        }))
    }

    async fn insert(&self, table: &TableIdent, location: &str, _: &TableMetadata) -> Result<()> {
        let (namespace, name) = names(table);
        let params: [&(dyn ToSql + Sync); 4] = [&self.name, &namespace, &name, &location];
        self.execute(INSERT_TABLE, &params).await.map(drop)
    }

    async fn swap(
        &self,
        table: &TableIdent,
        replaced: Pointer,
        location: &str,
        _: &TableMetadata,
    ) -> Result<bool> {
        let (namespace, name) = names(table);
        let params: [&(dyn ToSql + Sync); 5] =
            [&self.name, &namespace, &name, &location, &replaced.location];
        Ok(self.execute(SWAP, &params).await? > 0)
    }

    async fn remove(&self, table: &TableIdent) -> Result<()> {
        let (namespace, name) = names(table);
        let params: [&(dyn ToSql + Sync); 3] = [&self.name, &namespace, &name];
        self.execute(DROP_TABLE, &params).await.map(drop)
    }

    async fn rename(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        let ((namespace, name), (new_namespace, new_name)) = (names(from), names(to));
        let params: [&(dyn ToSql + Sync); 5] =
            [&self.name, &namespace, &name, &new_namespace, &new_name];
        self.execute(RENAME_TABLE, &params).await.map(drop)
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
        format!("the catalog of `catalog-url`: {}", error.chain()),
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
