//! The database: what the sink needs of it, and where the sink stands in it.

use chrono::{DateTime, Utc};
use postgres_sink::claims::{self, Stand};
use postgres_sink::database::Database;
use postgres_sink::errors::DatabaseError;
use postgres_sink::{MigrateError, migrate, schema};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::clock;
use super::cluster::Found;
use super::deployment::Deployment;
use super::report::Report;

const AREA: &str = "database";

/// Checks all of it. Returns how long the oldest record waits that is not in the tables, in seconds, if that is known.
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
        Err(reason) => {
            report.fail(
                AREA,
                "connection",
                format!("the database's {reason}"),
                "correct the URL",
            );
            return None;
        }
    };
    let client = match database.connect().await {
        Ok(client) => client,
        Err(error) => {
            let mend = "start the server, or correct address, user and password; a pg_hba.conf or a firewall may be in the way";
            let address = database.address();
            report.fail(
                AREA,
                "connection",
                format!("{address}: {}", error.cause),
                mend,
            );
            return None;
        }
    };
    match server(report, &database, &client).await {
        Ok(()) => {}
        Err(error) => {
            report.fail(
                AREA,
                "connection",
                error.to_string(),
                "see the server's log",
            );
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
    match claims::stands(&client, &deployment.topic).await {
        Ok(stands) => {
            let ours = stands.into_iter().filter(|stand| {
                deployment
                    .sink_name()
                    .is_none_or(|name| stand.source.sink == name)
            });
            self::stands(report, deployment, found, ours.collect()).await
        }
        Err(error) => {
            report.fail(
                AREA,
                "offsets",
                error.to_string(),
                "GRANT SELECT ON sink_offsets",
            );
            None
        }
    }
}

async fn server(
    report: &mut Report,
    database: &Database,
    client: &Client,
) -> Result<(), DatabaseError> {
    let before = Utc::now();
    let query = "SELECT clock_timestamp(), current_setting('server_version'), current_user::text";
    let row = match client.query_one(query, &[]).await {
        Ok(row) => row,
        Err(error) => {
            let error = postgres_sink::errors::describe(&error);
            report.fail(AREA, "connection", error, "see the server's log");
            return Ok(());
        }
    };
    let behind = Utc::now();
    let (time, version, user): (DateTime<Utc>, String, String) =
        (row.get(0), row.get(1), row.get(2));
    report.ok(
        AREA,
        "connection",
        format!("{}, PostgreSQL {version}, as `{user}`", database.address()),
    );
    clock::check(report, AREA, "the database", time, before, behind);
    if database.is_pooled(client).await? {
        report.fail(
            AREA,
            "sessions",
            MigrateError::Pooled.to_string(),
            "name the server itself in the URL",
        );
    } else {
        report.ok(AREA, "sessions", "a connection keeps its session");
    }
    Ok(())
}

/// Whether the tables are there and as they should be.
async fn schema(report: &mut Report, client: &Client, may_migrate: bool) -> bool {
    let check = "schema";
    match migrate::check(client).await {
        Ok(found) => {
            report.ok(
                AREA,
                check,
                format!(
                    "version {}, every table as the sink needs it",
                    found.version
                ),
            );
            return true;
        }
        Err(MigrateError::Missing(missing)) => {
            let found = format!("it lacks {}", missing.join(", "));
            if may_migrate {
                report.warn(AREA, check, found, "etl migrate, as the tables' owner; a sink that may create tables does it when it starts");
            } else {
                report.fail(
                    AREA,
                    check,
                    format!("{found}, and the sink's file has `migrate: false`"),
                    "etl migrate, as the tables' owner",
                );
            }
        }
        Err(MigrateError::Schema(troubles)) => {
            for trouble in troubles {
                let (found, mend) = trouble
                    .split_once(": ")
                    .unwrap_or((&trouble, "see the schema in sql/migrations"));
                report.fail(AREA, check, found, mend);
            }
        }
        Err(MigrateError::OldServer(version)) => report.fail(
            AREA,
            "server",
            format!("this server is PostgreSQL {version}"),
            "PostgreSQL 14 or newer is needed",
        ),
        Err(MigrateError::Standby) => report.fail(
            AREA,
            "server",
            "this server is a standby, which can't be written to",
            "name the primary; with several hosts in the URL: target_session_attrs=read-write",
        ),
        Err(error @ MigrateError::ReadOnly) => {
            report.fail(AREA, "server", error.to_string(), "then connect anew")
        }
        Err(MigrateError::Database(error))
            if error.sqlstate() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) =>
        {
            report.fail(
                AREA,
                "rights",
                error.to_string(),
                "GRANT etl_writer TO the sink's user, as the tables' owner",
            );
        }
        Err(error) => report.fail(AREA, check, error.to_string(), "see the server's log"),
    }
    false
}

