// SPDX-License-Identifier: Apache-2.0
//! A namespace of one test, so that tests run beside each other.

use crate::cluster::Cluster;
use crate::pod::Pod;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a namespace of a run before this one may take to go.
const LEAVING: Duration = Duration::from_secs(120);
/// How long pods may take to become ready.
const ROLLOUT: &str = "--timeout=120s";

/// A namespace; dropping it deletes it.
#[derive(Debug)]
pub struct Namespace {
    cluster: Cluster,
    name: String,
}

impl Namespace {
    pub(crate) fn make(cluster: &Cluster, name: &str, labels: &[(&str, &str)]) -> Result<Namespace> {
        let labels: serde_json::Map<String, Value> = labels.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
        let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
        cluster.kubectl(&["delete", "namespace", name, "--ignore-not-found", "--wait=false"])?;
        cluster.eventually(&format!("namespace {name} goes"), LEAVING, || {
            let left = cluster.kubectl(&["get", "namespace", name, "--ignore-not-found", "--output=name"])?;
            ensure!(left.is_empty(), "namespace {name} is still there");
            Ok(())
        })?;
        cluster.apply(&object.to_string())?;
        // Pods cannot be made before there is an account that they run as.
        let namespace = Namespace { cluster: cluster.clone(), name: name.to_owned() };
        cluster.eventually(&format!("the default account of {name}"), LEAVING, || {
            namespace.kubectl(&["get", "serviceaccount", "default"]).map(drop)
        })?;
        Ok(namespace)
    }

    /// One that others made, such as the control plane's: it stays.
    pub fn existing(cluster: &Cluster, name: &str) -> std::mem::ManuallyDrop<Namespace> {
        std::mem::ManuallyDrop::new(Namespace { cluster: cluster.clone(), name: name.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Runs kubectl in it and gives what it prints.
    ///
    /// # Errors
    /// When it fails; the error quotes it.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["--namespace", &self.name], arguments].concat())
    }

    /// Objects of it, such as `["get", "pods"]` with their list.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        self.cluster.json(&[&["--namespace", &self.name], arguments].concat())
    }

    /// Applies YAML to it. Objects that name no namespace are made in this one.
    ///
    /// # Errors
    /// When the API server refuses it; the error has its reason.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        let arguments = ["--namespace", &self.name, "apply", "--server-side", "--force-conflicts", "--filename=-"];
        crate::command::feed(&mut self.cluster.kubectl_command(&arguments), yaml).map(drop)
    }

    /// Applies YAML that the API server must refuse, and gives its reason.
    ///
    /// # Errors
    /// When it takes the objects.
    pub fn refused(&self, yaml: &str) -> Result<String> {
        match self.apply(yaml) {
            Ok(()) => anyhow::bail!("what should be refused was taken: {yaml}"),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// Waits until a Deployment has all of its pods ready and none of an older kind. An error has what its pods say.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn rollout(&self, deployment: &str) -> Result<()> {
        let status = self.kubectl(&["rollout", "status", &format!("deployment/{deployment}"), ROLLOUT]);
        status.map(drop).with_context(|| self.account())
    }

    /// Replaces all pods of a Deployment, as users do after they label a namespace, and waits until they are ready.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn restart(&self, deployment: &str) -> Result<()> {
        self.kubectl(&["rollout", "restart", &format!("deployment/{deployment}")])?;
        self.rollout(deployment)
    }

    /// The pods that a label selector selects, less those that are on their way out, by name.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn pods(&self, selector: &str) -> Result<Vec<Pod>> {
        let list = self.json(&["get", "pods", "--selector", selector])?;
        let items = list["items"].as_array().context("a list of pods")?;
        let alive = items.iter().filter(|item| item["metadata"]["deletionTimestamp"].is_null());
        let mut pods = alive.map(|item| Pod::new(self, item)).collect::<Result<Vec<_>>>()?;
        pods.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(pods)
    }

    /// The first pod with the label `app`.
    ///
    /// # Errors
    /// When there is none.
    pub fn pod(&self, app: &str) -> Result<Pod> {
        let pods = self.pods(&format!("app={app}"))?.into_iter().next();
        pods.with_context(|| format!("no pod of {} has the label app={app}", self.name))
    }

    /// The address that a Service of type LoadBalancer got. This machine reaches it.
    ///
    /// # Errors
    /// When it gets none within some seconds.
    pub fn load_balancer(&self, service: &str) -> Result<String> {
        self.cluster.eventually(&format!("an address of {service}"), Duration::from_secs(20), || {
            let object = self.json(&["get", "service", service])?;
            let address = object["status"]["loadBalancer"]["ingress"][0]["ip"].as_str();
            address.map(str::to_owned).context("its status has no address")
        })
    }

    /// What goes on in the namespace, for an error: its pods, what is wrong with them, and the last words of those that are not ready.
    pub fn account(&self) -> String {
        let mut text = format!("in namespace {}:\n", self.name);
        for arguments in [
            ["get", "pods", "--output=wide"].as_slice(),
            &["get", "events", "--sort-by=.lastTimestamp", "--field-selector=type!=Normal"],
        ] {
            text += &self.kubectl(arguments).unwrap_or_else(|error| format!("{error:#}\n"));
        }
        let waiting = self.pods("").unwrap_or_default().into_iter().filter(|pod| !pod.is_ready());
        for pod in waiting.take(3) {
            let logs = ["logs", pod.name(), "--all-containers", "--prefix", "--tail=15"];
            text += &self.kubectl(&logs).unwrap_or_else(|error| format!("{error:#}\n"));
        }
        text
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::env::var_os("TIPHYS_KEEP").is_some() {
            return;
        }
        let mut command: Command = self.cluster.kubectl_command(&["delete", "namespace", &self.name, "--wait=false"]);
        // One that is gone already need not go.
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
