//! Errors, and the remedy for each: retry, wait for somebody, reject the event, or give up.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::error::{DbError, SqlState};
use tokio_rustls::rustls;

use crate::require_auth::AuthRefused;

/// The longest message about a row in a log, in characters.
const MAX_MESSAGE: usize = 300;

/// The client's text for a server that answers a request for TLS with "no".
pub(crate) const NO_TLS: &str = "server does not support TLS";

/// Any error that causes another one.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An error of this crate. No message shows a password or a connection string.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request to the server failed, or the connection to it.
    #[error("{context}")]
    Server {
        /// The request, as in "cannot insert facts".
        context: &'static str,
        /// The answer of the server, or the error of the connection.
        source: ServerError,
    },
    /// A connection can't be made.
    #[error("cannot connect to the database at {address}")]
    Connect {
        /// The server, `host:port`.
        address: String,
        /// The answer of the server, or the error of the connection.
        source: ServerError,
    },
    /// A setting of the connection is invalid.
    #[error("{0}")]
    Setting(String),
    /// A file that a connection needs can't be read.
    #[error("cannot read {content} from {}", path.display())]
    File {
        /// The expected content.
        content: String,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: BoxError,
    },
    /// The certificates can't be used.
    #[error("{context}")]
    Tls {
        /// The attempt, with a hint.
        context: String,
        /// The error of the TLS library.
        source: BoxError,
    },
    /// `password-command` can't be started.
    #[error("cannot run `password-command`")]
    PasswordCommand(#[source] io::Error),
    /// The password is missing.
    #[error("{0}")]
    Password(String),

    /// The server lacks features that the schema needs.
    #[error("PostgreSQL 14 or newer is needed; this server is version {0}")]
    OldServer(String),
    /// The database stores texts in another encoding.
    #[error(
        "the database's encoding is {0}, which can't store every character of the events; \
         create one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding(String),
    /// The server is a standby.
    #[error("this server is a standby, which can't be written to; name the primary")]
    Standby,
    /// The database or the role has transactions that are read-only by default.
    #[error(
        "transactions are read-only here; undo it: \
         ALTER DATABASE …, ALTER ROLE … or ALTER SYSTEM RESET default_transaction_read_only"
    )]
    ReadOnly,
    /// A connection pooler gives each transaction another session.
    #[error(
        "a pooler gives each transaction another session (PgBouncer with \
         pool_mode = transaction); name the server itself, or a pool with pool_mode = session"
    )]
    Pooled,
    /// Another process migrates, or hangs while it does.
    #[error(
        "another process has been migrating this database for {0:?}; to find it: \
         SELECT a.* FROM pg_stat_activity a JOIN pg_locks l USING (pid) \
         WHERE l.locktype = 'advisory' AND l.granted"
    )]
    MigrationLocked(Duration),
    /// The schema is not up to date, and this process may not change it.
    #[error(
        "the schema lacks {}, and `migrate: false` forbids adding it; \
         run `etl migrate` as the tables' owner",
        .0.join(", ")
    )]
    MissingMigrations(Vec<String>),
    /// The tables differ from those of the migrations, or rights on them are missing or too wide.
    #[error("the tables can't be used:\n- {}", .0.join("\n- "))]
    Schema(Vec<String>),
    /// A migration failed, or an applied one differs from the one in this program.
    #[error("cannot migrate")]
    Migration(#[source] refinery::Error),

    /// A partition of the facts can't be created. No fact causes this, whatever the SQLSTATE.
    #[error("cannot create a partition of the facts")]
    FactPartition(#[source] ServerError),
    /// The committed offset is not the one that the batch follows: another sink with the same name
    /// reads the same partition.
    #[error(
        "the committed offset is {committed} and not {expected}: \
         another sink with the same name has moved it"
    )]
    Fenced {
        /// The offset in the database.
        committed: i64,
        /// The offset that the batch follows.
        expected: i64,
    },
    /// The committed offsets are those of a sink with the same name in another cluster.
    #[error(
        "the offsets of the sink `{sink}` in the topic `{topic}` are those of another Fluvio \
         cluster ({other}, last commit {committed}); this cluster is {cluster}. If both clusters \
         shall write to this database, give one of the sinks a `meta.name` of its own. If this \
         cluster replaces the other one, run DELETE FROM sink_offsets WHERE sink = '{sink}' AND \
         topic = '{topic}', and start the sink: it reads the topic from its start, and what is \
         there already stays as it is"
    )]
    OtherCluster {
        /// The sink.
        sink: String,
        /// The topic.
        topic: String,
        /// The id of this cluster.
        cluster: String,
        /// The id of the other cluster.
        other: String,
        /// The time of its last commit.
        committed: String,
    },
    /// The row of a dimension was deleted between its lookup and its use.
    #[error(
        "a row of dim_product or dim_list was deleted while facts that refer to it were written"
    )]
    DimensionDeleted,
}

