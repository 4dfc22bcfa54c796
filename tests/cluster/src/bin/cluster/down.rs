// SPDX-License-Identifier: Apache-2.0
//! Ends a cluster, in whatever state it is, and removes everything that it left on this machine.

use crate::network;
use crate::plan::{MAX_NODES, Node, Plan};
use crate::state::{self, Lock};
use anyhow::{Context, Result, bail};
use rustix::process::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tiphys_cluster_tests::folder;

/// How long the kernel may take to end processes and to forget their namespaces.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

/// Where the kernel's control groups are.
const GROUPS: &str = "/sys/fs/cgroup";

/// Does it. There may be nothing to do.
///
/// # Errors
/// When something cannot be removed. Doing it again goes on where it stopped.
pub fn run(name: &str) -> Result<()> {
    let started = Instant::now();
    let lock = Lock::take()?;
    // Whatever the plan says, and even if there is none: what is left is found by the cluster's name.
    let known = state::load(name).ok().flatten();
    let widest = Plan::new(name, known.as_ref().map_or(0, |plan| plan.index), MAX_NODES)?;
    for node in widest.all_nodes() {
        end_node(&node)?;
    }
    let folder = folder::state(name)?;
    if let Some(plan) = known {
        network::disconnect(&lock, &plan)?;
    }
    remove_group(&format!("tiphys/{name}"))?;
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let _ = remove_empty("tiphys");
    println!(
        "cluster {name} is down ({:.1} s); its logs are in {}",
        started.elapsed().as_secs_f64(),
        folder::logs(name)?.display()
    );
    Ok(())
}

/// Ends all processes of a node.
///
/// # Errors
/// When one does not end.
pub fn end_node(node: &Node) -> Result<()> {
    let started = Instant::now();
    loop {
        // With the first process the kernel ends all others of its namespace; what is in the node's groups is of the same node.
        let first = state::processes(&node.folder);
        let members = group_processes(&node.cgroup);
        if first.is_empty() && members.is_empty() {
            return Ok(());
        }
        for pid in first {
            state::end(pid, |pid| state::processes(&node.folder).contains(&pid));
        }
        for pid in members {
            state::end(pid, |pid| group_processes(&node.cgroup).contains(&pid));
        }
        if started.elapsed() > PATIENCE {
            bail!("processes of node {} do not end: {:?}", node.name, group_processes(&node.cgroup));
        }
        std::thread::sleep(LOOK);
    }
}

/// Makes processes members of the node's groups, in which their children begin.
///
/// # Errors
/// When there is no hierarchy in which they can.
pub fn join_group(node: &Node, processes: &[Pid]) -> Result<()> {
    let mut joined = false;
    for hierarchy in hierarchies() {
        let group = hierarchy.join(&node.cgroup);
        // Pods have a group beside that of the node's own processes: in cgroup v2 a group has either members or children.
        for part in ["pods", "system"] {
            fs::create_dir_all(group.join(part)).with_context(|| format!("cannot make {}", group.display()))?;
        }
        // A group of cpuset takes no member before it is told its processors. One hierarchy is enough to find them again.
        let join = |pid: &Pid| fs::write(group.join("system/cgroup.procs"), pid.as_raw_nonzero().to_string());
        joined |= processes.iter().all(|pid| join(pid).is_ok());
    }
    if !joined {
        bail!("no control group takes the processes of node {}", node.name);
    }
    Ok(())
}

/// The roots of all hierarchies: one of cgroup v2, or one of each controller.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(GROUPS);
    if root.join("cgroup.procs").exists() {
        return vec![root.to_owned()];
    }
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
    // Some are known by several names.
    let mut all: Vec<_> = folders.filter(|path| !path.is_symlink() && path.join("cgroup.procs").exists()).collect();
    all.sort();
    all
}

/// All processes in a group and below it, in any hierarchy.
fn group_processes(group: &str) -> Vec<Pid> {
    let mut all = Vec::new();
    for hierarchy in hierarchies() {
        walk(&hierarchy.join(group), &mut |folder| {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            all.extend(text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)));
        });
    }
    all.sort_by_key(|pid| pid.as_raw_nonzero());
    all.dedup();
    all
}

/// Removes a group and all below it, in every hierarchy. The kernel may need a moment to forget its last process.
fn remove_group(group: &str) -> Result<()> {
    let started = Instant::now();
    while let Err(error) = remove_empty(group) {
        if started.elapsed() > PATIENCE {
            return Err(error);
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn remove_empty(group: &str) -> Result<()> {
    let mut result = Ok(());
    for hierarchy in hierarchies() {
        walk(&hierarchy.join(group), &mut |folder| {
            if let Err(error) = fs::remove_dir(folder) {
                result = Err(error).with_context(|| format!("cannot remove {}", folder.display()));
            }
        });
    }
    result
}

/// Visits a folder after all below it.
fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()) {
        walk(&path, visit);
    }
    visit(folder);
}
