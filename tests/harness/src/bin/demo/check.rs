// SPDX-License-Identifier: Apache-2.0
//! Runs what the demo prints and compares.

use crate::rows::{CHAPTERS, Row};
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tiphys_harness::mesh::Mesh;
use tokio::process::Command;

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of the control plane's log is shown when a row fails.
const SHOWN_LINES: usize = 30;

/// Runs every row and prints how it went; whether all passed.
pub async fn run(mesh: &mut Mesh) -> Result<bool> {
    let (mut passed, mut failed) = (0, 0);
    for chapter in CHAPTERS {
        println!("{}", chapter.title);
        for row in chapter.rows {
            mesh.check()?;
            let output = output(row, mesh.folder().path()).await?;
            if row.answer.matches(&output) {
                passed += 1;
                println!("  ok      {}", row.title);
            } else {
                failed += 1;
                println!("  FAILED  {}\n          {}", row.title, row.command);
                println!("          expected: {}", indented(&row.answer.describe()));
                println!("          answered: {}", indented(output.trim()));
            }
        }
    }
    if failed > 0 {
        let log = std::fs::read_to_string(mesh.folder().log("tiphys")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        println!(
            "\nthe end of the control plane's log:\n{}",
            lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
        );
    }
    println!("\n{passed} passed, {failed} failed");
    Ok(failed == 0)
}

/// What the row's command prints, run in `folder` as a newcomer's shell would.
async fn output(row: &Row, folder: &Path) -> Result<String> {
    let mut command = Command::new("sh");
    command.args(["-c", row.command]).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    // A proxy for the way out of the machine has no business with loopback addresses.
    for variable in ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(variable);
    }
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let Ok(output) = output else { return Ok(format!("nothing within {PATIENCE:?}")) };
    let output = output.with_context(|| format!("cannot run {}", row.command))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n                    ")
}
