//! The section `postgres` of the connector's file: every key, with its unit and default.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use connector_common::{Secret, Validate};
use serde::Deserialize;
use tokio_postgres::config::{Host, SslMode};

use crate::connection_string::ConnectionString;
use crate::password::Password;

/// The section `postgres`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// The database: `postgres://user:password@host:port/database` with special characters
    /// percent-encoded, or libpq keywords (`host=… user=… password=… dbname=…`), or `service=NAME`
    /// of a `pg_service.conf`. Required.
    ///
    /// TLS as in libpq: `sslmode` is one of disable, allow, prefer (default), require, verify-ca,
    /// verify-full; `sslrootcert` is a PEM file of authorities, or `system` (default:
    /// `~/.postgresql/root.crt`, else those of the operating system); `sslcert` and `sslkey` are the
    /// PEM files of a client certificate. The host is compared with the certificate's subject
    /// alternative names, never with its common name. The files are read for each new connection.
    pub url: Secret,
    /// A file whose first line is the password, read for each new connection; for a password
    /// that is not in `url`.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// A command for `sh -c` whose first line of output is the password, run for each new
    /// connection; for passwords that expire, such as RDS IAM tokens:
    /// `aws rds generate-db-auth-token --hostname HOST --port 5432 --username USER`. It has
    /// `connect-timeout` for its answer.
    #[serde(default)]
    pub password_command: Option<String>,
    /// The name that the server's administrator sees in `pg_stat_activity`, unless `url` gives
    /// one. Default postgres-sink.
    #[serde(default = "default_application_name")]
    pub application_name: String,
    /// Whether sinks of one name share the partitions that `meta.consumer.partition` leaves them: each takes as
    /// many as the others, hands some over when another one starts, and takes over those of one that ends or
    /// dies, within seconds (a minute where its machine is gone without a word). Default false: the first one
    /// writes all of them, and the others wait until it ends. They share only among those that have this and
    /// the same partitions in their files. It is no word of `meta.consumer.partition`, since Fluvio's `cdk`
    /// refuses all but its own there.
    #[serde(default)]
    pub share_partitions: bool,
    /// Whether to create and update the tables at the start. Default true. With false a schema that
    /// is not up to date ends the sink, with a list of what is missing; `etl migrate` adds it.
    #[serde(default = "default_migrate")]
    pub migrate: bool,
    /// What becomes of a fact that is in the table already, by event time and hash. Default ignore.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// Facts in one transaction at most, where this sink writes one partition; of several each has its part of
    /// them, but no less than 1000. Default 20000. An event is never cut, so the last one may go beyond.
    #[serde(default = "default_max_rows")]
    pub max_rows: usize,
    /// Size of the records in one transaction at most, as they come from the SmartModule; partitions divide it, too.
    /// Default 16MiB. Memory in use is about four times this: of each partition one batch is written, one is
    /// filled.
    #[serde(default = "default_max_bytes")]
    pub max_bytes: ByteSize,
    /// How long the first record of a batch waits for others while the database has nothing to do, so that the records
    /// of one response, and of those that follow closely, make one batch. Default 10ms. While it writes, the next batch grows,
    /// and follows at once.
    #[serde(default = "default_max_delay", with = "humantime_serde")]
    pub max_delay: Duration,
    /// Connections to the database at most, besides one that marks the partitions as taken and one that refreshes the aggregates.
    /// Default 8. Each partition that writes needs one while it writes.
    #[serde(default = "default_max_connections")]
    pub max_connections: usize,
    /// Limit for making one connection. Default 10s.
    #[serde(default = "default_connect_timeout", with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Limit for one statement; what takes longer is cancelled by the server and tried again, and
    /// after three times in halves. Default 60s.
    #[serde(default = "default_statement_timeout", with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// Limit for waiting for one lock; then the transaction is tried again. Default 10s.
    #[serde(default = "default_lock_timeout", with = "humantime_serde")]
    pub lock_timeout: Duration,
    /// Where to serve `/metrics` for Prometheus, `/healthz` and `/readyz`: `127.0.0.1:9466`, or
    /// `0.0.0.0:9466` in a container. Default: nowhere.
    #[serde(default)]
    pub metrics_address: Option<SocketAddr>,
    /// How long to wait at the start for a database or a cluster that does not answer, or for the
    /// topic to be made, before giving up with an error. Default 30s. Once running, the sink waits for them
    /// without end; only a SmartModule that is missing for this long ends it at any time.
    #[serde(default = "default_start_timeout", with = "humantime_serde")]
    pub start_timeout: Duration,
}

/// What becomes of a fact that is in the table already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnConflict {
    /// It stays as it came first.
    #[default]
    Ignore,
    /// It takes the content of the one that came last, where that differs: a correction that the
    /// producer sends under the same event id and event time. The order is that of arrival, so that
    /// a correction is sure to come last only in the partition of what it corrects: a FIFO queue
    /// with a message group for each event, or a topic with one partition. The facts of items that the
    /// corrected event no longer has are removed, unless some of its items can't be read.
    Update,
}

impl Config {
    /// All defaults for the database at `url`.
    #[must_use]
    pub fn new(url: Secret) -> Self {
        Self {
            url,
            password_file: None,
            password_command: None,
            application_name: default_application_name(),
            share_partitions: false,
            migrate: default_migrate(),
            on_conflict: OnConflict::default(),
            max_rows: default_max_rows(),
            max_bytes: default_max_bytes(),
            max_delay: default_max_delay(),
            max_connections: default_max_connections(),
            connect_timeout: default_connect_timeout(),
            statement_timeout: default_statement_timeout(),
            lock_timeout: default_lock_timeout(),
            metrics_address: None,
            start_timeout: default_start_timeout(),
        }
    }

