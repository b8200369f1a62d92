//! What an SQLSTATE means for the sink: try again, wait for somebody, set the event aside, or give up.
//!
//! The classes are those of appendix A of PostgreSQL's manual.

use std::error::Error as _;

use tokio_postgres::error::SqlState;

use crate::tls::TlsRefused;

/// What to do about an error of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It passes by itself: connection lost, server restarting, deadlock, lock timeout. Try the
    /// same transaction again.
    Retry,
    /// It passes when somebody acts: disk full, read-only, no permission, missing table. Try again
    /// slowly, and say it loudly.
    Wait,
    /// PostgreSQL can't hold a value. Find the event and set it aside.
    SetAside,
    /// The database can't be entered: wrong password, no such database. At the start that is a
    /// mistake in the configuration; later somebody may be changing a password.
    Refused,
}

impl Remedy {
    /// The remedy for `error`. One without an SQLSTATE comes from the connection.
    #[must_use]
    pub fn of(error: &tokio_postgres::Error) -> Self {
        match error.code() {
            Some(state) => Self::of_state(state),
            None if is_of_tls(error) => Self::Refused,
            None => Self::Retry,
        }
    }

    fn of_state(state: &SqlState) -> Self {
        if *state == SqlState::LOCK_NOT_AVAILABLE || *state == SqlState::TOO_MANY_CONNECTIONS {
            return Self::Retry;
        }
        // A migration has changed a table under the prepared statements of a connection, or a pooler
        // has put another one under it. The next attempt is on a new connection.
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
            // intervention (shutdown, cancelled, starting up); invalid transaction state, which a
            // connection that broke inside a transaction leaves behind.
            Some("08" | "40" | "57") => Self::Retry,
            Some("25") if *state != SqlState::READ_ONLY_SQL_TRANSACTION => Self::Retry,
            // Data exception; constraint violation; program limit exceeded (an index key too long,
            // JSON nested too deep).
            Some("22" | "23" | "54") => Self::SetAside,
            Some("28" | "3D") => Self::Refused,
            _ => Self::Wait,
        }
    }
}

/// Whether the server has no TLS, or shows a certificate that is not trusted.
fn is_of_tls(error: &tokio_postgres::Error) -> bool {
    error.source().is_some_and(|source| {
        // The client's words for it; it has no type of its own.
        source.is::<TlsRefused>() || source.to_string() == "server does not support TLS"
    })
}

/// What went wrong in the database, with what the sink was doing.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {cause}")]
pub struct DatabaseError {
    /// What the sink was doing, as in "cannot insert facts".
    pub doing: &'static str,
    /// What went wrong.
    pub cause: Cause,
}

/// Where it went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// PostgreSQL's answer, or the connection's.
    #[error("{}", describe(.0))]
    Server(#[from] tokio_postgres::Error),
    /// A file or a command that a connection needs.
    #[error("{0}")]
    Here(String),
}

impl DatabaseError {
    /// Whether the server has cancelled a statement, as it does when one takes too long.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.sqlstate() == Some(&SqlState::QUERY_CANCELED)
    }

    /// The server's code for it; none where the connection failed.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&SqlState> {
        match &self.cause {
            Cause::Server(error) => error.code(),
            Cause::Here(_) => None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match &self.cause {
            Cause::Server(error) => Remedy::of(error),
            Cause::Here(_) => Remedy::Refused,
        }
    }
}

/// Adds what the sink was doing to an error of the client.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, DatabaseError>;
}

impl<T> Doing<T> for Result<T, tokio_postgres::Error> {
    fn doing(self, doing: &'static str) -> Result<T, DatabaseError> {
        self.map_err(|error| DatabaseError {
            doing,
            cause: error.into(),
        })
    }
}

impl<T> Doing<T> for Result<T, String> {
    fn doing(self, doing: &'static str) -> Result<T, DatabaseError> {
        self.map_err(|words| DatabaseError {
            doing,
            cause: Cause::Here(words),
        })
    }
}

/// `error` in a line: the server's message with its SQLSTATE, or what the connection reports.
#[must_use]
pub fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => {
            let detail = server
                .detail()
                .map(|detail| format!("; {detail}"))
                .unwrap_or_default();
            format!(
                "{} (SQLSTATE {}){detail}",
                server.message(),
                server.code().code()
            )
        }
        None => match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
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
            (SqlState::UNTRANSLATABLE_CHARACTER, Remedy::SetAside),
            (SqlState::NUMERIC_VALUE_OUT_OF_RANGE, Remedy::SetAside),
            (SqlState::CHECK_VIOLATION, Remedy::SetAside),
            (SqlState::PROGRAM_LIMIT_EXCEEDED, Remedy::SetAside),
            (SqlState::STATEMENT_TOO_COMPLEX, Remedy::SetAside),
            (SqlState::INVALID_PASSWORD, Remedy::Refused),
            (SqlState::INVALID_CATALOG_NAME, Remedy::Refused),
        ] {
            assert_eq!(Remedy::of_state(&state), remedy, "{}", state.code());
        }
    }
}
