//! The `etl` command, and whether it says what it should.

use std::process::Stdio;

use anyhow::ensure;
use local_stack::artefacts::Artefacts;
use tokio::process::Command;

/// The command, without arguments yet. It reads no input, and does not outlive the test.
///
/// # Errors
/// It isn't built.
pub fn command() -> anyhow::Result<Command> {
    let mut command = Command::new(Artefacts::find()?.program("etl"));
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// The exit code, and what was said.
///
/// # Errors
/// It does not run, or says what is no text.
pub async fn said(command: &mut Command) -> anyhow::Result<(Option<i32>, String)> {
    let output = command.output().await?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8(said)?))
}

/// Runs it, and checks its exit code and that it says each of these parts.
///
/// # Errors
/// What it says instead.
pub async fn ensure_says(command: &mut Command, code: i32, parts: &[&str]) -> anyhow::Result<()> {
    let (found, said) = said(command).await?;
    let args: Vec<_> = command.as_std().get_args().collect();
    ensure!(
        found == Some(code),
        "{args:?} ends with {found:?}, should with {code}: {said}"
    );
    for part in parts {
        ensure!(said.contains(part), "no «{part}» of {args:?} in\n{said}");
    }
    Ok(())
}
