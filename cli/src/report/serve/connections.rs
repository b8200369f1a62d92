//! Read-only connections, reused by later requests.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_postgres::{CancelToken, Client};
use warehouse::Database;

use crate::arguments;

const SESSION: &str = "SET default_transaction_read_only = on; SET client_min_messages = warning";
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);
/// Has the server end the queries of a killed process.
const CLIENT_CHECK: &str = "SET client_connection_check_interval = '5s'";

/// Connects on demand. After an outage the next request opens a new connection.
pub struct Connections {
    database: Arc<Database>,
    idle: Mutex<Vec<Client>>,
}

/// A connection in use. [`Connections::keep`] returns it; dropping it cancels its query.
pub struct Lease {
    client: Client,
    cancel: CancelOnDrop,
}

struct CancelOnDrop {
    database: Arc<Database>,
    token: Option<CancelToken>,
}

impl Connections {
    /// Connections to the database at `url`.
    ///
    /// # Errors
    /// Fails if the URL is malformed.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        Ok(Self {
            database: arguments::database(url)?,
            idle: Mutex::default(),
        })
    }

    /// An idle connection, or a new one.
    ///
    /// # Errors
    /// Fails if the server is unreachable or refuses. The message does not hold the password.
    pub async fn lease(&self) -> anyhow::Result<Lease> {
        if let Some(client) = self.take_idle() {
            return Ok(self.lend(client));
        }
        let client = self.database.connect().await?;
        let lease = self.lend(client);
        lease.batch_execute(SESSION).await?;
        // Fails if the server's platform does not support it; orphaned queries run to their end
        // there.
        drop(lease.batch_execute(CLIENT_CHECK).await);
        Ok(lease)
    }

    /// Returns a connection that is outside of a transaction.
    pub fn keep(&self, lease: Lease) {
        let Lease { client, mut cancel } = lease;
        cancel.token = None;
        self.idle().push(client);
    }

    fn lend(&self, client: Client) -> Lease {
        let cancel = CancelOnDrop {
            database: Arc::clone(&self.database),
            token: Some(client.cancel_token()),
        };
        Lease { client, cancel }
    }

    fn take_idle(&self) -> Option<Client> {
        let mut idle = self.idle();
        idle.retain(|client| !client.is_closed());
        idle.pop()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Lease {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let Some(token) = self.token.take() else {
            return;
        };
        let database = Arc::clone(&self.database);
        // Without a runtime the process is ending, and the server notices that.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let cancelled = tokio::time::timeout(CANCEL_TIMEOUT, database.cancel(token)).await;
                if let Ok(Err(error)) = cancelled {
                    tracing::debug!("{}", error.chain());
                }
            });
        }
    }
}
