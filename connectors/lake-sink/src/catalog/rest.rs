//! Servers of Iceberg's REST protocol.
//!
//! Iceberg's library speaks to them. What it lacks is here: TLS and timeouts, an expired token is
//! requested again, tables are created in the folder `warehouse`, and no message has a token.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use iceberg::table::Table;
use iceberg::{
    Catalog, CatalogBuilder, Error, ErrorKind, Namespace, NamespaceIdent, Result, TableCommit,
    TableCreation, TableIdent,
};
use iceberg_catalog_rest::{
    REST_CATALOG_PROP_URI, REST_CATALOG_PROP_WAREHOUSE, RestCatalog, RestCatalogBuilder,
};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::config::Config;
use crate::storage::{self, S3Settings};

/// Timeout for a connection to a REST server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for an answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The catalog's name in messages of the library.
const NAME: &str = "lake";

/// Opens the catalog of a server.
///
/// # Errors
/// TLS can't be set up.
pub(super) async fn open(config: &Config, s3: &S3Settings) -> Result<Arc<dyn Catalog>> {
    let (factory, mut properties) = storage::factory(&config.warehouse, s3).await;
    let url = config.catalog_url.reveal().trim_end_matches('/');
    let secret = |secret: &Option<connector_common::Secret>| {
        secret.as_ref().map(|secret| secret.reveal().to_owned())
    };
    let settings = [
        (REST_CATALOG_PROP_URI, Some(url.to_owned())),
        (REST_CATALOG_PROP_WAREHOUSE, config.catalog_name.clone()),
        ("token", secret(&config.catalog_token)),
        ("credential", secret(&config.catalog_credential)),
        ("oauth2-server-uri", config.catalog_token_url.clone()),
        ("scope", config.catalog_scope.clone()),
    ];
    for (key, value) in settings {
        properties.extend(value.map(|value| (key.to_owned(), value)));
    }
    let builder = RestCatalogBuilder::default().with_client(client()?);
    let builder = builder.with_storage_factory(factory);
    Ok(Arc::new(Server {
        catalog: builder.load(NAME, properties).await?,
        requests_tokens: config.catalog_credential.is_some(),
        warehouse: config.warehouse.trim_end_matches('/').to_owned(),
    }))
}

/// The client of a REST server, which trusts the operating system's certificates.
fn client() -> Result<reqwest::Client> {
    let failed = |error: &dyn fmt::Display| {
        Error::new(ErrorKind::Unexpected, format!("cannot set TLS up: {error}"))
    };
    let mut roots = RootCertStore::empty();
    // An unreadable certificate of the operating system doesn't make the others untrusted.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = reqwest::Client::builder()
        .use_preconfigured_tls(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT);
    client.build().map_err(|error| failed(&error))
}

struct Server {
    catalog: RestCatalog,
    requests_tokens: bool,
    warehouse: String,
}

/// The library's own would show the token.
impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Server");
        shown.field("warehouse", &self.warehouse);
        shown.finish_non_exhaustive()
    }
}

impl Server {
    async fn answer<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let answered = call.await;
        let Err(error) = &answered else {
            return answered;
        };
        if self.requests_tokens {
            // It may have expired: the next call requests another one.
            let _ = self.catalog.invalidate_token().await;
        }
        // The library quotes an answer that it can't read.
        if error.to_string().contains("access_token") {
            let reason = "the answer of the token server can't be read";
            return Err(Error::new(ErrorKind::Unexpected, reason));
        }
        answered
    }
}

#[async_trait]
impl Catalog for Server {
    async fn load_table(&self, table: &TableIdent) -> Result<Table> {
        self.answer(self.catalog.load_table(table)).await
    }

    async fn create_table(
        &self,
        namespace: &NamespaceIdent,
        mut creation: TableCreation,
    ) -> Result<Table> {
        creation.location.get_or_insert_with(|| {
            let (warehouse, levels) = (&self.warehouse, namespace.join("/"));
            format!("{warehouse}/{levels}/{}", creation.name)
        });
        self.answer(self.catalog.create_table(namespace, creation))
            .await
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        self.answer(self.catalog.update_table(commit)).await
    }

