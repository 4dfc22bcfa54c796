// SPDX-License-Identifier: Apache-2.0
//! The cluster that tests run on.

use crate::namespace::Namespace;
use crate::{command, folder};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long [`Cluster::eventually`] waits between two attempts.
const LOOK: Duration = Duration::from_millis(200);

/// A cluster that is up, by the name that TIPHYS_CLUSTER says.
#[derive(Clone, Debug)]
pub struct Cluster {
    name: String,
    folder: PathBuf,
}

impl Cluster {
    /// The cluster of this run; without one the test that asks says aloud that it is skipped.
    ///
    /// # Errors
    /// When TIPHYS_CLUSTER names a cluster that is not up.
    pub fn of_test(test: &str) -> Result<Option<Cluster>> {
        match std::env::var("TIPHYS_CLUSTER") {
            Ok(name) if !name.is_empty() => Cluster::named(&name).map(Some),
            _ => {
                println!("SKIPPED: {test} needs a cluster: `make cluster-test`, or see tests/cluster/README.md");
                Ok(None)
            }
        }
    }

    /// The cluster of this name.
    ///
    /// # Errors
    /// When it is not up.
    pub fn named(name: &str) -> Result<Cluster> {
        let cluster = Cluster { name: name.to_owned(), folder: folder::state(name)? };
        ensure!(cluster.kubeconfig().is_file(), "cluster {name} is not up: `make cluster-up CLUSTER={name}`");
        Ok(cluster)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// A kubectl command that is yet to run.
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        self.tool("kubectl", arguments)
    }

    /// Runs kubectl and gives what it prints.
    ///
    /// # Errors
    /// When it fails; the error quotes it.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        command::finish(&mut self.kubectl_command(arguments))
    }

    /// Runs helm and gives what it prints.
    ///
    /// # Errors
    /// When it fails; the error quotes it.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        command::finish(&mut self.tool("helm", arguments))
    }

    /// Installs a chart of this checkout's `charts/`, or upgrades the release, and waits until what it installs is ready.
    /// `arguments` are further ones of helm, such as `--set` and a value.
    ///
    /// # Errors
    /// When helm fails or what is installed does not become ready.
    pub fn helm_install(&self, release: &str, chart: &str, namespace: &str, arguments: &[&str]) -> Result<()> {
        let chart = checkout().join("charts").join(chart);
        let path = chart.to_string_lossy();
        let command = ["upgrade", "--install", release, &path, "--namespace", namespace, "--create-namespace"];
        self.helm(&[&command, ["--wait", "--timeout=120s"].as_slice(), arguments].concat()).map(drop)
    }

    /// Applies YAML by server-side apply.
    ///
    /// # Errors
    /// When the API server refuses it; the error has its reason.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "--filename=-"];
        command::feed(&mut self.kubectl_command(&arguments), yaml).map(drop)
    }

    /// Objects as the API server has them, such as `["get", "pods", "--namespace=a"]` with their list.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[arguments, &["--output=json"]].concat())?;
        serde_json::from_str(&text).context("kubectl prints JSON")
    }

    /// Makes a namespace with these labels. It is deleted when the returned value is dropped, without waiting for it to be gone.
    ///
    /// # Errors
    /// When it cannot be made: one that a run before this one left is waited for.
    pub fn namespace(&self, name: &str, labels: &[(&str, &str)]) -> Result<Namespace> {
        Namespace::make(self, name, labels)
    }

    /// Tries until it works, and fails with the last error when `patience` is over.
    ///
    /// # Errors
    /// That of the last attempt, with what was waited for.
    pub fn eventually<T>(&self, what: &str, patience: Duration, attempt: impl Fn() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(error) if started.elapsed() > patience => {
                    return Err(error.context(format!("{what}: not within {patience:?}")));
                }
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    }

    /// Stops a component of the first node at once (SIGKILL), such as kube-apiserver or etcd, until it is started again.
    ///
    /// # Errors
    /// When there is no such component.
    pub fn stop(&self, component: &str) -> Result<()> {
        self.component(component, true)
    }

    /// Starts a component that was stopped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, component: &str) -> Result<()> {
        self.component(component, false)
    }

    fn component(&self, component: &str, stop: bool) -> Result<()> {
        let node = self.folder.join("node-1");
        let components = std::fs::read_to_string(node.join("components.json"))?;
        if !components.contains(&format!("\"name\":\"{component}\"")) {
            bail!("no component is called {component}");
        }
        // The node's first process looks for this file.
        let hold = node.join("stopped").join(component);
        if stop {
            std::fs::create_dir_all(node.join("stopped"))?;
            return std::fs::write(&hold, "").with_context(|| format!("cannot write {}", hold.display()));
        }
        match std::fs::remove_file(&hold) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Gives a command what a user of the cluster has: kubectl, helm and this checkout's programs in PATH, and KUBECONFIG.
    ///
    /// # Errors
    /// When PATH would not be one.
    pub fn environment<'a>(&self, command: &'a mut Command) -> Result<&'a mut Command> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Tests lie in a folder below the one of the programs.
        let programs = std::env::current_exe()?.ancestors().nth(2).map(Path::to_owned);
        let folders = [self.folder.join("bin")].into_iter().chain(programs).chain(std::env::split_paths(&path));
        Ok(command.env("PATH", std::env::join_paths(folders)?).env("KUBECONFIG", self.kubeconfig()))
    }

    /// Names of all objects that there are, as `KIND NAMESPACE NAME`, but for what comes and goes by itself (events, leases), kinds
    /// and what describes them.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn objects(&self) -> Result<BTreeSet<String>> {
        const PASSING: &[&str] = &["events", "leases", "customresourcedefinitions", "apiservices", "componentstatuses"];
        let kinds = self.kubectl(&["api-resources", "--verbs=list", "--output=name"])?;
        let lasting = |kind: &&str| !PASSING.contains(&kind.split('.').next().unwrap_or(kind));
        let kinds = kinds.lines().filter(lasting).collect::<Vec<_>>().join(",");
        let columns = "--output=custom-columns=:.kind,:.metadata.namespace,:.metadata.name";
        let list = self.kubectl(&["get", &kinds, "--all-namespaces", "--no-headers", columns])?;
        Ok(list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect())
    }

    fn tool(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.folder.join("bin").join(name));
        command.env("KUBECONFIG", self.kubeconfig()).args(arguments);
        command
    }
}

/// The root of the checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
