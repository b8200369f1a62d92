//! A bounded pool of connections to a database.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::seq::SliceRandom;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::{CancelToken, Client, IsolationLevel, SimpleQueryMessage};

use crate::connection_string::unverified_hosts;
use crate::dimension::DimensionCache;
use crate::error::{Context, Error, ServerError};
use crate::require_auth::RequireAuth;
use crate::server_stream::MakeStream;
use crate::settings::{Password, Settings};
use crate::tls::{TlsMode, TlsSettings};
use crate::transaction::{PreparedStatements, Transaction, answer};

const DEFAULT_PORT: u16 = 5432;
/// The number of attempts to have a pooler change the session.
const POOLER_ROUNDS: usize = 3;
/// The time in which a closed connection may finish its last request.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The settings of every session. The server ends the session of a client whose host vanished
/// within a minute instead of hours. "Committed" means on disk, whatever the database's default is.
const SESSION: &str = "\
    SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; \
    SET tcp_user_timeout = '60s'; \
    SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// A database and a pool of connections to it.
#[derive(Debug)]
pub struct Database {
    client: tokio_postgres::Config,
    tls: TlsSettings,
    require_auth: Option<RequireAuth>,
    password: Password,
    connect_timeout: Duration,
    statement_timeout: Duration,
    /// The settings of a session of the pool.
    pooled_session: String,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Session>>,
    dimension_cache: DimensionCache,
}

/// An open connection. Dropping closes it, even if the server does not answer.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    open: oneshot::Sender<Infallible>,
}

#[derive(Debug)]
struct Session {
    connection: Connection,
    statements: PreparedStatements,
}

/// A connection of the pool in use. [`Lease::keep`] returns it to the pool. Dropping closes it,
/// since the state of its session is unknown after an error.
#[derive(Debug)]
pub struct Lease {
    session: Session,
    database: Arc<Database>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// A warning about a server that is not verified.
#[derive(Debug)]
pub struct Unverified {
    /// The finding.
    pub found: String,
    /// The fix.
    pub fix: &'static str,
}

impl fmt::Display for Unverified {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.found, self.fix)
    }
}

impl Database {
    /// Checks the settings. A connection is made when one is needed.
    ///
    /// # Errors
    /// A setting is invalid, or a certificate can't be read.
    pub fn new(settings: &Settings) -> Result<Arc<Self>, Error> {
        let millis = |timeout: Duration| timeout.as_millis().max(1);
        let connection = settings.connection()?;
        connection.tls.connector()?;
        Ok(Arc::new(Self {
            password: settings.password(connection.has_password())?,
            connect_timeout: settings.connect_timeout,
            statement_timeout: settings.statement_timeout,
            client: connection.client,
            tls: connection.tls,
            require_auth: connection.require_auth,
            // A prepared statement would keep its plan from when the table was empty: products
            // would be read as a whole for each batch until autovacuum has analyzed them.
            pooled_session: format!(
                "SET plan_cache_mode = force_custom_plan; \
                 SET statement_timeout = {}; SET lock_timeout = {}; \
                 SET client_min_messages = warning; SET timezone = 'UTC'; \
                 SET etl.notes_hours = 'on'",
                millis(settings.statement_timeout),
                millis(settings.lock_timeout),
            ),
            permits: Arc::new(Semaphore::new(settings.max_connections)),
            idle: Mutex::default(),
            dimension_cache: DimensionCache::default(),
        }))
    }

    /// The members of dimensions that writers have committed over these connections.
    pub(crate) fn dimension_cache(&self) -> &DimensionCache {
        &self.dimension_cache
    }

    /// The address for messages: `host:port, …/database`, without the password.
    #[must_use]
    pub fn address(&self) -> String {
        let name = self.client.get_dbname().or(self.client.get_user());
        format!("{}/{}", hosts(&self.client), name.unwrap_or_default())
    }

    /// A warning if the connection leaves this machine and the server is not verified.
    #[must_use]
    pub fn unverified(&self) -> Option<Unverified> {
        let hosts = unverified_hosts(&self.client, &self.tls);
        (!hosts.is_empty()).then(|| Unverified {
            found: format!(
                "`sslmode={}` does not verify that the server is {}, so another one could read and \
                 change what is sent",
                self.tls.mode.name(),
                hosts.join(" or "),
            ),
            fix: "set `sslmode=verify-full` in the URL, and `sslrootcert=FILE` unless a public \
                  authority signed the server's certificate",
        })
    }

