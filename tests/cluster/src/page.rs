// SPDX-License-Identifier: Apache-2.0
//! Pages of docs/ whose commands are run as they stand: the `sh` blocks of a page, in order, by bash.

use crate::cluster::{Cluster, checkout};
use crate::command;
use anyhow::{Context, Result, ensure};
use std::collections::VecDeque;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Instant;

/// What every `helm` command of a page gets beside its own arguments, as the pages tell who has the images elsewhere.
const VALUES: &str = "global: {hub: docker.io/tiphys, tag: test}\n";

const VALUES_FILE: &str = "images.yaml";

/// Appends the values to those commands of helm that take any.
const HELM: &str = r#"helm() {
  case $1 in
    install|upgrade|template) command helm "$@" --values "$VALUES" ;;
    *) command helm "$@" ;;
  esac
}
"#;

/// A block of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The heading that it stands below.
    pub heading: String,
    /// Its first line in the page.
    pub line: usize,
    /// The commands.
    pub text: String,
}

/// A page whose blocks are run one after the other.
#[derive(Debug)]
pub struct Page {
    cluster: Cluster,
    name: String,
    blocks: VecDeque<Block>,
    folder: tempfile::TempDir,
}

impl Page {
    /// A page of the checkout, such as `docs/install.md`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(cluster: &Cluster, name: &str) -> Result<Page> {
        let text = std::fs::read_to_string(checkout().join(name)).with_context(|| name.to_owned())?;
        // Pages write files beside the charts.
        let folder = tempfile::tempdir()?;
        symlink(checkout().join("charts").canonicalize()?, folder.path().join("charts"))?;
        std::fs::write(folder.path().join(VALUES_FILE), VALUES)?;
        Ok(Page { cluster: cluster.clone(), name: name.to_owned(), blocks: blocks(&text).into(), folder })
    }

    /// A page of which only the blocks below `heading` are run.
    ///
    /// # Errors
    /// When it cannot be read, or has no commands there.
    pub fn section(cluster: &Cluster, name: &str, heading: &str) -> Result<Page> {
        let mut page = Page::read(cluster, name)?;
        page.blocks.retain(|block| block.heading == heading);
        ensure!(!page.blocks.is_empty(), "{name} has no commands below {heading:?}");
        Ok(page)
    }

    /// Runs the next block, which must stand below `heading`, and gives what it prints.
    ///
    /// # Errors
    /// When a command fails, or the next block stands elsewhere: then a test does not know what to expect of it.
    pub fn run(&mut self, heading: &str) -> Result<String> {
        let block = self.next(heading)?;
        let script = format!("set -euo pipefail\n{HELM}{}", block.text);
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).current_dir(self.folder.path()).env("VALUES", self.folder.path().join(VALUES_FILE));
        let started = Instant::now();
        let output = command::finish(self.cluster.environment(&mut bash)?);
        println!("{}:{} took {:.1} s", self.name, block.line, started.elapsed().as_secs_f64());
        output.with_context(|| format!("{}:{}", self.name, block.line))
    }

    /// Passes over the next block, which must stand below `heading`: it needs what a test does not have.
    ///
    /// # Errors
    /// When the next block stands elsewhere.
    pub fn skip(&mut self, heading: &str, why: &str) -> Result<()> {
        let block = self.next(heading)?;
        println!("{}:{} is not run: {why}", self.name, block.line);
        Ok(())
    }

    /// Fails when there are blocks left.
    ///
    /// # Errors
    /// With the first of them.
    pub fn finish(self) -> Result<()> {
        ensure!(self.blocks.is_empty(), "{} has commands that were not run: {:?}", self.name, self.blocks[0]);
        Ok(())
    }

    fn next(&mut self, heading: &str) -> Result<Block> {
        let block = self.blocks.pop_front().with_context(|| format!("{} has no more commands", self.name))?;
        ensure!(block.heading == heading, "expected commands below {heading:?}: {}: {block:?}", self.name);
        Ok(block)
    }
}

/// The `sh` blocks of a page.
fn blocks(text: &str) -> Vec<Block> {
    let (mut blocks, mut heading, mut open) = (Vec::new(), String::new(), None::<Block>);
    for (index, line) in text.lines().enumerate() {
        match &mut open {
            Some(_) if line == "```" => blocks.extend(open.take()),
            Some(block) => block.text += &format!("{line}\n"),
            None if line == "```sh" => {
                open = Some(Block { heading: heading.clone(), line: index + 2, text: String::new() });
            }
            None => {
                if let Some(text) = line.strip_prefix('#') {
                    heading = text.trim_start_matches('#').trim().to_owned();
                }
            }
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_heading_and_line() {
        let page = "# Title\n\n## First\n\n```sh\none\n# two\n```\n\n```yaml\nno: command\n```\n\n## Second\n```sh\nthree\n```\n";
        let block =
            |heading: &str, line, text: &str| Block { heading: heading.to_owned(), line, text: text.to_owned() };
        assert_eq!(blocks(page), [block("First", 6, "one\n# two\n"), block("Second", 16, "three\n")]);
    }
}
