// SPDX-License-Identifier: Apache-2.0
//! ProxyConfig: settings of proxies (<https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::istio::networking::connection_pool::TcpKeepalive;
use crate::istio::networking::proxy_config::ProxyImage;
use crate::istio::networking::tls::ClientTlsSettings;
use crate::istio::networking::workload_group::ReadinessProbe;
use crate::mesh::proxy_settings::{ConnectionSettings, ProxyHeaders};
use crate::mesh::tracing::Tracing;
use crate::value::Duration;
use crate::value::open_enum;

/// Settings of proxies: of all in MeshConfig, of one in the annotation proxy.istio.io/config or in the agent's
/// environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyConfig {
    /// Folder of the proxy's files; ./etc/istio/proxy.
    #[serde(default)]
    pub config_path: String,
    /// Envoy's binary; /usr/local/bin/envoy.
    #[serde(default)]
    pub binary_path: String,
    /// Name of the proxy's cluster; istio-proxy.
    #[serde(default)]
    pub service_cluster: Option<String>,
    /// How a service is named in traces, in place of service_cluster.
    #[serde(default)]
    pub tracing_service_name: Option<TracingServiceName>,
    /// How long connections have when Envoy restarts; 45s.
    #[serde(default)]
    pub drain_duration: Option<Duration>,
    /// Address of the control plane; istiod.istio-system.svc:15012.
    #[serde(default)]
    pub discovery_address: String,
    /// Not in use.
    #[serde(default)]
    pub discovery_refresh_delay: Option<Duration>,
    /// Use tracing.
    #[serde(default)]
    pub zipkin_address: String,
    /// Address that takes statsd over UDP.
    #[serde(default)]
    pub statsd_udp_address: String,
    /// Use envoy_metrics_service.
    #[serde(default)]
    pub envoy_metrics_service_address: String,
    /// Port of Envoy's admin interface; 15000.
    #[serde(default)]
    pub proxy_admin_port: i32,
    /// Not in use.
    #[serde(default)]
    pub availability_zone: String,
    /// TLS to the control plane; MUTUAL_TLS.
    #[serde(default)]
    pub control_plane_auth_policy: AuthenticationPolicy,
    /// File of Envoy's whole configuration, in place of the mesh's.
    #[serde(default)]
    pub custom_config_file: String,
    /// Not in use; 189.
    #[serde(default)]
    pub stat_name_length: i32,
    /// Worker threads; 0 means one a core, unset two or what the CPU limit says.
    #[serde(default)]
    pub concurrency: Option<i32>,
    /// File of a template of the bootstrap.
    #[serde(default)]
    pub proxy_bootstrap_template_path: String,
    /// How inbound traffic is redirected.
    #[serde(default)]
    pub interception_mode: InboundInterceptionMode,
    /// Traces.
    #[serde(default)]
    pub tracing: Option<Tracing>,
    /// Not in use.
    #[serde(default)]
    pub sds: Option<Sds>,
    /// Service that takes access logs.
    #[serde(default)]
    pub envoy_access_log_service: Option<RemoteService>,
    /// Service that takes metrics.
    #[serde(default)]
    pub envoy_metrics_service: Option<RemoteService>,
    /// Environment of the proxy; what starts with ISTIO_META_ becomes node metadata.
    #[serde(default)]
    pub proxy_metadata: BTreeMap<String, String>,
    /// Envoy's runtime flags.
    #[serde(default)]
    pub runtime_values: BTreeMap<String, String>,
    /// Port of the agent's health checks; 15020.
    #[serde(default)]
    pub status_port: i32,
    /// Further tags of statistics.
    #[serde(default)]
    pub extra_stat_tags: Vec<String>,
    /// What stands before the gateway.
    #[serde(default)]
    pub gateway_topology: Option<Topology>,
    /// How long connections have when the proxy ends; 5s.
    #[serde(default)]
    pub termination_drain_duration: Option<Duration>,
    /// Name of the mesh; empty means the trust domain.
    #[serde(default)]
    pub mesh_id: String,
    /// How an application outside of Kubernetes is found to be ready.
    #[serde(default)]
    pub readiness_probe: Option<ReadinessProbe>,
    /// Further statistics that are kept.
    #[serde(default)]
    pub proxy_stats_matcher: Option<ProxyStatsMatcher>,
    /// The application starts after the proxy.
    #[serde(default)]
    pub hold_application_until_proxy_starts: Option<bool>,
    /// Further authorities that the proxy trusts.
    #[serde(default)]
    pub ca_certificates_pem: Vec<String>,
    /// The proxy's image.
    #[serde(default)]
    pub image: Option<ProxyImage>,
    /// Hardware that signs for Envoy.
    #[serde(default)]
    pub private_key_provider: Option<PrivateKeyProvider>,
    /// Headers that the proxy adds.
    #[serde(default)]
    pub proxy_headers: Option<ProxyHeaders>,
    /// How often access logs are written out; unset means 1s.
    #[serde(default)]
    pub file_flush_interval: Option<Duration>,
    /// Bytes of access logs that are written out at once, in KiB; 0 means 64.
    #[serde(default)]
    pub file_flush_min_size_kb: u32,
    /// Compresses statistics for scrapers; unset means yes.
    #[serde(default)]
    pub stats_compression: Option<bool>,
    /// Bounds of connections.
    #[serde(default)]
    pub connection_settings: Option<ConnectionSettings>,
}

