// SPDX-License-Identifier: Apache-2.0
//! What listeners read of MeshConfig and of the control plane's settings.

use crate::{ProxyConfig, Str, TlsVersion};
use serde::Serialize;
use std::time::Duration;

/// What is done to the path of a request before it is matched
/// (<https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ProxyPathNormalization>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum PathNormalization {
    /// Nothing.
    None,
    /// RFC 3986 normalisation.
    #[default]
    Base,
    /// `//` becomes `/` as well.
    MergeSlashes,
    /// Escaped slashes are decoded as well.
    DecodeAndMergeSlashes,
}

/// TLS defaults of the mesh (MeshConfig meshMTLS and tlsDefaults).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct TlsDefaults {
    /// Lowest version.
    pub min_version: TlsVersion,
    /// Ciphers, in order of preference; empty = the built-in list.
    pub cipher_suites: Vec<Str>,
    /// Curves of the key exchange.
    pub ecdh_curves: Vec<Str>,
}

/// Mesh-wide settings of listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct ListenerSettings {
    /// What is done to paths.
    pub path_normalization: PathNormalization,
    /// HTTP/1.0 is accepted (PILOT_HTTP10).
    pub http10: bool,
    /// MongoDB is counted (PILOT_ENABLE_MONGO_FILTER).
    pub mongo_filter: bool,
    /// MySQL is counted (PILOT_ENABLE_MYSQL_FILTER).
    pub mysql_filter: bool,
    /// Redis is understood (PILOT_ENABLE_REDIS_FILTER).
    pub redis_filter: bool,
    /// Routes may keep sessions with one endpoint (PILOT_ENABLE_PERSISTENT_SESSION_FILTER).
    pub stateful_session: bool,
    /// Proxies of both IP families listen on both (ISTIO_DUAL_STACK).
    pub dual_stack: bool,
    /// Sidecars terminate the TLS of their ingress listeners (ENABLE_TLS_ON_SIDECAR_INGRESS).
    pub ingress_tls: bool,
    /// Ports of services stay beside the ingress listeners of a Sidecar (PILOT_ALLOW_SIDECAR_SERVICE_INBOUND_LISTENER_MERGE).
    pub merge_ingress: bool,
    /// Connections taken at once by a thread; 0 = no limit (MAX_CONNECTIONS_PER_SOCKET_EVENT_LOOP).
    pub connections_per_event: u32,
    /// Time for a TLS handshake with a listener; zero = no limit (PILOT_GATEWAY_TRANSPORT_SOCKET_CONNECT_TIMEOUT).
    pub handshake_timeout: Duration,
    /// TLS between workloads (meshMTLS).
    pub mesh_tls: TlsDefaults,
    /// TLS that gateways and sidecars terminate for others (tlsDefaults).
    pub tls_defaults: TlsDefaults,
    /// Trust domains from which clients are accepted.
    pub trust_domains: Vec<Str>,
    /// The default ProxyConfig.
    pub proxy_config: ProxyConfig,
    /// The pattern of stat prefixes of outbound TCP (outboundClusterStatName); empty = the cluster's name.
    pub outbound_stat_name: Str,
    /// The pattern of stat prefixes of inbound TCP (inboundClusterStatName); empty = the cluster's name.
    pub inbound_stat_name: Str,
}
