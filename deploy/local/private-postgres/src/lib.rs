//! A private PostgreSQL server that stops with its owner.
//!
//! The demo and the tests need a real PostgreSQL without touching an existing database. This crate
//! finds or downloads the server's programs, creates a cluster in a separate folder, and runs it on
//! a free loopback port with a random password. PostgreSQL refuses to run as root, so a root owner
//! runs it as an unprivileged user.

mod account;
mod programs;

use std::fs::DirBuilder;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use owned_process::{OwnedProcess, Signal, files};
use tempfile::TempDir;
use tokio::process::Command;
use tokio_postgres::NoTls;

use crate::account::Account;
use crate::programs::Programs;

const SUPERUSER: &str = "etl";
const DATABASE: &str = "etl";
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Lets the server's user pass `folder` to a folder in it. Has no effect unless the owner is root.
///
/// # Errors
/// There is no user for the server, or the rights can't be changed.
pub fn let_server_in(folder: &Path) -> anyhow::Result<()> {
    Account::to_run_as()?.let_in(folder)
}

/// The address and settings of a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The address that it listens at.
    pub host: Ipv4Addr,
    /// The port. Default: a free one.
    pub port: Option<u16>,
    /// Settings of `postgresql.conf`, such as `max_connections=20`.
    pub settings: Vec<String>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST,
            port: None,
            settings: Vec::new(),
        }
    }
}