impl Error {
    /// The remedy for this error.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Server { source, .. } | Self::Connect { source, .. } => source.remedy(),
            Self::FactPartition(source) => match source.remedy() {
                Remedy::Reject => Remedy::Wait,
                remedy => remedy,
            },
            Self::DimensionDeleted => Remedy::Retry,
            Self::Setting(_)
            | Self::File { .. }
            | Self::Tls { .. }
            | Self::PasswordCommand(_)
            | Self::Password(_) => Remedy::Refused,
            Self::OldServer(_)
            | Self::Encoding(_)
            | Self::Standby
            | Self::ReadOnly
            | Self::Pooled
            | Self::MigrationLocked(_)
            | Self::MissingMigrations(_)
            | Self::Schema(_)
            | Self::Migration(_)
            | Self::Fenced { .. }
            | Self::OtherCluster { .. } => Remedy::Fatal,
        }
    }

    /// The server's code; `None` if the error is not an answer of the server.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&SqlState> {
        match self {
            Self::Server { source, .. }
            | Self::Connect { source, .. }
            | Self::FactPartition(source) => source.sqlstate(),
            _ => None,
        }
    }

    /// The cause of a refusal, to tell whether events are refused alike; `None` if the error is not
    /// an answer of the server.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        let (Self::Server { source, .. } | Self::Connect { source, .. }) = self else {
            return None;
        };
        let server = source.client()?.as_db_error()?;
        Some(Cause {
            sqlstate: server.code().code().to_owned(),
            column: server.column().map(str::to_owned),
            constraint: server.constraint().map(str::to_owned),
        })
    }

    /// Returns true if the server cancelled a statement, which it does on a timeout.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.sqlstate() == Some(&SqlState::QUERY_CANCELED)
    }

    /// The server's message with its detail, which can show the values of a row. It is for
    /// `rejected_events`, not for a log.
    #[must_use]
    pub fn detailed(&self) -> String {
        let server = match self {
            Self::Server { source, .. } | Self::Connect { source, .. } => {
                source.client().and_then(|error| error.as_db_error())
            }
            _ => None,
        };
        server.map_or_else(|| self.chain(), |server| text_of(server, false))
    }

    /// The error without the server's messages, which can show values and statements, and without
    /// its address. It is for `/readyz`, which has no password.
    #[must_use]
    pub fn outline(&self) -> String {
        match self {
            Self::Server { source, .. } | Self::FactPartition(source) => {
                format!("{self}: {}", source.outline())
            }
            Self::Connect { source, .. } => {
                format!("cannot connect to the database: {}", source.outline())
            }
            Self::Migration(_) => format!("{self}; the log has the reason"),
            _ => self.chain(),
        }
    }

    /// The error and its sources in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        connector_common::chain(self)
    }
}

/// The cause of a refusal, as far as the server names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    sqlstate: String,
    column: Option<String>,
    constraint: Option<String>,
}

/// The remedy for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Retry the transaction: the error is transient, such as a lost connection, a restart of the
    /// server, a deadlock or a lock timeout.
    Retry,
    /// Retry slowly, and log an error: somebody has to act, for instance on a full disk, a missing
    /// permission or a missing table.
    Wait,
    /// Reject the event: PostgreSQL can't store one of its values.
    Reject,
    /// Check the configuration: access is refused, for instance because of a wrong password. A
    /// running sink waits, since somebody may be changing the password.
    Refused,
    /// Give up: neither a retry nor waiting helps.
    Fatal,
}

