// SPDX-License-Identifier: Apache-2.0
//! ServiceEntry: a service that the mesh is told of (<https://istio.io/latest/docs/reference/config/networking/service-entry/>).

use serde::{Deserialize, Serialize};

use crate::istio::networking::sidecar::WorkloadSelector;
use crate::istio::networking::workload_entry::WorkloadEntry;
use crate::value::open_enum;

/// A service that the registry lacks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntry {
    /// Its DNS names, perhaps with a wildcard prefix.
    pub hosts: Vec<String>,
    /// Its virtual addresses or CIDRs.
    pub addresses: Vec<String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Inside of the mesh or outside.
    pub location: Location,
    /// How its endpoints are found.
    pub resolution: Resolution,
    /// Its endpoints; not together with a selector.
    pub endpoints: Vec<WorkloadEntry>,
    /// Picks WorkloadEntries and pods of its namespace as endpoints.
    pub workload_selector: Option<WorkloadSelector>,
    /// Namespaces that see it: `.` for its own, `*` for all, or names.
    pub export_to: Vec<String>,
    /// Names of which its certificates must have one.
    pub subject_alt_names: Vec<String>,
}

open_enum! {
    /// Inside of the mesh or outside.
    pub enum Location {
        /// Outside: no mTLS of the mesh's.
        MeshExternal = "MESH_EXTERNAL" | 0,
        /// Inside.
        MeshInternal = "MESH_INTERNAL" | 1,
    }
}

open_enum! {
    /// How endpoints are found.
    pub enum Resolution {
        /// The address that the client asked for.
        None = "NONE" | 0,
        /// The endpoints' addresses are used.
        Static = "STATIC" | 1,
        /// The endpoints' (or the hosts') names are looked up, and every address is used.
        Dns = "DNS" | 2,
        /// As DNS, but a new connection takes the first address of the latest answer.
        DnsRoundRobin = "DNS_ROUND_ROBIN" | 3,
        /// The name that the request asks for is looked up.
        DynamicDns = "DYNAMIC_DNS" | 4,
    }
}

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Its number.
    pub number: u32,
    /// HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP or TLS.
    pub protocol: String,
    /// Its name, unique in the entry.
    pub name: String,
    /// The endpoints' port; 0 means the same.
    pub target_port: u32,
}
