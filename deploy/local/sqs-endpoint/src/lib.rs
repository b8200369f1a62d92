//! A small SQS endpoint for one machine, with fault injection.
//!
//! It speaks SQS's protocol (AWS JSON 1.0), so the AWS SDKs need only another endpoint URL. It
//! behaves like standard queues as AWS documents them: visibility timeouts, a new receipt handle
//! for each receive, stale handles, partially failed batches, limits, error codes. Tests can inject
//! errors of the network and of SQS; see [`Faults`].
//!
//! It does not replace SQS: messages are kept in memory and lost when it stops, credentials are not
//! checked, and FIFO queues and redrive policies are refused. Bind it to 127.0.0.1.

mod attributes;
mod backlog;
mod calls;
mod faults;
mod limits;
mod protocol;
mod queue;
mod server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::calls::Context;
pub use crate::faults::{Fault, Faults, InvalidFault};
pub use crate::protocol::Operation;
use crate::queue::{QueueRegistry, Settings, SharedQueue};

/// The time that [`Endpoint::stop`] gives to current calls.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A running endpoint. Dropping it ends long polls and refuses new calls without waiting.
pub struct Endpoint {
    url: String,
    context: Arc<Context>,
    server: JoinHandle<()>,
}

/// A queue of the endpoint, for tests that check its state.
#[derive(Clone)]
pub struct QueueHandle(SharedQueue);

impl Endpoint {
    /// Starts an endpoint on `address`. Port 0 selects a free port.
    ///
    /// # Errors
    /// The address can't be listened on.
    pub async fn start(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("the SQS endpoint cannot listen on {address}"))?;
        let url = format!(
            "http://{}",
            listener
                .local_addr()
                .context("the SQS endpoint's own address")?
        );
        let context = Arc::new(Context {
            queues: QueueRegistry::new(&url),
            faults: Faults::none(),
            stop: CancellationToken::new(),
        });
        let server = tokio::spawn(server::serve(listener, Arc::clone(&context)));
        Ok(Self {
            url,
            context,
            server,
        })
    }

    /// Returns the endpoint's URL, for the SDK's `endpoint_url`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Creates a queue with SQS's default attributes if it doesn't exist, and returns its URL.
    ///
    /// # Errors
    /// SQS does not allow the name, or the queue exists with other attributes.
    pub fn create_queue(&self, name: &str) -> anyhow::Result<String> {
        let created = self.context.queues.create(name, Settings::default());
        created.map_err(|error| anyhow!("cannot create the queue `{name}`: {}", error.message))?;
        Ok(self.context.queues.url(name))
    }

    /// Returns a queue by its name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<QueueHandle> {
        self.context.queues.by_name(name).ok().map(QueueHandle)
    }

    /// Returns the injected faults.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.context.faults
    }

    /// Ends long polls, finishes current calls and closes all connections.
    pub async fn stop(mut self) {
        self.context.stop.cancel();
        if tokio::time::timeout(STOP_TIMEOUT, &mut self.server)
            .await
            .is_err()
        {
            tracing::warn!("calls of the SQS endpoint did not end within {STOP_TIMEOUT:?}");
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.context.stop.cancel();
    }
}

impl QueueHandle {
    /// Returns the exact number of visible messages (`ApproximateNumberOfMessages`).
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.counts().visible
    }

    /// Returns the number of messages that were received and are neither deleted nor visible again.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.counts().in_flight
    }

    /// Returns the number of messages whose delay has not ended.
    #[must_use]
    pub fn delayed(&self) -> usize {
        self.0.counts().delayed
    }

    /// Returns the number of all messages that have not been deleted.
    #[must_use]
    pub fn undeleted(&self) -> usize {
        let counts = self.0.counts();
        counts.visible + counts.in_flight + counts.delayed
    }
}
