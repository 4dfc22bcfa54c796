// SPDX-License-Identifier: Apache-2.0
//! MeshConfig: settings of the whole mesh (<https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig>).

use serde::{Deserialize, Serialize};

use crate::LabelSelector;
use crate::istio::networking::connection_pool::{ConnectionPoolSettings, TcpKeepalive};
use crate::istio::networking::destination_rule::OutlierDetection;
use crate::istio::networking::http_route::HttpRetry;
use crate::istio::networking::load_balancer::{LocalityLoadBalancerSetting, ZoneAwareLoadBalancerSetting};
use crate::istio::networking::tls::ClientTlsSettings;
use crate::mesh::extension_provider::ExtensionProvider;
use crate::mesh::proxy_config::ProxyConfig;
use crate::value::Duration;
use crate::value::open_enum;

/// Settings of the whole mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshConfig {
    /// Port that outbound traffic is redirected to; 15001.
    #[serde(default)]
    pub proxy_listen_port: i32,
    /// Port that inbound traffic is redirected to; 15006.
    #[serde(default)]
    pub proxy_inbound_listen_port: i32,
    /// Port of an HTTP proxy for applications; 0 means none.
    #[serde(default)]
    pub proxy_http_port: i32,
    /// How long connecting to a service may take; 10s.
    #[serde(default)]
    pub connect_timeout: Option<Duration>,
    /// How long an HBONE tunnel may be idle.
    #[serde(default)]
    pub hbone_idle_timeout: Option<Duration>,
    /// How long the proxy waits for first bytes to find the protocol; 0 waits for ever.
    #[serde(default)]
    pub protocol_detection_timeout: Option<Duration>,
    /// Keepalive of sockets to services.
    #[serde(default)]
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// The class of Ingresses that are served.
    #[serde(default)]
    pub ingress_class: String,
    /// The Service whose address Ingresses get.
    #[serde(default)]
    pub ingress_service: String,
    /// Which Ingresses are served.
    #[serde(default)]
    pub ingress_controller_mode: IngressControllerMode,
    /// Label `istio` of the gateways that serve Ingresses; empty means that of the service.
    #[serde(default)]
    pub ingress_selector: String,
    /// Traces at all.
    #[serde(default)]
    pub enable_tracing: bool,
    /// File of the access log, as /dev/stdout; empty means none.
    #[serde(default)]
    pub access_log_file: String,
    /// Format of the access log; empty means the mesh's own.
    #[serde(default)]
    pub access_log_format: String,
    /// Text or JSON.
    #[serde(default)]
    pub access_log_encoding: AccessLogEncoding,
    /// Sends access logs to the service of the proxy's settings.
    #[serde(default)]
    pub enable_envoy_access_log_service: bool,
    /// Does not log connections that no filter chain takes.
    #[serde(default)]
    pub disable_envoy_listener_log: bool,
    /// Settings of proxies; single proxies may override them.
    #[serde(default)]
    pub default_config: Option<ProxyConfig>,
    /// What becomes of traffic to unknown hosts.
    #[serde(default)]
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    /// Where inbound traffic is sent.
    #[serde(default)]
    pub inbound_traffic_policy: Option<InboundTrafficPolicy>,
    /// Where configuration comes from, besides Kubernetes.
    #[serde(default)]
    pub config_sources: Vec<ConfigSource>,
    /// Clients use mTLS wherever the server can; unset means yes.
    #[serde(default)]
    pub enable_auto_mtls: Option<bool>,
    /// Trust domain of the mesh's identities.
    #[serde(default)]
    pub trust_domain: String,
    /// Trust domains that count as the mesh's own.
    #[serde(default)]
    pub trust_domain_aliases: Vec<String>,
    /// Further authorities whose certificates are trusted.
    #[serde(default)]
    pub ca_certificates: Vec<CertificateData>,
    /// Who sees services that do not say; `*` when empty.
    #[serde(default)]
    pub default_service_export_to: Vec<String>,
    /// Who sees VirtualServices that do not say; `*` when empty.
    #[serde(default)]
    pub default_virtual_service_export_to: Vec<String>,
    /// Who sees DestinationRules that do not say; `*` when empty.
    #[serde(default)]
    pub default_destination_rule_export_to: Vec<String>,
    /// Namespace whose policies apply to the whole mesh.
    #[serde(default)]
    pub root_namespace: String,
    /// Choice of endpoints by locality.
    #[serde(default)]
    pub locality_lb_setting: Option<LocalityLoadBalancerSetting>,
    /// Choice of endpoints by zone.
    #[serde(default)]
    pub zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting>,
    /// How long Envoy waits after a failed DNS lookup; 60s.
    #[serde(default)]
    pub dns_refresh_rate: Option<Duration>,
    /// Whether HTTP/1.1 becomes HTTP/2 between proxies.
    #[serde(default)]
    pub h2_upgrade_policy: H2UpgradePolicy,
    /// Pattern of inbound clusters' names in statistics; empty means the cluster's.
    #[serde(default)]
    pub inbound_cluster_stat_name: String,
    /// Pattern of outbound clusters' names in statistics; empty means the cluster's.
    #[serde(default)]
    pub outbound_cluster_stat_name: String,
    /// Not in use.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// Settings of single services.
    #[serde(default)]
    pub service_settings: Vec<ServiceSettings>,
    /// Which services other clusters may use (ambient).
    #[serde(default)]
    pub service_scope_configs: Vec<ServiceScopeConfigs>,
    /// Serves the application's metrics beside the proxy's; unset means yes.
    #[serde(default)]
    pub enable_prometheus_merge: Option<bool>,
    /// Checks servers' certificates by the system's authorities; unset means as the settings have it.
    #[serde(default)]
    pub verify_certificate_at_client: Option<bool>,
    /// A certificate authority that workloads ask in place of the control plane.
    #[serde(default)]
    pub ca: Option<CertificateAuthority>,
    /// Services that policies refer to by name.
    #[serde(default)]
    pub extension_providers: Vec<ExtensionProvider>,
    /// The providers of policies that name none.
    #[serde(default)]
    pub default_providers: Option<DefaultProviders>,
    /// Namespaces that are read; empty means all, any of these otherwise.
    #[serde(default)]
    pub discovery_selectors: Vec<LabelSelector>,
    /// How paths are brought into one form before they are compared.
    #[serde(default)]
    pub path_normalization: Option<ProxyPathNormalization>,
    /// Retries of routes that do not say.
    #[serde(default)]
    pub default_http_retry_policy: Option<HttpRetry>,
    /// TLS between the mesh's workloads.
    #[serde(default, rename = "meshMTLS")]
    pub mesh_mtls: Option<TlsConfig>,
    /// TLS elsewhere.
    #[serde(default)]
    pub tls_defaults: Option<TlsConfig>,
    /// Bounds for services whose DestinationRule does not say.
    #[serde(default)]
    pub default_traffic_policy: Option<DefaultTrafficPolicy>,
    /// Who sees ServiceEntries.
    #[serde(default)]
    pub service_entry_visibility: Option<ServiceEntryVisibility>,
}

