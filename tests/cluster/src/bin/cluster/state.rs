// SPDX-License-Identifier: Apache-2.0
//! Which clusters there are. Each keeps `plan.json` in its folder from before its first process starts until after its last has
//! ended, so that whoever comes later knows all that it may have left. The first process of a node is found by its arguments, which
//! name the node's folder: that holds even if whoever started it was killed on the spot.

use crate::network;
use crate::plan::{MAX_CLUSTERS, Node, Plan};
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tiphys_cluster_tests::folder;

/// Held while clusters come and go: what they share (indexes, the bridge, the cache) is changed by one at a time.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the lock is held while the file is open")] File);

impl Lock {
    /// Waits until nobody else holds it.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn take() -> Result<Lock> {
        let base = folder::base()?;
        fs::create_dir_all(&base).with_context(|| format!("cannot make {}", base.display()))?;
        let file = File::create(base.join("lock"))?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(Lock(file))
    }
}

/// The plan of a cluster that is up or on its way up or down.
///
/// # Errors
/// When its plan cannot be read.
pub fn load(name: &str) -> Result<Option<Plan>> {
    let file = folder::state(name)?.join("plan.json");
    if !file.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&file)?;
    let value: Value = serde_json::from_str(&text).with_context(|| format!("{} is broken", file.display()))?;
    let number = |key: &str| value[key].as_u64().and_then(|number| u8::try_from(number).ok());
    let (index, nodes) =
        number("index").zip(number("nodes")).with_context(|| format!("{} is broken", file.display()))?;
    Plan::new(name, index, nodes).map(Some)
}

/// All clusters.
///
/// # Errors
/// When a plan cannot be read.
pub fn load_all() -> Result<Vec<Plan>> {
    let Ok(entries) = fs::read_dir(folder::base()?.join("running")) else { return Ok(Vec::new()) };
    let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names.iter().filter_map(|name| load(name).transpose()).collect()
}

/// The plan of a cluster that is to come up: the one that it has, or a new one with an index that no other has.
///
/// # Errors
/// When it has another number of nodes, or there are too many clusters.
pub fn claim(_lock: &Lock, name: &str, nodes: u8) -> Result<Plan> {
    if let Some(plan) = load(name)? {
        ensure!(plan.nodes == nodes, "cluster {name} has {} nodes, not {nodes}: end it first", plan.nodes);
        return Ok(plan);
    }
    let taken: BTreeSet<_> = load_all()?.into_iter().map(|plan| plan.index).collect();
    // A cluster of another cache folder is known by its cables alone.
    let free = |index: &u8| !taken.contains(index) && !network::is_used(*index);
    let index = (0..MAX_CLUSTERS).find(free).unwrap_or(MAX_CLUSTERS);
    let plan = Plan::new(name, index, nodes)?;
    let _ = fs::remove_dir_all(&plan.logs);
    fs::create_dir_all(&plan.folder).with_context(|| format!("cannot make {}", plan.folder.display()))?;
    write_private(&plan.folder.join("plan.json"), &json!({ "index": plan.index, "nodes": plan.nodes }).to_string())?;
    Ok(plan)
}

/// Writes a file that its owner alone can read; it is never seen half written.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // A temporary file is 0600 from its first moment.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// The processes that were started for a node: its first one, and the one outside of its namespaces that waits for it.
pub fn processes(folder: &Path) -> Vec<Pid> {
    let wanted = ["--folder", &folder.to_string_lossy()].map(str::to_owned);
    let is_it = |arguments: &[String]| match arguments.strip_suffix(&wanted) {
        Some([.., command]) => command == "node" || command == "enter",
        _ => false,
    };
    let mut found: Vec<_> = all_processes().into_iter().filter(|pid| is_it(&arguments(*pid))).collect();
    found.sort_by_key(|pid| pid.as_raw_nonzero());
    found
}

/// The first process of a node, as this machine numbers it; `None` when the node is not up.
pub fn first_process(node: &Node) -> Option<Pid> {
    let found = processes(&node.folder);
    found.into_iter().rfind(|pid| arguments(*pid).get(1).is_some_and(|command| command == "node"))
}

/// Ends a process at once, if `is_it` still says yes of it once it cannot be mistaken for another.
pub fn end(pid: Pid, is_it: impl Fn(Pid) -> bool) {
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if is_it(pid) {
        // One that is gone needs no signal.
        let _ = pidfd_send_signal(handle, Signal::KILL);
    }
}

fn all_processes() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}

fn arguments(pid: Pid) -> Vec<String> {
    let text = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// Prints what a shell needs to use the cluster.
///
/// # Errors
/// When it is not up.
pub fn print_environment(name: &str) -> Result<()> {
    let plan = load(name)?
        .with_context(|| format!("there is no cluster {name}: bring it up with `make cluster-up CLUSTER={name}`"))?;
    println!("export TIPHYS_CLUSTER={name}");
    println!("export KUBECONFIG={}", plan.kubeconfig().display());
    println!("export PATH={}:$PATH", plan.bin().display());
    Ok(())
}

/// A component of a node.
#[derive(clap::Args, Debug)]
pub struct Component {
    /// Name of the cluster
    #[arg(long, env = "CLUSTER", default_value = "tiphys")]
    name: String,
    /// Number of the node, from 1
    #[arg(long, default_value_t = 1)]
    node: u8,
    /// Name of the component, such as kube-apiserver
    component: String,
}

impl Component {
    /// Ends it, and keeps it from running.
    ///
    /// # Errors
    /// When the cluster has no such component.
    pub fn stop(&self) -> Result<()> {
        let hold = self.hold()?;
        write_private(&hold, "")?;
        eprintln!("{} of {} is stopped", self.component, self.name);
        Ok(())
    }

    /// Lets it run again.
    ///
    /// # Errors
    /// When the cluster has no such component.
    pub fn start(&self) -> Result<()> {
        match fs::remove_file(self.hold()?) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn hold(&self) -> Result<PathBuf> {
        let plan = load(&self.name)?.with_context(|| format!("there is no cluster {}", self.name))?;
        ensure!((1..=plan.nodes).contains(&self.node), "cluster {} has no node {}", self.name, self.node);
        let node = plan.node(self.node);
        let names = crate::node::component_names(&node.components())?;
        if !names.contains(&self.component) {
            bail!("node {} has no {}, but {}", self.node, self.component, names.join(", "));
        }
        Ok(crate::node::hold(&node.folder, &self.component))
    }
}