impl Remedy {
    /// The classes are those of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
    fn of_state(state: &SqlState) -> Self {
        if *state == SqlState::LOCK_NOT_AVAILABLE || *state == SqlState::TOO_MANY_CONNECTIONS {
            return Self::Retry;
        }
        // A migration changed a table under the prepared statements of a connection, or a pooler
        // put another session under it. The retry uses a new connection.
        if *state == SqlState::FEATURE_NOT_SUPPORTED
            || *state == SqlState::INVALID_SQL_STATEMENT_NAME
        {
            return Self::Retry;
        }
        if *state == SqlState::UNDEFINED_DATABASE || *state == SqlState::DATABASE_DROPPED {
            return Self::Refused;
        }
        match state.code().get(..2) {
            // Connection exception; transaction rollback (deadlock, serialisation); operator
            // intervention (shutdown, cancelled, starting up); invalid transaction state, which
            // remains after a connection broke inside a transaction.
            Some("08" | "40" | "57") => Self::Retry,
            Some("25") if *state != SqlState::READ_ONLY_SQL_TRANSACTION => Self::Retry,
            // Data exception; constraint violation; program limit exceeded (an index key too long,
            // JSON nested too deeply).
            Some("22" | "23" | "54") => Self::Reject,
            Some("28" | "3D") => Self::Refused,
            _ => Self::Wait,
        }
    }
}

/// An error of the client, or a server that does not answer. It is displayed in one line: the
/// server's message with SQLSTATE and detail, or the error of the connection. If the server refuses
/// values of a row, they are not displayed.
#[derive(Debug)]
pub enum ServerError {
    /// The server refuses a request, or the connection broke.
    Client(tokio_postgres::Error),
    /// The server has not answered within this time, and its connection looks open.
    NoAnswer(Duration),
}

impl From<tokio_postgres::Error> for ServerError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Client(error)
    }
}

impl std::error::Error for ServerError {}

impl ServerError {
    /// The server's code; `None` if the error is not an answer of the server.
    pub(crate) fn sqlstate(&self) -> Option<&SqlState> {
        self.client()?.code()
    }

    /// The server's code and what of the schema it names, or the error of the connection.
    fn outline(&self) -> String {
        let Some(server) = self.client().and_then(|error| error.as_db_error()) else {
            return self.to_string();
        };
        let names = [
            ("table", server.table()),
            ("column", server.column()),
            ("constraint", server.constraint()),
        ];
        let names = names
            .into_iter()
            .filter_map(|(kind, name)| Some((kind, name?)));
        let names: String = names
            .map(|(kind, name)| format!(", {kind} {name}"))
            .collect();
        let state = server.code().code();
        format!("SQLSTATE {state}{names}; the log has PostgreSQL's message")
    }

    fn client(&self) -> Option<&tokio_postgres::Error> {
        match self {
            Self::Client(error) => Some(error),
            Self::NoAnswer(_) => None,
        }
    }

    /// An error without an SQLSTATE comes from the connection.
    fn remedy(&self) -> Remedy {
        let server = self.client().and_then(|error| error.as_db_error());
        if server.is_some_and(|server| {
            *server.code() == SqlState::CHECK_VIOLATION && server.constraint().is_none()
        }) {
            // A CHECK has a name. This is a partition's condition: the row's own partition was
            // attached while the row waited for the default one.
            return Remedy::Retry;
        }
        match self.sqlstate() {
            Some(state) => Remedy::of_state(state),
            None if self.lacks_tls() || self.is_refusal_of_server() => Remedy::Refused,
            None => Remedy::Retry,
        }
    }

    /// Returns true if nobody listens at the server's address.
    fn is_unreached(&self) -> bool {
        let source = self.client().and_then(|error| error.source());
        let error = source.and_then(|source| source.downcast_ref::<io::Error>());
        error.is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            )
        })
    }

    /// There is no type for it, only this text.
    fn lacks_tls(&self) -> bool {
        let source = self.client().and_then(|error| error.source());
        source.is_some_and(|source| source.to_string() == NO_TLS)
    }

    /// rustls refused the server or what it sent, or `require_auth` how it authenticates: the
    /// server is another one than the settings demand, in contrast to a connection that broke.
    fn is_refusal_of_server(&self) -> bool {
        let error = self.stream_error();
        error.is_some_and(|error| {
            error.is::<rustls::Error>()
                || error.is::<rustls::pki_types::InvalidDnsNameError>()
                || error.is::<AuthRefused>()
        })
    }

    /// The error inside of the I/O error that the stream returns.
    fn stream_error(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.client()?
            .source()?
            .downcast_ref::<io::Error>()?
            .get_ref()
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match self {
            Self::Client(error) => error,
            Self::NoAnswer(timeout) => return write!(out, "no answer within {timeout:?}"),
        };
        if let Some(server) = error.as_db_error() {
            // Data exceptions and constraint violations.
            let is_of_row = matches!(server.code().code().get(..2), Some("22" | "23"));
            return out.write_str(&text_of(server, is_of_row));
        }
        match error.source() {
            // The client's own text says only that it can't connect.
            Some(source) if self.is_unreached() => return write!(out, "{source}; is it running?"),
            Some(source) => write!(out, "{error}: {source}")?,
            None => write!(out, "{error}")?,
        }
        let tls: Option<&rustls::Error> =
            self.stream_error().and_then(|error| error.downcast_ref());
        if let Some(rustls::Error::InvalidCertificate(_)) = tls {
            out.write_str(
                "; the server's certificate must be signed by an authority in `sslrootcert`, and \
                 for sslmode=verify-full name the host as a subject alternative name",
            )?;
        }
        Ok(())
    }
}

