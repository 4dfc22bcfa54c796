// SPDX-License-Identifier: Apache-2.0

use serde::{Deserialize, Serialize};

use crate::istio::networking::sidecar::WorkloadSelector;
use crate::istio::networking::workload_entry::WorkloadEntry;
use crate::value::open_enum;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntry {
    pub hosts: Vec<String>,
    pub addresses: Vec<String>,
    pub ports: Vec<ServicePort>,
    pub location: Location,
    pub resolution: Resolution,
    pub endpoints: Vec<WorkloadEntry>,
    pub workload_selector: Option<WorkloadSelector>,
    pub export_to: Vec<String>,
    pub subject_alt_names: Vec<String>,
}

open_enum! {
    pub enum Location {
        MeshExternal = "MESH_EXTERNAL" | 0,
        MeshInternal = "MESH_INTERNAL" | 1,
    }
}

open_enum! {
    pub enum Resolution {
        None = "NONE" | 0,
        Static = "STATIC" | 1,
        Dns = "DNS" | 2,
        DnsRoundRobin = "DNS_ROUND_ROBIN" | 3,
        DynamicDns = "DYNAMIC_DNS" | 4,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    pub number: u32,
    pub protocol: String,
    pub name: String,
    pub target_port: u32,
}
