// SPDX-License-Identifier: Apache-2.0
//! ServiceExport and ServiceImport of the multi-cluster services API (<https://multicluster.sigs.k8s.io/concepts/multicluster-services-api/>).

use serde::{Deserialize, Serialize};

/// Makes the service of the same name reachable from the other clusters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceExport {}

/// A service that other clusters export.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceImport {
    /// What is wanted.
    pub spec: ServiceImportSpec,
}

/// What an imported service is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceImportSpec {
    /// `ClusterSetIP` or `Headless`.
    #[serde(rename = "type")]
    pub import_type: String,
    /// Its virtual addresses.
    pub ips: Vec<String>,
    /// Its ports.
    pub ports: Vec<ServiceImportPort>,
}

/// A port of an imported service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceImportPort {
    /// Its name.
    pub name: String,
    /// `TCP`, `UDP` or `SCTP`; empty means TCP.
    pub protocol: String,
    /// The application's protocol.
    pub app_protocol: Option<String>,
    /// The number.
    pub port: i32,
}
