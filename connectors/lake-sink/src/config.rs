//! The section `lake` of the connector's file: every key, with its unit and default.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use connector_common::{Error, Secret, Transform, Validate};
use serde::Deserialize;
use sink_common::flattener;

use crate::batch::Content;
use crate::lake;
use crate::schema;
use crate::storage::S3Settings;

const APPLICATION_NAME: &str = "lake-sink";
/// The name of a catalog in PostgreSQL, and of others where a program has to name them.
const DEFAULT_CATALOG_NAME: &str = "lake";
/// The catalog needs a connection for one statement at a time.
const MAX_CONNECTIONS: usize = 2;

/// The section `lake`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// The folder of the tables: `s3://bucket/folder`, or `file:///folder` on this machine. Each
    /// table has a folder in it. Required.
    pub warehouse: String,
    /// The catalog, which names the files of each table. Required. One of:
    /// - `postgres://user:password@host:port/database`, with the same parameters as `url` of the
    ///   PostgreSQL sink, and it may be the same database. The sink creates `iceberg_tables` and
    ///   `iceberg_namespace_properties` in it, which are those of Iceberg's JDBC catalog: Spark,
    ///   Trino and PyIceberg can read the tables through it.
    /// - `https://host/path`: a server of Iceberg's REST protocol, such as Polaris and Lakekeeper.
    ///   Credentials for the storage come from AWS's chain: those that a server hands out are not
    ///   used, nor does the sink sign requests to the catalog as those of AWS need.
    /// - `glue`: the AWS Glue Data Catalog, which Athena reads, of the account of the credentials;
    ///   `glue:123456789012` for another account. The region is `s3-region`.
    pub catalog_url: Secret,
    /// REST only: the token that requests to the catalog bear. Default: none.
    #[serde(default)]
    pub catalog_token: Option<Secret>,
    /// REST only: the id and the secret of an OAuth2 client, `id:secret`, for which the sink
    /// requests tokens. Default: none.
    #[serde(default)]
    pub catalog_credential: Option<Secret>,
    /// REST only: the URL to request tokens at. Default: `/v1/oauth/tokens` of the catalog.
    #[serde(default)]
    pub catalog_token_url: Option<String>,
    /// REST only: the scope of the tokens. Default catalog. Polaris wants `PRINCIPAL_ROLE:ALL`.
    #[serde(default)]
    pub catalog_scope: Option<String>,
    /// A file whose first line is the password, read for each new connection. For a password that
    /// is not in `catalog-url`.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// A command for `sh -c` whose first line of output is the password, run for each new
    /// connection. For passwords that expire, such as RDS IAM tokens.
    #[serde(default)]
    pub password_command: Option<String>,
    /// PostgreSQL: the name of the catalog, which other programs have to name. Default lake. A
    /// database can hold several. REST: the warehouse's name at the server. Default: the server's
    /// own. Glue has none.
    #[serde(default)]
    pub catalog_name: Option<String>,
    /// Shares the partitions of `meta.consumer.partition` among sinks that write the same table.
    /// Each takes the same number, releases some when another sink starts, and takes over those of
    /// a sink that ends or fails, within seconds (within a minute if its machine fails). Default
    /// false: one sink reads all of them. Sinks share only with those that have this key and the
    /// same partitions in their files; give them the same `meta.name`, by which a source waits for
    /// them. The locks are in the catalog's database, on a connection of their own, so the catalog
    /// has to be in PostgreSQL; with another one, name different partitions in each sink's file.
    #[serde(default)]
    pub share_partitions: bool,
    /// What the sink writes: `facts` (default) needs the SmartModule `flatten-items` and makes a
    /// row of each item of each event. `raw` makes a row of each record, as it is in the topic. It
    /// reads fastest through the SmartModule `raw-events`, since Fluvio cuts responses without one
    /// in the middle of a batch, and the sink then requests the rest again.
    #[serde(default)]
    pub content: Content,
    /// The namespace of the tables, with points between its levels; Glue has one level, a database.
    /// Default shop. The sink creates it.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// The table of the rows. Default: `facts`, or `raw_records` with `content: raw`. The sink
    /// creates it and adds columns that a newer version of the sink has. A table that it can't
    /// write ends the sink with the reason.
    #[serde(default)]
    pub table: Option<String>,
    /// The table of events that can't become facts. Default rejected_events.
    #[serde(default = "default_rejections_table")]
    pub rejections_table: String,
    /// The URL of a server that is compatible with S3: `http://127.0.0.1:9000`. Default: AWS.
    /// Credentials come from AWS's default chain: environment, profile, SSO, web identity, ECS,
    /// EC2.
    #[serde(default)]
    pub s3_endpoint: Option<String>,
    /// The region of the bucket. Default: that of the environment or the AWS profile.
    #[serde(default)]
    pub s3_region: Option<String>,
    /// Puts the bucket in the path of URLs instead of the host's name, which servers other than AWS
    /// often need. Default false.
    #[serde(default)]
    pub s3_path_style: bool,
    /// Time from the first record that is read to the commit that has it. Default 1m. Each commit
    /// makes a file for each day that its events are of: a longer time makes fewer and larger
    /// files, and readers see events later. A source that waits for this sink (`delete-after:
    /// lake`) has the messages of this time in flight: its `max-in-flight` has to be more.
    #[serde(default = "default_commit_interval", with = "humantime_serde")]
    pub commit_interval: Duration,
    /// The size of a file, compressed, from 64KiB to 4GiB. Default 128MiB. A file that has it is
    /// committed before the interval ends.
    #[serde(default = "default_target_file_size")]
    pub target_file_size: ByteSize,
    /// Maximum size of the rows in memory, before they are sorted and appended to their files, from
    /// 64KiB to 4GiB. Default 64MiB. The sink needs about three times as much memory: while rows
    /// are sorted, for the batches that partitions fill, and for the encoded part of up to 48 open
    /// files.
    #[serde(default = "default_max_buffer")]
    pub max_buffer: ByteSize,
    /// The secret to sign commit notifications with, at least 16 characters, the same as that of
    /// the sources: `${{ secrets.NAME }}`. Sources that have one ignore notifications without its
    /// signature, and delete no message then. Default: none.
    #[serde(default)]
    pub notifications_secret: Option<Secret>,
    /// The IP address and port to serve `/metrics` for Prometheus, `/healthz` and `/readyz` at:
    /// `127.0.0.1:9467`, or `0.0.0.0:9467` in a container. Default: none.
    #[serde(default)]
    pub metrics_address: Option<SocketAddr>,
    /// Time to wait at the start for a catalog, a storage or a cluster that does not answer, or for
    /// the topic to be created, before the sink ends with an error. Default 30s. A running sink
    /// waits for them without end.
    #[serde(default = "default_start_timeout", with = "humantime_serde")]
    pub start_timeout: Duration,
}

