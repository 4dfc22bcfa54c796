// SPDX-License-Identifier: Apache-2.0
//! A pod, and what tests run in it.

use crate::cluster::Cluster;
use crate::namespace::Namespace;
use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A pod as it was when it was asked for.
#[derive(Clone, Debug)]
pub struct Pod {
    cluster: Cluster,
    namespace: String,
    name: String,
    object: Value,
}

/// What a request from a pod came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status; 0 when no answer came.
    pub status: u16,
    /// What came, or what curl says went wrong.
    pub body: String,
}

impl Pod {
    pub(crate) fn new(namespace: &Namespace, object: &Value) -> Result<Pod> {
        let name = object["metadata"]["name"].as_str().context("a pod has a name")?;
        Ok(Pod {
            cluster: namespace.cluster().clone(),
            namespace: namespace.name().to_owned(),
            name: name.to_owned(),
            object: object.clone(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The whole object.
    pub fn object(&self) -> &Value {
        &self.object
    }

    /// One of its annotations.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.object["metadata"]["annotations"][name].as_str()
    }

    /// Its address.
    ///
    /// # Errors
    /// When it has none yet.
    pub fn ip(&self) -> Result<&str> {
        self.object["status"]["podIP"].as_str().with_context(|| format!("pod {} has no address yet", self.name))
    }

    /// Whether its condition Ready is true.
    pub fn is_ready(&self) -> bool {
        let conditions = self.object["status"]["conditions"].as_array().into_iter().flatten();
        conditions.filter(|one| one["type"] == "Ready").any(|one| one["status"] == "True")
    }

    /// How many of its containers are ready, and how many there are, as kubectl's column READY has it: native sidecars count.
    pub fn ready(&self) -> (usize, usize) {
        let list = |path: &str| self.object.pointer(path).and_then(Value::as_array).into_iter().flatten();
        let init = list("/spec/initContainers");
        let sidecars: Vec<_> = init.filter(|one| one["restartPolicy"] == "Always").map(|one| &one["name"]).collect();
        let init = list("/status/initContainerStatuses").filter(|status| sidecars.contains(&&status["name"]));
        let ready = init.chain(list("/status/containerStatuses")).filter(|status| status["ready"] == true).count();
        (ready, sidecars.len() + list("/spec/containers").count())
    }

    /// Runs a command in its first container, or the one that its annotation says is the default, and gives what it prints.
    ///
    /// # Errors
    /// When the command fails.
    pub fn exec(&self, command: &[&str]) -> Result<String> {
        self.kubectl(&[&["exec", &self.name, "--"], command].concat())
    }

    /// Runs a command in one of its containers and gives what it prints.
    ///
    /// # Errors
    /// When the command fails.
    pub fn exec_in(&self, container: &str, command: &[&str]) -> Result<String> {
        self.kubectl(&[&["exec", &self.name, "--container", container, "--"], command].concat())
    }

    /// What one of its containers has printed.
    ///
    /// # Errors
    /// When there is no such container, or it has not started.
    pub fn logs(&self, container: &str) -> Result<String> {
        self.kubectl(&["logs", &self.name, "--container", container])
    }

    /// Sends a request by the curl of the test image. A request that gets no answer is an answer too: its status is 0.
    ///
    /// # Errors
    /// When curl could not be run.
    pub fn get(&self, url: &str, arguments: &[&str]) -> Result<Answer> {
        let script = r#"code=$(curl --silent --show-error --max-time 10 --output /tmp/$$ --write-out '%{http_code}' "$@" 2>/tmp/$$.error)
            echo "$code"; cat /tmp/$$ /tmp/$$.error 2>/dev/null; rm -f /tmp/$$ /tmp/$$.error"#;
        let text = self.exec(&[&["sh", "-c", script, "sh", url], arguments].concat())?;
        let (status, body) = text.split_once('\n').unwrap_or((&text, ""));
        let Ok(status) = status.trim().parse() else { bail!("curl does not say what came: {text}") };
        Ok(Answer { status, body: body.to_owned() })
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["--namespace", &self.namespace], arguments].concat())
    }
}
