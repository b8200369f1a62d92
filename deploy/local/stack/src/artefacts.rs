//! Finds the built programs and SmartModules by the place of the running program.
//!
//! `make build` puts everything into one folder, `cargo install` the programs. Packages have `bin`,
//! and beside it `lib/ecommerce-etl`. Tests run from a folder below that of the programs.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The folders that have the programs `fluvio-node`, `sqs_source`, `postgres_sink` and the
/// SmartModules `flatten-items.wasm`, `list-items.wasm` and `raw-events.wasm`, and for a lake
/// `lake_sink`.
#[derive(Clone, Debug)]
pub struct Artefacts(Vec<PathBuf>);

/// The embedded Fluvio node.
pub const NODE: &str = "fluvio-node";
/// The SQS source.
pub const SOURCE: &str = "sqs_source";
/// The PostgreSQL sink.
pub const SINK: &str = "postgres_sink";
/// The lake sink.
pub const LAKE: &str = "lake_sink";
/// The SmartModule of the sink.
const FLATTEN_ITEMS: &str = "flatten-items.wasm";
/// The SmartModule for people.
const LIST_ITEMS: &str = "list-items.wasm";
/// The SmartModule for other consumers.
const RAW_EVENTS: &str = "raw-events.wasm";
const NAMES: [&str; 6] = [NODE, SOURCE, SINK, FLATTEN_ITEMS, LIST_ITEMS, RAW_EVENTS];
/// The folder beside `bin` for what people do not start.
const LIBRARY: &str = "lib/ecommerce-etl";

impl Artefacts {
    /// Searches the folder of the running program, its parent, and `lib/ecommerce-etl` in that.
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
        let found = Self::beside(&program);
        let missing: Vec<&str> = NAMES
            .into_iter()
            .chain(more.iter().copied())
            .filter(|name| !found.path(name).is_file())
            .collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let folders: Vec<String> = found.0.iter().map(|f| f.display().to_string()).collect();
        bail!(
            "not in {}: {}; build everything with `make build`, and install it with `make install`",
            folders.join(", "),
            missing.join(", ")
        )
    }

    fn beside(program: &Path) -> Self {
        let mut folders: Vec<PathBuf> = program
            .ancestors()
            .skip(1)
            .take(2)
            .map(Path::to_path_buf)
            .collect();
        if let Some(prefix) = folders.last() {
            folders.push(prefix.join(LIBRARY));
        }
        Self(folders)
    }

    /// Returns the first file of this name, or where it is missing.
    fn path(&self, name: &str) -> PathBuf {
        let paths = || self.0.iter().map(|folder| folder.join(name));
        paths()
            .find(|path| path.is_file())
            .or_else(|| paths().next())
            .unwrap_or_default()
    }

    /// Returns the path of a program.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    /// Returns the path of the SmartModule `flatten-items`.
    #[must_use]
    pub fn flatten_items(&self) -> PathBuf {
        self.path(FLATTEN_ITEMS)
    }

    /// Returns the path of the SmartModule `list-items`.
    #[must_use]
    pub fn list_items(&self) -> PathBuf {
        self.path(LIST_ITEMS)
    }

    /// Returns the path of the SmartModule `raw-events`.
    #[must_use]
    pub fn raw_events(&self) -> PathBuf {
        self.path(RAW_EVENTS)
    }
}

/// Returns the path of the SmartModule `flatten-items`, also where other files are missing.
#[must_use]
pub fn flatten_items() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    Some(Artefacts::beside(&program).flatten_items()).filter(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_each_layout() -> anyhow::Result<()> {
        for (program, node, module) in [
            ("bin/etl", "bin/fluvio-node", "bin/flatten-items.wasm"),
            ("bin/deps/test", "bin/fluvio-node", "bin/flatten-items.wasm"),
            (
                "bin/etl",
                "lib/ecommerce-etl/fluvio-node",
                "lib/ecommerce-etl/flatten-items.wasm",
            ),
            (
                "bin/etl",
                "bin/fluvio-node",
                "lib/ecommerce-etl/flatten-items.wasm",
            ),
        ] {
            let prefix = tempfile::tempdir()?;
            for file in [node, module] {
                let file = prefix.path().join(file);
                std::fs::create_dir_all(file.parent().unwrap())?;
                std::fs::write(file, "")?;
            }
            let found = Artefacts::beside(&prefix.path().join(program));
            assert_eq!(found.program(NODE), prefix.path().join(node));
            assert_eq!(found.flatten_items(), prefix.path().join(module));
            assert!(!found.list_items().exists());
        }
        Ok(())
    }
}