/// The kind of the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogKind<'c> {
    /// A database.
    Postgres,
    /// A server of Iceberg's REST protocol.
    Rest,
    /// AWS Glue.
    Glue {
        /// The account, if it is not that of the credentials.
        account: Option<&'c str>,
    },
}

impl Config {
    /// The kind of the catalog, by its URL.
    #[must_use]
    pub fn catalog(&self) -> CatalogKind<'_> {
        let url = self.catalog_url.reveal();
        if url.starts_with("http://") || url.starts_with("https://") {
            CatalogKind::Rest
        } else if url == "glue" {
            CatalogKind::Glue { account: None }
        } else if let Some(account) = url.strip_prefix("glue:") {
            CatalogKind::Glue {
                account: Some(account),
            }
        } else {
            CatalogKind::Postgres
        }
    }

    /// The name of the catalog, for other programs.
    #[must_use]
    pub fn catalog_name(&self) -> &str {
        let own = self.catalog() == CatalogKind::Postgres;
        let name = self.catalog_name.as_deref().filter(|_| own);
        name.unwrap_or(DEFAULT_CATALOG_NAME)
    }

    /// The settings of the connections to the catalog's database.
    #[must_use]
    pub fn database(&self) -> warehouse::Settings {
        warehouse::Settings {
            password_file: self.password_file.clone(),
            password_command: self.password_command.clone(),
            max_connections: MAX_CONNECTIONS,
            ..warehouse::Settings::new(self.catalog_url.clone(), APPLICATION_NAME)
        }
    }

    /// The settings of S3.
    #[must_use]
    pub fn s3(&self) -> S3Settings {
        S3Settings {
            endpoint: self.s3_endpoint.clone(),
            region: self.s3_region.clone(),
            path_style: self.s3_path_style,
        }
    }

    /// The table of the rows.
    #[must_use]
    pub fn table(&self) -> &str {
        let default = match self.content {
            Content::Facts => "facts",
            Content::Raw => "raw_records",
        };
        self.table.as_deref().unwrap_or(default)
    }

    /// The tables and the limits of their files.
    ///
    /// # Errors
    /// The namespace is empty.
    pub fn lake(&self) -> Result<lake::Settings, crate::Error> {
        let bytes = |size: ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        Ok(lake::Settings {
            content: self.content,
            namespace: schema::namespace(&self.namespace)?,
            table: self.table().to_owned(),
            rejections: self.rejections_table.clone(),
            commit_interval: self.commit_interval,
            target_size: bytes(self.target_file_size),
            max_buffer: bytes(self.max_buffer),
        })
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), Error> {
        let invalid = |text: String| Err(Error::Invalid(text));
        self.validate_catalog()?;
        connector_common::committed::validate_secret(self.notifications_secret.as_ref())?;
        let scheme = self.warehouse.split_once("://");
        match scheme {
            Some(("s3", rest)) if !rest.is_empty() => {}
            Some(("file", folder)) if folder.starts_with('/') => {}
            _ => {
                return invalid(
                    "`warehouse` must be s3://bucket/folder or file:///folder".to_owned(),
                );
            }
        }
        for (key, name) in [
            ("catalog-name", self.catalog_name()),
            ("table", self.table()),
            ("rejections-table", &self.rejections_table),
        ] {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
            if name.is_empty() || name.len() > 255 || !name.bytes().all(is_name) {
                return invalid(format!(
                    "`{key}` must be a name of letters, digits, `_` and `-`"
                ));
            }
        }
        let levels = self.namespace.split('.');
        let is_level = |level: &str| {
            !level.is_empty()
                && level
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if !levels.into_iter().all(is_level) {
            return invalid(
                "`namespace` must be names of letters, digits and `_` with points between them"
                    .to_owned(),
            );
        }
        if self.content == Content::Facts && self.table() == self.rejections_table {
            return invalid("`table` and `rejections-table` must differ".to_owned());
        }
        if self.commit_interval.is_zero() {
            return invalid("`commit-interval` must be at least 1ms".to_owned());
        }
        for (key, size) in [
            ("target-file-size", self.target_file_size),
            ("max-buffer", self.max_buffer),
        ] {
            if !(64 << 10..=4 << 30).contains(&size.as_u64()) {
                return invalid(format!(
                    "`{key}` must be between 64KiB and 4GiB, not {size}"
                ));
            }
        }
        Ok(())
    }

    fn validate_transforms(&self, transforms: &[Transform]) -> Result<(), Error> {
        if self.content == Content::Facts && transforms.is_empty() {
            return Err(Error::Invalid(
                "`transforms` is empty: `content: facts` reads events through the SmartModule \
                 flatten-items; add `transforms: [{ uses: flatten-items }]`, or write the records \
                 as they are with `content: raw`"
                    .to_owned(),
            ));
        }
        flattener::validate(transforms)
    }
}

