// SPDX-License-Identifier: Apache-2.0
//! The first process of a node, in process, mount, network and host name namespaces of the node's own. It makes the node's view of the
//! file system, starts the components that `components.json` lists, starts those again that end, and reaps what loses its parent.
//! A file `stopped/COMPONENT` in the node's folder keeps a component from running.

use crate::groups;
use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use serde_json::Value;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often the node looks after its components.
const LOOK: Duration = Duration::from_millis(50);
/// How long after its start a component that ended is started again.
const BACKOFF: Duration = Duration::from_secs(1);
/// How long a connection to find out whether something listens may take.
const CONNECT: Duration = Duration::from_millis(50);

/// Kernel settings of the whole machine that a kubelet sets: the node sees them set already, and the machine keeps its own.
const KERNEL_SETTINGS: &[(&str, &str)] = &[
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// What runs on a node.
struct Component {
    name: String,
    command: Vec<String>,
    /// Something must listen here before the component starts.
    after: Option<SocketAddr>,
    log: PathBuf,
    running: Option<Pid>,
    started: Option<Instant>,
}

/// Becomes `unshare` with the node's first process: in the node's control group, which is then the root of the node's cgroup namespace.
///
/// # Errors
/// When the group cannot be entered or unshare is not there.
pub fn enter(folder: &Path) -> Result<()> {
    groups::enter(&group(folder)?)?;
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc", "--net", "--cgroup"]);
    command.arg(std::env::current_exe()?).args(["node", "--folder"]).arg(folder);
    Err(command.exec()).context("cannot start unshare")
}

/// The node's control group, which its folder says.
fn group(folder: &Path) -> Result<String> {
    fs::read_to_string(folder.join("group")).with_context(|| format!("{} is no node's folder", folder.display()))
}

/// Runs until it is killed.
///
/// # Errors
/// When the node's file system cannot be made or its components are not listed.
pub fn run(folder: &Path) -> Result<()> {
    if std::process::id() != 1 {
        bail!("`cluster node` is started by `cluster up`, as the first process of namespaces of its own");
    }
    let mut components = read(&folder.join("components.json"))?;
    mount_all(folder).context("cannot make the node's file system")?;
    while !folder.join("connected").exists() {
        std::thread::sleep(LOOK);
    }
    loop {
        reap(&mut components);
        for component in &mut components {
            if let Err(error) = component.look(&hold(folder, &component.name)) {
                eprintln!("{}: {error:#}", component.name);
                component.started = Some(Instant::now());
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// The file in the folder of a node whose presence keeps a component from running.
pub fn hold(folder: &Path, component: &str) -> PathBuf {
    folder.join("stopped").join(component)
}

/// The names in `components.json`.
///
/// # Errors
/// When it cannot be read.
pub fn component_names(file: &Path) -> Result<Vec<String>> {
    Ok(read(file)?.into_iter().map(|component| component.name).collect())
}

fn read(file: &Path) -> Result<Vec<Component>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let value: Value = serde_json::from_str(&text)?;
    let list = value.as_array().context("a list of components is expected")?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a text is expected");
    list.iter()
        .map(|item| {
            let words = item["command"].as_array().context("a command is expected")?;
            Ok(Component {
                name: text(&item["name"])?,
                command: words.iter().map(text).collect::<Result<_>>()?,
                after: item["after"].as_str().map(str::parse).transpose()?,
                log: PathBuf::from(text(&item["log"])?),
                running: None,
                started: None,
            })
        })
        .collect()
}

impl Component {
    /// Starts it if it should run and does not, ends it if it should not run.
    fn look(&mut self, hold: &Path) -> Result<()> {
        match (self.running, hold.exists()) {
            (Some(pid), true) => Ok(kill_process(pid, Signal::KILL)?),
            (None, false) if self.started.is_none_or(|at| at.elapsed() > BACKOFF) => self.start(),
            _ => Ok(()),
        }
    }

    fn start(&mut self) -> Result<()> {
        if self.after.is_some_and(|address| TcpStream::connect_timeout(&address, CONNECT).is_err()) {
            return Ok(());
        }
        let (program, arguments) = self.command.split_first().context("no command")?;
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir("/").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        self.running = Pid::from_raw(i32::try_from(child.id())?);
        self.started = Some(Instant::now());
        Ok(())
    }
}

/// Takes leave of all processes that ended, components and others.
fn reap(components: &mut [Component]) {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if let Some(component) = components.iter_mut().find(|component| component.running == Some(pid)) {
            eprintln!("{} ended: {status:?}", component.name);
            component.running = None;
        }
    }
}

/// The node's own /proc, /run, /var/lib and /var/log.
fn mount_all(folder: &Path) -> Result<()> {
    let (lib, settings) = (folder.join("lib"), folder.join("settings"));
    for part in ["kubelet", "containerd", "cni/net.d"] {
        fs::create_dir_all(lib.join(part))?;
    }
    groups::mount_own(&group(folder)?)?;
    mount("proc", "/proc", "proc", MountFlags::empty(), None).context("/proc")?;
    for (name, value) in KERNEL_SETTINGS {
        let file = settings.join(name);
        fs::create_dir_all(file.parent().unwrap_or(&settings))?;
        fs::write(&file, format!("{value}\n"))?;
        mount_bind(&file, Path::new("/proc/sys").join(name)).with_context(|| format!("/proc/sys/{name}"))?;
    }
    mount_bind(&lib, "/var/lib").context("/var/lib")?;
    mount_bind(folder.join("containerd"), "/var/lib/containerd").context("/var/lib/containerd")?;
    mount_bind(folder.join("log"), "/var/log").context("/var/log")?;
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), Some(c"mode=755")).context("/run")?;
    // Volumes that pods mount show in other containers, as Kubernetes promises, and never outside of the node.
    mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC).context("/")?;
    Ok(())
}
