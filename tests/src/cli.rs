//! Runs the `etl` command and checks its output.

use std::process::Stdio;

use anyhow::ensure;
use local_stack::artefacts::Artefacts;
use tokio::process::Command;

/// The command without arguments. It reads no input, and is killed when dropped.
///
/// # Errors
/// Fails if it is not built.
pub fn command() -> anyhow::Result<Command> {
    let mut command = Command::new(Artefacts::find()?.program("etl"));
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// The exit code and the output.
///
/// # Errors
/// Fails if it does not run, or its output is not UTF-8.
pub async fn output(command: &mut Command) -> anyhow::Result<(Option<i32>, String)> {
    let output = command.output().await?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8(text)?))
}

/// Runs it, and checks its exit code and that its output has these parts.
///
/// # Errors
/// Fails if they differ.
pub async fn ensure_output(command: &mut Command, code: i32, parts: &[&str]) -> anyhow::Result<()> {
    let (found, output) = self::output(command).await?;
    let args: Vec<_> = command.as_std().get_args().collect();
    ensure!(
        found == Some(code),
        "{args:?} ends with {found:?}, should with {code}: {output}"
    );
    for part in parts {
        ensure!(
            output.contains(part),
            "no «{part}» of {args:?} in\n{output}"
        );
    }
    Ok(())
}