open_enum! {
    /// Which Ingresses are served.
    pub enum IngressControllerMode {
        /// As the control plane has it: none.
        Unspecified = "UNSPECIFIED" | 0,
        /// None.
        Off = "OFF" | 1,
        /// Those without a class, and those of the mesh's class.
        Default = "DEFAULT" | 2,
        /// Those of the mesh's class.
        Strict = "STRICT" | 3,
    }
}

open_enum! {
    /// Forms of access logs.
    pub enum AccessLogEncoding {
        /// Text.
        Text = "TEXT" | 0,
        /// JSON.
        Json = "JSON" | 1,
    }
}

open_enum! {
    /// Whether HTTP/1.1 becomes HTTP/2.
    pub enum H2UpgradePolicy {
        /// No.
        DoNotUpgrade = "DO_NOT_UPGRADE" | 0,
        /// Yes.
        Upgrade = "UPGRADE" | 1,
    }
}

/// What becomes of traffic to unknown hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutboundTrafficPolicy {
    /// What.
    pub mode: OutboundMode,
    /// TLS to hosts that are looked up.
    pub tls: Option<ClientTlsSettings>,
}

open_enum! {
    /// What becomes of traffic to unknown hosts.
    pub enum OutboundMode {
        /// It is dropped.
        RegistryOnly = "REGISTRY_ONLY" | 0,
        /// It is let through, to the address that the client asked for.
        AllowAny = "ALLOW_ANY" | 1,
        /// It is let through, to the address of the name that the request asks for.
        AllowAnyDynamicDns = "ALLOW_ANY_DYNAMIC_DNS" | 3,
    }
}

/// Where inbound traffic is sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InboundTrafficPolicy {
    /// Where.
    pub mode: InboundMode,
}

open_enum! {
    /// Where inbound traffic is sent.
    pub enum InboundMode {
        /// To the address that the client asked for.
        Passthrough = "PASSTHROUGH" | 0,
        /// To 127.0.0.1.
        Localhost = "LOCALHOST" | 1,
    }
}

/// A further authority. One of the first two fields is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateData {
    /// Its certificate.
    pub pem: Option<String>,
    /// Where its SPIFFE bundle is.
    pub spiffe_bundle_url: Option<String>,
    /// Kubernetes signers that it stands for.
    pub cert_signers: Vec<String>,
    /// Trust domains that it stands for; empty means the mesh's and its aliases.
    pub trust_domains: Vec<String>,
}