/// A running server. Dropping it shuts it down; [`PrivatePostgres::stop`] also waits.
#[derive(Debug)]
pub struct PrivatePostgres {
    process: OwnedProcess,
    folder: Folder,
    host: Ipv4Addr,
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
    /// Starts a server with temporary data.
    ///
    /// # Errors
    /// There is no PostgreSQL on this machine (the error says how to install it), or it does not
    /// start (the error has the end of its log).
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(
            Programs::find().await?,
            Folder::temporary()?,
            &ServerOptions::default(),
        )
        .await
    }

    /// Starts a server with temporary data and the programs of a folder, for example of another
    /// version.
    ///
    /// # Errors
    /// As for [`PrivatePostgres::start`].
    pub async fn start_of(programs: &Path) -> anyhow::Result<Self> {
        Self::start_with(
            Programs::of(programs)?,
            Folder::temporary()?,
            &ServerOptions::default(),
        )
        .await
    }

    /// Starts a server with a temporary copy of the data in `template`, which
    /// [`PrivatePostgres::save`] made. Saves a test `initdb` and the migrations.
    ///
    /// # Errors
    /// As for [`PrivatePostgres::start`], or the data can't be copied.
    pub async fn start_copy(template: &Path) -> anyhow::Result<Self> {
        let folder = Folder::temporary()?;
        copy(template, folder.path()).await?;
        Self::start_with(Programs::find().await?, folder, &ServerOptions::default()).await
    }

    /// Stops the server and copies its data to `template`, which is replaced.
    ///
    /// # Errors
    /// The server can't be stopped, or its data can't be copied.
    pub async fn save(self, template: &Path) -> anyhow::Result<()> {
        let Self {
            process, folder, ..
        } = self;
        process.stop(STOP_TIMEOUT).await?;
        match std::fs::remove_dir_all(template) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error)
                    .with_context(|| format!("cannot replace {}", template.display()));
            }
            _ => {}
        }
        files::private_folder(template)
            .with_context(|| format!("cannot create {}", template.display()))?;
        copy(folder.path(), template).await
    }

    /// Starts a server with its data in `folder`, which is created if it is missing, and kept.
    ///
    /// # Errors
    /// As for [`PrivatePostgres::start`].
    pub async fn start_in(folder: &Path) -> anyhow::Result<Self> {
        Self::start_at(folder, &ServerOptions::default()).await
    }

    /// Starts a server with its data in `folder`, and with an address and settings of its own.
    /// `pg_hba.conf` has to allow other addresses than 127.0.0.1.
    ///
    /// # Errors
    /// As for [`PrivatePostgres::start`].
    pub async fn start_at(folder: &Path, options: &ServerOptions) -> anyhow::Result<Self> {
        let folder = files::private_folder(folder)
            .with_context(|| format!("cannot use {}", folder.display()))?;
        let folder = Folder::Kept(folder);
        Self::start_with(Programs::find().await?, folder, options).await
    }

    /// Returns the URL to connect to: `postgres://user:password@host:port/database`.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "postgres://{SUPERUSER}:{}@{}:{}/{DATABASE}",
            self.password, self.host, self.port
        )
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the server's process.
    pub fn process(&mut self) -> &mut OwnedProcess {
        &mut self.process
    }

    /// Returns the last lines of the server's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        log_tail(self.folder.path())
    }

    /// Shuts the server down: rolls open transactions back and writes a checkpoint.
    ///
    /// # Errors
    /// The operating system can't stop the process.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.process.stop(STOP_TIMEOUT).await?;
        Ok(())
    }

    async fn start_with(
        programs: Programs,
        folder: Folder,
        options: &ServerOptions,
    ) -> anyhow::Result<Self> {
        let account = Account::to_run_as()?;
        let path = folder.path();
        // Nothing of a temporary server has to survive the machine.
        let is_temporary = matches!(folder, Folder::Temporary(_));
        account.let_in(path)?;
        let data = path.join("data");
        let password_file = path.join("password");
        let password = if data.join("PG_VERSION").is_file() {
            std::fs::read_to_string(&password_file)
                .with_context(|| format!("{} holds a database but no password", path.display()))?
        } else {
            let password = uuid::Uuid::new_v4().simple().to_string();
            files::create(&password_file)
                .and_then(|mut file| file.write_all(password.as_bytes()))
                .with_context(|| format!("cannot write {}", password_file.display()))?;
            account.give(&password_file)?;
            create_data_folder(&data)?;
            account.give(&data)?;
            initdb(&programs, &account, &data, &password_file, is_temporary).await?;
            password
        };
        let (process, port) =
            start_server(&programs, &account, path, &data, options, is_temporary)?;
        let mut server = Self {
            process,
            folder,
            host: options.host,
            port,
            password,
        };
        server.wait_until_ready().await?;
        tracing::debug!(port, data = %data.display(), "PostgreSQL is ready");
        Ok(server)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let maintenance = format!(
            "postgres://{SUPERUSER}:{}@{}:{}/postgres",
            self.password, self.host, self.port
        );
        let ready = async {
            loop {
                if let Some(status) = self.process.ended()? {
                    bail!(
                        "PostgreSQL ended while starting ({status}):\n{}",
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
        match tokio::time::timeout(START_TIMEOUT, ready).await {
            Ok(outcome) => outcome,
            Err(_) => bail!(
                "PostgreSQL was not ready within {START_TIMEOUT:?}:\n{}",
                log_tail(self.folder.path())
            ),
        }
    }
}

/// Copies a stopped server's data and password with their owners.
async fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let output = Command::new("cp")
        .arg("-a")
        .args([from.join("data"), from.join("password")])
        .arg(to)
        .stdin(Stdio::null())
        .output()
        .await
        .context("cannot run cp")?;
    ensure!(
        output.status.success(),
        "cannot copy {} to {}: {}",
        from.display(),
        to.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Creates the folder that becomes the server's. The one around it stays its owner's, so that the
/// server's user can't replace log and password by links.
fn create_data_folder(path: &Path) -> anyhow::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot create {}", path.display()))
        }
        _ => Ok(()),
    }
}

async fn initdb(
    programs: &Programs,
    account: &Account,
    data: &Path,
    password_file: &Path,
    is_temporary: bool,
) -> anyhow::Result<()> {
    let mut command = Command::new(programs.initdb());
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
        .args(is_temporary.then_some("--no-sync"))
        .arg("--pwfile")
        .arg(password_file)
        .arg("--pgdata")
        .arg(data)
        .stdin(Stdio::null());
    account.apply(&mut command);
    let output = command
        .output()
        .await
        .with_context(|| format!("cannot run {}", programs.initdb().display()))?;
    ensure!(
        output.status.success(),
        "initdb failed ({}):\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn start_server(
    programs: &Programs,
    account: &Account,
    folder: &Path,
    data: &Path,
    options: &ServerOptions,
    is_temporary: bool,
) -> anyhow::Result<(OwnedProcess, u16)> {
    let log = log_file(folder);
    let log = files::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let port = options.port.map_or_else(free_port, Ok)?;
    let mut command = Command::new(programs.postgres());
    command
        .arg("-D")
        .arg(data)
        .args([
            "-c",
            &format!("listen_addresses={}", options.host),
            "-c",
            &format!("port={port}"),
        ])
        // The socket file isn't needed, and its path is limited to 107 bytes.
        .args(["-c", "unix_socket_directories="])
        // A first load writes far more WAL between checkpoints than the default allows.
        .args(["-c", "max_wal_size=4GB", "-c", "shared_buffers=256MB"])
        // Shows when an event became visible.
        .args(["-c", "track_commit_timestamp=on"])
        .args(is_temporary.then_some("-cfsync=off"))
        .args(options.settings.iter().flat_map(|setting| ["-c", setting]))
        .current_dir(folder)
        .stdout(log.try_clone()?)
        .stderr(log);
    account.apply(&mut command);
    // SIGINT is PostgreSQL's fast shutdown.
    let process = OwnedProcess::spawn("postgres", command, Signal::SIGINT)
        .with_context(|| format!("cannot run {}", programs.postgres().display()))?;
    Ok((process, port))
}

/// Returns a free port of 127.0.0.1.
///
/// # Errors
/// There is none.
pub fn free_port() -> anyhow::Result<u16> {
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