    /// The database to connect to.
    ///
    /// # Errors
    /// What is wrong with the URL, without quoting it: it holds the password.
    pub(crate) fn connection(&self) -> Result<ConnectionString, String> {
        let mut connection = ConnectionString::parse(self.url.reveal())
            .map_err(|reason| format!("`url` {reason}"))?;
        let database = &mut connection.database;
        if database
            .get_hosts()
            .iter()
            .any(|host| matches!(host, Host::Tcp(name) if name.contains('@')))
        {
            return Err("`url` holds an `@` in its user or password; write it as %40".to_owned());
        }
        if database.get_hosts().is_empty() {
            return Err("`url` names no host".to_owned());
        }
        if database.get_user().is_none_or(str::is_empty) {
            return Err("`url` names no user".to_owned());
        }
        database
            .connect_timeout(self.connect_timeout)
            .keepalives_idle(Duration::from_secs(30))
            .tcp_user_timeout(Duration::from_secs(60));
        if database.get_application_name().is_none() {
            database.application_name(&self.application_name);
        }
        let is_on_this_machine = database.get_hosts().iter().all(is_socket);
        database.ssl_mode(if is_on_this_machine {
            SslMode::Disable
        } else {
            connection.tls.mode.for_client()
        });
        Ok(connection)
    }

    /// Where the password comes from.
    ///
    /// # Errors
    /// More than one place is named.
    pub(crate) fn password(&self, in_url: bool) -> Result<Password, String> {
        match (&self.password_file, &self.password_command) {
            (None, None) => Ok(Password::InUrl),
            (Some(path), None) if !in_url => Ok(Password::File(path.clone())),
            (None, Some(command)) if !in_url => Ok(Password::Command(command.clone())),
            _ => Err(
                "the password is given twice; keep one of `url`, `password-file` and `password-command`"
                    .to_owned(),
            ),
        }
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), String> {
        let connection = self.connection()?;
        self.password(connection.database.get_password().is_some())?;
        for (key, value) in [
            ("max-rows", self.max_rows),
            ("max-connections", self.max_connections),
        ] {
            if value == 0 {
                return Err(format!("`{key}` must be at least 1"));
            }
        }
        let size = self.max_bytes.as_u64();
        if !(1024..=1 << 30).contains(&size) {
            return Err("`max-bytes` must be between 1KiB and 1GiB".to_owned());
        }
        for (key, value) in [
            ("connect-timeout", self.connect_timeout),
            ("statement-timeout", self.statement_timeout),
            ("lock-timeout", self.lock_timeout),
        ] {
            if value < Duration::from_millis(1) {
                return Err(format!("`{key}` must be at least 1ms"));
            }
        }
        if self.lock_timeout >= self.statement_timeout {
            return Err("`lock-timeout` must be shorter than `statement-timeout`, which would end every wait before it".to_owned());
        }
        Ok(())
    }
}

/// TLS is for networks: libpq, too, leaves it out on a socket in the file system.
fn is_socket(host: &Host) -> bool {
    !matches!(host, Host::Tcp(_))
}

fn default_application_name() -> String {
    "postgres-sink".to_owned()
}

fn default_migrate() -> bool {
    true
}

fn default_max_rows() -> usize {
    20_000
}

fn default_max_bytes() -> ByteSize {
    ByteSize::mib(16)
}

fn default_max_delay() -> Duration {
    Duration::from_millis(10)
}

fn default_max_connections() -> usize {
    8
}

fn default_connect_timeout() -> Duration {
    Duration::from_secs(10)
}

fn default_statement_timeout() -> Duration {
    Duration::from_secs(60)
}

fn default_lock_timeout() -> Duration {
    Duration::from_secs(10)
}

fn default_start_timeout() -> Duration {
    Duration::from_secs(30)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_url(url: &str) -> Config {
        Config::new(Secret::from(url.to_owned()))
    }

    #[test]
    fn a_url_that_cannot_work_is_refused_without_being_shown() {
        for url in [
            "postgres://u:hunter2@host:port/db",
            "host=db password=hunter2 word=hunter2 user=u",
            "postgres://u:hunter2@2@host/db",
            "postgres://:hunter2@host/db",
            "password=hunter2 user=u",
            "",
        ] {
            let Err(error) = with_url(url).validate() else {
                panic!("accepted {url}")
            };
            assert!(
                error.contains("url") && !error.contains("hunter2"),
                "{url}: {error}"
            );
        }
        with_url("postgres://u:p%40ss@host/db").validate().unwrap();
        with_url("host=db user=u password='a b'")
            .validate()
            .unwrap();
    }

    #[test]
    fn a_password_in_two_places_is_refused() {
        let twice = Config {
            password_command: Some("echo x".to_owned()),
            ..with_url("postgres://u:p@host/db")
        };
        assert!(twice.validate().unwrap_err().contains("given twice"));
        Config {
            url: Secret::from("postgres://u@host/db".to_owned()),
            ..twice
        }
        .validate()
        .unwrap();
    }

    #[test]
    fn limits_that_exclude_each_other_are_refused() {
        let good = with_url("postgres://u@host/db");
        assert!(
            Config {
                max_rows: 0,
                ..good.clone()
            }
            .validate()
            .unwrap_err()
            .contains("max-rows")
        );
        assert!(
            Config {
                max_bytes: ByteSize::gib(2),
                ..good.clone()
            }
            .validate()
            .unwrap_err()
            .contains("max-bytes")
        );
        let late = Config {
            lock_timeout: good.statement_timeout,
            ..good
        };
        assert!(late.validate().unwrap_err().contains("lock-timeout"));
    }
}
