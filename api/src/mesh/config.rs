// SPDX-License-Identifier: Apache-2.0

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::istio::networking::connection_pool::{ConnectionPoolSettings, TcpKeepalive};
use crate::istio::networking::destination_rule::OutlierDetection;
use crate::istio::networking::http_route::HttpRetry;
use crate::istio::networking::load_balancer::{LocalityLoadBalancerSetting, ZoneAwareLoadBalancerSetting};
use crate::istio::networking::tls::ClientTlsSettings;
use crate::mesh::extension_provider::ExtensionProvider;
use crate::mesh::proxy_config::ProxyConfig;
use crate::value::Duration;
use crate::value::open_enum;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    pub proxy_listen_port: i32,
    pub proxy_inbound_listen_port: i32,
    pub proxy_http_port: i32,
    pub connect_timeout: Option<Duration>,
    pub hbone_idle_timeout: Option<Duration>,
    pub protocol_detection_timeout: Option<Duration>,
    pub tcp_keepalive: Option<TcpKeepalive>,
    pub ingress_class: String,
    pub ingress_service: String,
    pub ingress_controller_mode: IngressControllerMode,
    pub ingress_selector: String,
    pub enable_tracing: bool,
    pub access_log_file: String,
    pub access_log_format: String,
    pub access_log_encoding: AccessLogEncoding,
    pub enable_envoy_access_log_service: bool,
    pub disable_envoy_listener_log: bool,
    pub default_config: Option<ProxyConfig>,
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    pub inbound_traffic_policy: Option<InboundTrafficPolicy>,
    pub config_sources: Vec<ConfigSource>,
    pub enable_auto_mtls: Option<bool>,
    pub trust_domain: String,
    pub trust_domain_aliases: Vec<String>,
    pub ca_certificates: Vec<CertificateData>,
    pub default_service_export_to: Vec<String>,
    pub default_virtual_service_export_to: Vec<String>,
    pub default_destination_rule_export_to: Vec<String>,
    pub root_namespace: String,
    pub locality_lb_setting: Option<LocalityLoadBalancerSetting>,
    pub zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting>,
    pub dns_refresh_rate: Option<Duration>,
    pub h2_upgrade_policy: H2UpgradePolicy,
    pub inbound_cluster_stat_name: String,
    pub outbound_cluster_stat_name: String,
    pub certificates: Vec<Certificate>,
    pub service_settings: Vec<ServiceSettings>,
    pub service_scope_configs: Vec<ServiceScopeConfigs>,
    pub enable_prometheus_merge: Option<bool>,
    pub verify_certificate_at_client: Option<bool>,
    pub ca: Option<CertificateAuthority>,
    pub extension_providers: Vec<ExtensionProvider>,
    pub default_providers: Option<DefaultProviders>,
    pub discovery_selectors: Vec<LabelSelector>,
    pub path_normalization: Option<ProxyPathNormalization>,
    pub default_http_retry_policy: Option<HttpRetry>,
    #[serde(rename = "meshMTLS")]
    pub mesh_mtls: Option<TlsConfig>,
    pub tls_defaults: Option<TlsConfig>,
    pub default_traffic_policy: Option<DefaultTrafficPolicy>,
    pub service_entry_visibility: Option<ServiceEntryVisibility>,
}

open_enum! {
    pub enum IngressControllerMode {
        Unspecified = "UNSPECIFIED" | 0,
        Off = "OFF" | 1,
        Default = "DEFAULT" | 2,
        Strict = "STRICT" | 3,
    }
}

open_enum! {
    pub enum AccessLogEncoding {
        Text = "TEXT" | 0,
        Json = "JSON" | 1,
    }
}

open_enum! {
    pub enum H2UpgradePolicy {
        DoNotUpgrade = "DO_NOT_UPGRADE" | 0,
        Upgrade = "UPGRADE" | 1,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutboundTrafficPolicy {
    pub mode: OutboundMode,
    pub tls: Option<ClientTlsSettings>,
}

open_enum! {
    pub enum OutboundMode {
        RegistryOnly = "REGISTRY_ONLY" | 0,
        AllowAny = "ALLOW_ANY" | 1,
        AllowAnyDynamicDns = "ALLOW_ANY_DYNAMIC_DNS" | 3,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InboundTrafficPolicy {
    pub mode: InboundMode,
}

open_enum! {
    pub enum InboundMode {
        Passthrough = "PASSTHROUGH" | 0,
        Localhost = "LOCALHOST" | 1,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateData {
    pub pem: Option<String>,
    pub spiffe_bundle_url: Option<String>,
    pub cert_signers: Vec<String>,
    pub trust_domains: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSettings {
    pub settings: Option<ServiceSettingsFlags>,
    pub hosts: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSettingsFlags {
    pub cluster_local: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceScopeConfigs {
    pub namespace_selector: Option<LabelSelector>,
    pub services_selector: Option<LabelSelector>,
    pub scope: Scope,
}

open_enum! {
    pub enum Scope {
        Local = "LOCAL" | 0,
        Global = "GLOBAL" | 1,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateAuthority {
    pub address: String,
    pub tls_settings: Option<ClientTlsSettings>,
    pub request_timeout: Option<Duration>,
    pub istiod_side: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DefaultProviders {
    pub tracing: Vec<String>,
    pub metrics: Vec<String>,
    pub access_logging: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyPathNormalization {
    pub normalization: NormalizationType,
}

open_enum! {
    pub enum NormalizationType {
        Default = "DEFAULT" | 0,
        None = "NONE" | 1,
        Base = "BASE" | 2,
        MergeSlashes = "MERGE_SLASHES" | 3,
        DecodeAndMergeSlashes = "DECODE_AND_MERGE_SLASHES" | 4,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsConfig {
    pub min_protocol_version: TlsProtocol,
    pub ecdh_curves: Vec<String>,
    pub cipher_suites: Vec<String>,
}

open_enum! {
    pub enum TlsProtocol {
        TlsAuto = "TLS_AUTO" | 0,
        TlsV12 = "TLSV1_2" | 1,
        TlsV13 = "TLSV1_3" | 2,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DefaultTrafficPolicy {
    pub connection_pool: Option<ConnectionPoolSettings>,
    pub outlier_detection: Option<OutlierDetection>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    #[serde(rename = "matchLabels")]
    pub matchlabels: BTreeMap<String, String>,
    #[serde(rename = "matchExpressions")]
    pub matchexpressions: Vec<LabelSelectorRequirement>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelectorRequirement {
    pub key: String,
    pub operator: String,
    pub values: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntryVisibility {
    pub default_visibility: Visibility,
    pub apply_to_sidecars: bool,
    pub policies: Vec<Policy>,
}

open_enum! {
    pub enum Visibility {
        VisibilityUnspecified = "VISIBILITY_UNSPECIFIED" | 0,
        None = "NONE" | 1,
        Namespace = "NAMESPACE" | 2,
        Public = "PUBLIC" | 3,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    pub visibility: Visibility,
    pub matching_rules: Vec<MatchRule>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MatchRule {
    pub namespace_selector: Option<LabelSelector>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigSource {
    pub address: String,
    pub tls_settings: Option<ClientTlsSettings>,
    pub subscribed_resources: Vec<Resource>,
}

open_enum! {
    pub enum Resource {
        ServiceRegistry = "SERVICE_REGISTRY" | 0,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Certificate {
    pub secret_name: String,
    pub dns_names: Vec<String>,
}
