//! Finds the built programs and SmartModules next to the running program.
//!
//! `make build` and installations put everything into one folder; tests run from a folder below it.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The folder with the programs `fluvio-node`, `sqs_source`, `postgres_sink` and the SmartModules
/// `flatten-items.wasm`, `list-items.wasm` and `raw-events.wasm`, and for a lake `lake_sink`.
#[derive(Clone, Debug)]
pub struct Artefacts(PathBuf);

/// The embedded Fluvio node.
pub const NODE: &str = "fluvio-node";
/// The SQS source.
pub const SOURCE: &str = "sqs_source";
/// The PostgreSQL sink.
pub const SINK: &str = "postgres_sink";
/// The lake sink.
pub const LAKE: &str = "lake_sink";
const PROGRAMS: [&str; 3] = [NODE, SOURCE, SINK];
/// The SmartModule of the sink.
const FLATTEN_ITEMS: &str = "flatten-items.wasm";
/// The SmartModule for people.
const LIST_ITEMS: &str = "list-items.wasm";
/// The SmartModule for other consumers.
const RAW_EVENTS: &str = "raw-events.wasm";

impl Artefacts {
    /// Searches the folder of the running program and its parent.
    ///
    /// # Errors
    /// A file is missing. The error names it and the command that builds it.
    pub fn find() -> anyhow::Result<Self> {
        Self::with(&[])
    }

    /// As [`Self::find`], for a stack with a lake.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn find_with_lake() -> anyhow::Result<Self> {
        Self::with(&[LAKE])
    }

    fn with(more: &[&'static str]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find the path of this program")?;
        let folders: Vec<&Path> = program.ancestors().skip(1).take(2).collect();
        let found = folders
            .iter()
            .find(|folder| missing(folder, more).is_empty());
        match (found, folders.first()) {
            (Some(folder), _) => Ok(Self(folder.to_path_buf())),
            (None, Some(folder)) => bail!(
                "not in {}: {}; build everything with `make build`",
                folder.display(),
                missing(folder, more).join(", ")
            ),
            (None, None) => bail!("this program has no folder"),
        }
    }

    /// Returns the path of a program.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Returns the path of the SmartModule `flatten-items`.
    #[must_use]
    pub fn flatten_items(&self) -> PathBuf {
        self.0.join(FLATTEN_ITEMS)
    }

    /// Returns the path of the SmartModule `list-items`.
    #[must_use]
    pub fn list_items(&self) -> PathBuf {
        self.0.join(LIST_ITEMS)
    }

    /// Returns the path of the SmartModule `raw-events`.
    #[must_use]
    pub fn raw_events(&self) -> PathBuf {
        self.0.join(RAW_EVENTS)
    }
}

fn missing(folder: &Path, more: &[&'static str]) -> Vec<&'static str> {
    PROGRAMS
        .into_iter()
        .chain([FLATTEN_ITEMS, LIST_ITEMS, RAW_EVENTS])
        .chain(more.iter().copied())
        .filter(|name| !folder.join(name).is_file())
        .collect()
}