impl Config {
    fn validate_catalog(&self) -> Result<(), Error> {
        let invalid = |text: &str| Err(Error::Invalid(text.to_owned()));
        let catalog = self.catalog();
        if catalog == CatalogKind::Postgres {
            let valid = self.database().validate();
            valid.map_err(|error| {
                Error::Invalid(format!(
                    "`catalog-url` is not https://…, glue or a database: {}",
                    error.chain()
                ))
            })?;
        } else if self.share_partitions {
            return invalid(
                "`share-partitions` needs a catalog in PostgreSQL, which has the locks; name \
                 different partitions in `meta.consumer.partition` of each sink instead",
            );
        } else if self.password_file.is_some() || self.password_command.is_some() {
            return invalid(
                "`password-file` and `password-command` are for a catalog in PostgreSQL",
            );
        }
        if catalog != CatalogKind::Rest {
            for (key, is_set) in [
                ("catalog-token", self.catalog_token.is_some()),
                ("catalog-credential", self.catalog_credential.is_some()),
                ("catalog-token-url", self.catalog_token_url.is_some()),
                ("catalog-scope", self.catalog_scope.is_some()),
            ] {
                if is_set {
                    return Err(Error::Invalid(format!(
                        "`{key}` is for a catalog that is a REST server"
                    )));
                }
            }
        }
        if catalog == CatalogKind::Rest {
            let token_url = self.catalog_token_url.as_deref();
            for (key, url) in [
                ("catalog-url", Some(self.catalog_url.reveal())),
                ("catalog-token-url", token_url),
            ] {
                url.map_or(Ok(()), |url| validate_url(key, url))?;
            }
        }
        if self.catalog_token.is_some() && self.catalog_credential.is_some() {
            return invalid("`catalog-token` and `catalog-credential` exclude each other");
        }
        if let CatalogKind::Glue { account } = catalog {
            let is_account =
                |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
            if !account.is_none_or(is_account) {
                return invalid("`catalog-url` must be glue, or glue: and an account of 12 digits");
            }
            if !self.warehouse.starts_with("s3:") {
                return invalid("`warehouse` of tables in Glue must be s3://bucket/folder");
            }
            if self.catalog_name.is_some() {
                return invalid("`catalog-name` is for other catalogs than Glue");
            }
            let tables = [&self.namespace, self.table(), &self.rejections_table];
            let is_athenas =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if !tables.iter().all(|name| name.bytes().all(is_athenas)) {
                return invalid(
                    "`namespace`, `table` and `rejections-table` in Glue must be names of lower-case \
                     letters, digits and `_`",
                );
            }
        }
        Ok(())
    }
}

