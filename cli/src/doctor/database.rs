//! The database: the requirements of the sink, and its committed offsets.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use warehouse::locks::{CommittedOffset, committed_offsets};
use warehouse::{Database, Error, ServerError, migrate, refresh, schema};

use super::cluster::{Found, Place};
use super::deployment::Deployment;
use super::report::Report;
use crate::arguments::named;
use crate::display::counted;

const AREA: &str = "database";
/// Aggregates may be this far behind after a large load.
const STALE: Duration = Duration::from_secs(3600);

/// Checks the database. Returns the age in seconds of the oldest record that is not in the tables,
/// if it is known.
pub async fn check(
    report: &mut Report,
    deployment: &Deployment,
    found: Option<&Found>,
) -> Option<f64> {
    let Some(config) = &deployment.database else {
        report.skip(
            AREA,
            "connection",
            "no database named; use --sink-config, --database-url or DATABASE_URL",
        );
        return None;
    };
    let database = match Database::new(config) {
        Ok(database) => database,
        Err(error) => {
            let found = match deployment.sink {
                Some(_) => error.chain(),
                None => named(&error.chain()),
            };
            report.fail(AREA, "connection", found, "correct the URL");
            return None;
        }
    };
    match database.unverified() {
        Some(warning) => report.warn(AREA, "tls", warning.found, warning.fix),
        None => report.ok(AREA, "tls", "the server is verified, or on this machine"),
    }
    let client = match database.connect().await {
        Ok(client) => client,
        Err(error) => {
            let fix = "start the server, or correct address, user and password; check pg_hba.conf \
                and firewalls";
            let address = database.address();
            report.fail(
                AREA,
                "connection",
                format!("{address}: {}", error.chain()),
                fix,
            );
            return None;
        }
    };
    match server(report, &database, &client).await {
        Ok(()) => {}
        Err(error) => {
            report.fail(AREA, "connection", error.chain(), "see the server's log");
            return None;
        }
    }
    let may_migrate = deployment
        .sink
        .as_ref()
        .is_none_or(|sink| sink.config.migrate);
    if !schema(report, &client, may_migrate).await {
        return None;
    }
    rights(report, &client).await;
    connections(report, &client, config.max_connections).await;
    aggregates(report, &client).await;
    match committed_offsets(&client, &deployment.topic).await {
        Ok(offsets) => {
            let ours = offsets.into_iter().filter(|offset| {
                deployment
                    .sink_name()
                    .is_none_or(|name| offset.source.sink == name)
            });
            self::offsets(report, deployment, found, ours.collect()).await
        }
        Err(error) => {
            report.fail(
                AREA,
                "offsets",
                error.chain(),
                "GRANT SELECT ON sink_offsets",
            );
            None
        }
    }
}

async fn server(report: &mut Report, database: &Database, client: &Client) -> Result<(), Error> {
    let before = Utc::now();
    let query = "SELECT clock_timestamp(), current_setting('server_version'), current_user::text";
    let row = match client.query_one(query, &[]).await {
        Ok(row) => row,
        Err(error) => {
            let error = ServerError::from(error).to_string();
            report.fail(AREA, "connection", error, "see the server's log");
            return Ok(());
        }
    };
    let after = Utc::now();
    let (time, version, user): (DateTime<Utc>, String, String) =
        (row.get(0), row.get(1), row.get(2));
    report.ok(
        AREA,
        "connection",
        format!("{}, PostgreSQL {version}, as `{user}`", database.address()),
    );
    report.clock(AREA, "the database", time, before, after);
    if database.is_pooled(client).await? {
        report.fail(
            AREA,
            "sessions",
            Error::Pooled.to_string(),
            "name the server itself in the URL",
        );
    } else {
        report.ok(AREA, "sessions", "a connection keeps its session");
    }
    Ok(())
}

/// Checks the tables. Returns true if the sink can use them.
async fn schema(report: &mut Report, client: &Client, may_migrate: bool) -> bool {
    let check = "schema";
    match migrate::check(client).await {
        Ok(found) => {
            report.ok(
                AREA,
                check,
                format!(
                    "version {}, with every table that the sink needs",
                    found.version
                ),
            );
            return true;
        }
        Err(Error::MissingMigrations(missing)) => {
            let found = format!("migrations are missing: {}", missing.join(", "));
            if may_migrate {
                report.warn(
                    AREA,
                    check,
                    found,
                    "etl migrate, as the tables' owner; a sink with the right to create tables \
                     does it at its start",
                );
            } else {
                report.fail(
                    AREA,
                    check,
                    format!("{found}, and the sink's file has `migrate: false`"),
                    "etl migrate, as the tables' owner",
                );
            }
        }
        Err(Error::Schema(troubles)) => {
            for trouble in troubles {
                let (found, fix) = trouble
                    .split_once(": ")
                    .unwrap_or((&trouble, "see the schema in sql/migrations"));
                report.fail(AREA, check, found, fix);
            }
        }
        Err(Error::OldServer(version)) => report.fail(
            AREA,
            "server",
            format!("this server is PostgreSQL {version}"),
            "PostgreSQL 14 or newer is needed",
        ),
        Err(Error::Standby) => report.fail(
            AREA,
            "server",
            "this server is a read-only standby",
            "use the primary; with several hosts in the URL: target_session_attrs=read-write",
        ),
        Err(error @ Error::Encoding(_)) => report.fail(
            AREA,
            "server",
            error.chain(),
            "create another database with ENCODING 'UTF8', and name it in the URL",
        ),
        Err(error @ Error::ReadOnly) => {
            report.fail(AREA, "server", error.chain(), "then reconnect")
        }
        Err(error) if error.sqlstate() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            report.fail(
                AREA,
                "rights",
                error.chain(),
                "GRANT etl_writer TO the sink's user, as the tables' owner",
            );
        }
        Err(error) => report.fail(AREA, check, error.chain(), "see the server's log"),
    }
    false
}

