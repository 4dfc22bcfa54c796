// SPDX-License-Identifier: Apache-2.0
//! The control groups of a node: `tiphys/CLUSTER/node-N` in each of the kernel's hierarchies. A node has a cgroup namespace of its own and
//! sees its group as the root ([`mount_own`]), so that whatever containerd and kubelet make is below it, is known by it after a
//! crash, and goes with it.

use anyhow::{Context, Result};
use rustix::mount::mount_bind;
use rustix::process::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the kernel may take to forget the last process of a group.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

/// Where the hierarchies are.
const ROOT: &str = "/sys/fs/cgroup";

/// The group of the node's own processes, below the node's.
const SYSTEM: &str = "system";

/// Makes this process a member of a group in every hierarchy: it is what a cgroup namespace that is made then has for its root.
///
/// # Errors
/// When a group cannot be made or does not take the process.
pub fn enter(group: &str) -> Result<()> {
    for hierarchy in hierarchies() {
        make(&hierarchy, &format!("{group}/{SYSTEM}"))?;
        let members = hierarchy.join(group).join("cgroup.procs");
        fs::write(&members, "0").with_context(|| format!("cannot join {}", members.display()))?;
    }
    Ok(())
}

/// Moves the processes of a node into a group of their own beside those of its containers: in cgroup v2 a group has either members or
/// children that controllers look after.
///
/// # Errors
/// When a group does not take one.
pub fn settle(group: &str, processes: &[Pid]) -> Result<()> {
    for hierarchy in hierarchies() {
        let group = hierarchy.join(group);
        for pid in processes {
            let members = group.join(SYSTEM).join("cgroup.procs");
            let pid = pid.as_raw_nonzero().to_string();
            fs::write(&members, pid).with_context(|| format!("cannot join {}", members.display()))?;
        }
        let controllers = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
        for controller in controllers.split_whitespace() {
            // One that cannot be handed down is one that containers do without.
            let _ = fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
    Ok(())
}

/// Shows a node its group as the root of each hierarchy, in this process's mount namespace.
///
/// # Errors
/// When one cannot be mounted.
pub fn mount_own(group: &str) -> Result<()> {
    for hierarchy in hierarchies() {
        mount_bind(hierarchy.join(group), &hierarchy).with_context(|| hierarchy.display().to_string())?;
    }
    Ok(())
}

/// All processes in a group and below it, in any hierarchy.
pub fn processes(group: &str) -> Vec<Pid> {
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

/// Removes a group and all below it, in every hierarchy.
///
/// # Errors
/// When one has a process that does not end.
pub fn remove(group: &str) -> Result<()> {
    let started = Instant::now();
    while let Err(error) = remove_once(group) {
        if started.elapsed() > PATIENCE {
            return Err(error);
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Removes a group in whose children there is nothing left, if that is so.
pub fn remove_if_empty(group: &str) {
    for hierarchy in hierarchies() {
        // One that has children has a cluster.
        let _ = fs::remove_dir(hierarchy.join(group));
    }
}

fn remove_once(group: &str) -> Result<()> {
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

/// The roots of all hierarchies: one of cgroup v2, or one of each controller.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
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

/// Makes a group and those above it.
fn make(hierarchy: &Path, group: &str) -> Result<()> {
    let mut above = hierarchy.to_owned();
    for name in group.split('/') {
        let folder = above.join(name);
        if !folder.exists() {
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(error).with_context(|| format!("cannot make {}", folder.display()));
                }
                _ => {}
            }
        }
        // A new group of cpuset has no processor, and takes no member before it has.
        for setting in ["cpuset.cpus", "cpuset.mems"] {
            let (own, parents) = (folder.join(setting), above.join(setting));
            let is_empty = fs::read_to_string(&own).is_ok_and(|text| text.trim().is_empty());
            if let (true, Ok(value)) = (is_empty && !folder.join("cgroup.controllers").exists(), fs::read(&parents)) {
                fs::write(&own, value).with_context(|| format!("cannot write {}", own.display()))?;
            }
        }
        above = folder;
    }
    Ok(())
}

/// Visits a folder after all below it.
fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()) {
        walk(&path, visit);
    }
    visit(folder);
}
