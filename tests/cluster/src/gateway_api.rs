// SPDX-License-Identifier: Apache-2.0
//! The Gateway API's CustomResourceDefinitions, which a mesh does not bring: <https://gateway-api.sigs.k8s.io/guides/>.

use crate::cluster::Cluster;
use crate::command;
use anyhow::{Context, Result};
use serde_json::Value;

/// They lie in a Go module, which is kept where Go keeps modules.
const MODULE: &str = "sigs.k8s.io/gateway-api@v1.6.3";

/// Installs those of the standard channel. They stay.
///
/// # Errors
/// When the module cannot be had, or the API server refuses them.
pub fn install(cluster: &Cluster) -> Result<()> {
    apply(cluster, &[folder("standard")?])
}

/// Installs those kinds that are only in the experimental channel, beside the standard one. They stay.
///
/// # Errors
/// As [`install`].
pub fn install_experimental(cluster: &Cluster) -> Result<()> {
    let folder = folder("experimental")?;
    let kinds = ["xbackends", "xbackendtrafficpolicies", "xmeshes"];
    apply(cluster, &kinds.map(|kind| format!("{folder}/gateway.networking.x-k8s.io_{kind}.yaml")))
}

fn folder(channel: &str) -> Result<String> {
    let told: Value = serde_json::from_str(&command::run(&["go", "mod", "download", "-json", MODULE])?)?;
    Ok(format!("{}/config/crd/{channel}", told["Dir"].as_str().context("the folder of the module")?))
}

fn apply(cluster: &Cluster, files: &[String]) -> Result<()> {
    let files: Vec<&str> = files.iter().flat_map(|file| ["--filename", file]).collect();
    cluster.kubectl(&[["apply", "--server-side", "--force-conflicts"].as_slice(), &files].concat())?;
    // The channel has a policy beside its kinds, which is never established.
    let wait = ["wait", "customresourcedefinitions", "--all", "--for=condition=Established", "--timeout=30s"];
    cluster.kubectl(&wait).map(drop)
}
