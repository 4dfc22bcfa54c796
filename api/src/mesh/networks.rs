// SPDX-License-Identifier: Apache-2.0
//! MeshNetworks: which endpoints are on which network, and how other networks reach them (<https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshNetworks>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The networks of a mesh.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshNetworks {
    /// The networks by name.
    pub networks: BTreeMap<String, Network>,
}

/// A network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Network {
    /// Which endpoints are on it.
    pub endpoints: Vec<NetworkEndpoints>,
    /// How other networks reach them.
    pub gateways: Vec<IstioNetworkGateway>,
}

/// Endpoints of a network. One field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkEndpoints {
    /// Those with an address in this CIDR.
    pub from_cidr: Option<String>,
    /// Those of this cluster.
    pub from_registry: Option<String>,
}

/// A gateway of a network. One of the first two fields is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IstioNetworkGateway {
    /// A service, by its full host.
    pub registry_service_name: Option<String>,
    /// An address or DNS name.
    pub address: Option<String>,
    /// Its port.
    pub port: u32,
    /// Its locality.
    pub locality: String,
}
