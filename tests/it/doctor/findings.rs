//! Runs `etl doctor` on copies of a pipeline's files.

use std::path::PathBuf;

use end_to_end::cli;
use end_to_end::pipeline::Pipeline;
use local_stack::queue;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

/// The command with copies of a pipeline's files.
pub struct Doctor<'p> {
    pipeline: &'p Pipeline,
    folder: TempDir,
}

/// The exit code and the report of the command.
pub struct Findings {
    pub code: Option<i32>,
    pub report: Value,
}

impl<'p> Doctor<'p> {
    pub fn new(pipeline: &'p Pipeline) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in ["sqs-source.yaml", "postgres-sink.yaml", "secrets.txt"] {
            let from = pipeline.stack.folder().join(file);
            std::fs::copy(from, folder.path().join(file)).unwrap();
        }
        Self { pipeline, folder }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same with one file changed.
    pub fn with(&self, file: &str, from: &str, to: &str) -> Doctor<'p> {
        let changed = Doctor::new(self.pipeline);
        let text = std::fs::read_to_string(self.file(file)).unwrap();
        assert!(text.contains(from), "no «{from}» in {file}");
        std::fs::write(changed.file(file), text.replace(from, to)).unwrap();
        changed
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = cli::command().unwrap();
        command
            .arg("doctor")
            .arg("--source-config")
            .arg(self.file("sqs-source.yaml"))
            .arg("--sink-config")
            .arg(self.file("postgres-sink.yaml"))
            .arg("--secrets")
            .arg(self.file("secrets.txt"))
            .args(args)
            .env_remove("QUEUE_URL")
            .env_remove("DATABASE_URL")
            .env("FLV_PROFILE_PATH", self.pipeline.stack.profile())
            .envs(queue::environment(self.pipeline.stack.sqs_url()));
        command
    }

    pub async fn run(&self, args: &[&str]) -> Findings {
        let args = [&["--json"], args].concat();
        Findings::of(&mut self.command(&args)).await
    }
}

impl Findings {
    pub async fn of(command: &mut Command) -> Self {
        let output = command.output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        let report: Value =
            serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
        let code = output.status.code();
        let expected = if report["verdict"] == "fail" { 1 } else { 0 };
        assert_eq!(code, Some(expected), "{report:#}");
        Self { code, report }
    }

    /// Asserts that a check has the verdict, and that its text has these parts.
    pub fn has(&self, area: &str, check: &str, verdict: &str, parts: &[&str]) -> &Self {
        let all = self.report["checks"].as_array().unwrap();
        let of = |one: &&Value| one["area"] == area && one["check"] == check;
        let found: Vec<&Value> = all.iter().filter(of).collect();
        let wanted = found.iter().find(|one| {
            let text = one.to_string();
            one["verdict"] == verdict && parts.iter().all(|part| text.contains(part))
        });
        assert!(
            wanted.is_some(),
            "{area} {check} is not {verdict} with {parts:?}: {:#}",
            self.report
        );
        self
    }
}
