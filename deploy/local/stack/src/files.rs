//! The folder and files of a run.
//!
//! The connectors use the operator's files of `deploy/cluster`: addresses and passwords
//! come from the secrets file and the environment, as in production. Two keys are left out
//! ([`for_one_machine`]). On a shared cluster the topic's name is replaced, and with it the
//! connectors' names.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use owned_process::files;
use tempfile::TempDir;

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

/// The paths of a run's files.
#[derive(Clone, Debug)]
pub struct Files {
    /// The source's configuration.
    pub source: PathBuf,
    /// The sink's configuration.
    pub sink: PathBuf,
    /// The secrets of both connectors.
    pub secrets: PathBuf,
}

impl Files {
    pub(crate) fn write(
        folder: &Path,
        topic: &str,
        parameters: &[(String, String)],
        secrets: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let files = Self {
            source: folder.join("sqs-source.yaml"),
            sink: folder.join("postgres-sink.yaml"),
            secrets: folder.join("secrets.txt"),
        };
        let source = for_one_machine(SOURCE_FILE).replace(TOPIC, topic);
        write(&files.source, &source)?;
        let sink = with_parameters(&for_one_machine(SINK_FILE), parameters).replace(TOPIC, topic);
        write(&files.sink, &sink)?;
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

/// Adds parameters of the SmartModule to the sink's file.
fn with_parameters(sink: &str, parameters: &[(String, String)]) -> String {
    const MODULE: &str = "  - uses: flatten-items\n";
    if parameters.is_empty() {
        return sink.to_owned();
    }
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
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
