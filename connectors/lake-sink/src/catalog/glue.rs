//! Pointers in the AWS Glue Data Catalog, which Athena reads.
//!
//! The tables look as Iceberg's own catalog for Glue makes them. Iceberg's crate for Glue (0.10)
//! can't be used: it refuses tables that have times with a zone.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_glue::Client;
use aws_sdk_glue::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_glue::operation::get_database::GetDatabaseError;
use aws_sdk_glue::operation::get_table::GetTableError;
use aws_sdk_glue::operation::update_table::UpdateTableError;
use aws_sdk_glue::types::{Column, Database, DatabaseInput, StorageDescriptor, Table, TableInput};
use iceberg::spec::{PrimitiveType, TableMetadata, Type};
use iceberg::{Error, ErrorKind, NamespaceIdent, Result, TableIdent};

use super::pointers::{Pointer, Pointers};
use crate::error;
use crate::storage::S3Settings;

/// Timeout for an attempt of a request, and for all of them.
const TIMEOUT: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(30)];
const METADATA_LOCATION: &str = "metadata_location";
const PREVIOUS_LOCATION: &str = "previous_metadata_location";
const TABLE_TYPE: &str = "table_type";
const ICEBERG: &str = "ICEBERG";
/// The most bytes that Glue takes for a comment.
const MAX_COMMENT: usize = 255;

/// The tables of an account's catalog.
#[derive(Debug)]
pub struct GluePointers {
    client: Client,
    account: Option<String>,
}

impl GluePointers {
    /// The catalog of an `account`, by default that of the credentials.
    pub async fn open(account: Option<&str>, s3: &S3Settings) -> Self {
        let [attempt, all] = TIMEOUT;
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(attempt)
            .operation_timeout(all);
        let mut aws = aws_config::defaults(BehaviorVersion::latest());
        if let Some(region) = s3.region.clone() {
            aws = aws.region(Region::new(region));
        }
        let aws = aws.timeout_config(timeouts.build()).load().await;
        Self {
            client: Client::new(&aws),
            account: account.map(str::to_owned),
        }
    }

    /// The folder of a table.
    ///
    /// # Errors
    /// Glue can't be reached or refuses.
    pub async fn folder(&self, table: &TableIdent) -> Result<Option<String>> {
        let found = self.find(table).await?;
        let storage = found.and_then(|found| found.storage_descriptor);
        Ok(storage.and_then(|storage| storage.location))
    }

    async fn find(&self, table: &TableIdent) -> Result<Option<Table>> {
        let request = self.client.get_table();
        let request = request.database_name(table.namespace().join("."));
        let request = request.name(table.name());
        let request = request.set_catalog_id(self.account.clone());
        let missing = GetTableError::is_entity_not_found_exception;
        let found = unless(missing, request.send().await)?;
        Ok(found.and_then(|found| found.table))
    }

    async fn database(&self, namespace: &NamespaceIdent) -> Result<Option<Database>> {
        let request = self.client.get_database().name(namespace.join("."));
        let request = request.set_catalog_id(self.account.clone());
        let missing = GetDatabaseError::is_entity_not_found_exception;
        let found = unless(missing, request.send().await)?;
        Ok(found.and_then(|found| found.database))
    }
}

#[async_trait]
impl Pointers for GluePointers {
    async fn namespaces(&self) -> Result<BTreeSet<String>> {
        let request = self.client.get_databases();
        let request = request.set_catalog_id(self.account.clone());
        let mut pages = request.into_paginator().send();
        let mut names = BTreeSet::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed)?;
            names.extend(page.database_list.into_iter().map(|found| found.name));
        }
        Ok(names)
    }

    async fn has(&self, namespace: &NamespaceIdent) -> Result<bool> {
        Ok(self.database(namespace).await?.is_some())
    }

    async fn properties(&self, namespace: &NamespaceIdent) -> Result<HashMap<String, String>> {
        let found = self.database(namespace).await?;
        Ok(found.and_then(|found| found.parameters).unwrap_or_default())
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<()> {
        let database = DatabaseInput::builder()
            .name(namespace.join("."))
            .set_parameters(Some(properties))
            .build()
            .map_err(unbuilt)?;
        let request = self.client.create_database().database_input(database);
        let request = request.set_catalog_id(self.account.clone());
        request.send().await.map_err(failed).map(drop)
    }

    async fn tables(&self, namespace: &NamespaceIdent) -> Result<BTreeSet<String>> {
        let request = self.client.get_tables();
        let request = request.database_name(namespace.join("."));
        let request = request.set_catalog_id(self.account.clone());
        let mut pages = request.into_paginator().send();
        let mut names = BTreeSet::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed)?;
            let tables = page.table_list.into_iter().flatten();
            let tables = tables.filter(|table| is_iceberg(table.parameters.as_ref()));
            names.extend(tables.map(|table| table.name));
        }
        Ok(names)
    }

    async fn get(&self, table: &TableIdent) -> Result<Option<Pointer>> {
        let Some(found) = self.find(table).await? else {
            return Ok(None);
        };
        let parameters = found.parameters.unwrap_or_default();
        let location = parameters.get(METADATA_LOCATION).cloned();
        let Some(location) = location.filter(|_| is_iceberg(Some(&parameters))) else {
            let reason = format!("{table} in Glue is not an Iceberg table; name another one");
            return Err(Error::new(ErrorKind::DataInvalid, reason));
        };
        Ok(Some(Pointer {
            location,
            version: found.version_id,
            parameters,
        }))
    }

    async fn insert(
        &self,
        table: &TableIdent,
        location: &str,
        metadata: &TableMetadata,
    ) -> Result<()> {
        let request = self.client.create_table();
        let request = request.database_name(table.namespace().join("."));
        let request = request.table_input(input(table, location, metadata, HashMap::new())?);
        let request = request.set_catalog_id(self.account.clone());
        request.send().await.map_err(failed).map(drop)
    }

    async fn swap(
        &self,
        table: &TableIdent,
        replaced: Pointer,
        location: &str,
        metadata: &TableMetadata,
    ) -> Result<bool> {
        let Some(version) = replaced.version else {
            let reason = format!(
                "Glue names no version of {table}, without which it can't be told whether another \
                 commit came first"
            );
            return Err(Error::new(ErrorKind::DataInvalid, reason));
        };
        let mut parameters = replaced.parameters;
        parameters.insert(PREVIOUS_LOCATION.to_owned(), replaced.location);
        let request = self.client.update_table();
        let request = request.database_name(table.namespace().join("."));
        let request = request.table_input(input(table, location, metadata, parameters)?);
        let request = request.version_id(version).skip_archive(true);
        let request = request.set_catalog_id(self.account.clone());
        let came_first = UpdateTableError::is_concurrent_modification_exception;
        Ok(unless(came_first, request.send().await)?.is_some())
    }
}