/// Checks a URL of a REST server. The error does not quote it: it may have a password.
fn validate_url(key: &str, url: &str) -> Result<(), Error> {
    let parsed = reqwest::Url::parse(url).ok();
    let parsed = parsed.filter(|url| ["http", "https"].contains(&url.scheme()));
    let Some(parsed) = parsed else {
        return Err(Error::Invalid(format!("`{key}` is not an http(s) URL")));
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(Error::Invalid(format!(
            "`{key}` must have no user or password: set `catalog-token` or `catalog-credential`"
        )));
    }
    Ok(())
}

fn default_namespace() -> String {
    "shop".to_owned()
}

fn default_rejections_table() -> String {
    "rejected_events".to_owned()
}

fn default_commit_interval() -> Duration {
    Duration::from_secs(60)
}

fn default_target_file_size() -> ByteSize {
    ByteSize::mib(128)
}

fn default_max_buffer() -> ByteSize {
    ByteSize::mib(64)
}

fn default_start_timeout() -> Duration {
    Duration::from_secs(30)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parsed(more: Value) -> Result<Config, String> {
        let mut config = json!({
            "warehouse": "s3://lake/shop",
            "catalog-url": "postgres://user@host/database",
        });
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(config).map_err(|error| error.to_string())
    }

    fn validated(more: Value) -> Result<(), String> {
        parsed(more)?.validate().map_err(|error| error.to_string())
    }

    #[test]
    fn facts_need_the_flattener_with_sound_parameters() {
        let flattener = |with: Value| {
            let step = json!([{ "uses": "flatten-items", "with": with }]);
            serde_json::from_value::<Vec<Transform>>(step).unwrap()
        };
        let validated = |content: &str, transforms: &[Transform]| {
            let config = parsed(json!({ "content": content })).unwrap();
            let valid = config.validate_transforms(transforms);
            valid.map_err(|error| error.to_string())
        };
        validated("facts", &flattener(json!({}))).unwrap();
        validated("raw", &[]).unwrap();
        let error = validated("facts", &[]).unwrap_err();
        assert!(error.contains("`transforms` is empty"), "{error}");
        let error = validated("facts", &flattener(json!({"identity": "name"}))).unwrap_err();
        assert!(error.contains("`identity`"), "{error}");
    }

    #[test]
    fn values_that_cannot_work_are_refused_by_the_name_of_their_key() {
        validated(json!({})).unwrap();
        validated(json!({"warehouse": "file:///lake", "namespace": "a.b"})).unwrap();
        for (key, value) in [
            ("warehouse", json!("/lake")),
            ("warehouse", json!("file://lake")),
            ("warehouse", json!("s3://")),
            ("catalog-url", json!("postgres://user@:x/database")),
            ("catalog-name", json!("")),
            ("namespace", json!("a..b")),
            ("table", json!("a.b")),
            ("table", json!("rejected_events")),
            ("rejections-table", json!("'")),
            ("commit-interval", json!("0s")),
            ("target-file-size", json!("1KiB")),
            ("max-buffer", json!("5GiB")),
            ("max-bufer", json!("5MiB")),
            ("catalog-url", json!("glue:1234")),
            ("catalog-token", json!("abc")),
            ("catalog-scope", json!("all")),
            ("notifications-secret", json!("hunter2")),
        ] {
            let error = validated(json!({ key: value })).unwrap_err();
            assert!(error.contains(key), "{key}: {error}");
        }
    }

    #[test]
    fn each_kind_of_catalog_has_keys_of_its_own() {
        let rest = json!({"catalog-url": "https://host/api", "catalog-name": "a/b",
            "catalog-credential": "id:secret", "catalog-scope": "all"});
        validated(rest).unwrap();
        validated(json!({"catalog-url": "glue:123456789012"})).unwrap();
        for (key, url) in [
            ("catalog-url", "https://user:hunter2@host/api"),
            ("catalog-url", "https://user:hunter2@host:port/api"),
            ("catalog-token-url", "https://hunter2@host/token"),
            ("catalog-token-url", "host/hunter2"),
        ] {
            let error = validated(json!({"catalog-url": "https://host", key: url})).unwrap_err();
            assert!(error.contains(key) && !error.contains("hunter2"), "{error}");
        }
        for (key, mut more) in [
            ("share-partitions", json!({"share-partitions": true})),
            ("password-file", json!({"password-file": "/secret"})),
            (
                "catalog-credential",
                json!({"catalog-credential": "id:secret"}),
            ),
            ("warehouse", json!({"warehouse": "file:///lake"})),
            ("catalog-name", json!({"catalog-name": "lake"})),
            ("namespace", json!({"namespace": "a.b"})),
            ("table", json!({"table": "Facts"})),
        ] {
            more["catalog-url"] = "glue".into();
            let error = validated(more).unwrap_err();
            assert!(error.contains(key), "{key}: {error}");
        }
    }
}