open_enum! {
    /// TLS to the control plane.
    pub enum AuthenticationPolicy {
        /// None.
        None = "NONE" | 0,
        /// Mutual TLS.
        MutualTls = "MUTUAL_TLS" | 1,
        /// As the wider setting has it.
        Inherit = "INHERIT" | 1000,
    }
}

open_enum! {
    /// What becomes of the header X-Forwarded-Client-Cert.
    pub enum ForwardClientCertDetails {
        /// As the mesh has it.
        Undefined = "UNDEFINED" | 0,
        /// It is dropped.
        Sanitize = "SANITIZE" | 1,
        /// It is forwarded when the connection is mTLS.
        ForwardOnly = "FORWARD_ONLY" | 2,
        /// The client's certificate is appended when the connection is mTLS.
        AppendForward = "APPEND_FORWARD" | 3,
        /// The client's certificate replaces it when the connection is mTLS.
        SanitizeSet = "SANITIZE_SET" | 4,
        /// It is forwarded.
        AlwaysForwardOnly = "ALWAYS_FORWARD_ONLY" | 5,
    }
}

open_enum! {
    /// How a service is named in traces.
    pub enum TracingServiceName {
        /// By its label app and its namespace.
        AppLabelAndNamespace = "APP_LABEL_AND_NAMESPACE" | 0,
        /// By its canonical name.
        CanonicalNameOnly = "CANONICAL_NAME_ONLY" | 1,
        /// By its canonical name and its namespace.
        CanonicalNameAndNamespace = "CANONICAL_NAME_AND_NAMESPACE" | 2,
    }
}

open_enum! {
    /// How inbound traffic is redirected.
    pub enum InboundInterceptionMode {
        /// By NAT: the proxy sees its own address as the source's.
        Redirect = "REDIRECT" | 0,
        /// Transparently: the source's address is kept.
        Tproxy = "TPROXY" | 1,
        /// Not at all.
        None = "NONE" | 2,
    }
}

/// Statistics that are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyStatsMatcher {
    /// By the start of their names.
    pub inclusion_prefixes: Vec<String>,
    /// By the end of their names.
    pub inclusion_suffixes: Vec<String>,
    /// By regular expressions.
    pub inclusion_regexps: Vec<String>,
}

/// Not in use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sds {
    /// Not in use.
    pub enabled: bool,
    /// Not in use.
    pub k8s_sa_jwt_path: String,
}

/// What stands before a gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Topology {
    /// Proxies whose X-Forwarded-For is believed.
    pub num_trusted_proxies: u32,
    /// What becomes of the header X-Forwarded-Client-Cert.
    pub forward_client_cert_details: ForwardClientCertDetails,
    /// Takes the PROXY protocol.
    pub proxy_protocol: Option<ProxyProtocolConfiguration>,
}

/// The PROXY protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyProtocolConfiguration {}

/// Hardware that signs. One field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PrivateKeyProvider {
    /// Intel's CryptoMB.
    pub cryptomb: Option<CryptoMb>,
    /// Intel's QuickAssist.
    pub qat: Option<Qat>,
}

/// Intel's CryptoMB.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CryptoMb {
    /// How long requests are gathered.
    pub poll_delay: Option<Duration>,
    /// Does without when it is not there.
    pub fallback: Option<bool>,
}

/// Intel's QuickAssist.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Qat {
    /// How often is looked for results.
    pub poll_delay: Option<Duration>,
    /// Does without when it is not there.
    pub fallback: Option<bool>,
}

/// A service that takes what a proxy tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RemoteService {
    /// Its address, as host:port.
    pub address: String,
    /// TLS to it.
    pub tls_settings: Option<ClientTlsSettings>,
    /// Keepalive of the socket.
    pub tcp_keepalive: Option<TcpKeepalive>,
}
