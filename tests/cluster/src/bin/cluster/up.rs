// SPDX-License-Identifier: Apache-2.0
//! Brings a cluster up. Every step looks at what is there first, so that doing it again repairs what is missing and changes nothing else.

use crate::plan::{Node, Plan};
use crate::programs::{self, Programs};
use crate::state::{self, Lock};
use crate::{addons, components, config, groups, images, network, pki};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Pid;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tiphys_cluster_tests::command;

/// How long something may take to appear.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);

/// What `up` is asked for.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Name of the cluster; clusters with different names run beside each other
    #[arg(long, env = "CLUSTER", default_value = "tiphys")]
    name: String,
    /// How many nodes it has
    #[arg(long, env = "NODES", default_value_t = 1)]
    nodes: u8,
}

/// Does it, and says how to use the cluster.
///
/// # Errors
/// When a step fails; what there is then is what `down` removes.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut steps = Steps { last: Instant::now() };
    let programs = programs::build()?;
    let images = images::build(&programs)?;
    steps.done("programs and images are there");
    let lock = Lock::take()?;
    let plan = state::claim(&lock, &arguments.name, arguments.nodes)?;
    check_folder(&plan.folder)?;
    pki::make(&plan)?;
    pki::kubeconfig(&plan)?;
    link_tools(&plan, &programs)?;
    network::bridge(&lock)?;
    for node in plan.all_nodes() {
        start(&lock, &plan, &node, &programs)?;
    }
    drop(lock);
    steps.done("nodes are started");
    for node in plan.all_nodes() {
        images::import(&node, first_process(&node)?, &images)?;
    }
    steps.done("images are on the nodes");
    let kubectl = Kubectl { plan: &plan, programs: &programs };
    wait("the API server", || kubectl.run(&["get", "--raw", "/readyz"]).map(drop))?;
    steps.done("the API server is ready");
    addons::apply(&plan, &kubectl)?;
    for node in plan.all_nodes() {
        wait(&format!("node {}", node.name), || {
            kubectl.run(&["wait", "--for=condition=Ready", "--timeout=60s", &format!("node/{}", node.name)]).map(drop)
        })?;
    }
    steps.done("nodes are ready");
    kubectl.run(&["--namespace=kube-system", "rollout", "status", "deployment/coredns", "--timeout=120s"])?;
    steps.done("DNS is ready");
    println!("cluster {} is up; to use it with kubectl and helm:\n", plan.name);
    state::print_environment(&plan.name)
}

/// kubectl on the cluster that comes up.
#[derive(Debug)]
pub struct Kubectl<'a> {
    plan: &'a Plan,
    programs: &'a Programs,
}

impl Kubectl<'_> {
    /// Runs it and gives what it prints.
    ///
    /// # Errors
    /// When it fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        command::finish(&mut self.command(arguments))
    }

    /// Applies YAML.
    ///
    /// # Errors
    /// When it fails.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "--filename=-"];
        command::feed(&mut self.command(&arguments), yaml).map(drop)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.kubernetes);
        command.arg("kubectl").arg("--kubeconfig").arg(self.plan.kubeconfig()).args(arguments);
        command
    }
}

/// Says what took how long.
struct Steps {
    last: Instant,
}

impl Steps {
    fn done(&mut self, what: &str) {
        println!("{what} ({:.1} s)", self.last.elapsed().as_secs_f64());
        self.last = Instant::now();
    }
}

/// Tries until it works.
fn wait(what: &str, attempt: impl Fn() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(error) if started.elapsed() > PATIENCE => {
                return Err(error.context(format!("{what} does not come up; see the logs of the cluster")));
            }
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

/// Nodes have a /run, /var/lib and /var/log of their own, behind which nothing else can be seen.
fn check_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let real = folder.canonicalize()?;
    for hidden in ["/run", "/var/lib", "/var/log", "/proc"] {
        ensure!(
            !real.starts_with(hidden),
            "set TIPHYS_CACHE to a folder that is not in {hidden}: nodes cannot see it there"
        );
    }
    Ok(())
}

/// kubectl and helm for whoever uses the cluster.
fn link_tools(plan: &Plan, programs: &Programs) -> Result<()> {
    fs::create_dir_all(plan.bin())?;
    for (name, program) in [("kubectl", &programs.kubernetes), ("helm", &programs.helm)] {
        let link = plan.bin().join(name);
        if fs::read_link(&link).ok().as_ref() != Some(program) {
            let _ = fs::remove_file(&link);
            symlink(program, &link)?;
        }
    }
    Ok(())
}

/// Starts a node that does not run.
fn start(lock: &Lock, plan: &Plan, node: &Node, programs: &Programs) -> Result<()> {
    if state::first_process(node).is_some() && node.folder.join("connected").exists() && network::is_connected(node) {
        return Ok(());
    }
    // What is left of one that died is ended first: a node has one first process.
    crate::down::end_node(node)?;
    let _ = fs::remove_file(node.folder.join("connected"));
    fs::create_dir_all(&node.logs)?;
    fs::create_dir_all(&node.folder)?;
    fs::create_dir_all(node.containerd()?)?;
    for (name, target) in [("log", &node.logs), ("containerd", &node.containerd()?)] {
        let link = node.folder.join(name);
        if !link.exists() {
            symlink(target, &link)?;
        }
    }
    config::write(plan, node)?;
    state::write_private(&node.components(), &components::list(plan, node, programs).to_string())?;
    let log = File::options().create(true).append(true).open(node.logs.join("node.log"))?;
    state::write_private(&node.folder.join("group"), &node.cgroup)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["enter", "--folder"]).arg(&node.folder);
    command.current_dir("/").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    // It goes on when this program has ended, and is found by its arguments.
    command.spawn().context("cannot start the node")?;
    wait(&format!("the first process of {}", node.name), || first_process(node).map(drop))?;
    let first = first_process(node)?;
    groups::settle(&node.cgroup, &state::processes(&node.folder))?;
    command::run(&["nsenter", "--uts", "--target", &first.as_raw_nonzero().to_string(), "hostname", &node.name])?;
    network::connect(lock, plan, node, first)?;
    state::write_private(&node.folder.join("connected"), "")
}

fn first_process(node: &Node) -> Result<Pid> {
    match state::first_process(node) {
        Some(pid) => Ok(pid),
        None => bail!("node {} ended; {} says why", node.name, node.logs.join("node.log").display()),
    }
}