/// Whether the user has more rights than it needs; that it has enough is part of the schema's check.
async fn rights(report: &mut Report, client: &Client) {
    match schema::needless_rights(client).await {
        Ok(None) => report.ok(AREA, "rights", "what the sink needs, and no more"),
        Ok(Some(rights)) => {
            let (found, mend) = rights
                .split_once(": ")
                .unwrap_or((&rights, "use a member of etl_writer"));
            report.warn(AREA, "rights", found, mend);
        }
        Err(error) => report.fail(AREA, "rights", error.to_string(), "see the server's log"),
    }
}

/// Whether the server has room for the sink's connections.
async fn connections(report: &mut Report, client: &Client, wanted: usize) {
    let query = "SELECT current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint, \
                 (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')";
    let row = match client.query_one(query, &[]).await {
        Ok(row) => row,
        Err(error) => {
            report.skip(AREA, "connections", postgres_sink::errors::describe(&error));
            return;
        }
    };
    let (most, used): (i64, i64) = (row.get(0), row.get(1));
    // One marks the partitions as taken.
    let wanted = i64::try_from(wanted).unwrap_or(i64::MAX).saturating_add(1);
    let found = format!("{used} of {most} in use; a sink takes up to {wanted}");
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

/// Whether the topic still holds what the sink will ask for next, and whether anybody writes.
async fn stands(
    report: &mut Report,
    deployment: &Deployment,
    found: Option<&Found>,
    stands: Vec<Stand>,
) -> Option<f64> {
    if stands.is_empty() {
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
    let idle: Vec<String> = stands
        .iter()
        .filter(|stand| stand.writer.is_none())
        .map(|stand| {
            format!(
                "`{}` partition {}",
                stand.source.sink, stand.source.partition
            )
        })
        .collect();
    if idle.is_empty() {
        report.ok(
            AREA,
            "writers",
            format!(
                "each of {} partition(s) has a sink that writes it",
                stands.len()
            ),
        );
    } else {
        report.warn(
            AREA,
            "writers",
            format!("nobody writes {}", idle.join(", ")),
            "start the sink",
        );
    }
    let found = found?;
    let mut oldest: f64 = 0.0;
    let mut is_sound = true;
    for stand in stands {
        let (partition, next) = (stand.source.partition, stand.next_offset);
        let Some(number) = u32::try_from(partition).ok() else {
            continue;
        };
        let Some((start, end)) = usize::try_from(partition)
            .ok()
            .and_then(|index| found.ranges.get(index))
            .copied()
        else {
            continue;
        };
        if next > end {
            is_sound = false;
            report.fail(
                AREA,
                "offsets",
                format!("partition {partition}: offset {next} is stored, and the topic ends at {end}: it was made anew or has lost its end"),
                format!("stop the sink, DELETE FROM sink_offsets WHERE sink = '{}', start it: it reads the topic from its start", stand.source.sink),
            );
        } else if next < start {
            is_sound = false;
            report.fail(
                AREA,
                "offsets",
                format!("partition {partition}: offset {next} is stored, and the topic begins at {start}: retention has removed {} records that were not written", start - next),
                format!("deploy/RUNBOOK.md, \"A gap stops the sink\"; to go on: UPDATE sink_offsets SET next_offset = {start} WHERE sink = '{}' AND partition = {partition}", stand.source.sink),
            );
        } else if next < end
            && let Ok(Some(time)) = found.topic.time(number, next).await
        {
            oldest = oldest.max((Utc::now() - time).num_milliseconds() as f64 / 1000.0);
        }
    }
    if is_sound {
        report.ok(
            AREA,
            "offsets",
            "the topic holds what the sink asks for next",
        );
    }
    let retention = f64::from(found.retention);
    if oldest > retention / 2.0 {
        report.fail(
            AREA,
            "lag",
            format!("the oldest record that is not in the tables waits for {oldest:.0} s, and the topic keeps records for {retention:.0} s"),
            "start the sink, or give it more room; deploy/RUNBOOK.md, \"The lag grows\"",
        );
    } else {
        report.ok(
            AREA,
            "lag",
            format!("the oldest record that is not in the tables waits for {oldest:.0} s"),
        );
    }
    Some(oldest)
}
