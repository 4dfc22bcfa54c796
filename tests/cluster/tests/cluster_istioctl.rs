// SPDX-License-Identifier: Apache-2.0
//! Istio's own istioctl reads the mesh. docs/istioctl.md has what it can.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use anyhow::{Result, ensure};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tiphys_cluster_tests::istio::Istio;
use tiphys_cluster_tests::{Cluster, Mesh, manifests};

/// How long what a command prints may take to be so.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program and the cluster that it asks.
struct Istioctl {
    program: PathBuf,
    cluster: Cluster,
}

impl Istioctl {
    /// What a command prints on both outputs.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        let output = self.cluster.environment(command.args(arguments))?.output()?;
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        ensure!(output.status.success(), "istioctl {}: {text}", arguments.join(" "));
        Ok(text)
    }

    /// Asks until the answer has all these words.
    fn says(&self, arguments: &[&str], words: &[&str]) -> Result<String> {
        self.cluster.eventually(&format!("istioctl {}", arguments.join(" ")), PATIENCE, || {
            let text = self.run(arguments)?;
            for word in words {
                ensure!(text.contains(word), "no {word:?} in: {text}");
            }
            Ok(text)
        })
    }
}

#[test]
fn istioctl_reads_the_mesh() -> Result<()> {
    let Some(cluster) = Cluster::of_test("istioctl_reads_the_mesh")? else { return Ok(()) };
    let Some(istio) = Istio::of_test("istioctl_reads_the_mesh")? else { return Ok(()) };
    let mesh = Mesh::shared(&cluster)?;
    let namespace = cluster.namespace("istioctl", &[("istio-injection", "enabled")])?;
    namespace.apply(&manifests::echo("web", 1))?;
    namespace.rollout("web").map_err(|error| error.context(mesh.account()))?;
    let web = format!("{}.istioctl", namespace.pod("web")?.name());
    let istioctl = Istioctl { program: istio.program("istioctl"), cluster: cluster.clone() };

    istioctl.says(&["version"], &["control plane version: ", "data plane version: "])?;
    istioctl.says(&["proxy-status", "--namespace=istioctl", "--verbosity=1"], &[&web, "SYNCED", "istiod-"])?;
    istioctl.says(&["proxy-status", &web], &["Clusters Match", "Listeners Match", "Routes Match"])?;
    istioctl.says(&["proxy-config", "cluster", &web], &["web.istioctl.svc.cluster.local"])?;
    istioctl.says(&["proxy-config", "route", &web], &["web.istioctl.svc.cluster.local:80"])?;
    istioctl.says(&["proxy-config", "secret", &web], &["ROOTCA", "ACTIVE"])?;
    istioctl.says(&["experimental", "describe", "pod", &web], &["Workload mTLS mode: PERMISSIVE"])?;
    istioctl.says(&["experimental", "internal-debug", "syncz"], &[&web])?;
    istioctl.says(&["experimental", "internal-debug", "nosuch"], &["\"configz\""])?;
    istioctl.says(&["admin", "log", "--level=spiffe:debug"], &[])?;
    istioctl
        .says(&["admin", "log", "--output=json"], &["\"scope_name\": \"spiffe\",\n    \"log_level\": \"debug\""])?;
    istioctl.says(&["admin", "log", "--reset"], &[])?;
    istioctl.says(&["analyze", "--namespace=istioctl"], &["No validation issues found"])?;
    Ok(())
}
