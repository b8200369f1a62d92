//! The section `postgres` of the connector's file: every key, with its unit and default.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use connector_common::{Error, Secret, Transform, Validate};
use serde::Deserialize;
use sink_common::flattener;
use warehouse::settings::{
    DEFAULT_CONNECT_TIMEOUT, DEFAULT_LOCK_TIMEOUT, DEFAULT_MAX_CONNECTIONS,
    DEFAULT_STATEMENT_TIMEOUT,
};
use warehouse::{OnConflict, Settings};

const APPLICATION_NAME: &str = "postgres-sink";
/// The limits of `max-bytes`, in bytes.
const BATCH_BYTES: std::ops::RangeInclusive<u64> = 1024..=1 << 30;

/// The section `postgres`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// The database: `postgres://user:password@host:port/database` with special characters
    /// percent-encoded, or libpq keywords (`host=… user=… password=…`), or `service=NAME` of a
    /// `pg_service.conf`. Required.
    ///
    /// TLS as in libpq: `sslmode` is one of disable, allow, prefer (default), require, verify-ca,
    /// verify-full; `sslrootcert` is a PEM file of authorities, or `system` (default:
    /// `~/.postgresql/root.crt`, else those of the operating system); `sslcert` and `sslkey` are
    /// the PEM files of a client certificate; `channel_binding` is disable, prefer (default) or
    /// require. The host is compared with the certificate's subject alternative names, never with
    /// its common name. The files are read for each new connection. The sink warns at its start if
    /// the host is another machine and `sslmode` is not verify-full.
    ///
    /// `require_auth` as in libpq: the methods of authentication that the server may use, out of
    /// password, md5, scram-sha-256 and none, or with `!` before each those that it may not. With
    /// `require_auth=scram-sha-256` no server gets the password itself, also none that answers in
    /// the place of yours. Default: all. It needs a host, not the folder of a socket.
    pub url: Secret,
    /// A file whose first line is the password, read for each new connection. For a password that
    /// is not in `url`.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// A command for `sh -c` whose first line of output is the password, run for each new
    /// connection. For passwords that expire, such as RDS IAM tokens:
    /// `aws rds generate-db-auth-token --hostname HOST --port 5432 --username USER`. Its timeout is
    /// `connect-timeout`. The container image has no shell and no other programs: there, have a
    /// second container write `password-file`.
    #[serde(default)]
    pub password_command: Option<String>,
    /// The name of the sink's sessions in `pg_stat_activity`, unless `url` has one. Default
    /// postgres-sink. That of the session with the locks has a number of this process after it.
    #[serde(default = "default_application_name")]
    pub application_name: String,
    /// Shares the partitions of `meta.consumer.partition` among sinks with the same name. Each
    /// takes the same number, releases some when another sink starts, and takes over those of a
    /// sink that ends or fails, within seconds (within a minute if its machine fails). Default
    /// false: the first sink writes all of them, and the others wait until it ends. Sinks share
    /// only with those that have this key and the same partitions in their files. It is a key of
    /// its own, since Fluvio's `cdk` refuses other values in `meta.consumer.partition`.
    #[serde(default)]
    pub share_partitions: bool,
    /// Creates and updates the tables at the start. Default true. With false, a schema that is not
    /// up to date ends the sink with a list of missing migrations; `etl migrate` applies them.
    #[serde(default = "default_migrate")]
    pub migrate: bool,
    /// The policy for a fact that is in the table already, by event time and hash: `ignore`
    /// (default) leaves the stored one, `update` replaces it by that of a newer version.
    ///
    /// `update` is for corrections that the producer sends with the same event id and event time.
    /// The newer version of an event wins, in whichever order its versions arrive: by the sequence
    /// number of its message in a FIFO queue, else by the time at which SQS received the message.
    /// An older version changes nothing. Of equal versions the last to arrive wins; an unknown
    /// version, of a record that another producer has written, is the oldest. Facts of items that
    /// the newer version does not have are removed, unless some of its items can't be read.
    ///
    /// Sequence numbers can be compared only within a message group of one queue: all versions of
    /// an event belong in the same one. `update` excludes the parameter `identity: content` of the
    /// SmartModule.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// Maximum number of facts in a transaction, at least 1. The partitions that a sink writes
    /// divide it, down to 1000 each. Default 20000. An event is never split, so the last one may
    /// exceed it.
    #[serde(default = "default_max_rows")]
    pub max_rows: usize,
    /// Maximum size of the records in a transaction, as they come from the SmartModule: 1KiB to
    /// 1GiB. The partitions divide it, too. Default 16MiB. The sink needs about four times as much
    /// memory: for each partition it writes one batch and fills another. Up to 16MiB more hold the
    /// products and lists that it has written last.
    #[serde(default = "default_max_bytes")]
    pub max_bytes: ByteSize,
    /// Time that the first record of a batch waits for others while the database is idle, so that
    /// records that arrive together make one batch. Default 10ms. While the database is busy, the
    /// next batch grows, and follows at once.
    #[serde(default = "default_max_delay", with = "humantime_serde")]
    pub max_delay: Duration,
    /// Maximum size of the connection pool, at least 1. Default 8. Each partition needs a
    /// connection while it writes. Two more connections hold the locks and refresh the aggregates.
    #[serde(default = "default_max_connections")]
    pub max_connections: usize,
    /// Timeout for making a connection, with TLS, authentication and the first query. Default 10s.
    /// Each host in `url` has this time.
    #[serde(default = "default_connect_timeout", with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Timeout for a statement. The server cancels it then; the sink retries the batch, and after
    /// three timeouts writes it in halves. Default 60s. After the same time without a statement the
    /// server ends a transaction, and after this and `connect-timeout` without an answer the sink
    /// uses another connection.
    #[serde(default = "default_statement_timeout", with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// Timeout for waiting for a lock; the sink retries the transaction then. It is shorter than
    /// `statement-timeout`. Default 10s.
    #[serde(default = "default_lock_timeout", with = "humantime_serde")]
    pub lock_timeout: Duration,
    /// Maximum number of events in a row that PostgreSQL may refuse alike: with the same SQLSTATE,
    /// column and constraint, and without an accepted event between them. Default 1000. Then the
    /// sink rejects no more events, which would delete their messages, and retries until somebody
    /// mends the table. Each partition has a count of its own, which starts again when a sink takes
    /// the partition up, as after a restart. The same number of records in a row may be no
    /// envelopes of flatten-items, which means that another SmartModule is in its place. 0 rejects
    /// any number.
    #[serde(default = "default_max_refused_events")]
    pub max_refused_events: usize,
    /// The secret to sign commit notifications with, at least 16 characters, the same as that of
    /// the sources: `${{ secrets.NAME }}`. Sources that have one ignore notifications without its
    /// signature, and delete no message then. Default: none.
    #[serde(default)]
    pub notifications_secret: Option<Secret>,
    /// The IP address and port to serve `/metrics` for Prometheus, `/healthz` and `/readyz` at:
    /// `127.0.0.1:9466`, or `0.0.0.0:9466` in a container. Default: none.
    #[serde(default)]
    pub metrics_address: Option<SocketAddr>,
    /// The http URL of an OpenTelemetry collector: `http://127.0.0.1:4318`. A span `commit TOPIC`
    /// is exported for each record whose sender sampled its trace, from the time when its message
    /// was sent to the commit of its facts. Default: none.
    #[serde(default)]
    pub otlp_endpoint: Option<String>,
    /// Time to wait at the start for a database or a cluster that does not answer, or for the topic
    /// to be created, before the sink ends with an error. Default 30s. A running sink waits for
    /// them without end; a SmartModule that is missing for this long, a deleted topic and a pooler
    /// of transactions end it at any time.
    #[serde(default = "default_start_timeout", with = "humantime_serde")]
    pub start_timeout: Duration,
}

