//! Where the built programs and the SmartModules are: beside the running program.
//!
//! `make build` puts everything into one folder, an installation does the same, and a test runs
//! from a folder below it.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The folder that holds the programs `fluvio-node`, `sqs_source`, `postgres_sink` and the
/// SmartModules `flatten-items.wasm` and `list-items.wasm`.
#[derive(Clone, Debug)]
pub struct Artefacts(PathBuf);

/// The embedded Fluvio node.
pub const NODE: &str = "fluvio-node";
/// The SQS source.
pub const SOURCE: &str = "sqs_source";
/// The PostgreSQL sink.
pub const SINK: &str = "postgres_sink";
const PROGRAMS: [&str; 3] = [NODE, SOURCE, SINK];
/// What the sink reads through.
const FLATTEN_ITEMS: &str = "flatten-items.wasm";
/// What people look at the topic through.
const LIST_ITEMS: &str = "list-items.wasm";

impl Artefacts {
    /// Looks in the folder of the running program and the one above.
    ///
    /// # Errors
    /// Something isn't there; the error names it and says how to build it.
    pub fn find() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let folders: Vec<&Path> = program.ancestors().skip(1).take(2).collect();
        let found = folders.iter().find(|folder| missing(folder).is_empty());
        match (found, folders.first()) {
            (Some(folder), _) => Ok(Self(folder.to_path_buf())),
            (None, Some(folder)) => bail!(
                "not in {}: {}; build everything with `make build`",
                folder.display(),
                missing(folder).join(", ")
            ),
            (None, None) => bail!("this program has no folder"),
        }
    }

    /// The path of one of the programs.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The SmartModule `flatten-items`, as WebAssembly.
    #[must_use]
    pub fn flatten_items(&self) -> PathBuf {
        self.0.join(FLATTEN_ITEMS)
    }

    /// The SmartModule `list-items`, as WebAssembly.
    #[must_use]
    pub fn list_items(&self) -> PathBuf {
        self.0.join(LIST_ITEMS)
    }
}

fn missing(folder: &Path) -> Vec<&'static str> {
    PROGRAMS
        .into_iter()
        .chain([FLATTEN_ITEMS, LIST_ITEMS])
        .filter(|name| !folder.join(name).is_file())
        .collect()
}
