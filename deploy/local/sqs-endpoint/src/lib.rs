//! A small SQS endpoint for one machine, with faults on purpose.
//!
//! It speaks SQS's own protocol (AWS JSON 1.0), so the AWS SDKs work against it with nothing but
//! another endpoint URL, and it keeps to what AWS documents of standard queues: visibility timeouts,
//! a new receipt handle for each receive, stale handles, batches that fail in part, limits, error
//! codes. What a network and SQS do wrong once in a while it does on demand: see [`Faults`].
//!
//! It is no replacement for SQS: messages live in memory and are gone when it stops, credentials
//! are not checked, FIFO queues and redrive policies are refused by name. It belongs on 127.0.0.1.

mod attributes;
mod backlog;
mod calls;
mod control;
mod error;
mod faults;
mod limits;
mod operation;
mod queue;
mod receipt;
mod server;
mod shelf;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::calls::Context;
pub use crate::faults::{Fault, Faults, NotPossible};
pub use crate::operation::Operation;
use crate::queue::{Settings, SharedQueue};
use crate::shelf::Shelf;

/// How long [`Endpoint::stop`] lets calls under way finish.
const STOP: Duration = Duration::from_secs(5);

/// A running endpoint. Dropped without [`Endpoint::stop`], it ends long polls and takes no more calls.
pub struct Endpoint {
    url: String,
    context: Arc<Context>,
    server: JoinHandle<()>,
}

/// A queue of the endpoint, seen from the inside.
#[derive(Clone)]
pub struct QueueHandle(SharedQueue);

impl Endpoint {
    /// Starts an endpoint on `address`; port 0 takes a free one.
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
            shelf: Shelf::new(&url),
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

    /// Where it listens, for the SDK's `endpoint_url`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Creates a queue with SQS's default attributes, unless there is one, and returns its URL.
    ///
    /// # Errors
    /// A name that SQS does not allow, or a queue of that name with other attributes.
    pub fn create_queue(&self, name: &str) -> anyhow::Result<String> {
        let created = self.context.shelf.create(name, Settings::default());
        created.map_err(|error| anyhow!("cannot create the queue `{name}`: {}", error.message))?;
        Ok(self.context.shelf.url(name))
    }

    /// A queue by its name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<QueueHandle> {
        self.context.shelf.by_name(name).ok().map(QueueHandle)
    }

    /// The faults to come.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.context.faults
    }

    /// Ends long polls, finishes the calls under way, closes all connections.
    pub async fn stop(mut self) {
        self.context.stop.cancel();
        if tokio::time::timeout(STOP, &mut self.server).await.is_err() {
            tracing::warn!("the SQS endpoint has calls that do not end; leaving them");
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.context.stop.cancel();
    }
}

impl QueueHandle {
    /// Messages that a receive would get now (`ApproximateNumberOfMessages`, but exact).
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.counts().visible
    }

    /// Messages received and neither deleted nor visible again.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.counts().in_flight
    }

    /// Messages that were sent with a delay that hasn't ended.
    #[must_use]
    pub fn delayed(&self) -> usize {
        self.0.counts().delayed
    }

    /// Messages of every kind that have not been deleted.
    #[must_use]
    pub fn undeleted(&self) -> usize {
        let counts = self.0.counts();
        counts.visible + counts.in_flight + counts.delayed
    }
}
