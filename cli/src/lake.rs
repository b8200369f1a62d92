//! `etl lake`: the Iceberg tables that a lake sink writes.
//!
//! The commands read the sink's own file, so they need no names of tables. What reads or changes a
//! table is in `lake_sink::maintenance`. Rows are deleted and rewritten by other engines, since
//! Iceberg's library can't: [`statements`] writes the statements for them.

pub mod compact;
pub mod comparison;
mod erase;
mod expire;
mod init;
mod orphans;
pub mod statements;
pub mod status;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use chrono::TimeDelta;
use clap::Subcommand;
use connector_common::Connector;
use lake_sink::catalog;
use lake_sink::maintenance::Lake;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    file: File,
    #[command(subcommand)]
    command: Command,
}

/// The sink's file.
#[derive(clap::Args)]
struct File {
    /// The lake sink's file as deployed
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The secrets of the file, `NAME=value` lines; those of the catalog suffice [default: the
    /// environment]
    #[arg(long, value_name = "FILE", global = true)]
    secrets: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Create the catalog and the tables, and show how to read them; changes no table that exists,
    /// except that it adds missing columns
    Init,
    /// Show snapshots, files, rows and days of each table, and the lag behind the topic
    Status(status::Args),
    /// Compare the facts of each day with PostgreSQL, or raw records with the committed offsets;
    /// exits with 1 if they differ
    Verify(verify::Args),
    /// List the files that no snapshot refers to, or delete them
    Orphans(orphans::Args),
    /// Remove old snapshots; `etl lake orphans --delete` then frees their files
    Expire(expire::Args),
    /// Show which days have many small files, and the statements that compact them
    Compact(compact::Args),
    /// Count somebody's rows, and show the statements that delete them
    Erase(erase::Args),
}

/// The keys of the file that no command needs.
const UNNEEDED: &[&str] = &["notifications-secret"];
/// The reason if a command finds no catalog. Only `etl lake init` creates one: a mistaken
/// `catalog-url` would get its tables otherwise.
pub const NO_CATALOG: &str = "the database of `catalog-url` has no catalog; `etl lake init` creates it, \
                          and so does the sink";

/// The lake sink's file, for commands that look at more than the lake.
#[derive(clap::Args)]
pub struct LakeFile {
    /// The lake sink's file as deployed, to show its tables, too
    #[arg(long, value_name = "FILE")]
    pub lake_config: Option<PathBuf>,
    /// The secrets of that file, `NAME=value` lines; those of the catalog suffice [default: the
    /// environment]
    #[arg(long, value_name = "FILE", requires = "lake_config")]
    pub secrets: Option<PathBuf>,
}

/// A sink's file, and its tables.
pub struct Opened {
    /// The file.
    pub connector: Connector<lake_sink::Config>,
    /// The tables.
    pub lake: Lake,
    /// The options that name the file, for commands that are printed.
    pub options: String,
}

impl Opened {
    /// Reads the file and connects to the catalog.
    ///
    /// # Errors
    /// The file is not valid, or the catalog is missing or can't be reached.
    pub async fn new(config: &Path, secrets: Option<&Path>) -> anyhow::Result<Self> {
        let connector = load(config, secrets)?;
        let lake = open_existing(&connector.config).await?;
        let lake = lake.context(NO_CATALOG)?;
        Ok(Self::of(connector, lake, config, secrets))
    }

    /// As [`Self::new`], and creates a catalog that is missing.
    async fn create(config: &Path, secrets: Option<&Path>) -> anyhow::Result<Self> {
        let connector = load(config, secrets)?;
        let catalog = catalog::open(&connector.config).await?;
        let lake = Lake::new(catalog, &connector.config)?;
        Ok(Self::of(connector, lake, config, secrets))
    }

    fn of(
        connector: Connector<lake_sink::Config>,
        lake: Lake,
        config: &Path,
        secrets: Option<&Path>,
    ) -> Self {
        let mut options = format!("--config {}", config.display());
        if let Some(secrets) = secrets {
            options += &format!(" --secrets {}", secrets.display());
        }
        Self {
            connector,
            lake,
            options,
        }
    }

    /// The topic that the sink reads.
    pub fn topic(&self) -> &str {
        &self.connector.meta.topic.name
    }
}

/// Reads a lake sink's file. Secrets that only [`UNNEEDED`] keys use may be missing.
///
/// # Errors
/// The file is not valid.
pub fn load(config: &Path, secrets: Option<&Path>) -> anyhow::Result<Connector<lake_sink::Config>> {
    Connector::load_without(UNNEEDED, "lake", config, secrets)
        .with_context(|| format!("cannot use {} as a lake sink's file", config.display()))
}

/// The tables of a lake; `None` if its database has no catalog.
///
/// # Errors
/// The catalog can't be reached or refuses.
pub async fn open_existing(config: &lake_sink::Config) -> anyhow::Result<Option<Lake>> {
    match catalog::open_existing(config).await? {
        Some(catalog) => Ok(Some(Lake::new(catalog, config)?)),
        None => Ok(None),
    }
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = args.file.config.as_deref();
    let config = config.context("no lake named; use --config FILE, the lake sink's file")?;
    let secrets = args.file.secrets.as_deref();
    let opened = match args.command {
        Command::Init => Opened::create(config, secrets).await?,
        _ => Opened::new(config, secrets).await?,
    };
    match args.command {
        Command::Init => init::run(&opened).await,
        Command::Status(args) => status::run(&args, &opened).await,
        Command::Verify(args) => verify::run(&args, &opened).await,
        Command::Orphans(args) => orphans::run(&args, &opened).await,
        Command::Expire(args) => expire::run(&args, &opened).await,
        Command::Compact(args) => compact::run(&args, &opened).await,
        Command::Erase(args) => erase::run(&args, &opened).await,
    }
}

/// Parses an age such as `3d` or `12h`.
fn age(text: &str) -> anyhow::Result<TimeDelta> {
    let age: Duration = humantime_serde::re::humantime::parse_duration(text)?;
    TimeDelta::from_std(age).map_err(|_| anyhow!("{text} is too long"))
}
