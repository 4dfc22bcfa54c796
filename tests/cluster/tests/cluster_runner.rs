// SPDX-License-Identifier: Apache-2.0
//! The program that brings clusters up leaves nothing behind, whatever happens to it.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tiphys_cluster_tests::{Cluster, command, folder};

/// A cluster beside the one of the other tests.
const NAME: &str = "crash";

fn runner(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
    command.args(arguments).args(["--name", NAME]);
    command
}

/// Processes whose arguments name the cluster's folder.
fn processes(of: &Path) -> Vec<PathBuf> {
    let wanted = of.to_string_lossy().into_owned();
    let names_it = |path: &PathBuf| {
        let text = fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&text).contains(&wanted)
    };
    let entries = fs::read_dir("/proc").expect("/proc").filter_map(|entry| Some(entry.ok()?.path()));
    entries.filter(names_it).collect()
}

/// What shows that the cluster is or was there.
fn traces(index: &str) -> Result<Vec<String>> {
    let state = folder::state(NAME)?;
    let mut found: Vec<_> = processes(&state).iter().map(|path| path.display().to_string()).collect();
    found.extend(state.exists().then(|| state.display().to_string()));
    // Either this is the only hierarchy, or each folder of it is one.
    let root = PathBuf::from("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(&root)?.map(|entry| Ok(entry?.path())).chain([Ok(root)]);
    for hierarchy in hierarchies.collect::<std::io::Result<Vec<_>>>()? {
        let group = hierarchy.join("tiphys").join(NAME);
        found.extend(group.exists().then(|| group.display().to_string()));
        // Where the containers of a containerd are that knows of no other place. Others on this machine may have theirs there.
        let strays =
            fs::read_dir(hierarchy.join("k8s.io")).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        found.extend(strays.filter(|path| path.is_dir()).map(|path| path.display().to_string()));
    }
    let state = state.to_string_lossy().into_owned();
    found.extend(
        fs::read_to_string("/proc/self/mounts")?.lines().filter(|line| line.contains(&state)).map(str::to_owned),
    );
    let links = command::run(&["ip", "-brief", "link"])?;
    found.extend(links.lines().filter(|line| line.starts_with(&format!("tiphys0c{index}n"))).map(str::to_owned));
    let routes = command::run(&["ip", "route"])?;
    found.extend(routes.lines().filter(|line| line.contains(&format!("via 172.30.{index}."))).map(str::to_owned));
    Ok(found)
}

#[test]
fn nothing_is_left_after_a_crash() -> Result<()> {
    let Some(cluster) = Cluster::of_test("nothing_is_left_after_a_crash")? else { return Ok(()) };
    command::finish(&mut runner(&["down"]))?;
    let foreign = traces("none")?;
    let mut up = runner(&["up", "--nodes", "2"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let node = folder::state(NAME)?.join("node-1");
    cluster.eventually("its first node is connected", Duration::from_secs(60), || {
        ensure!(node.join("connected").exists(), "it is not");
        Ok(())
    })?;
    let plan: serde_json::Value = serde_json::from_str(&fs::read_to_string(folder::state(NAME)?.join("plan.json"))?)?;
    let index = plan["index"].as_u64().context("an index")?.to_string();
    up.kill()?;
    up.wait()?;
    // The node goes on without the program that started it, and ends with the other.
    ensure!(!processes(&node).is_empty());
    command::finish(&mut runner(&["down"]))?;
    cluster.eventually("nothing is left", Duration::from_secs(10), || {
        let mut left = traces(&index)?;
        left.retain(|trace| !foreign.contains(trace));
        ensure!(left.is_empty(), "{}", left.join("\n"));
        Ok(())
    })?;
    // Once more is once too often for nobody.
    command::finish(&mut runner(&["down"])).map(drop)
}
