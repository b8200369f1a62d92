//! The folder and files of a run.
//!
//! The connectors use the operator's files of `deploy/cluster`: addresses and passwords
//! come from the secrets file and the environment, as in production. Two keys are left out
//! ([`for_one_machine`]). On a shared cluster the topic's name is replaced, and with it the
//! connectors' names. The lake sink writes into a folder instead of a bucket, and commits often.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use owned_process::files;
use tempfile::TempDir;

use crate::launch::quoted_for_shell;

/// The topic in the connectors' files.
pub const TOPIC: &str = "shop-events";

pub(crate) const TOPIC_FILE: &str = include_str!("../../../cluster/topic.yaml");
pub(crate) const FLATTEN_ITEMS: &str =
    include_str!("../../../../smartmodules/flatten-items/SmartModule.toml");
pub(crate) const LIST_ITEMS: &str =
    include_str!("../../../../smartmodules/list-items/SmartModule.toml");
pub(crate) const RAW_EVENTS: &str =
    include_str!("../../../../smartmodules/raw-events/SmartModule.toml");
const SOURCE_FILE: &str = include_str!("../../../cluster/sqs-source.yaml");
const SINK_FILE: &str = include_str!("../../../cluster/postgres-sink.yaml");
const LAKE_FILE: &str = include_str!("../../../cluster/lake-sink.yaml");
/// Texts of the lake sink's file that are replaced.
const WAREHOUSE: &str = "s3://my-bucket/lake";
const COMMIT_INTERVAL: &str = "commit-interval: 1m";

/// The paths of a run's files.
#[derive(Clone, Debug)]
pub struct Files {
    /// The source's configuration.
    pub source: PathBuf,
    /// The sink's configuration.
    pub sink: PathBuf,
    /// The lake sink's configuration.
    pub lake: PathBuf,
    /// The secrets of all connectors.
    pub secrets: PathBuf,
}

impl Files {
    pub(crate) fn write(
        folder: &Path,
        topic: &str,
        parameters: &[(String, String)],
        secrets: &[(&str, &str)],
        lake: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let files = Self {
            source: folder.join("sqs-source.yaml"),
            sink: folder.join("postgres-sink.yaml"),
            lake: folder.join("lake-sink.yaml"),
            secrets: folder.join("secrets.txt"),
        };
        let source = for_one_machine(SOURCE_FILE).replace(TOPIC, topic);
        write(&files.source, &source)?;
        let sink = with_parameters(&for_one_machine(SINK_FILE), parameters).replace(TOPIC, topic);
        write(&files.sink, &sink)?;
        if let Some(tables) = lake {
            let lake = with_parameters(&for_one_machine(LAKE_FILE), parameters);
            write(&files.lake, &in_folder(&lake.replace(TOPIC, topic), tables))?;
        }
        let lines: String = secrets
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        write(&files.secrets, &lines)?;
        Ok(files)
    }
}

/// Leaves out `metrics-address`, since several runs on one machine would need the same port, and
/// `visibility-timeout`, so that the queue's own counts: messages of a source that was killed come
/// again soon.
fn for_one_machine(file: &str) -> String {
    let is_left_out = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("metrics-address:") || line.starts_with("visibility-timeout:")
    };
    file.split_inclusive('\n')
        .filter(|line| !is_left_out(line))
        .collect()
}

/// Puts the tables of the lake sink into a folder, and shortens the time to a commit.
fn in_folder(file: &str, tables: &Path) -> String {
    let url = quoted(&format!("file://{}", tables.display()));
    file.replace(WAREHOUSE, &url)
        .replace(COMMIT_INTERVAL, "commit-interval: 2s")
}

/// The file of a table in the lake that every commit writes, the first of a new sink at its start.
pub(crate) const LAKE_COMMITTED: &str = "shop/facts/metadata/version-hint.text";

/// The absolute path of a folder for a lake, which is created if it is missing.
///
/// # Errors
/// Its path can't be written into a file, or it has files although there is no catalog of them.
pub(crate) fn lake_folder(path: &Path, has_catalog: bool) -> anyhow::Result<PathBuf> {
    let cannot_use = || format!("cannot use {} for the lake", path.display());
    std::fs::create_dir_all(path).with_context(cannot_use)?;
    let folder = path.canonicalize().with_context(cannot_use)?;
    folder
        .to_str()
        .filter(|path| !path.contains(char::is_control))
        .with_context(|| format!("the path {folder:?} of the lake is not readable text"))?;
    let is_empty = folder.read_dir().with_context(cannot_use)?.next().is_none();
    let path = path.display();
    ensure!(
        has_catalog || !folder.join(LAKE_COMMITTED).exists(),
        "{path} holds the lake of an earlier run, whose catalog ended with it. Remove it \
         (`rm -r {}`), or name another folder: `--lake DIR`",
        quoted_for_shell(&path.to_string())
    );
    ensure!(
        has_catalog || is_empty,
        "{path} has files, and none of a lake; name a new or an empty folder: `--lake DIR`"
    );
    Ok(folder)
}

/// A text in YAML.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Adds parameters of the SmartModule to a sink's file.
fn with_parameters(sink: &str, parameters: &[(String, String)]) -> String {
    const MODULE: &str = "  - uses: flatten-items\n";
    if parameters.is_empty() {
        return sink.to_owned();
    }
    let lines: String = parameters
        .iter()
        .map(|(name, value)| format!("      {}: {}\n", quoted(name), quoted(value)))
        .collect();
    sink.replace(MODULE, &format!("{MODULE}    with:\n{lines}"))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    files::create(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The folder of a run: data, files and logs.
#[derive(Debug)]
pub(crate) enum Folder {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Folder {
    pub(crate) fn new(kept: Option<&Path>) -> anyhow::Result<Self> {
        match kept {
            None => Ok(Self::Temporary(
                tempfile::Builder::new().prefix("etl-").tempdir()?,
            )),
            Some(path) => {
                let folder = files::private_folder(path)
                    .with_context(|| format!("cannot use {}", path.display()))?;
                Ok(Self::Kept(folder))
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(path) => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lake_sink_writes_into_the_folder() {
        let lake = in_folder(LAKE_FILE, Path::new("/it's/a lake"));
        assert!(
            lake.contains("warehouse: 'file:///it''s/a lake'\n"),
            "{lake}"
        );
        assert!(lake.contains("commit-interval: 2s\n"), "{lake}");
    }

    #[test]
    fn a_lake_without_its_catalog_is_told_from_other_files() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let refusal = || {
            let refused = lake_folder(folder.path(), false).map(drop);
            refused
                .err()
                .map_or(String::new(), |error| error.to_string())
        };
        assert_eq!(refusal(), "");
        std::fs::write(folder.path().join("mine.txt"), "")?;
        let other = refusal();
        assert!(
            other.contains("none of a lake") && !other.contains("rm -r"),
            "{other}"
        );
        let committed = folder.path().join(LAKE_COMMITTED);
        std::fs::create_dir_all(committed.with_file_name(""))?;
        std::fs::write(committed, "1")?;
        let lake = refusal();
        assert!(
            lake.contains("the lake of an earlier run") && lake.contains("rm -r"),
            "{lake}"
        );
        lake_folder(folder.path(), true)?;
        Ok(())
    }
}
