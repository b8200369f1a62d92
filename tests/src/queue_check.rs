//! The generated messages of a shop's queue, and the program that computes the tables from them.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use tempfile::TempDir;
use tokio::process::Command;

use crate::cli;
use crate::pipeline::Pipeline;

/// Messages to send, and the means to compare the tables with them.
pub struct QueueCheck {
    /// The messages.
    pub bodies: Vec<String>,
    folder: TempDir,
    python: PathBuf,
}

impl QueueCheck {
    /// `count` messages of `etl generate`, followed by `more`. `python` has psycopg.
    ///
    /// # Errors
    /// Fails if the command does.
    pub async fn of(count: usize, more: &[String], python: &Path) -> anyhow::Result<Self> {
        let count = count.to_string();
        let mut command = cli::command()?;
        command.args(["generate", "--seed", "41", "--messages", &count]);
        let (code, output) = cli::output(&mut command).await?;
        ensure!(code == Some(0), "{output}");
        let bodies: Vec<String> = output
            .lines()
            .chain(more.iter().map(String::as_str))
            .map(str::to_owned)
            .collect();
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("messages.jsonl"), bodies.join("\n"))?;
        Ok(Self {
            bodies,
            folder,
            python: python.to_owned(),
        })
    }

    /// Compares the tables with those computed from the messages, column by column.
    ///
    /// # Errors
    /// Fails with the differences.
    pub async fn ensure_equal(&self, pipeline: &Pipeline) -> anyhow::Result<()> {
        let mut command = Command::new(&self.python);
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("queue_check.py"))
            .arg(self.folder.path().join("messages.jsonl"))
            .arg(pipeline.stack.database_url())
            .kill_on_drop(true);
        let (code, output) = cli::output(&mut command).await?;
        ensure!(code == Some(0), "{output}");
        Ok(())
    }
}