/// Settings of services.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSettings {
    /// The settings.
    pub settings: Option<ServiceSettingsFlags>,
    /// The services' hosts; wildcard prefixes are allowed.
    pub hosts: Vec<String>,
}

/// The settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSettingsFlags {
    /// Only endpoints of the client's own cluster are used.
    pub cluster_local: bool,
}

/// Which services other clusters may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceScopeConfigs {
    /// Labels of the namespace.
    pub namespace_selector: Option<LabelSelector>,
    /// Labels of the service.
    pub services_selector: Option<LabelSelector>,
    /// Whether they may.
    pub scope: Scope,
}

open_enum! {
    /// Who may use a service.
    pub enum Scope {
        /// Its own cluster.
        Local = "LOCAL" | 0,
        /// All clusters.
        Global = "GLOBAL" | 1,
    }
}

/// A certificate authority.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateAuthority {
    /// Its address.
    pub address: String,
    /// TLS to it.
    pub tls_settings: Option<ClientTlsSettings>,
    /// How long a request may take; unset means 10s.
    pub request_timeout: Option<Duration>,
    /// The control plane asks it, not the workloads.
    pub istiod_side: bool,
}

/// The providers of policies that name none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DefaultProviders {
    /// Of traces.
    pub tracing: Vec<String>,
    /// Of metrics.
    pub metrics: Vec<String>,
    /// Of access logs.
    pub access_logging: Vec<String>,
}

/// How paths are brought into one form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyPathNormalization {
    /// How.
    pub normalization: NormalizationType,
}

open_enum! {
    /// How paths are brought into one form.
    pub enum NormalizationType {
        /// As BASE.
        Default = "DEFAULT" | 0,
        /// Not at all.
        None = "NONE" | 1,
        /// By RFC 3986.
        Base = "BASE" | 2,
        /// And slashes in a row become one.
        MergeSlashes = "MERGE_SLASHES" | 3,
        /// And escaped slashes are unescaped first.
        DecodeAndMergeSlashes = "DECODE_AND_MERGE_SLASHES" | 4,
    }
}

/// What TLS may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsConfig {
    /// The lowest version.
    pub min_protocol_version: TlsProtocol,
    /// Curves; empty means Envoy's.
    pub ecdh_curves: Vec<String>,
    /// Cipher suites; empty means the mesh's own.
    pub cipher_suites: Vec<String>,
}

open_enum! {
    /// Versions of TLS.
    pub enum TlsProtocol {
        /// As the mesh has it: 1.2.
        TlsAuto = "TLS_AUTO" | 0,
        /// TLS 1.2.
        TlsV12 = "TLSV1_2" | 1,
        /// TLS 1.3.
        TlsV13 = "TLSV1_3" | 2,
    }
}

/// Bounds for services whose DestinationRule does not say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DefaultTrafficPolicy {
    /// How many connections and requests there may be.
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// When failing endpoints are left out.
    pub outlier_detection: Option<OutlierDetection>,
}

/// Who sees ServiceEntries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntryVisibility {
    /// When no policy says.
    pub default_visibility: Visibility,
    /// For sidecars too.
    pub apply_to_sidecars: bool,
    /// By namespace; the first match wins.
    pub policies: Vec<Policy>,
}

open_enum! {
    /// Who sees something.
    pub enum Visibility {
        /// As the default has it.
        VisibilityUnspecified = "VISIBILITY_UNSPECIFIED" | 0,
        /// Nobody.
        None = "NONE" | 1,
        /// Its own namespace.
        Namespace = "NAMESPACE" | 2,
        /// All.
        Public = "PUBLIC" | 3,
    }
}

/// Who sees ServiceEntries of some namespaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    /// Who.
    pub visibility: Visibility,
    /// Of which namespaces; any may match.
    pub matching_rules: Vec<MatchRule>,
}

/// Which namespaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MatchRule {
    /// Labels of the namespace.
    pub namespace_selector: Option<LabelSelector>,
}

/// Where configuration comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigSource {
    /// A folder as fs:///PATH, xds://HOST:PORT, or k8s://.
    pub address: String,
    /// TLS to it.
    pub tls_settings: Option<ClientTlsSettings>,
    /// What is asked for.
    pub subscribed_resources: Vec<Resource>,
}

open_enum! {
    /// What is asked of a source.
    pub enum Resource {
        /// Services.
        ServiceRegistry = "SERVICE_REGISTRY" | 0,
    }
}

/// Not in use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Certificate {
    /// The Secret.
    pub secret_name: String,
    /// The names.
    pub dns_names: Vec<String>,
}
