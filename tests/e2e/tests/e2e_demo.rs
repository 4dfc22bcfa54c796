// SPDX-License-Identifier: Apache-2.0
//! The program behind `make demo`: what it starts, Ctrl-C stops.

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Stdio;
use std::time::Duration;
use tiphys_harness::eventually;
use tiphys_harness::programs::Programs;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// A variable that everything inherits which the demo starts.
const MARK: &str = "TIPHYS_TEST_MARK";
/// The control plane, seven agents with an Envoy each, and six echo services at least.
const PROGRAMS: usize = 18;

/// Names of the programs that run and have the mark.
fn marked(mark: &str) -> Result<Vec<String>> {
    let wanted = format!("{MARK}={mark}");
    let mut names = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let place = entry?.path();
        // Processes of others cannot be read, and some end while this looks.
        let environment = std::fs::read(place.join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()) {
            names.push(std::fs::read_to_string(place.join("comm")).unwrap_or_default().trim().to_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_everything_that_the_demo_started() -> Result<()> {
    let mark = format!("demo-{}", std::process::id());
    let demo = Programs::find()?.tiphys.with_file_name("demo");
    let mut child = Command::new(demo).env(MARK, &mark).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
    let mut folder = String::new();
    let ready = async {
        while let Some(line) = lines.next_line().await? {
            if let Some((_, rest)) = line.split_once("What runs (folder ") {
                folder = rest.trim_end_matches("):").to_owned();
            }
            if line.contains("Ctrl-C stops everything") {
                return Ok(());
            }
        }
        anyhow::bail!("the demo ended before it was ready")
    };
    tokio::time::timeout(Duration::from_secs(120), ready).await.context("the demo is not ready")??;
    let running = marked(&mark)?;
    ensure!(running.len() >= PROGRAMS, "only these run: {running:?}");
    ensure!(std::path::Path::new(&folder).is_dir(), "there is no folder {folder:?}");

    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).context("its id")?;
    kill_process(id, Signal::INT)?;
    let mut said = String::new();
    while let Some(line) = lines.next_line().await? {
        said = line;
    }
    let status = tokio::time::timeout(Duration::from_secs(20), child.wait()).await.context("the demo goes on")??;
    assert!(status.success() && said.contains("everything that was started has ended"), "{status}: {said}");
    eventually(Vec::<String>::new(), async || marked(&mark)).await?;
    assert!(!std::path::Path::new(&folder).exists(), "{folder} is still there");
    Ok(())
}
