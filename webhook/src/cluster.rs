// SPDX-License-Identifier: Apache-2.0
//! The settings of injection as a cluster has them, for commands that run outside of it.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};

/// The texts that injection is set by; none for what there is not.
#[derive(Debug, Default)]
pub struct Texts {
    /// Policy and templates.
    pub config: Option<String>,
    /// What templates read as `.Values`.
    pub values: Option<String>,
    /// MeshConfig.
    pub mesh: Option<String>,
}

impl Texts {
    /// These, with others for what is missing.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            config: self.config.or(others.config),
            values: self.values.or(others.values),
            mesh: self.mesh.or(others.mesh),
        }
    }
}

/// Reads the ConfigMaps of a revision, from the cluster that the environment's kubeconfig names.
///
/// # Errors
/// When the cluster cannot be asked.
pub async fn texts(namespace: &str, revision: &str) -> Result<Texts, kube::Error> {
    let client = Client::try_default().await?;
    let maps: Api<ConfigMap> = Api::namespaced(client, namespace);
    let end = match revision {
        "" | "default" => String::new(),
        revision => format!("-{revision}"),
    };
    let data = async |name: String| {
        Ok::<_, kube::Error>(maps.get_opt(&name).await?.and_then(|map| map.data).unwrap_or_default())
    };
    let mut injector = data(format!("istio-sidecar-injector{end}")).await?;
    let mut mesh = data(format!("istio{end}")).await?;
    Ok(Texts { config: injector.remove("config"), values: injector.remove("values"), mesh: mesh.remove("mesh") })
}