impl Config {
    /// The defaults for the database at `url`.
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
            max_refused_events: default_max_refused_events(),
            notifications_secret: None,
            metrics_address: None,
            otlp_endpoint: None,
            start_timeout: default_start_timeout(),
        }
    }

    /// The settings of the connections to the database.
    #[must_use]
    pub fn database(&self) -> Settings {
        Settings {
            url: self.url.clone(),
            password_file: self.password_file.clone(),
            password_command: self.password_command.clone(),
            application_name: self.application_name.clone(),
            max_connections: self.max_connections,
            connect_timeout: self.connect_timeout,
            statement_timeout: self.statement_timeout,
            lock_timeout: self.lock_timeout,
        }
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), Error> {
        let valid = self.database().validate();
        valid.map_err(|error| Error::Invalid(error.chain()))?;
        connector_common::committed::validate_secret(self.notifications_secret.as_ref())?;
        connector_common::traces::validate(self.otlp_endpoint.as_deref())?;
        let invalid = |text: &str| Err(Error::Invalid(text.to_owned()));
        if self.max_rows == 0 {
            return invalid("`max-rows` must be at least 1");
        }
        if !BATCH_BYTES.contains(&self.max_bytes.as_u64()) {
            return invalid(&format!(
                "`max-bytes` must be between 1KiB and 1GiB, not {}",
                self.max_bytes
            ));
        }
        Ok(())
    }

    fn validate_transforms(&self, transforms: &[Transform]) -> Result<(), Error> {
        if transforms.is_empty() {
            return Err(Error::Invalid(
                "`transforms` is empty: the sink reads events through the SmartModule \
                 flatten-items; add `transforms: [{ uses: flatten-items }]`"
                    .to_owned(),
            ));
        }
        flattener::validate(transforms)?;
        let ignores_ids = |transform: &Transform| {
            let identity = transform.with.get("identity");
            identity.is_some_and(|identity| identity.trim() == "content")
        };
        if self.on_conflict == OnConflict::Update && transforms.iter().any(ignores_ids) {
            return Err(Error::Invalid(
                "`on-conflict: update` and the parameter `identity: content` exclude each other: \
                 versions of an event have its id; remove one of them"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

fn default_application_name() -> String {
    APPLICATION_NAME.to_owned()
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
    DEFAULT_MAX_CONNECTIONS
}

fn default_connect_timeout() -> Duration {
    DEFAULT_CONNECT_TIMEOUT
}

fn default_statement_timeout() -> Duration {
    DEFAULT_STATEMENT_TIMEOUT
}

fn default_lock_timeout() -> Duration {
    DEFAULT_LOCK_TIMEOUT
}

fn default_max_refused_events() -> usize {
    1000
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
            let error = error.to_string();
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
        assert!(
            twice
                .validate()
                .unwrap_err()
                .to_string()
                .contains("given twice")
        );
        Config {
            url: Secret::from("postgres://u@host/db".to_owned()),
            ..twice
        }
        .validate()
        .unwrap();
    }

    #[test]
    fn a_secret_for_notifications_that_could_be_guessed_is_refused() {
        let guessed = Config {
            notifications_secret: Some(Secret::from("hunter2".to_owned())),
            ..with_url("postgres://u@host/db")
        };
        let error = guessed.validate().unwrap_err().to_string();
        assert!(error.contains("notifications-secret"), "{error}");
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
            .to_string()
            .contains("max-rows")
        );
        assert!(
            Config {
                max_bytes: ByteSize::gib(2),
                ..good.clone()
            }
            .validate()
            .unwrap_err()
            .to_string()
            .contains("max-bytes")
        );
        let late = Config {
            lock_timeout: good.statement_timeout,
            ..good
        };
        assert!(
            late.validate()
                .unwrap_err()
                .to_string()
                .contains("lock-timeout")
        );
    }
}