/// Checks that the user does not have more rights than needed. The check of the schema reports
/// missing rights.
async fn rights(report: &mut Report, client: &Client) {
    match schema::needless_rights(client).await {
        Ok(None) => report.ok(AREA, "rights", "exactly those that the sink needs"),
        Ok(Some(rights)) => {
            let (found, fix) = rights
                .split_once(": ")
                .unwrap_or((&rights, "use a member of etl_writer"));
            report.warn(AREA, "rights", found, fix);
        }
        Err(error) => report.fail(AREA, "rights", error.chain(), "see the server's log"),
    }
}

/// Checks that the server allows the sink's connections.
async fn connections(report: &mut Report, client: &Client, wanted: usize) {
    let query = "\
        SELECT current_setting('max_connections')::bigint \
               - current_setting('superuser_reserved_connections')::bigint, \
               (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')";
    let row = match client.query_one(query, &[]).await {
        Ok(row) => row,
        Err(error) => {
            report.skip(AREA, "connections", ServerError::from(error).to_string());
            return;
        }
    };
    let (most, used): (i64, i64) = (row.get(0), row.get(1));
    // Two more hold the advisory locks and store the aggregates.
    let wanted = i64::try_from(wanted).unwrap_or(i64::MAX).saturating_add(2);
    let found = format!("{used} of {most} in use; a sink uses up to {wanted}");
    if wanted <= most {
        report.ok(AREA, "connections", found);
    } else {
        report.fail(
            AREA,
            "connections",
            found,
            "raise the server's max_connections, or lower the sink's `max-connections`",
        );
    }
}

/// Checks that the aggregates follow the facts.
async fn aggregates(report: &mut Report, client: &Client) {
    let check = "aggregates";
    match refresh::state(client).await {
        Ok(state) if state.age > STALE || state.failure.is_some() => report.warn(
            AREA,
            check,
            state.failure.unwrap_or_else(|| {
                format!(
                    "a change of facts has been due in them for {} s and is not stored",
                    state.age.as_secs()
                )
            }),
            "see the sink's log; deploy/RUNBOOK.md, \"The analysts' questions are slow\"",
        ),
        Ok(_) => report.ok(AREA, check, "they have all that is due"),
        Err(error) => report.skip(AREA, check, error.chain()),
    }
}

/// Checks that a sink writes each partition, and that the topic still holds the records after its
/// committed offset.
async fn offsets(
    report: &mut Report,
    deployment: &Deployment,
    found: Option<&Found>,
    offsets: Vec<CommittedOffset>,
) -> Option<f64> {
    if offsets.is_empty() {
        let name = deployment
            .sink_name()
            .map(|name| format!(" `{name}`"))
            .unwrap_or_default();
        report.warn(
            AREA,
            "writers",
            format!("no sink{name} has read the topic yet"),
            "start it",
        );
        return None;
    }
    let idle: Vec<String> = offsets
        .iter()
        .filter(|offset| offset.writer.is_none())
        .map(|offset| {
            format!(
                "`{}` partition {}",
                offset.source.sink, offset.source.partition
            )
        })
        .collect();
    if idle.is_empty() {
        report.ok(
            AREA,
            "writers",
            format!(
                "{}, each with a sink that writes it",
                counted(offsets.len() as u64, "partition")
            ),
        );
    } else {
        report.warn(
            AREA,
            "writers",
            format!("no sink writes {}", idle.join(", ")),
            "start the sink",
        );
    }
    let found = found?;
    let mut oldest: f64 = 0.0;
    let mut is_sound = true;
    for offset in offsets {
        let (partition, next) = (offset.source.partition, offset.next_offset);
        let Ok(number) = u32::try_from(partition) else {
            continue;
        };
        let (shown, fix) = match found.place(number, next).await {
            None => continue,
            Some(Place::Inside { oldest: age }) => {
                oldest = oldest.max(age);
                continue;
            }
            Some(Place::Beyond { end }) => (
                format!(
                    "partition {partition}: the committed offset is {next}, and the topic ends at \
                     {end}: it was recreated or has lost its last records"
                ),
                format!(
                    "stop the sink, DELETE FROM sink_offsets WHERE sink = '{}', and start it: it \
                     reads the topic from its start",
                    offset.source.sink
                ),
            ),
            Some(Place::Removed { start }) => (
                format!(
                    "partition {partition}: the committed offset is {next}, and the topic begins \
                     at {start}: retention has removed {} records that were not written",
                    start - next
                ),
                format!(
                    "deploy/RUNBOOK.md, \"A gap stops a partition\"; to skip them: UPDATE \
                     sink_offsets SET next_offset = {start} WHERE sink = '{}' AND partition = \
                     {partition}",
                    offset.source.sink
                ),
            ),
        };
        is_sound = false;
        report.fail(AREA, "offsets", shown, fix);
    }
    if is_sound {
        report.ok(
            AREA,
            "offsets",
            "the topic holds all records after the committed offsets",
        );
    }
    let retention = f64::from(found.retention);
    if oldest > retention / 2.0 {
        report.fail(
            AREA,
            "lag",
            format!(
                "the oldest record that is not in the tables is {oldest:.0} s old, and the topic \
                 keeps records for {retention:.0} s"
            ),
            "start the sink, or speed it up; deploy/RUNBOOK.md, \"The lag grows\"",
        );
    } else {
        report.ok(
            AREA,
            "lag",
            format!("the oldest record that is not in the tables is {oldest:.0} s old"),
        );
    }
    Some(oldest)
}
