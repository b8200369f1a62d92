//! Settings of the connections to a database, and where the password comes from.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use connector_common::Secret;
use tokio::process::Command;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};

use crate::connection_string::ConnectionString;
use crate::error::Error;

/// Default of [`Settings::max_connections`].
pub const DEFAULT_MAX_CONNECTIONS: usize = 8;
/// Default of [`Settings::connect_timeout`].
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Default of [`Settings::statement_timeout`].
pub const DEFAULT_STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// Default of [`Settings::lock_timeout`].
pub const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to a host that vanished ends within a minute.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(60);

/// Settings of the connections to a database.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `postgres://user:password@host:port/database`, libpq keywords, or `service=NAME`.
    pub url: Secret,
    /// A file whose first line is the password. It is read for each new connection.
    pub password_file: Option<PathBuf>,
    /// A shell command whose first line of output is the password. It runs for each new connection.
    pub password_command: Option<String>,
    /// The name in `pg_stat_activity`, unless `url` has one.
    pub application_name: String,
    /// Maximum size of the pool.
    pub max_connections: usize,
    /// Timeout for making a connection, until the session is prepared, for each host; and for
    /// `password_command`.
    pub connect_timeout: Duration,
    /// Timeout for a statement on a pooled connection, and for the time between two statements of
    /// a transaction.
    pub statement_timeout: Duration,
    /// Timeout for waiting for a lock on a pooled connection.
    pub lock_timeout: Duration,
}

impl Settings {
    /// The defaults for the database at `url`.
    #[must_use]
    pub fn new(url: Secret, application_name: &str) -> Self {
        Self {
            url,
            password_file: None,
            password_command: None,
            application_name: application_name.to_owned(),
            max_connections: DEFAULT_MAX_CONNECTIONS,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            statement_timeout: DEFAULT_STATEMENT_TIMEOUT,
            lock_timeout: DEFAULT_LOCK_TIMEOUT,
        }
    }

    /// Checks the settings without connecting.
    ///
    /// # Errors
    /// The first invalid setting.
    pub fn validate(&self) -> Result<(), Error> {
        let connection = self.connection()?;
        self.password(connection.has_password())?;
        if self.max_connections == 0 {
            return Err(invalid("`max-connections` must be at least 1"));
        }
        for (key, value) in [
            ("connect-timeout", self.connect_timeout),
            ("statement-timeout", self.statement_timeout),
            ("lock-timeout", self.lock_timeout),
        ] {
            if value < Duration::from_millis(1) {
                return Err(invalid(format!(
                    "`{key}` must be at least 1ms, not {value:?}"
                )));
            }
        }
        if self.lock_timeout >= self.statement_timeout {
            return Err(invalid(
                "`lock-timeout` must be shorter than `statement-timeout`, \
                 which would end every wait before it",
            ));
        }
        Ok(())
    }

    /// The parsed URL with the settings of the client. Errors don't quote the URL, since it holds
    /// the password.
    pub(crate) fn connection(&self) -> Result<ConnectionString, Error> {
        let mut connection = ConnectionString::parse(self.url.reveal())?;
        let client = &mut connection.client;
        let hosts = client.get_hosts();
        if hosts
            .iter()
            .any(|host| is_tcp(host, |name| name.contains('@')))
        {
            return Err(invalid(
                "`url` holds an `@` in its user or password; write it as %40",
            ));
        }
        if hosts.is_empty() {
            return Err(invalid("`url` names no host"));
        }
        let is_all_tcp = hosts.iter().all(|host| is_tcp(host, |_| true));
        if connection.require_auth.is_some() && !is_all_tcp {
            return Err(invalid(
                "`url` holds `require_auth`, which is checked on TCP alone, and the folder of a \
                 socket; name the host, or leave `require_auth` out",
            ));
        }
        // libpq connects by TCP then; this client would do so without TLS.
        if !is_all_tcp && !client.get_hostaddrs().is_empty() {
            return Err(invalid(
                "`url` holds `hostaddr` and the folder of a socket; name the host, or leave \
                 `hostaddr` out",
            ));
        }
        if client.get_ssl_negotiation() == SslNegotiation::Direct
            && connection.tls.mode.for_client() != SslMode::Require
        {
            return Err(invalid(
                "`sslnegotiation=direct` in `url` needs `sslmode=require` or more",
            ));
        }
        if client.get_user().is_none_or(str::is_empty) {
            return Err(invalid("`url` names no user"));
        }
        client
            .connect_timeout(self.connect_timeout)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES)
            .tcp_user_timeout(TCP_USER_TIMEOUT);
        if client.get_application_name().is_none() {
            client.application_name(&self.application_name);
        }
        Ok(connection)
    }

    pub(crate) fn password(&self, is_in_url: bool) -> Result<Password, Error> {
        match (&self.password_file, &self.password_command) {
            (None, None) => Ok(Password::InUrl),
            (Some(path), None) if !is_in_url => Ok(Password::File(path.clone())),
            (None, Some(command)) if !is_in_url => Ok(Password::Command(command.clone())),
            _ => Err(invalid(
                "the password is given twice; \
                 keep one of `url`, `password-file` and `password-command`",
            )),
        }
    }
}

fn invalid(text: impl Into<String>) -> Error {
    Error::Setting(text.into())
}

fn is_tcp(host: &Host, condition: impl Fn(&str) -> bool) -> bool {
    matches!(host, Host::Tcp(name) if condition(name))
}

/// The source of the password.
#[derive(Debug)]
pub(crate) enum Password {
    /// The URL has it, or none is needed.
    InUrl,
    /// The first line of a file.
    File(PathBuf),
    /// The first line of a shell command's output.
    Command(String),
}

impl Password {
    /// Reads the password for a new connection; `None` if the URL has it. Errors show nothing of
    /// the command's output, which may hold the password.
    pub(crate) async fn read(&self, timeout: Duration) -> Result<Option<Vec<u8>>, Error> {
        let output = match self {
            Self::InUrl => return Ok(None),
            Self::File(path) => tokio::fs::read(path).await.map_err(|error| Error::File {
                content: "the password".to_owned(),
                path: path.clone(),
                source: error.into(),
            })?,
            Self::Command(command) => run(command, timeout).await?,
        };
        let line = output.split(|byte| *byte == b'\n').next();
        let line = line.unwrap_or_default();
        let password = line.strip_suffix(b"\r").unwrap_or(line);
        if password.is_empty() {
            let text = "`password-file` or `password-command` gives an empty password";
            return Err(Error::Password(text.to_owned()));
        }
        Ok(Some(password.to_vec()))
    }
}

async fn run(command: &str, timeout: Duration) -> Result<Vec<u8>, Error> {
    let running = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(timeout, running)
        .await
        .map_err(|_| Error::Password(format!("`password-command` timed out after {timeout:?}")))?;
    let output = output.map_err(Error::PasswordCommand)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let status = output.status;
    Err(Error::Password(format!(
        "`password-command` failed ({status}): {}",
        text.trim()
    )))
}
