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
    let told: Value = serde_json::from_str(&command::run(&["go", "mod", "download", "-json", MODULE])?)?;
    let folder = format!("{}/config/crd/standard", told["Dir"].as_str().context("the folder of the module")?);
    let apply = ["apply", "--server-side", "--force-conflicts", "--filename", &folder];
    cluster.kubectl(&apply)?;
    let wait = ["wait", "--for=condition=Established", "--timeout=30s", "--filename", &folder];
    let _ = cluster.kubectl(&wait);
    Ok(())
}
