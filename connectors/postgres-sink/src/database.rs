//! Connections to the database: as many at once as allowed, kept for the next batch.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, IsolationLevel, SimpleQueryMessage};

use crate::config::Config;
use crate::dimension::Known;
use crate::errors::{DatabaseError, Doing};
use crate::password::Password;
use crate::statements::{Prepared, Work};
use crate::tls::{TlsMode, TlsSettings};

/// A database and the connections to it.
#[derive(Debug)]
pub struct Database {
    config: tokio_postgres::Config,
    tls: TlsSettings,
    password: Password,
    password_limit: Duration,
    session: String,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Session>>,
    known: Known,
}

/// A connection and what is prepared on it.
#[derive(Debug)]
struct Session {
    client: Client,
    prepared: Prepared,
}

/// A connection in use. [`Lease::keep`] returns it for the next batch; dropping closes it, since
/// nobody knows what state a transaction that failed has left it in.
#[derive(Debug)]
pub struct Lease {
    session: Session,
    database: Arc<Database>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Database {
    /// The database of `config`. Connects when a connection is asked for.
    ///
    /// # Errors
    /// A URL that can't be understood, or a certificate that can't be read.
    pub fn new(config: &Config) -> Result<Arc<Self>, String> {
        let millis = |limit: Duration| limit.as_millis().max(1);
        let connection = config.connection()?;
        connection.tls.connector()?;
        Ok(Arc::new(Self {
            password: config.password(connection.database.get_password().is_some())?,
            password_limit: config.connect_timeout,
            config: connection.database,
            tls: connection.tls,
            session: format!(
                "SET statement_timeout = {}; SET lock_timeout = {}; SET client_min_messages = warning; SET timezone = 'UTC'; SET etl.notes_hours = 'on'",
                millis(config.statement_timeout),
                millis(config.lock_timeout),
            ),
            permits: Arc::new(Semaphore::new(config.max_connections)),
            idle: Mutex::default(),
            known: Known::default(),
        }))
    }

    /// What was told its dimensions over these connections.
    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    /// Where the database is, for messages: `host:port, …/database`, never with the password.
    #[must_use]
    pub fn address(&self) -> String {
        let ports = self.config.get_ports();
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(position, host)| {
                let port = ports
                    .get(position)
                    .or(ports.first())
                    .copied()
                    .unwrap_or(5432);
                match host {
                    Host::Tcp(name) => format!("{name}:{port}"),
                    #[cfg(unix)]
                    Host::Unix(folder) => format!("{}:{port}", folder.display()),
                }
            })
            .collect();
        let name = self
            .config
            .get_dbname()
            .or(self.config.get_user())
            .unwrap_or_default();
        format!("{}/{name}", hosts.join(","))
    }

    /// A connection without the sink's own settings, for migrations.
    ///
    /// # Errors
    /// The server can't be reached or refuses.
    pub async fn connect(&self) -> Result<Client, DatabaseError> {
        let doing = "cannot connect";
        let tls = self.tls.connector().doing(doing)?;
        let mut config = self.config.clone();
        if let Some(password) = self.password.ask(self.password_limit).await.doing(doing)? {
            config.password(password);
        }
        let connected = match config.connect(tls.clone()).await {
            // What a server answers that takes no connection without TLS.
            Err(error)
                if self.tls.mode == TlsMode::Allow
                    && error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) =>
            {
                config.ssl_mode(SslMode::Require).connect(tls).await
            }
            connected => connected,
        };
        let (client, connection) = connected.doing(doing)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("connection closed: {}", crate::errors::describe(&error));
            }
        });
        Ok(client)
    }

    /// Whether a pooler gives each transaction a session of its own choice: then two connections that
    /// are open at the same time take turns in one.
    ///
    /// # Errors
    /// The server can't be reached or refuses.
    pub async fn is_pooled(&self, client: &Client) -> Result<bool, DatabaseError> {
        let other = self.connect().await?;
        Ok(server_process(client).await? == server_process(&other).await?)
    }

    /// A connection for one batch; waits while all that are allowed are in use.
    ///
    /// # Errors
    /// The server can't be reached or refuses.
    pub async fn lease(self: &Arc<Self>) -> Result<Lease, DatabaseError> {
        // `None` would mean a closed semaphore, and nobody closes this one.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let session = match self.take_idle() {
            Some(session) => session,
            None => {
                let client = self.connect().await?;
                client
                    .batch_execute(&self.session)
                    .await
                    .doing("cannot prepare the session")?;
                Session {
                    client,
                    prepared: Prepared::default(),
                }
            }
        };
        Ok(Lease {
            session,
            database: Arc::clone(self),
            _permit: permit,
        })
    }

    fn take_idle(&self) -> Option<Session> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|session| !session.client.is_closed());
        idle.pop()
    }
}

/// Asked in the simple protocol: a prepared statement would be lost on a pooler.
async fn server_process(client: &Client) -> Result<Option<String>, DatabaseError> {
    let answer = client
        .simple_query("SELECT pg_backend_pid()")
        .await
        .doing("cannot ask for the server's process")?;
    let mut rows = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    Ok(rows.next().map(str::to_owned))
}

impl Lease {
    /// The connection itself.
    pub fn client(&mut self) -> &mut Client {
        &mut self.session.client
    }

    /// Begins a transaction. Its later statements see what others committed meanwhile, whatever
    /// the database's default.
    pub(crate) async fn begin(&mut self) -> Result<Work<'_>, DatabaseError> {
        let Session { client, prepared } = &mut self.session;
        let transaction = client
            .build_transaction()
            .isolation_level(IsolationLevel::ReadCommitted)
            .start()
            .await
            .doing("cannot begin a transaction")?;
        Ok(Work::new(transaction, prepared))
    }

    /// Returns the connection for the next batch.
    pub fn keep(self) {
        self.database
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.session);
    }
}
