//! What Prometheus, an orchestrator and a load balancer ask a connector over HTTP.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | every metric, in Prometheus' text format |
//! | `/healthz` | 200 while every part moves, else 503 and which one hangs: restart the connector |
//! | `/readyz` | 200 while queue, topic and database do their work, else 503 and what is wrong: wait, or mend it |

use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::health::Health;

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub struct Monitor {
    address: SocketAddr,
    _server: AbortOnDropHandle<()>,
}

impl Monitor {
    /// Serves `registry` and `health` at `address`; port 0 is any free one.
    ///
    /// # Errors
    /// The address is taken, or none of this machine's.
    pub async fn serve(
        address: SocketAddr,
        registry: Registry,
        health: Health,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot serve metrics at `metrics-address` {address}"))?;
        let address = listener.local_addr()?;
        let routes = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state((registry, health));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::warn!(%address, "metrics are not served any more: {error}");
            }
        });
        tracing::info!(%address, "serving /metrics, /healthz and /readyz");
        Ok(Self {
            address,
            _server: AbortOnDropHandle::new(server),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

type Asked = State<(Registry, Health)>;

async fn metrics(State((registry, _)): Asked) -> impl IntoResponse {
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

async fn healthz(State((_, health)): Asked) -> impl IntoResponse {
    verdict(health.alive())
}

async fn readyz(State((_, health)): Asked) -> impl IntoResponse {
    verdict(health.ready())
}

fn verdict(well: Result<(), String>) -> (StatusCode, String) {
    match well {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
    }
}
