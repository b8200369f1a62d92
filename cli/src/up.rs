//! `etl up`: runs the whole pipeline on this machine until Ctrl-C.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use local_stack::{Fluvio, Stack, StackOptions, queue};
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::Parameters;

const POLL_INTERVAL: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub struct Args {
    /// Keep all data in this folder and continue from it next time [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Write to this database instead of a private one
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// Partitions of the topic [default: as in deploy/cluster/topic.yaml]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Option<u32>,
    /// Also write the facts into an Iceberg lake in this folder
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Use the Fluvio cluster of the current profile, with a topic that is deleted at the end,
    /// instead of an embedded node
    #[arg(long)]
    cluster: bool,
    #[command(flatten)]
    parameters: Parameters,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut interrupted = Interrupted::listen()?;
    args.parameters.options()?;
    let options = StackOptions {
        data_dir: args.data_dir,
        database_url: args.database_url,
        partitions: args.partitions,
        fluvio: if args.cluster {
            Fluvio::CurrentProfile
        } else {
            Fluvio::Embedded
        },
        parameters: args.parameters.pairs().to_vec(),
        lake: args.lake,
        ..StackOptions::default()
    };
    let started = tokio::select! {
        started = Stack::start(options, |step| errln!("starting {step} …")) => started,
        () = interrupted.wait() => return Ok(ExitCode::from(130)),
    };
    let mut stack = started?;
    outln!("{}", addresses(&stack));
    errln!("Running; Ctrl-C stops everything.");
    let code = watch(&mut stack, &mut interrupted).await?;
    errln!("stopping …");
    stack.stop().await?;
    Ok(code)
}

/// Waits for Ctrl-C. Reports each part that ends meanwhile, and how to start it again. Returns a
/// failure if the private database ends, since nothing works without it.
pub async fn watch(stack: &mut Stack, interrupted: &mut Interrupted) -> anyhow::Result<ExitCode> {
    loop {
        tokio::select! {
            () = interrupted.wait() => return Ok(ExitCode::SUCCESS),
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
        if let Some(ended) = stack.database_ended()? {
            errln!(
                "{ended}\nEverything stops, since nothing works without it; run the command again \
                 (`etl up --data-dir DIR` goes on with the data in DIR)"
            );
            return Ok(ExitCode::FAILURE);
        }
        for (part, status) in stack.ended()? {
            let launch = stack.launch(part);
            errln!("{}\n{}", launch.ended(status), launch.again());
        }
    }
}

/// The shell commands to use the running pipeline.
pub fn addresses(stack: &Stack) -> String {
    let environment = queue::environment(stack.sqs_url());
    let aws: String = environment
        .iter()
        .map(|(name, value)| format!("export {name}={value}\n"))
        .collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::current_exe()
        .ok()
        .and_then(|program| path_export(&program, &path));
    let lake = stack.lake_folder().map_or(String::new(), |folder| {
        format!(
            "# lake in {}; to look into it:\n#   etl lake status --config {} --secrets {}\n",
            folder.display(),
            stack.files().lake.display(),
            stack.files().secrets.display()
        )
    });
    format!(
        "{path}\
         export DATABASE_URL='{database}'\n\
         export QUEUE_URL='{queue}'\n\
         export FLV_PROFILE_PATH='{profile}'\n{aws}\
         # SQS endpoint {sqs}, Fluvio node {fluvio}, data and logs in {folder}\n\
         {lake}\
         # then: psql \"$DATABASE_URL\", etl send FILE.jsonl, etl status, etl consume --facts",
        path = path.unwrap_or_default(),
        database = stack.database_url(),
        queue = stack.queue_url(),
        profile = stack.profile().display(),
        sqs = stack.sqs_url(),
        fluvio = stack.fluvio_address(),
        folder = stack.folder().display(),
    )
}

/// The shell command that puts the folder of a program first on the PATH; `None` if the folder is on
/// it already, or its name can't be written.
fn path_export(program: &Path, path: &OsStr) -> Option<String> {
    let folder = program.parent()?;
    if std::env::split_paths(path).any(|on_path| on_path == folder) {
        return None;
    }
    let folder = folder.to_str()?;
    // A colon would divide it.
    (!folder.contains([':', '\n'])).then(|| {
        format!(
            "export PATH='{}':\"$PATH\"\n",
            folder.replace('\'', r"'\''")
        )
    })
}

/// SIGINT and SIGTERM. Installed before anything starts, so that a signal never leaves processes
/// running.
pub struct Interrupted {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Interrupted {
    /// Installs the handlers.
    ///
    /// # Errors
    /// Fails if the operating system refuses.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the first signal.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_the_program_comes_onto_the_path_once() {
        let program = Path::new("/it's/target/demo/etl");
        let export = |path: &str| path_export(program, OsStr::new(path));
        assert_eq!(
            export("/usr/bin:/bin").as_deref(),
            Some("export PATH='/it'\\''s/target/demo':\"$PATH\"\n")
        );
        assert_eq!(export("/usr/bin:/it's/target/demo"), None);
    }
}