    /// A connection outside of the pool and without its session settings.
    ///
    /// # Errors
    /// The server can't be reached or refuses.
    pub async fn connect(&self) -> Result<Client, Error> {
        let Connection { client, mut open } = self.open("").await?;
        tokio::spawn(async move { open.closed().await });
        Ok(client)
    }

    /// A connection outside of the pool, with `settings` in addition to those of every session.
    /// Tries the hosts in order, each for the timeout.
    pub(crate) async fn open(&self, settings: &str) -> Result<Connection, Error> {
        let streams = self.streams()?;
        let password = self.password.read(self.connect_timeout).await?;
        let idle = self.statement_timeout.as_millis().max(1);
        let settings =
            format!("{SESSION}; SET idle_in_transaction_session_timeout = {idle}; {settings}");
        let mut outcome = Err(Error::Setting("`url` names no host".to_owned()));
        for mut host in each_host(&self.client) {
            if let Some(password) = &password {
                host.password(password);
            }
            let opening = self.open_at(&host, &streams, &settings);
            outcome = match tokio::time::timeout(self.connect_timeout, opening).await {
                Ok(opened) => opened,
                Err(_) => Err(Error::Connect {
                    address: hosts(&host),
                    source: ServerError::NoAnswer(self.connect_timeout),
                }),
            };
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    async fn open_at(
        &self,
        host: &tokio_postgres::Config,
        streams: &MakeStream,
        settings: &str,
    ) -> Result<Connection, Error> {
        let connected = match host.connect(streams.clone()).await {
            // A server that requires TLS answers with this code.
            Err(error)
                if self.tls.mode == TlsMode::Allow
                    && error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) =>
            {
                let streams = MakeStream {
                    mode: SslMode::Require,
                    ..streams.clone()
                };
                host.connect(streams).await
            }
            connected => connected,
        };
        let (client, connection) = connected.map_err(|error| Error::Connect {
            address: hosts(host),
            source: error.into(),
        })?;
        let (open, closed) = oneshot::channel();
        // Without the timeout, the connection would wait for the answer to its last request.
        let close = async {
            let _ = closed.await;
            tokio::time::sleep(CLOSE_TIMEOUT).await;
        };
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!("connection closed: {}", ServerError::from(error));
                },
                () = close => tracing::debug!("closed a connection that got no answer"),
            }
        });
        let prepared = client.batch_execute(settings).await;
        prepared.context("cannot prepare the session")?;
        Ok(Connection { client, open })
    }

    /// Cancels the query that runs on the connection of `token`.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn cancel(&self, token: CancelToken) -> Result<(), Error> {
        let mut streams = self.streams()?;
        // The connection can have TLS, which its server may require.
        if self.tls.mode == TlsMode::Allow {
            streams.mode = SslMode::Prefer;
        }
        let cancelled = token.cancel_query(streams).await;
        cancelled.context("cannot cancel a query")
    }

    fn streams(&self) -> Result<MakeStream, Error> {
        Ok(MakeStream {
            tls: self.tls.connector()?,
            mode: self.tls.mode.for_client(),
            negotiation: self.client.get_ssl_negotiation(),
            require_auth: self.require_auth.clone(),
        })
    }

    /// Returns true behind a pooler that gives each transaction another session. A pooler has the
    /// session that was used last, or the one that was not used for the longest time, come next. So
    /// a transaction on another connection takes the one, and repeated requests meet the other.
    ///
    /// # Errors
    /// The server can't be reached or refuses.
    pub async fn is_pooled(&self, client: &Client) -> Result<bool, Error> {
        let timeout = self.connect_timeout;
        let process = server_process(client, timeout).await?;
        let other = self.open("").await?;
        let run = async |sql| {
            let done = answer(timeout, other.client.batch_execute(sql)).await;
            done.context("cannot check for a pooler")
        };
        for _ in 0..POOLER_ROUNDS {
            run("BEGIN").await?;
            // In a pool of one session, a request would wait for the end of this transaction.
            if server_process(&other.client, timeout).await? == process
                || server_process(client, timeout).await? != process
            {
                return Ok(true);
            }
            run("COMMIT").await?;
            for _ in 0..2 {
                if server_process(client, timeout).await? != process {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// A connection of the pool. Waits while all are in use.
    ///
    /// # Errors
    /// The server can't be reached or refuses.
    pub async fn lease(self: &Arc<Self>) -> Result<Lease, Error> {
        // The semaphore is never closed, which is the only error.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let session = match self.take_idle() {
            Some(session) => session,
            None => Session {
                connection: self.open(&self.pooled_session).await?,
                statements: PreparedStatements::default(),
            },
        };
        Ok(Lease {
            session,
            database: Arc::clone(self),
            _permit: permit,
        })
    }

    fn take_idle(&self) -> Option<Session> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|session| !session.connection.client.is_closed());
        idle.pop()
    }
}

