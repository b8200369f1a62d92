//! The files of `deploy/cluster`, written out for a run.
//!
//! They are the operator's files, unchanged: what differs on this machine (addresses, passwords)
//! comes in where it does in production, through the secrets file and the environment. Only on a
//! cluster that others use as well is the topic another one, and with it the connectors' names.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The topic that the connectors' files name.
pub const TOPIC: &str = "shop-events";

pub(crate) const TOPIC_FILE: &str = include_str!("../../../cluster/topic.yaml");
pub(crate) const FLATTEN_ITEMS: &str =
    include_str!("../../../../smartmodules/flatten-items/SmartModule.toml");
pub(crate) const LIST_ITEMS: &str =
    include_str!("../../../../smartmodules/list-items/SmartModule.toml");
const SOURCE_FILE: &str = include_str!("../../../cluster/sqs-source.yaml");
const SINK_FILE: &str = include_str!("../../../cluster/postgres-sink.yaml");

/// Where a run's files are.
#[derive(Clone, Debug)]
pub struct Files {
    /// The source's configuration.
    pub source: PathBuf,
    /// The sink's configuration.
    pub sink: PathBuf,
    /// The secrets of both.
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
        write(&files.source, 0o644, &SOURCE_FILE.replace(TOPIC, topic))?;
        let sink = with_parameters(SINK_FILE, parameters).replace(TOPIC, topic);
        write(&files.sink, 0o644, &sink)?;
        let lines: String = secrets
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        write(&files.secrets, 0o600, &lines)?;
        Ok(files)
    }
}

/// The sink's file with parameters for its SmartModule.
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

fn write(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
