// SPDX-License-Identifier: Apache-2.0
//! Sidecar objects: what a workload's proxy sees and serves
//! (<https://istio.io/latest/docs/reference/config/networking/sidecar/>).

use crate::{ConnectionPool, Host, Labels, OutboundMode, Port, ServerTls, Str};
use serde::Serialize;

/// A namespace of an egress host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum HostNamespace {
    /// Any (`*`).
    Any,
    /// The namespace of the proxy (`.`).
    Own,
    /// A named one.
    Named(Str),
}

/// One `NAMESPACE/HOST` of an egress listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct EgressHost {
    /// Where the host is declared.
    pub namespace: HostNamespace,
    /// The host, maybe a wildcard.
    pub host: Host,
    /// Hosts that are left out, written with a leading `~`.
    pub excluded: bool,
}

/// How a listener of a Sidecar gets its traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum CaptureMode {
    /// As the proxy's interception mode says.
    #[default]
    Default,
    /// Redirected by iptables.
    Iptables,
    /// Dialled by the application.
    None,
}

/// An egress listener of a Sidecar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct SidecarEgress {
    /// The port to listen on; none for the catch-all listener. Port 0 with a Unix path in `bind`.
    pub port: Option<Port>,
    /// Whether the port is a generic HTTP proxy (protocol `HTTP_PROXY`).
    pub http_proxy: bool,
    /// Address or `unix://PATH` to listen on; empty = by the capture mode.
    pub bind: Str,
    /// How it gets its traffic.
    pub capture: CaptureMode,
    /// The hosts that it lets through.
    pub hosts: Vec<EgressHost>,
}

/// An ingress listener of a Sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct SidecarIngress {
    /// The port that it serves.
    pub port: Port,
    /// Address to listen on; empty = by the capture mode.
    pub bind: Str,
    /// How it gets its traffic.
    pub capture: CaptureMode,
    /// `IP:PORT`, `unix://PATH` or empty: where the application listens.
    pub default_endpoint: Str,
    /// Limits of connections to the application.
    pub connection_pool: Option<ConnectionPool>,
    /// TLS that the proxy terminates where mutual TLS is off.
    pub tls: Option<ServerTls>,
}

/// A Sidecar object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Sidecar {
    /// Name of the object.
    pub name: Str,
    /// Namespace of the object.
    pub namespace: Str,
    /// Workloads that it is for; none = all of the namespace (or of the mesh, in the root namespace).
    pub selector: Option<Labels>,
    /// Ports that the workload serves; empty = by its services.
    pub ingress: Vec<SidecarIngress>,
    /// What it calls; empty = everything that is visible.
    pub egress: Vec<SidecarEgress>,
    /// Calls to unknown hosts; none = as the mesh says.
    pub outbound_mode: Option<OutboundMode>,
    /// Cluster to which calls to unknown hosts are sent, where they are let through; none = to the address that was dialled.
    pub egress_proxy: Option<Str>,
    /// Limits of connections to the application on ports that do not say.
    pub connection_pool: Option<ConnectionPool>,
}
