// SPDX-License-Identifier: Apache-2.0
//! Istio's Gateway: ports at the edge (<https://istio.io/latest/docs/reference/config/networking/gateway/>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::istio::networking::tls::ServerTlsSettings;

/// Ports and hosts that gateway workloads serve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Gateway {
    /// The ports and hosts.
    pub servers: Vec<Server>,
    /// Labels of the workloads, in any namespace unless settings say otherwise.
    pub selector: BTreeMap<String, String>,
}

/// A port with its hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    /// The port.
    pub port: Option<Port>,
    /// Address or Unix socket to listen on; empty means all.
    pub bind: String,
    /// Hosts that VirtualServices may claim, as namespace/host or host.
    pub hosts: Vec<String>,
    /// TLS; needed for HTTPS and TLS.
    pub tls: Option<ServerTlsSettings>,
    /// Not in use.
    pub default_endpoint: String,
    /// Name, unique in the Gateway, for statistics.
    pub name: String,
}

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// Its number.
    pub number: u32,
    /// HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP or TLS.
    pub protocol: String,
    /// Its name.
    pub name: String,
    /// Not in use.
    pub target_port: u32,
}
