// SPDX-License-Identifier: Apache-2.0
//! What translation needs of MeshConfig (<https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/>) and of the
//! control plane's settings, lowered once.

use crate::{Authorizers, ListenerSettings, Retries, Str, TelemetrySettings, TrafficDefaults, Visibility};
use serde::Serialize;
use std::time::Duration;

/// What becomes of calls to hosts that no service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum OutboundMode {
    /// They are let through as they are.
    AllowAny,
    /// They are refused.
    RegistryOnly,
}

/// Mesh-wide configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Mesh {
    /// Namespace of mesh-wide objects, e.g. `istio-system`.
    pub root_namespace: Str,
    /// Trust domain of the identities that are issued.
    pub trust_domain: Str,
    /// Further trust domains that count as the mesh's own.
    pub trust_domain_aliases: Vec<Str>,
    /// DNS domain of the cluster, e.g. `cluster.local`.
    pub domain: Str,
    /// DNS domain that is appended to the short host names of Istio's objects: `a` in the namespace `ns` is `a.ns.svc.DOMAIN`; with
    /// none it is `a.ns`.
    pub short_name_domain: Str,
    /// Id of this cluster.
    pub cluster: Str,
    /// Time for a TCP connection to an endpoint.
    pub connect_timeout: Duration,
    /// Time given to protocol sniffing; zero = none.
    pub protocol_detection_timeout: Duration,
    /// Port to which outbound traffic is redirected.
    pub proxy_listen_port: u32,
    /// Port to which inbound traffic is redirected.
    pub proxy_inbound_listen_port: u32,
    /// Port of the HTTP proxy listener; 0 = none.
    pub proxy_http_port: u32,
    /// Calls to unknown hosts.
    pub outbound_mode: OutboundMode,
    /// Whether clients use mutual TLS where servers take it.
    pub auto_mtls: bool,
    /// Whether plain HTTP/1.1 is upgraded to HTTP/2 between proxies.
    pub h2_upgrade: bool,
    /// exportTo of services that do not say.
    pub default_service_export: Visibility,
    /// exportTo of VirtualServices that do not say.
    pub default_virtual_service_export: Visibility,
    /// exportTo of DestinationRules that do not say.
    pub default_destination_rule_export: Visibility,
    /// Retries of HTTP routes that do not say; absent = the built-in ones.
    pub default_retries: Option<Retries>,
    /// What listeners read.
    pub listener: ListenerSettings,
    /// What proxies report.
    pub telemetry: TelemetrySettings,
    /// Services that decide requests.
    pub authorizers: Authorizers,
    /// What holds for the traffic to every host.
    pub traffic: TrafficDefaults,
}
