// SPDX-License-Identifier: Apache-2.0
//! ProxyConfig, the object: settings of single proxies (<https://istio.io/latest/docs/reference/config/networking/proxy-config/>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::istio::selector::WorkloadSelector;

/// Settings of the proxies of workloads; the mesh-wide ones are in `mesh::ProxyConfig`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    /// The workloads; unset means all of the namespace, or of the mesh in the root namespace.
    pub selector: Option<WorkloadSelector>,
    /// Worker threads; 0 means one a core, unset two or what the CPU limit says.
    pub concurrency: Option<i32>,
    /// Environment of the proxy.
    pub environment_variables: BTreeMap<String, String>,
    /// The proxy's image.
    pub image: Option<ProxyImage>,
}

/// The proxy's image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyImage {
    /// Which variant: default, debug or distroless.
    pub image_type: String,
}
