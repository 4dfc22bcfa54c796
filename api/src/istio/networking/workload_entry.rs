// SPDX-License-Identifier: Apache-2.0
//! WorkloadEntry: a workload outside of Kubernetes (<https://istio.io/latest/docs/reference/config/networking/workload-entry/>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One workload, as a pod would be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntry {
    /// Its IP address, DNS name or Unix socket.
    pub address: String,
    /// Its ports by the service port's name; what is not here has the service's number.
    pub ports: BTreeMap<String, u32>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its network; endpoints of other networks are reached by gateways.
    pub network: String,
    /// Its locality, as region/zone/subzone.
    pub locality: String,
    /// Its share of the traffic, relative to the others; 0 means 1.
    pub weight: u32,
    /// The service account that it runs as.
    pub service_account: String,
}
