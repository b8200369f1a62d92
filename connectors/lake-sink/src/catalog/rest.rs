//! Servers of Iceberg's REST protocol.
//!
//! Iceberg's library speaks to them. This module adds TLS and timeouts, requests an expired token
//! again, creates tables in the folder `warehouse`, and keeps secrets out of messages.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use connector_common::chain;
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
/// The longest part of an answer that a message quotes, in characters.
const MAX_QUOTE: usize = 200;
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
        if answered.is_err() && self.requests_tokens {
            // It may have expired: the next call requests another one.
            let _ = self.catalog.invalidate_token().await;
        }
        answered.map_err(short)
    }
}

/// The error in one line. The library quotes headers and whole answers, which may have secrets: a
/// token, or credentials for the storage.
fn short(error: Error) -> Error {
    if error.kind() != ErrorKind::Unexpected {
        return error;
    }
    let text = error.to_string();
    let reason = if let Some((status, answer)) = answer(&text) {
        let remedy = match status.get(..3) {
            Some("401") => "; check `catalog-token` or `catalog-credential`",
            Some("403") => "; give the sink's user the right to it at the server",
            Some("404") => "; check `catalog-url` and `catalog-name`",
            _ => "",
        };
        format!(
            "the REST server answered {status}: {}{remedy}",
            quote(answer)
        )
    } else if text.contains("json: ") {
        "the REST server's answer can't be read; check `catalog-url` and `catalog-token-url`".into()
    } else if let Some(cause) = std::error::Error::source(&error) {
        format!("no answer of the REST server: {}", chain(cause))
    } else {
        return error;
    };
    Error::new(error.kind(), reason).with_retryable(error.retryable())
}

/// The status and the body of a failed request in a message of the library.
fn answer(text: &str) -> Option<(&str, &str)> {
    let (_, rest) = text.split_once(", context: { ")?;
    let (key, rest) = rest.split_once(": ")?;
    // A token server has its status in `code`.
    if key != "status" && key != "code" {
        return None;
    }
    let (status, rest) = rest.split_once(", ")?;
    let body = rest.split_once(", json: ").map_or("", |(_, body)| body);
    Some((
        status,
        body.rsplit_once(" } => ").map_or(body, |(body, _)| body),
    ))
}

/// The message of an answer, or its beginning.
fn quote(answer: &str) -> String {
    if answer.contains("access_token") {
        return "not quoted, since it has a token".to_owned();
    }
    let parsed: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
    let messages = ["/error/message", "/error_description", "/message"];
    let mut messages = messages
        .into_iter()
        .filter_map(|path| parsed.pointer(path)?.as_str());
    let words: Vec<&str> = messages
        .next()
        .unwrap_or(answer)
        .split_whitespace()
        .collect();
    match words.join(" ") {
        empty if empty.is_empty() => "no reason".to_owned(),
        text => text.chars().take(MAX_QUOTE).collect(),
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
        let mut found = self.answer(self.catalog.list_namespaces(parent)).await?;
        // Servers with one level of namespaces ignore the parent.
        if let Some(parent) = parent {
            found.retain(|one| one.len() > parent.len() && one.starts_with(parent));
        }
        Ok(found)
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::{Value, json};

    use super::*;
    use crate::catalog::canned::server;

    async fn catalog(url: String) -> Arc<dyn Catalog> {
        let config = json!({"warehouse": "file:///lake", "catalog-url": url,
            "catalog-credential": "id:hunter2"});
        let config: Config = serde_json::from_value(config).unwrap();
        open(&config, &config.s3()).await.unwrap()
    }

    fn config() -> Value {
        json!({"defaults": {}, "overrides": {}})
    }

    fn token(number: usize) -> Value {
        json!({"access_token": format!("token-{number}"), "token_type": "bearer",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"})
    }

    fn facts() -> TableIdent {
        TableIdent::from_strs(["shop", "facts"]).unwrap()
    }

    #[tokio::test]
    async fn an_expired_token_is_requested_again() {
        let tokens = AtomicUsize::new(0);
        let url = server(move |asked| {
            if asked.starts_with("POST /v1/oauth/tokens") {
                let before = tokens.fetch_add(1, Ordering::Relaxed);
                return (200, token(before + 1).to_string());
            }
            match asked {
                "GET /v1/configBearer token-1" => (200, config().to_string()),
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
        let shown = expired.to_string();
        assert!(
            shown.ends_with(
                "401 Unauthorized: expired; check `catalog-token` or `catalog-credential`"
            ),
            "{shown}"
        );
        let missing = catalog.load_table(&facts()).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::TableNotFound, "{missing}");
    }

    #[tokio::test]
    async fn secrets_of_an_answer_are_in_no_message() {
        let of_storage = json!({"config": {"s3.secret-access-key": "hunter2"}});
        for (request, status, body) in [
            ("tokens", 200, json!({"access_token": "hunter2"})),
            ("tokens", 200, json!({"token": "hunter2"})),
            ("tokens", 200, json!("hunter2")),
            (
                "tokens",
                201,
                json!({"access_token": "hunter2", "expires_in": 60}),
            ),
            ("facts", 200, of_storage),
        ] {
            let body = body.to_string();
            let url = server(move |asked| match asked {
                _ if asked.contains(request) => (status, body.clone()),
                _ if asked.contains("tokens") => (200, token(1).to_string()),
                _ => (200, config().to_string()),
            });
            let catalog = catalog(url).await;
            let error = catalog.load_table(&facts()).await.unwrap_err();
            let shown = format!("{error} {error:?} {catalog:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[tokio::test]
    async fn an_error_is_one_short_line() {
        let page = format!("<html>\n<body>\n{}</body>", "busy ".repeat(1000));
        let url = server(move |asked| match asked {
            _ if asked.contains("tokens") => (200, token(1).to_string()),
            _ => (503, page.clone()),
        });
        let error = catalog(url).await.load_table(&facts()).await.unwrap_err();
        let shown = error.to_string();
        let expected = "the REST server answered 503 Service Unavailable: <html> <body> busy busy";
        assert!(shown.contains(expected), "{shown}");
        assert!(shown.len() < 400 && !shown.contains('\n'), "{shown}");
        let error = catalog("http://127.0.0.1:1".to_owned()).await;
        let shown = error.load_table(&facts()).await.unwrap_err().to_string();
        assert!(shown.contains("no answer of the REST server: "), "{shown}");
        assert_eq!(shown.matches("127.0.0.1").count(), 1, "{shown}");
    }

    #[tokio::test]
    async fn a_server_that_ignores_the_parent_has_no_namespaces_below_another() {
        let url = server(|asked| match asked {
            _ if asked.contains("tokens") => (200, token(1).to_string()),
            _ if asked.contains("config") => (200, config().to_string()),
            _ => (200, json!({"namespaces": [["shop"], ["web"]]}).to_string()),
        });
        let catalog = catalog(url).await;
        let all = catalog.list_namespaces(None).await.unwrap();
        assert_eq!(all.len(), 2);
        let below = catalog.list_namespaces(all.first()).await.unwrap();
        assert!(below.is_empty(), "{below:?}");
    }
}
