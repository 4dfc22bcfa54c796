// SPDX-License-Identifier: Apache-2.0

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

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    pub config_path: String,
    pub binary_path: String,
    pub service_cluster: Option<String>,
    pub tracing_service_name: Option<TracingServiceName>,
    pub drain_duration: Option<Duration>,
    pub discovery_address: String,
    pub discovery_refresh_delay: Option<Duration>,
    pub zipkin_address: String,
    pub statsd_udp_address: String,
    pub envoy_metrics_service_address: String,
    pub proxy_admin_port: i32,
    pub availability_zone: String,
    pub control_plane_auth_policy: AuthenticationPolicy,
    pub custom_config_file: String,
    pub stat_name_length: i32,
    pub concurrency: Option<i32>,
    pub proxy_bootstrap_template_path: String,
    pub interception_mode: InboundInterceptionMode,
    pub tracing: Option<Tracing>,
    pub sds: Option<Sds>,
    pub envoy_access_log_service: Option<RemoteService>,
    pub envoy_metrics_service: Option<RemoteService>,
    pub proxy_metadata: BTreeMap<String, String>,
    pub runtime_values: BTreeMap<String, String>,
    pub status_port: i32,
    pub extra_stat_tags: Vec<String>,
    pub gateway_topology: Option<Topology>,
    pub termination_drain_duration: Option<Duration>,
    pub mesh_id: String,
    pub readiness_probe: Option<ReadinessProbe>,
    pub proxy_stats_matcher: Option<ProxyStatsMatcher>,
    pub hold_application_until_proxy_starts: Option<bool>,
    pub ca_certificates_pem: Vec<String>,
    pub image: Option<ProxyImage>,
    pub private_key_provider: Option<PrivateKeyProvider>,
    pub proxy_headers: Option<ProxyHeaders>,
    pub file_flush_interval: Option<Duration>,
    pub file_flush_min_size_kb: u32,
    pub stats_compression: Option<bool>,
    pub connection_settings: Option<ConnectionSettings>,
}

open_enum! {
    pub enum AuthenticationPolicy {
        None = "NONE" | 0,
        MutualTls = "MUTUAL_TLS" | 1,
        Inherit = "INHERIT" | 1000,
    }
}

open_enum! {
    pub enum ForwardClientCertDetails {
        Undefined = "UNDEFINED" | 0,
        Sanitize = "SANITIZE" | 1,
        ForwardOnly = "FORWARD_ONLY" | 2,
        AppendForward = "APPEND_FORWARD" | 3,
        SanitizeSet = "SANITIZE_SET" | 4,
        AlwaysForwardOnly = "ALWAYS_FORWARD_ONLY" | 5,
    }
}

open_enum! {
    pub enum TracingServiceName {
        AppLabelAndNamespace = "APP_LABEL_AND_NAMESPACE" | 0,
        CanonicalNameOnly = "CANONICAL_NAME_ONLY" | 1,
        CanonicalNameAndNamespace = "CANONICAL_NAME_AND_NAMESPACE" | 2,
    }
}

open_enum! {
    pub enum InboundInterceptionMode {
        Redirect = "REDIRECT" | 0,
        Tproxy = "TPROXY" | 1,
        None = "NONE" | 2,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyStatsMatcher {
    pub inclusion_prefixes: Vec<String>,
    pub inclusion_suffixes: Vec<String>,
    pub inclusion_regexps: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sds {
    pub enabled: bool,
    pub k8s_sa_jwt_path: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Topology {
    pub num_trusted_proxies: u32,
    pub forward_client_cert_details: ForwardClientCertDetails,
    pub proxy_protocol: Option<ProxyProtocolConfiguration>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyProtocolConfiguration {}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PrivateKeyProvider {
    pub cryptomb: Option<CryptoMb>,
    pub qat: Option<Qat>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CryptoMb {
    pub poll_delay: Option<Duration>,
    pub fallback: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Qat {
    pub poll_delay: Option<Duration>,
    pub fallback: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RemoteService {
    pub address: String,
    pub tls_settings: Option<ClientTlsSettings>,
    pub tcp_keepalive: Option<TcpKeepalive>,
}
