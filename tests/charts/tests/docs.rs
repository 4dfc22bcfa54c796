// SPDX-License-Identifier: Apache-2.0
//! The commands of docs/install.md that render a chart do render it; those that need a cluster are run where there is one.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;
use tiphys_charts::helm;

#[test]
fn every_helm_command_renders() -> Result<()> {
    let Some(helm) = helm("every_helm_command_renders") else { return Ok(()) };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/install.md"))?;
    let mut rendered = 0;
    for line in page.lines().filter(|line| line.starts_with("helm ")) {
        let command = line.split(" | ").next().context("a command")?;
        let words: Vec<&str> = command.split(' ').filter(|word| *word != "--wait").collect();
        let ["helm", "install" | "upgrade" | "template", arguments @ ..] = &words[..] else { continue };
        let output = Command::new(&helm).arg("template").args(arguments).current_dir(&root).output()?;
        ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        rendered += 1;
    }
    ensure!(rendered >= 8, "docs/install.md has commands: {rendered}");
    Ok(())
}
