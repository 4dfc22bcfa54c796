// SPDX-License-Identifier: Apache-2.0
//! Sidecar: what a sidecar sees and serves (<https://istio.io/latest/docs/reference/config/networking/sidecar/>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::istio::networking::connection_pool::ConnectionPoolSettings;
use crate::istio::networking::tls::ServerTlsSettings;
use crate::istio::networking::virtual_service::Destination;
use crate::value::open_enum;

/// What the sidecars of workloads see and serve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Sidecar {
    /// The workloads; unset means all of the namespace.
    pub workload_selector: Option<WorkloadSelector>,
    /// What they serve; empty means what their services say.
    pub ingress: Vec<IstioIngressListener>,
    /// What they see; empty means all.
    pub egress: Vec<IstioEgressListener>,
    /// Bounds of what they serve.
    pub inbound_connection_pool: Option<ConnectionPoolSettings>,
    /// What becomes of traffic to unknown hosts.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
}

/// A port that is served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct IstioIngressListener {
    /// The port.
    pub port: Option<SidecarPort>,
    /// The address to listen on; empty means the workload's.
    pub bind: String,
    /// How traffic gets there.
    pub capture_mode: CaptureMode,
    /// Where the application is: 127.0.0.1:PORT, 0.0.0.0:PORT or unix:PATH.
    pub default_endpoint: String,
    /// TLS towards clients; for sidecars of gateways that terminate it themselves.
    pub tls: Option<ServerTlsSettings>,
    /// Bounds of this port.
    pub connection_pool: Option<ConnectionPoolSettings>,
}

/// A port, or all, that clients use, and the hosts that are there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct IstioEgressListener {
    /// The port; unset means all ports of the hosts.
    pub port: Option<SidecarPort>,
    /// The address to listen on.
    pub bind: String,
    /// How traffic gets there.
    pub capture_mode: CaptureMode,
    /// The hosts, as namespace/host; `.`, `*` and `~` stand for its own, all and no namespace.
    pub hosts: Vec<String>,
}

/// Picks workloads of the namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// Labels that a workload must have.
    pub labels: BTreeMap<String, String>,
}

open_enum! {
    /// How traffic gets to a listener.
    pub enum CaptureMode {
        /// As the proxy's interception mode has it.
        Default = "DEFAULT" | 0,
        /// It is redirected.
        Iptables = "IPTABLES" | 1,
        /// Clients use the listener's address.
        None = "NONE" | 2,
    }
}

/// What becomes of traffic to unknown hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct OutboundTrafficPolicy {
    /// What.
    pub mode: OutboundTrafficPolicyMode,
    /// Where it is sent.
    pub egress_proxy: Option<Destination>,
}

open_enum! {
    /// What becomes of traffic to unknown hosts.
    pub enum OutboundTrafficPolicyMode {
        /// It is dropped.
        RegistryOnly = "REGISTRY_ONLY" | 0,
        /// It is let through.
        AllowAny = "ALLOW_ANY" | 1,
    }
}

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct SidecarPort {
    /// Its number.
    pub number: u32,
    /// HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP or TLS.
    pub protocol: String,
    /// Its name.
    pub name: String,
    /// Not in use.
    pub target_port: u32,
}
