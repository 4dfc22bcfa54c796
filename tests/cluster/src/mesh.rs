// SPDX-License-Identifier: Apache-2.0
//! The mesh as tests install it: by its charts, with the images of this checkout.

use crate::cluster::Cluster;
use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::time::Instant;

/// Where the control plane runs.
pub const SYSTEM: &str = "istio-system";

/// What makes the charts use the images of this checkout.
pub const IMAGES: &[&str] = &["--set", "global.hub=docker.io/tiphys", "--set", "global.tag=test"];

/// Everything that the charts make.
const KINDS: &str = "configmaps,services,serviceaccounts,deployments,horizontalpodautoscalers,poddisruptionbudgets,roles,rolebindings,\
    clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingwebhookconfigurations";

/// A mesh on a cluster; it stays there when the test is over, for the next one.
#[derive(Clone, Debug)]
pub struct Mesh {
    cluster: Cluster,
}

impl Mesh {
    /// The mesh of tests that can share one: its charts with default values. Who asks first installs it.
    ///
    /// # Errors
    /// When helm fails, or the control plane does not become ready: the error has what its pods say.
    pub fn shared(cluster: &Cluster) -> Result<Mesh> {
        let mesh = Mesh { cluster: cluster.clone() };
        // Tests run beside each other, in several processes.
        let lock = File::create(cluster.kubeconfig().with_file_name("mesh.lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let installed =
            cluster.helm(&["list", "--namespace", SYSTEM, "--short", "--filter", "^istiod$", "--deployed"])?;
        if installed.trim().is_empty() {
            let started = Instant::now();
            mesh.install(&[])?;
            println!("the mesh is installed and ready after {:.1} s", started.elapsed().as_secs_f64());
        }
        Ok(mesh)
    }

    /// Installs or upgrades base and istiod, with further arguments for helm such as `--set` and a value of istiod's.
    ///
    /// # Errors
    /// As [`Mesh::shared`].
    pub fn install(&self, arguments: &[&str]) -> Result<()> {
        self.cluster.helm_install("istio-base", "base", SYSTEM, &[])?;
        let installed = self.cluster.helm_install("istiod", "istiod", SYSTEM, &[IMAGES, arguments].concat());
        installed.with_context(|| self.account())
    }

    /// Removes a mesh that may be there, and its namespace.
    ///
    /// # Errors
    /// When helm or kubectl fail.
    pub fn remove(cluster: &Cluster) -> Result<()> {
        for release in ["istiod", "istio-base"] {
            cluster.helm(&["uninstall", release, "--namespace", SYSTEM, "--ignore-not-found", "--wait"])?;
        }
        cluster.kubectl(&["delete", "namespace", SYSTEM, "--ignore-not-found", "--timeout=60s"]).map(drop)
    }

    /// Its cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What the control plane has to say, for an error.
    pub fn account(&self) -> String {
        let mut text = format!("in namespace {SYSTEM}:\n");
        for arguments in [
            ["get", "pods", "--output=wide"].as_slice(),
            &["logs", "--selector=app=istiod", "--tail=40", "--prefix"],
            &["logs", "--selector=app=istiod", "--tail=10", "--prefix", "--previous"],
        ] {
            let output = self.cluster.kubectl(&[&["--namespace", SYSTEM], arguments].concat());
            text += &output.unwrap_or_else(|error| format!("{error:#}\n"));
        }
        text
    }
}

/// Version of each object of the charts that has these labels. What Kubernetes writes into statuses is no version.
///
/// # Errors
/// When kubectl fails.
pub fn versions(cluster: &Cluster, labels: &str) -> Result<BTreeMap<String, String>> {
    let objects = cluster.json(&["get", KINDS, "--all-namespaces", "--selector", labels])?;
    let objects = objects["items"].as_array().context("items")?.iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // What is wished for has a generation where there is a status beside it, but for a HorizontalPodAutoscaler.
    let version = |object: &Value| match (&object["metadata"]["generation"], &object["status"]) {
        (Value::Number(generation), _) => generation.to_string(),
        (_, Value::Object(_)) if object["kind"] == "HorizontalPodAutoscaler" => object["spec"].to_string(),
        _ => text(&object["metadata"]["resourceVersion"]),
    };
    let of =
        |object: &Value| (format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"])), version(object));
    Ok(objects.map(of).collect())
}
