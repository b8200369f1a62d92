//! A private PostgreSQL server that lives as long as its owner.
//!
//! The demo and the tests need a real PostgreSQL and must touch nobody's database. This finds the
//! server binaries of the system, or brings some, makes a cluster in a folder of its own, and runs it on a free
//! loopback port with a password that nobody else knows. PostgreSQL refuses to run as root, so a
//! root owner runs it as an unprivileged user.

mod account;
mod binaries;
mod download;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use owned_process::{OwnedProcess, Signal};
use tempfile::TempDir;
use tokio::process::Command;
use tokio_postgres::NoTls;

use crate::account::Account;
use crate::binaries::Binaries;

const SUPERUSER: &str = "etl";
const DATABASE: &str = "etl";
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A running server. Dropping it shuts it down; [`PrivatePostgres::stop`] also waits for the end.
#[derive(Debug)]
pub struct PrivatePostgres {
    process: OwnedProcess,
    folder: Folder,
    port: u16,
    password: String,
}

#[derive(Debug)]
enum Folder {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Folder {
    fn temporary() -> std::io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("private-postgres-")
            .tempdir()?;
        Ok(Self::Temporary(folder))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(path) => path,
        }
    }
}

impl PrivatePostgres {
    /// Starts a server whose data goes away with it.
    ///
    /// # Errors
    /// No PostgreSQL on this machine (the error says what to install), or it does not start (the
    /// error carries the end of its log).
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Binaries::find().await?, Folder::temporary()?).await
    }

    /// The same with the programs of the folder `programs`, of another version than this machine's, say.
    ///
    /// # Errors
    /// As [`PrivatePostgres::start`].
    pub async fn start_of(programs: &Path) -> anyhow::Result<Self> {
        Self::start_with(Binaries::of(programs)?, Folder::temporary()?).await
    }

    /// Starts a server on the data in `folder`, which is made if it isn't there and stays.
    ///
    /// # Errors
    /// As [`PrivatePostgres::start`].
    pub async fn start_in(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let folder = Folder::Kept(folder.canonicalize()?);
        Self::start_with(Binaries::find().await?, folder).await
    }

    /// How to connect: `postgres://user:password@host:port/database`.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "postgres://{SUPERUSER}:{}@127.0.0.1:{}/{DATABASE}",
            self.password, self.port
        )
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process.
    pub fn process(&mut self) -> &mut OwnedProcess {
        &mut self.process
    }

    /// Shuts the server down: open transactions are rolled back, the data is checkpointed.
    ///
    /// # Errors
    /// The operating system's own.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.process.stop(STOP_LIMIT).await?;
        Ok(())
    }

    async fn start_with(binaries: Binaries, folder: Folder) -> anyhow::Result<Self> {
        let account = Account::to_run_as()?;
        let path = folder.path();
        account.give(path)?;
        let data = path.join("data");
        let password_file = path.join("password");
        let password = if data.join("PG_VERSION").is_file() {
            std::fs::read_to_string(&password_file)
                .with_context(|| format!("{} holds a database but no password", path.display()))?
        } else {
            let password = uuid::Uuid::new_v4().simple().to_string();
            write_private(&password_file, &password)?;
            account.give(&password_file)?;
            initdb(&binaries, &account, &data, &password_file).await?;
            password
        };
        let (process, port) = start_server(&binaries, &account, path, &data).await?;
        let mut server = Self {
            process,
            folder,
            port,
            password,
        };
        server.wait_until_ready().await?;
        tracing::debug!(port, data = %data.display(), "PostgreSQL is ready");
        Ok(server)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let maintenance = format!(
            "postgres://{SUPERUSER}:{}@127.0.0.1:{}/postgres",
            self.password, self.port
        );
        let ready = async {
            loop {
                if let Some(status) = self.process.ended()? {
                    bail!(
                        "PostgreSQL ended at its start ({status}):\n{}",
                        log_tail(self.folder.path())
                    );
                }
                if let Ok((client, connection)) = tokio_postgres::connect(&maintenance, NoTls).await
                {
                    tokio::spawn(connection);
                    let exists = client
                        .query_opt("SELECT FROM pg_database WHERE datname = $1", &[&DATABASE])
                        .await?;
                    if exists.is_none() {
                        client
                            .batch_execute(&format!("CREATE DATABASE {DATABASE}"))
                            .await?;
                    }
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(START_LIMIT, ready).await {
            Ok(outcome) => outcome,
            Err(_) => bail!(
                "PostgreSQL was not ready in {START_LIMIT:?}:\n{}",
                log_tail(self.folder.path())
            ),
        }
    }
}

async fn initdb(
    binaries: &Binaries,
    account: &Account,
    data: &Path,
    password_file: &Path,
) -> anyhow::Result<()> {
    let mut command = Command::new(binaries.initdb());
    command
        .args([
            "--username",
            SUPERUSER,
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
            "--locale",
            "C.UTF-8",
        ])
        .arg("--pwfile")
        .arg(password_file)
        .arg("--pgdata")
        .arg(data)
        .stdin(Stdio::null());
    account.apply(&mut command);
    let output = command
        .output()
        .await
        .with_context(|| format!("cannot run {}", binaries.initdb().display()))?;
    ensure!(
        output.status.success(),
        "initdb failed ({}):\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

async fn start_server(
    binaries: &Binaries,
    account: &Account,
    folder: &Path,
    data: &Path,
) -> anyhow::Result<(OwnedProcess, u16)> {
    let log = std::fs::File::create(log_file(folder))?;
    let port = free_port()?;
    let mut command = Command::new(binaries.postgres());
    command
        .arg("-D")
        .arg(data)
        .args([
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            &format!("port={port}"),
        ])
        // Nobody needs the socket file, and its path is limited to 107 bytes.
        .args(["-c", "unix_socket_directories="])
        // A first load writes far more WAL than the default expects between two checkpoints.
        .args(["-c", "max_wal_size=4GB", "-c", "shared_buffers=256MB"])
        // Lets a reader tell how long an event took until it could be seen.
        .args(["-c", "track_commit_timestamp=on"])
        .current_dir(folder)
        .stdout(log.try_clone()?)
        .stderr(log);
    account.apply(&mut command);
    // SIGINT is PostgreSQL's fast shutdown.
    let process = OwnedProcess::spawn("postgres", command, Signal::SIGINT)
        .with_context(|| format!("cannot run {}", binaries.postgres().display()))?;
    Ok((process, port))
}

fn free_port() -> anyhow::Result<u16> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("postgres.log")
}

fn log_tail(folder: &Path) -> String {
    let log = std::fs::read_to_string(log_file(folder)).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines
        .iter()
        .rev()
        .take(10)
        .rev()
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