fn is_iceberg(parameters: Option<&HashMap<String, String>>) -> bool {
    let kind = parameters.and_then(|parameters| parameters.get(TABLE_TYPE));
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case(ICEBERG))
}

/// The table as Glue stores it. The columns are for people and other programs: who reads the table
/// takes them from its metadata.
fn input(
    table: &TableIdent,
    location: &str,
    metadata: &TableMetadata,
    mut parameters: HashMap<String, String>,
) -> Result<TableInput> {
    parameters.insert(TABLE_TYPE.to_owned(), ICEBERG.to_owned());
    parameters.insert(METADATA_LOCATION.to_owned(), location.to_owned());
    let mut storage = StorageDescriptor::builder().location(metadata.location());
    for field in metadata.current_schema().as_struct().fields() {
        let comment = field.doc.as_deref().unwrap_or_default();
        let column = Column::builder()
            .name(&field.name)
            .r#type(kind(&field.field_type))
            .comment(
                comment
                    .get(..comment.floor_char_boundary(MAX_COMMENT))
                    .unwrap_or_default(),
            );
        storage = storage.columns(column.build().map_err(unbuilt)?);
    }
    TableInput::builder()
        .name(table.name())
        .table_type("EXTERNAL_TABLE")
        .set_parameters(Some(parameters))
        .storage_descriptor(storage.build())
        .build()
        .map_err(unbuilt)
}

/// The type of a column in Glue, which has Hive's.
fn kind(kind: &Type) -> String {
    match kind {
        Type::Primitive(PrimitiveType::Int) => "int".to_owned(),
        Type::Primitive(PrimitiveType::Long) => "bigint".to_owned(),
        Type::Primitive(PrimitiveType::Timestamp | PrimitiveType::Timestamptz) => {
            "timestamp".to_owned()
        }
        Type::Primitive(PrimitiveType::Binary | PrimitiveType::Fixed(_)) => "binary".to_owned(),
        Type::Primitive(
            simple @ (PrimitiveType::Boolean
            | PrimitiveType::Float
            | PrimitiveType::Double
            | PrimitiveType::Date),
        ) => simple.to_string(),
        Type::Primitive(PrimitiveType::Decimal { precision, scale }) => {
            format!("decimal({precision},{scale})")
        }
        // The sink has no others.
        _ => "string".to_owned(),
    }
}

/// The answer to a request; `None` if it is an error that is expected.
fn unless<T, E>(
    is_expected: impl FnOnce(&E) -> bool,
    answer: std::result::Result<T, SdkError<E>>,
) -> Result<Option<T>>
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.as_service_error().is_some_and(is_expected) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn unbuilt(error: BuildError) -> Error {
    Error::new(ErrorKind::Unexpected, "cannot build a request to Glue").with_source(error)
}

fn failed<E>(error: SdkError<E>) -> Error
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let remedy = match error.code() {
        Some("AccessDeniedException") => "; deploy/lake/aws/sink-policy.json has the rights",
        Some("ExpiredTokenException" | "UnrecognizedClientException") => {
            "; renew the AWS credentials"
        }
        _ => "",
    };
    let reason = format!("AWS Glue: {}{remedy}", error::of_aws(&error));
    Error::new(ErrorKind::Unexpected, reason)
}

#[cfg(test)]
mod tests {
    use aws_sdk_glue::Config;
    use aws_sdk_glue::config::Credentials;

    use super::*;
    use crate::catalog::canned::server;

    #[tokio::test]
    async fn an_error_is_one_line_that_says_what_to_do() {
        let body = r#"{"__type": "AccessDeniedException", "Message": "not glue:GetTable"}"#;
        let url = server(move |_| (400, body.to_owned()));
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("id", "key", None, None, "test"))
            .endpoint_url(url);
        let pointers = GluePointers {
            client: Client::from_conf(config.build()),
            account: None,
        };
        let table = TableIdent::from_strs(["shop", "facts"]).unwrap();
        let error = pointers.get(&table).await.unwrap_err();
        assert_eq!(
            error.message(),
            "AWS Glue: AccessDeniedException: not glue:GetTable; \
             deploy/lake/aws/sink-policy.json has the rights"
        );
    }
}
