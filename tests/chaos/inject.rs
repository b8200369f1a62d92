//! Begins and ends faults.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use end_to_end::found;
use end_to_end::pipeline::edit;
use local_stack::Part;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use owned_process::OwnedProcess;
use sqs_endpoint::{Fault as SqsFault, Operation};
use tokio_postgres::Client;

use crate::network;
use crate::plan::{Disk, Fault, Kind, Link, QueueError};
use crate::world::World;

/// The time that a second connector may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(40);
/// The time that a connection may take while most are in use.
const CONNECT_LIMIT: Duration = Duration::from_secs(40);
/// The share of calls, entries or messages that errors of SQS hit.
const SHARE: f64 = 0.3;
/// The calls of a source.
const OF_SOURCE: [Operation; 3] = [
    Operation::ReceiveMessage,
    Operation::DeleteMessageBatch,
    Operation::ChangeMessageVisibilityBatch,
];
/// The time in which idle sessions take the places of the sinks'.
const TAKING: Duration = Duration::from_secs(1);

/// More segments than the WAL's disk has.
const MOST_SEGMENTS: usize = 20;

/// The means of a fault, by which it is ended.
pub enum Begun {
    Nothing,
    Start(Part),
    Continue(Vec<u32>),
    Clock(Part),
    Link(Link),
    Queue,
    StartDatabase,
    Ballast(PathBuf),
    Statements(Vec<String>),
    Sessions(Vec<Client>),
    Second {
        process: Box<OwnedProcess>,
        killed: bool,
    },
    Visibility(String),
}

/// Begins a fault.
///
/// # Errors
/// The means of the fault fail.
pub async fn begin(world: &mut World, fault: &Fault) -> anyhow::Result<Begun> {
    Ok(match fault.kind {
        Kind::Kill(part) => {
            world.stop_part(part, true).await?;
            Begun::Start(part)
        }
        Kind::Restart(part) => {
            world.stop_part(part, false).await?;
            Begun::Start(part)
        }
        Kind::Freeze(part) => freeze(world.stack.pid(part).into_iter().collect()),
        Kind::ClockJump(part, seconds) => {
            world.set_clock(part, seconds)?;
            Begun::Clock(part)
        }
        Kind::Link(link, trouble) => {
            match world.proxy(link) {
                Some(proxy) => proxy.set(Some(trouble)),
                None => network::begin(link, trouble).await?,
            }
            Begun::Link(link)
        }
        Kind::Queue(error) => {
            sqs_fails(world, error)?;
            Begun::Queue
        }
        Kind::DatabaseRestart => {
            world.stop_database(Signal::SIGINT).await?;
            Begun::StartDatabase
        }
        Kind::DatabaseImmediateShutdown => {
            world.stop_database(Signal::SIGQUIT).await?;
            Begun::StartDatabase
        }
        Kind::DatabaseFreeze => freeze(world.database_pids()?),
        Kind::BackendKill => {
            let query = "SELECT pid::bigint FROM pg_stat_activity WHERE usename = 'sink' \
                         ORDER BY state = 'active' DESC, query_start DESC LIMIT 1";
            for pid in world.observer.numbers(query).await? {
                signal(u32::try_from(pid)?, Signal::SIGKILL);
            }
            Begun::Nothing
        }
        Kind::DiskFull(disk) => {
            let folder = match disk {
                Disk::Data => "postgres/data",
                Disk::Wal => "postgres/wal",
                Disk::Node => "fluvio",
                Disk::Lake => "lake",
            };
            let ballast = world.folder.join(folder).join("ballast");
            let file = ballast.clone();
            tokio::task::spawn_blocking(move || fill(&file)).await??;
            if disk == Disk::Wal {
                use_up_segments(world).await;
            }
            Begun::Ballast(ballast)
        }
        Kind::ReadOnly => {
            let observer = &mut world.observer;
            observer
                .execute("ALTER SYSTEM SET default_transaction_read_only = on")
                .await?;
            observer.execute("SELECT pg_reload_conf()").await?;
            Begun::Statements(vec![
                "ALTER SYSTEM RESET default_transaction_read_only".to_owned(),
                "SELECT pg_reload_conf()".to_owned(),
            ])
        }
        Kind::RightRevoked => {
            for revoke in [
                "REVOKE INSERT ON fact_events FROM etl_writer",
                "REVOKE UPDATE ON iceberg_tables FROM sink",
            ] {
                world.observer.execute(revoke).await?;
            }
            Begun::Statements(vec![
                "GRANT INSERT ON fact_events TO etl_writer".to_owned(),
                "GRANT UPDATE ON iceberg_tables TO sink".to_owned(),
            ])
        }
        Kind::LoginRefused => {
            world.observer.execute("ALTER ROLE sink NOLOGIN").await?;
            end_sessions_of_sinks(world).await?;
            Begun::Statements(vec!["ALTER ROLE sink LOGIN".to_owned()])
        }
        Kind::Lock(table) => {
            let client = world.observer.connect().await?;
            client.batch_execute("BEGIN").await?;
            // Waits for a sink's transaction, at most for the lock timeout.
            let statement = format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
            client
                .batch_execute(&statement)
                .await
                .with_context(|| format!("`{statement}`"))?;
            Begun::Sessions(vec![client])
        }
        Kind::ConnectionsUsedUp => Begun::Sessions(use_up_connections(world).await?),
        Kind::TwoSinks { shares, killed } => {
            let to = format!("share-partitions: {shares}");
            let changes = [
                ("share-partitions: true", to.as_str()),
                (
                    "postgres:\n",
                    "postgres:\n  application-name: postgres-sink-2\n",
                ),
            ];
            let process = Box::new(world.start_second(Part::Sink, &changes)?);
            Begun::Second { process, killed }
        }
        Kind::TwoLakes { shares, killed } => {
            let to = format!("share-partitions: {shares}");
            let changes = [("share-partitions: true", to.as_str())];
            let process = Box::new(world.start_second(Part::Lake, &changes)?);
            Begun::Second { process, killed }
        }
        Kind::TwoSources { killed } => {
            let process = Box::new(world.start_second(Part::Source, &[])?);
            Begun::Second { process, killed }
        }
        Kind::ShortVisibility { seconds } => {
            let own = format!("sqs:\n  visibility-timeout: {seconds}s\n");
            world.stop_part(Part::Source, true).await?;
            edit(&world.file(Part::Source), "sqs:\n", &own)?;
            world.start_part(Part::Source).await;
            Begun::Visibility(own)
        }
        Kind::Replay { records } => {
            world.stop_part(Part::Sink, false).await?;
            let back = format!(
                "UPDATE sink_offsets SET next_offset = greatest(next_offset - {records}, 0), \
                 updated_at = now()"
            );
            world.observer.execute(&back).await?;
            Begun::Start(Part::Sink)
        }
        Kind::Expire => {
            world.lake_files().expire().await?;
            Begun::Nothing
        }
    })
}

