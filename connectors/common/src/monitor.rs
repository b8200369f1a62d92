//! The HTTP server at `metrics-address`, and its client.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | every metric, in Prometheus' text format |
//! | `/healthz` | 200, or 503 and the parts that hang: restart the connector |
//! | `/readyz` | 200, or 503 and the parts that do not work: wait, or mend the cause |
//!
//! `--healthcheck` asks a running connector for its health: the images have no shell and no curl,
//! so the program itself is the client.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing;
use prometheus::{IntGauge, Registry, TEXT_FORMAT, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt;

use crate::error::Error;
use crate::health::Health;
use crate::http;

/// The gauge that says for alerts what `/readyz` says.
const READY: &str = "connector_ready";
/// Timeout of each step of a health check: an engine waits longer for the whole check.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest answer that a health check reads: a line for each part that does not work.
const HEALTHCHECK_BYTES: u64 = 64 << 10;

/// The server. Dropping it ends it.
#[derive(Debug)]
pub struct Monitor {
    address: SocketAddr,
    _server: AbortOnDropHandle<()>,
}

impl Monitor {
    /// Serves `registry` and `health` at `address`. Port 0 means any free port.
    ///
    /// # Errors
    /// The address is in use, or does not belong to this machine.
    pub async fn serve(
        address: SocketAddr,
        registry: Registry,
        health: Health,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot serve metrics at `metrics-address` {address}"))?;
        let address = listener.local_addr()?;
        let ready = IntGauge::new(READY, "1 if every part works, as /readyz says; else 0.")?;
        registry.register(Box::new(ready.clone()))?;
        let routes: Router = Router::new()
            .route("/metrics", routing::get(metrics))
            .route("/healthz", routing::get(healthz))
            .route("/readyz", routing::get(readyz))
            .with_state((registry, health, ready));
        let server = tokio::spawn(http::serve(listener, move |request| {
            let routes = routes.clone();
            async move {
                let Ok(response) = routes.oneshot(request).await;
                response
            }
        }));
        tracing::info!(%address, "serving /metrics, /healthz and /readyz");
        Ok(Self {
            address,
            _server: AbortOnDropHandle::new(server),
        })
    }

    /// The address that the server listens at.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

type Served = State<(Registry, Health, IntGauge)>;

async fn metrics(State((registry, health, ready)): Served) -> impl IntoResponse {
    ready.set(health.ready().is_ok().into());
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => (StatusCode::OK, [(CONTENT_TYPE, TEXT_FORMAT)], text),
        Err(error) => {
            let text = error.to_string();
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                [(CONTENT_TYPE, "text/plain")],
                text,
            )
        }
    }
}

async fn healthz(State((_, health, _)): Served) -> impl IntoResponse {
    status(health.alive())
}

async fn readyz(State((_, health, _)): Served) -> impl IntoResponse {
    status(health.ready())
}

fn status(health: Result<(), Error>) -> (StatusCode, String) {
    match health {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

/// The HTTP status, `None` if the answer is not HTTP, and the body.
pub type Answer = (Option<u16>, String);

/// Requests `path` from the connector at `address`, a host and a port. Each step has the timeout
/// `timeout`, and at most `max_bytes` of the answer are read. This call blocks.
///
/// # Errors
/// Connecting, writing or reading failed or timed out.
pub fn get(address: &str, path: &str, timeout: Duration, max_bytes: u64) -> io::Result<Answer> {
    let mut stream = connect(address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    // In HTTP 1.0 the answer ends with the connection and is never chunked.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(max_bytes).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1);
    let status = status.and_then(|word| word.parse().ok());
    Ok((status, body.to_owned()))
}

/// Connects to the first address of the host that accepts.
fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The argument of `--healthcheck`: `127.0.0.1:9464` or `127.0.0.1:9464/readyz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Healthcheck {
    address: SocketAddr,
    path: String,
}

impl FromStr for Healthcheck {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (address, path) = text.split_once('/').unwrap_or((text, "healthz"));
        let address = address
            .parse()
            .map_err(|source| Error::HealthcheckAddress {
                text: address.to_owned(),
                source,
            })?;
        match path {
            "healthz" | "readyz" => Ok(Self {
                address,
                path: format!("/{path}"),
            }),
            _ => Err(Error::HealthcheckPath(path.to_owned())),
        }
    }
}

impl fmt::Display for Healthcheck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}{}", self.address, self.path)
    }
}

impl Healthcheck {
    /// Asks once.
    ///
    /// # Errors
    /// The connector does not answer, or reports parts that hang or do not work.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let address = self.address.to_string();
        let answer = get(&address, &self.path, HEALTHCHECK_TIMEOUT, HEALTHCHECK_BYTES);
        let (status, body) = answer.with_context(|| {
            format!("no answer from {self}; is it the connector's `metrics-address`?")
        })?;
        match status {
            Some(200) => Ok(()),
            _ if !body.trim().is_empty() => Err(anyhow!("{}", body.trim())),
            _ => Err(anyhow!("the answer from {self} is not a connector's")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_health_and_readiness_is_asked_for_by_path() {
        let parsed = |text: &str| {
            let check = text.parse::<Healthcheck>();
            check.map(|check| check.to_string())
        };
        assert_eq!(parsed("127.0.0.1:1").unwrap(), "http://127.0.0.1:1/healthz");
        assert_eq!(parsed("[::1]:1/readyz").unwrap(), "http://[::1]:1/readyz");
        let error = parsed("9464").unwrap_err();
        assert!(error.to_string().contains("not an IP address"));
        let error = parsed("127.0.0.1:1/metrics").unwrap_err();
        assert!(error.to_string().contains("neither"));
    }

    #[tokio::test]
    async fn a_running_connector_reports_its_health() {
        let health = Health::of(["queue"]);
        let address = "127.0.0.1:0".parse().unwrap();
        let monitor = Monitor::serve(address, Registry::new(), health.clone())
            .await
            .unwrap();
        let ask = |path: &str| {
            let check: Healthcheck = format!("{}{path}", monitor.address()).parse().unwrap();
            tokio::task::spawn_blocking(move || check.run().map_err(|error| format!("{error:#}")))
        };
        assert_eq!(ask("").await.unwrap(), Ok(()));
        assert_eq!(
            ask("/readyz").await.unwrap(),
            Err("queue: not reached yet".to_owned())
        );
        health.works("queue");
        assert_eq!(ask("/readyz").await.unwrap(), Ok(()));

        let gone = monitor.address();
        drop(monitor);
        let check: Healthcheck = gone.to_string().parse().unwrap();
        // The server's task has to end first; another turn of the runtime lets it.
        tokio::task::yield_now().await;
        let answer = tokio::task::spawn_blocking(move || check.run())
            .await
            .unwrap();
        assert!(format!("{:#}", answer.unwrap_err()).contains("no answer from"));
    }
}
