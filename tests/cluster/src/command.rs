// SPDX-License-Identifier: Apache-2.0
//! Programs that are run to their end.

use anyhow::{Context, Result, bail};
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs a program to its end and gives what it printed on its standard output.
///
/// # Errors
/// When it cannot be started or fails; the error quotes the command and what it printed on its standard error.
pub fn run(command: &[&str]) -> Result<String> {
    let (program, arguments) = command.split_first().context("no command")?;
    finish(Command::new(program).args(arguments))
}

/// As [`run`], of a command that was put together.
///
/// # Errors
/// As [`run`].
pub fn finish(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", text(command)))?;
    judge(command, &output)
}

/// As [`finish`], with `input` on its standard input.
///
/// # Errors
/// As [`run`].
pub fn feed(command: &mut Command, input: &str) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", text(command)))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends before it has read everything says why on its standard error.
        let _ = stdin.write_all(input.as_bytes());
    }
    judge(command, &child.wait_with_output()?)
}

fn judge(command: &Command, output: &Output) -> Result<String> {
    if !output.status.success() {
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("{} failed ({}): {}{}", text(command), output.status, error.trim(), out.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as one would type it, less its environment.
fn text(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_quotes_command_and_error() {
        let error = run(&["sh", "-c", "echo no such pod >&2; exit 3"]).expect_err("it fails").to_string();
        assert!(
            error.contains("sh -c") && error.contains("no such pod") && error.contains("exit status: 3"),
            "{error}"
        );
    }

    #[test]
    fn input_is_fed() -> Result<()> {
        assert_eq!(feed(Command::new("cat").arg("-"), "hello")?, "hello");
        Ok(())
    }
}