/// Ends a fault.
///
/// # Errors
/// The fault can't be undone.
pub async fn end(world: &mut World, begun: Begun) -> anyhow::Result<()> {
    match begun {
        Begun::Nothing => {}
        Begun::Start(part) => world.start_part(part).await,
        Begun::Continue(pids) => pids
            .into_iter()
            .for_each(|pid| signal(pid, Signal::SIGCONT)),
        Begun::Clock(part) => world.set_clock(part, 0)?,
        Begun::Link(link) => match world.proxy(link) {
            Some(proxy) => proxy.set(None),
            None => network::end(link).await?,
        },
        Begun::Queue => world.endpoint.faults().clear(),
        Begun::StartDatabase => world.start_database().await?,
        Begun::Ballast(file) => {
            std::fs::remove_file(file)?;
            // PostgreSQL has stopped if it could not write its WAL.
            world.start_database().await?;
        }
        Begun::Statements(statements) => {
            for statement in statements {
                world.observer.execute(&statement).await?;
            }
        }
        Begun::Sessions(clients) => drop(clients),
        Begun::Second { process, killed } => stop_second(*process, killed).await?,
        Begun::Visibility(own) => {
            world.stop_part(Part::Source, false).await?;
            edit(&world.file(Part::Source), &own, "sqs:\n")?;
            world.start_part(Part::Source).await;
        }
    }
    Ok(())
}

fn freeze(pids: Vec<u32>) -> Begun {
    for pid in &pids {
        signal(*pid, Signal::SIGSTOP);
    }
    Begun::Continue(pids)
}

/// A process that has ended meanwhile gets no signal.
fn signal(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

fn sqs_fails(world: &World, error: QueueError) -> anyhow::Result<()> {
    let faults = world.endpoint.faults();
    match error {
        QueueError::DeliveredTwice => {
            faults.fail_share(Operation::ReceiveMessage, SqsFault::Duplicate, SHARE)?;
        }
        QueueError::EntriesFail => {
            let fault = SqsFault::FailEntry {
                sender_fault: false,
            };
            for operation in OF_SOURCE.into_iter().skip(1) {
                faults.fail_share(operation, fault, SHARE)?;
            }
        }
        QueueError::Throttled | QueueError::AnswersLost => {
            let fault = match error {
                QueueError::Throttled => SqsFault::Throttle,
                _ => SqsFault::CutReply,
            };
            for operation in OF_SOURCE {
                faults.fail_share(operation, fault, SHARE)?;
            }
        }
    }
    Ok(())
}

/// Fills the disk of `file`.
fn fill(file: &Path) -> anyhow::Result<()> {
    let mut ballast = File::create(file)?;
    let mut block = vec![0_u8; 1 << 20];
    while !block.is_empty() {
        if ballast.write_all(&block).is_err() {
            block.truncate(block.len() / 2);
        }
    }
    Ok(())
}

/// Writes to one segment of the WAL after another until PostgreSQL needs a new one, and stops.
async fn use_up_segments(world: &mut World) {
    let next = "SELECT pg_logical_emit_message(false, 'chaos', ''), pg_switch_wal()";
    for _ in 0..MOST_SEGMENTS {
        if world.observer.execute(next).await.is_err() {
            return;
        }
    }
}

async fn end_sessions_of_sinks(world: &mut World) -> anyhow::Result<()> {
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE usename = 'sink'";
    world.observer.execute(end).await
}

/// Opens sessions until the server accepts no more, among them those that were the sinks'.
async fn use_up_connections(world: &mut World) -> anyhow::Result<Vec<Client>> {
    let url = world.url_of("idler");
    let mut clients = Vec::new();
    let began = Instant::now();
    let mut has_ended = false;
    while !has_ended || began.elapsed() < TAKING {
        match tokio::time::timeout(CONNECT_LIMIT, found::connect(&url)).await {
            Ok(Ok(client)) => clients.push(client),
            Ok(Err(_)) if !has_ended => {
                end_sessions_of_sinks(world).await?;
                has_ended = true;
            }
            Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(_) => bail!("PostgreSQL does not answer while its connections are used up"),
        }
    }
    Ok(clients)
}

async fn stop_second(mut process: OwnedProcess, killed: bool) -> anyhow::Result<()> {
    if killed {
        process.signal(Signal::SIGKILL);
        process.wait().await?;
    } else {
        process.stop(STOP_LIMIT).await?;
    }
    Ok(())
}