/// The hosts with their ports.
fn hosts(client: &tokio_postgres::Config) -> String {
    let ports = client.get_ports();
    let hosts = client.get_hosts().iter().enumerate();
    let hosts: Vec<String> = hosts
        .map(|(index, host)| {
            let port = ports.get(index).or(ports.first()).copied();
            let port = port.unwrap_or(DEFAULT_PORT);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                #[cfg(unix)]
                Host::Unix(folder) => format!("{}:{port}", folder.display()),
            }
        })
        .collect();
    hosts.join(",")
}

/// A configuration for each host, in the order in which to try them. The client would try all of
/// them in one call, in which a host that does not answer takes the time of the others.
fn each_host(all: &tokio_postgres::Config) -> Vec<tokio_postgres::Config> {
    let ports = all.get_ports();
    let hosts = all.get_hosts().iter().enumerate();
    let mut each: Vec<_> = hosts
        .map(|(index, host)| {
            let mut one = tokio_postgres::Config::new();
            one.channel_binding(all.get_channel_binding())
                .target_session_attrs(all.get_target_session_attrs())
                .load_balance_hosts(all.get_load_balance_hosts())
                .keepalives(all.get_keepalives())
                .keepalives_idle(all.get_keepalives_idle());
            match host {
                // MakeStream asks for TLS.
                Host::Tcp(name) => one
                    .host(name)
                    .ssl_mode(SslMode::Require)
                    .ssl_negotiation(SslNegotiation::Direct),
                // libpq doesn't use TLS on a socket in the file system either.
                #[cfg(unix)]
                Host::Unix(folder) => one.host_path(folder).ssl_mode(SslMode::Disable),
            };
            if let Some(address) = all.get_hostaddrs().get(index) {
                one.hostaddr(*address);
            }
            if let Some(port) = ports.get(index).or(ports.first()) {
                one.port(*port);
            }
            if let Some(user) = all.get_user() {
                one.user(user);
            }
            if let Some(password) = all.get_password() {
                one.password(password);
            }
            if let Some(name) = all.get_dbname() {
                one.dbname(name);
            }
            if let Some(options) = all.get_options() {
                one.options(options);
            }
            if let Some(name) = all.get_application_name() {
                one.application_name(name);
            }
            if let Some(timeout) = all.get_connect_timeout() {
                one.connect_timeout(*timeout);
            }
            if let Some(timeout) = all.get_tcp_user_timeout() {
                one.tcp_user_timeout(*timeout);
            }
            if let Some(interval) = all.get_keepalives_interval() {
                one.keepalives_interval(interval);
            }
            if let Some(retries) = all.get_keepalives_retries() {
                one.keepalives_retries(retries);
            }
            one
        })
        .collect();
    if all.get_load_balance_hosts() == LoadBalanceHosts::Random {
        each.shuffle(&mut rand::rng());
    }
    each
}

/// The id of the process that serves `client`. Uses the simple protocol, since a pooler would lose
/// a prepared statement.
pub(crate) async fn server_process(client: &Client, timeout: Duration) -> Result<i32, Error> {
    let process = answer(timeout, client.simple_query("SELECT pg_backend_pid()")).await;
    let process = process.context("cannot ask for the server's process")?;
    let mut rows = process.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    });
    Ok(rows.next().unwrap_or_default())
}

impl Lease {
    /// The connection.
    pub fn client(&mut self) -> &mut Client {
        &mut self.session.connection.client
    }

    /// Timeout for the answer to a statement: some time after the server's own timeout.
    pub(crate) fn timeout(&self) -> Duration {
        self.database.statement_timeout + self.database.connect_timeout
    }

    /// Begins a transaction. Whatever the database's default is, each statement sees the commits
    /// before it.
    pub(crate) async fn begin(&mut self) -> Result<Transaction<'_>, Error> {
        let timeout = self.timeout();
        let Session {
            connection,
            statements,
        } = &mut self.session;
        let transaction = connection
            .client
            .build_transaction()
            .isolation_level(IsolationLevel::ReadCommitted)
            .start();
        let transaction = answer(timeout, transaction).await;
        let transaction = transaction.context("cannot begin a transaction")?;
        Ok(Transaction::new(transaction, statements, timeout))
    }

    /// Returns the connection to the pool.
    pub fn keep(self) {
        let idle = &self.database.idle;
        let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(self.session);
    }
}