/// The message with SQLSTATE and detail, or without the values that it quotes.
fn text_of(server: &DbError, hides_values: bool) -> String {
    let (state, message) = (server.code().code(), server.message());
    if hides_values {
        return format!("{} (SQLSTATE {state})", without_values(server, message));
    }
    match server.detail() {
        Some(detail) => format!("{message} (SQLSTATE {state}); {detail}"),
        None => format!("{message} (SQLSTATE {state})"),
    }
}

/// Replaces what `message` quotes, except names of tables, columns and constraints, by an ellipsis.
fn without_values(server: &DbError, message: &str) -> String {
    let names = [
        server.schema(),
        server.table(),
        server.column(),
        server.datatype(),
        server.constraint(),
    ];
    let parts = message.split('"').enumerate().map(|(number, part)| {
        let is_quoted = number % 2 == 1;
        if is_quoted && !names.contains(&Some(part)) {
            "…"
        } else {
            part
        }
    });
    let shown = parts.collect::<Vec<_>>().join("\"");
    shown.chars().take(MAX_MESSAGE).collect()
}

/// Adds the request that failed to an error of the client.
pub(crate) trait Context<T> {
    fn context(self, context: &'static str) -> Result<T, Error>;
}

impl<T, E: Into<ServerError>> Context<T> for Result<T, E> {
    fn context(self, context: &'static str) -> Result<T, Error> {
        self.map_err(|error| Error::Server {
            context,
            source: error.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_the_remedy_that_loses_nothing() {
        for (state, remedy) in [
            (SqlState::T_R_DEADLOCK_DETECTED, Remedy::Retry),
            (SqlState::T_R_SERIALIZATION_FAILURE, Remedy::Retry),
            (SqlState::ADMIN_SHUTDOWN, Remedy::Retry),
            (SqlState::CANNOT_CONNECT_NOW, Remedy::Retry),
            (SqlState::QUERY_CANCELED, Remedy::Retry),
            (SqlState::TOO_MANY_CONNECTIONS, Remedy::Retry),
            (SqlState::LOCK_NOT_AVAILABLE, Remedy::Retry),
            (SqlState::IN_FAILED_SQL_TRANSACTION, Remedy::Retry),
            (SqlState::FEATURE_NOT_SUPPORTED, Remedy::Retry),
            (SqlState::INVALID_SQL_STATEMENT_NAME, Remedy::Retry),
            (SqlState::DISK_FULL, Remedy::Wait),
            (SqlState::READ_ONLY_SQL_TRANSACTION, Remedy::Wait),
            (SqlState::INSUFFICIENT_PRIVILEGE, Remedy::Wait),
            (SqlState::UNDEFINED_TABLE, Remedy::Wait),
            (SqlState::INTERNAL_ERROR, Remedy::Wait),
            (SqlState::UNTRANSLATABLE_CHARACTER, Remedy::Reject),
            (SqlState::NUMERIC_VALUE_OUT_OF_RANGE, Remedy::Reject),
            (SqlState::CHECK_VIOLATION, Remedy::Reject),
            (SqlState::PROGRAM_LIMIT_EXCEEDED, Remedy::Reject),
            (SqlState::STATEMENT_TOO_COMPLEX, Remedy::Reject),
            (SqlState::INVALID_PASSWORD, Remedy::Refused),
            (SqlState::INVALID_CATALOG_NAME, Remedy::Refused),
        ] {
            assert_eq!(Remedy::of_state(&state), remedy, "{}", state.code());
        }
    }
}
