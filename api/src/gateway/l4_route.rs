// SPDX-License-Identifier: Apache-2.0
//! TLSRoute, TCPRoute and UDPRoute: connections to backends.

use serde::{Deserialize, Serialize};

use super::common::{BackendRef, GatewayDefaultScope, ParentReference, Route};

/// Where connections go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct L4RouteRule {
    /// Name, unique in the route.
    pub name: Option<String>,
    /// The backends, by weight.
    pub backend_refs: Vec<BackendRef>,
}

/// Routes TLS connections by server name. <https://gateway-api.sigs.k8s.io/api-types/tlsroute/>
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsRoute {
    /// What it attaches to.
    pub parent_refs: Vec<ParentReference>,
    /// Also attach to default gateways of this scope.
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// The server names that are served.
    pub hostnames: Vec<String>,
    /// Where connections go.
    pub rules: Vec<L4RouteRule>,
}

impl Route for TlsRoute {
    fn parent_refs(&self) -> &[ParentReference] {
        &self.parent_refs
    }

    fn use_default_gateways(&self) -> Option<&GatewayDefaultScope> {
        self.use_default_gateways.as_ref()
    }

    fn hostnames(&self) -> &[String] {
        &self.hostnames
    }
}

/// Routes TCP connections. <https://gateway-api.sigs.k8s.io/guides/tcp/>
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpRoute {
    /// What it attaches to.
    pub parent_refs: Vec<ParentReference>,
    /// Also attach to default gateways of this scope.
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// Where connections go.
    pub rules: Vec<L4RouteRule>,
}

impl Route for TcpRoute {
    fn parent_refs(&self) -> &[ParentReference] {
        &self.parent_refs
    }

    fn use_default_gateways(&self) -> Option<&GatewayDefaultScope> {
        self.use_default_gateways.as_ref()
    }

    fn hostnames(&self) -> &[String] {
        &[]
    }
}

/// Routes UDP datagrams. <https://gateway-api.sigs.k8s.io/reference/spec/#udproute>
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UdpRoute {
    /// What it attaches to.
    pub parent_refs: Vec<ParentReference>,
    /// Also attach to default gateways of this scope.
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// Where connections go.
    pub rules: Vec<L4RouteRule>,
}

impl Route for UdpRoute {
    fn parent_refs(&self) -> &[ParentReference] {
        &self.parent_refs
    }

    fn use_default_gateways(&self) -> Option<&GatewayDefaultScope> {
        self.use_default_gateways.as_ref()
    }

    fn hostnames(&self) -> &[String] {
        &[]
    }
}
