// SPDX-License-Identifier: Apache-2.0
//! The mesh as tests install it: by its charts, with the images of this checkout.

use crate::cluster::Cluster;
use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::time::Instant;

/// Where the control plane runs.
pub const SYSTEM: &str = "istio-system";

/// What makes the charts use the images of this checkout.
pub const IMAGES: &[&str] = &["--set", "global.hub=docker.io/tiphys", "--set", "global.tag=test"];

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

    /// Removes both, and the namespace.
    ///
    /// # Errors
    /// When helm or kubectl fail.
    pub fn uninstall(&self) -> Result<()> {
        for release in ["istiod", "istio-base"] {
            self.cluster.helm(&["uninstall", release, "--namespace", SYSTEM, "--ignore-not-found", "--wait"])?;
        }
        self.cluster.kubectl(&["delete", "namespace", SYSTEM, "--ignore-not-found", "--timeout=60s"]).map(drop)
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
