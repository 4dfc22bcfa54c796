// SPDX-License-Identifier: Apache-2.0
//! VirtualService: which requests to a host go where; HTTP is in `http_route` (<https://istio.io/latest/docs/reference/config/networking/virtual-service/>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::istio::networking::http_route::HttpRoute;

/// Routes of one or several hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualService {
    /// Hosts that the routes are for: DNS names, perhaps with a wildcard prefix, short names of services, or IP
    /// addresses.
    pub hosts: Vec<String>,
    /// Gateways that use the routes, as namespace/name; `mesh` stands for all sidecars, and is meant when empty.
    pub gateways: Vec<String>,
    /// Routes of HTTP, in order; the first match wins.
    pub http: Vec<HttpRoute>,
    /// Routes of TLS that is passed through, in order; the first match wins.
    pub tls: Vec<TlsRoute>,
    /// Routes of other TCP, in order; the first match wins.
    pub tcp: Vec<TcpRoute>,
    /// Namespaces that see it: `.` for its own, `*` for all, or names.
    pub export_to: Vec<String>,
}

/// A service, and perhaps a part of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// The service's name in the registry.
    pub host: String,
    /// A subset that a DestinationRule names.
    pub subset: String,
    /// The service's port; needed when it has several.
    pub port: Option<PortSelector>,
}

/// A VirtualService that goes on where this route ends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Delegate {
    /// Its name.
    pub name: String,
    /// Its namespace; empty means the same.
    pub namespace: String,
}

/// Changes of headers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Headers {
    /// Changes of the request.
    pub request: Option<HeaderOperations>,
    /// Changes of the response.
    pub response: Option<HeaderOperations>,
}

/// What is done to headers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderOperations {
    /// Replaces these.
    pub set: BTreeMap<String, String>,
    /// Appends these.
    pub add: BTreeMap<String, String>,
    /// Removes these.
    pub remove: Vec<String>,
}

/// A route of TLS by server name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct TlsRoute {
    /// Any of these must match.
    pub r#match: Vec<TlsMatchAttributes>,
    /// Where connections go, by weight.
    pub route: Vec<RouteDestination>,
}

/// A route of TCP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct TcpRoute {
    /// Any of these must match; empty matches all.
    pub r#match: Vec<L4MatchAttributes>,
    /// Where connections go, by weight.
    pub route: Vec<RouteDestination>,
}

/// A destination with a share of the connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct RouteDestination {
    /// The destination.
    pub destination: Option<Destination>,
    /// The share, relative to the others; a single one gets all.
    pub weight: i32,
}

/// Conditions on a connection; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct L4MatchAttributes {
    /// Addresses or CIDRs that the connection goes to.
    pub destination_subnets: Vec<String>,
    /// The port that the connection goes to.
    pub port: u32,
    /// Addresses that the connection comes from; not in use.
    pub source_subnet: String,
    /// Labels of the workload that connects.
    pub source_labels: BTreeMap<String, String>,
    /// Gateways that use the route; overrides the VirtualService's.
    pub gateways: Vec<String>,
    /// Namespace of the workload that connects.
    pub source_namespace: String,
}

/// Conditions on a TLS connection; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct TlsMatchAttributes {
    /// Server names, each within one of the VirtualService's hosts.
    pub sni_hosts: Vec<String>,
    /// Addresses or CIDRs that the connection goes to.
    pub destination_subnets: Vec<String>,
    /// The port that the connection goes to.
    pub port: u32,
    /// Labels of the workload that connects.
    pub source_labels: BTreeMap<String, String>,
    /// Gateways that use the route; overrides the VirtualService's.
    pub gateways: Vec<String>,
    /// Namespace of the workload that connects.
    pub source_namespace: String,
}

/// How a text is compared; one field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct StringMatch {
    /// The whole text.
    pub exact: Option<String>,
    /// The start of the text.
    pub prefix: Option<String>,
    /// A regular expression (RE2) for the whole text.
    pub regex: Option<String>,
}

/// A port of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct PortSelector {
    /// The port's number.
    pub number: u32,
}

/// A share in percent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Percent {
    /// From 0 to 100, with fractions.
    pub value: f64,
}