    async fn list_namespaces(
        &self,
        parent: Option<&NamespaceIdent>,
    ) -> Result<Vec<NamespaceIdent>> {
        self.answer(self.catalog.list_namespaces(parent)).await
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<Namespace> {
        self.answer(self.catalog.create_namespace(namespace, properties))
            .await
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        self.answer(self.catalog.get_namespace(namespace)).await
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        self.answer(self.catalog.namespace_exists(namespace)).await
    }

    async fn update_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<()> {
        self.answer(self.catalog.update_namespace(namespace, properties))
            .await
    }

    async fn drop_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.answer(self.catalog.drop_namespace(namespace)).await
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        self.answer(self.catalog.list_tables(namespace)).await
    }

    async fn drop_table(&self, table: &TableIdent) -> Result<()> {
        self.answer(self.catalog.drop_table(table)).await
    }

    async fn purge_table(&self, table: &TableIdent) -> Result<()> {
        self.answer(self.catalog.purge_table(table)).await
    }

    async fn table_exists(&self, table: &TableIdent) -> Result<bool> {
        self.answer(self.catalog.table_exists(table)).await
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        self.answer(self.catalog.rename_table(from, to)).await
    }

    async fn register_table(&self, table: &TableIdent, location: String) -> Result<Table> {
        self.answer(self.catalog.register_table(table, location))
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;

    use serde_json::json;

    use super::*;

    /// A server that answers each request, with its method, path and token, by a status and a body.
    fn server(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut line, mut asked, mut length) = (String::new(), String::new(), 0);
                while reader.read_line(&mut line).unwrap() > 2 {
                    let (name, value) = line.split_once(' ').unwrap();
                    match name.to_ascii_lowercase().as_str() {
                        "content-length:" => length = value.trim().parse().unwrap(),
                        "authorization:" => asked += value.trim(),
                        "get" | "post" | "head" => asked += line.split(" HTTP").next().unwrap(),
                        _ => {}
                    }
                    line.clear();
                }
                reader.read_exact(&mut vec![0; length]).unwrap();
                let (status, body) = answer(&asked);
                let shown = if asked.starts_with("HEAD") { "" } else { &body };
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n\
                     {shown}"
                )
                .unwrap();
            }
        });
        url
    }

    async fn catalog(url: String) -> Arc<dyn Catalog> {
        let config = json!({"warehouse": "file:///lake", "catalog-url": url,
            "catalog-credential": "id:hunter2"});
        let config: Config = serde_json::from_value(config).unwrap();
        open(&config, &config.s3()).await.unwrap()
    }

    fn facts() -> TableIdent {
        TableIdent::from_strs(["shop", "facts"]).unwrap()
    }

    #[tokio::test]
    async fn an_expired_token_is_requested_again() {
        let tokens = std::sync::atomic::AtomicUsize::new(0);
        let url = server(move |asked| {
            let last = tokens.load(std::sync::atomic::Ordering::Relaxed);
            if asked.starts_with("POST /v1/oauth/tokens") {
                tokens.store(last + 1, std::sync::atomic::Ordering::Relaxed);
                let token = format!("token-{}", last + 1);
                let answer = json!({"access_token": token, "token_type": "bearer",
                    "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"});
                return (200, answer.to_string());
            }
            match asked {
                "GET /v1/configBearer token-1" => {
                    (200, json!({"defaults": {}, "overrides": {}}).to_string())
                }
                // The second token is not expired, and there is no such table.
                _ if asked.ends_with("Bearer token-2") => (404, "{}".to_owned()),
                _ => (
                    401,
                    json!({"error": {"message": "expired", "type": "x", "code": 401}}).to_string(),
                ),
            }
        });
        let catalog = catalog(url).await;
        let expired = catalog.load_table(&facts()).await.unwrap_err();
        assert_eq!(expired.kind(), ErrorKind::Unexpected, "{expired}");
        let missing = catalog.load_table(&facts()).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::TableNotFound, "{missing}");
    }

    #[tokio::test]
    async fn a_token_that_cannot_be_read_is_in_no_message() {
        let url = server(|_| (200, json!({"access_token": "hunter2"}).to_string()));
        let catalog = catalog(url).await;
        let error = catalog.load_table(&facts()).await.unwrap_err();
        let shown = format!("{error} {error:?} {catalog:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
