// SPDX-License-Identifier: Apache-2.0
//! EndpointSlice, and Endpoints, its forerunner.

use serde::{Deserialize, Serialize};

/// A part of the endpoints of a service; the label kubernetes.io/service-name names it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Their ports.
    pub ports: Vec<EndpointPort>,
}

/// One endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Its addresses; all mean the same.
    pub addresses: Vec<String>,
    /// Its state.
    pub conditions: EndpointConditions,
    /// Its hostname.
    pub hostname: Option<String>,
    /// The node it runs on.
    pub node_name: Option<String>,
    /// The zone it runs in.
    pub zone: Option<String>,
    /// The pod behind it.
    pub target_ref: Option<TargetRef>,
    /// Who should use it.
    pub hints: Option<EndpointHints>,
}

/// The state of an endpoint; unset means unknown, which counts as ready.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointConditions {
    /// It takes traffic.
    pub ready: Option<bool>,
    /// It could take traffic, even when it is ending.
    pub serving: Option<bool>,
    /// It is ending.
    pub terminating: Option<bool>,
}

/// Who should use an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointHints {
    /// Clients of these zones.
    pub for_zones: Vec<ForZone>,
}

/// A zone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ForZone {
    /// Its name.
    pub name: String,
}

/// A port of the endpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointPort {
    /// The service port's name.
    pub name: Option<String>,
    /// `TCP`, `UDP` or `SCTP`; unset means TCP.
    pub protocol: Option<String>,
    /// The number.
    pub port: Option<i32>,
    /// The application's protocol.
    pub app_protocol: Option<String>,
}

/// The object behind an address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetRef {
    /// Its kind; `Pod` is of interest.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// The endpoints of the service of the same name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoints {
    /// Sets of addresses with the same ports.
    pub subsets: Vec<EndpointSubset>,
}

/// Addresses with the same ports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSubset {
    /// Those that take traffic.
    pub addresses: Vec<EndpointAddress>,
    /// Those that do not yet.
    pub not_ready_addresses: Vec<EndpointAddress>,
    /// Their ports.
    pub ports: Vec<EndpointPort>,
}

/// One address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointAddress {
    /// The address.
    pub ip: String,
    /// Its hostname.
    pub hostname: String,
    /// The node it runs on.
    pub node_name: Option<String>,
    /// The pod behind it.
    pub target_ref: Option<TargetRef>,
}
