// SPDX-License-Identifier: Apache-2.0
//! Ends a cluster, in whatever state it is, and removes everything that it left on this machine.

use crate::plan::{MAX_NODES, Node, Plan};
use crate::state::{self, Lock};
use crate::{groups, network};
use anyhow::{Context, Result, bail};
use std::fs;
use std::time::{Duration, Instant};
use tiphys_cluster_tests::folder;

/// How long the kernel may take to end processes and to forget their namespaces.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

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
    groups::remove(&format!("tiphys/{name}"))?;
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    groups::remove_if_empty("tiphys");
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
        let members = groups::processes(&node.cgroup);
        if first.is_empty() && members.is_empty() {
            return Ok(());
        }
        for pid in first {
            state::end(pid, |pid| state::processes(&node.folder).contains(&pid));
        }
        for pid in members {
            state::end(pid, |pid| groups::processes(&node.cgroup).contains(&pid));
        }
        if started.elapsed() > PATIENCE {
            bail!("processes of node {} do not end: {:?}", node.name, groups::processes(&node.cgroup));
        }
        std::thread::sleep(LOOK);
    }
}
