// SPDX-License-Identifier: Apache-2.0
//! Clusters: an input of fingerprinted parts becomes one `envoy.config.cluster.v3.Cluster`.
//!
//! [`outbound`] makes the cluster of a service's port, or of a subset of it: its discovery type and protocol, then what the rule's
//! policy says (connection pool, outlier detection, load balancer, TLS, in this order: later parts read what earlier ones set),
//! then metadata. [`inbound`] makes those that lead to the application, [`black_hole`], [`passthrough`] and
//! [`inbound_passthrough`] those that every proxy has.

mod builtin;
mod connection_pool;
mod dns;
mod http_options;
mod inbound;
mod load_balancer;
mod metadata;
mod outlier;
mod stat_name;
mod tls;

pub use builtin::{black_hole, external_secrets, inbound_passthrough, passthrough};
pub use inbound::{InboundInput, InboundTarget, inbound};

use crate::endpoint::{AssignmentInput, load_assignment};
use http_options::HttpOptions;
use tiphys_model::{
    Algorithm, ClusterName, DestinationRule, Marked, Mesh, Port, ProxyType, Registry, Resolution, Service, Str,
    TargetPort, TrafficPolicy,
};
use tiphys_proto::duration;
use tiphys_proto::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, EdsClusterConfig, LbConfig, LbPolicy, OriginalDstLbConfig,
};
use tiphys_proto::envoy::config::cluster::v3::{Cluster, Filter};
use tiphys_proto::envoy::config::core::v3::{
    AggregatedConfigSource, ApiVersion, ConfigSource, HealthStatus, HealthStatusSet, config_source,
};

/// What clusters depend on of the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// What the proxy is for.
    pub kind: ProxyType,
    /// It has the filters of Istio's own build.
    pub istio_filters: bool,
    /// It has an IPv4 address.
    pub ipv4: bool,
    /// It has an IPv6 address.
    pub ipv6: bool,
    /// Certificates that it was started with, which take the place of those of the mesh.
    pub certificates: Option<Certificates>,
    /// An external secret server runs beside it.
    pub credential_socket: bool,
    /// A server for secrets that are files runs beside it.
    pub files_socket: bool,
    /// The case of HTTP/1.1 headers is kept.
    pub preserve_case: bool,
}

/// Files of a proxy's certificates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificates {
    /// Path of the chain.
    pub chain: Str,
    /// Path of the key.
    pub key: Str,
    /// Path of the authorities.
    pub root: Str,
}

/// What the cluster of a service's port is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OutboundInput {
    /// Mesh configuration.
    pub mesh: Marked<Mesh>,
    /// The proxy.
    pub client: Client,
    /// The service.
    pub service: Marked<Service>,
    /// Number of its port.
    pub port: u32,
    /// Subset; none = the whole service.
    pub subset: Option<Str>,
    /// The cluster is one to which an AUTO_PASSTHROUGH gateway passes TLS on by SNI.
    pub sni: bool,
    /// The rule for the service.
    pub rule: Option<Marked<DestinationRule>>,
    /// Mutual TLS of the mesh is used with endpoints that take it, unless the rule says otherwise.
    pub auto_mtls: bool,
    /// Names that the certificates of the service's workloads may have, sorted.
    pub identities: Vec<Str>,
    /// Endpoints, where the proxy resolves them by DNS.
    pub endpoints: Option<AssignmentInput>,
}

impl OutboundInput {
    /// The name of the cluster.
    pub fn name(&self) -> String {
        let (port, host) = (self.port, self.service.host.as_str());
        let subset = self.subset.as_deref().unwrap_or_default();
        if self.sni {
            ClusterName::Sni { port, subset, host }.to_string()
        } else {
            ClusterName::Outbound { port, subset, host }.to_string()
        }
    }
}

/// How the proxy finds the endpoints of a service.
pub fn discovery(mesh: &Mesh, client: ProxyType, service: &Service) -> DiscoveryType {
    match service.resolution {
        Resolution::Dns => DiscoveryType::StrictDns,
        Resolution::DnsRoundRobin => DiscoveryType::LogicalDns,
        // A gateway's clients dial the gateway: their destination says nothing.
        Resolution::Passthrough if client == ProxyType::Router => DiscoveryType::Eds,
        Resolution::Passthrough if service.registry == Registry::Kubernetes && mesh.traffic.headless_endpoints => {
            DiscoveryType::Eds
        }
        Resolution::Passthrough => DiscoveryType::OriginalDst,
        Resolution::ClientSide | Resolution::DynamicDns | Resolution::Alias => DiscoveryType::Eds,
    }
}

/// The cluster of a service's port, or of a subset of it. None when the service has no such port, or is to be resolved by DNS and
/// has no endpoint.
pub fn outbound(input: &OutboundInput) -> Option<Cluster> {
    let port = input.service.port(input.port)?;
    let subset = input.subset.as_deref();
    let policy = input.mesh.traffic.policy(input.rule.as_deref(), input.port, subset);
    let policy: Option<&TrafficPolicy> = policy.as_deref();
    let mut cluster = base(input, port, policy)?;
    let mut http = HttpOptions::default();
    http.set_port(port.protocol, input.client.kind, input.client.preserve_case);
    metadata::set_services(&mut cluster, [&*input.service]);
    let pattern = &input.mesh.traffic.outbound_stat_name;
    cluster.alt_stat_name = stat_name::delimited(&if pattern.is_empty() {
        cluster.name.clone()
    } else {
        stat_name::Names::of(&input.service).fill(pattern, subset.unwrap_or_default(), port, 0)
    });

    let pool = policy.and_then(|policy| policy.connection_pool.as_ref()).and_then(|pool| pool.http.as_ref());
    http.upgrade(pool, input.mesh.h2_upgrade, port.protocol);
    connection_pool::apply(&mut cluster, &mut http, &input.mesh, policy);
    if let Some(outlier) = policy.and_then(|policy| policy.outlier_detection.as_ref()) {
        cluster.outlier_detection = Some(outlier::detection(outlier));
        http.set_error_codes(&outlier.error_codes);
    }
    load_balancer::apply(&mut cluster, &input.mesh.traffic, policy, &input.service);
    if !input.sni {
        tls::apply(&mut cluster, &mut http, input, policy);
    }
    finish(&mut cluster, input, policy);
    cluster.typed_extension_protocol_options = http.finish();
    Some(cluster)
}

/// The cluster's name and discovery.
fn base(input: &OutboundInput, port: &Port, policy: Option<&TrafficPolicy>) -> Option<Cluster> {
    let mut cluster = Cluster { name: input.name(), ..Cluster::default() };
    let common = CommonLbConfig {
        // Sessions stick to endpoints that drain. Subsets do not have it, as istiod has it.
        override_host_status: (input.subset.is_none() && keeps_sessions(&input.service)).then(draining_too),
        ..CommonLbConfig::default()
    };
    cluster.common_lb_config = Some(common);
    let balancer = policy.and_then(|policy| policy.load_balancer.as_ref());
    let passed = balancer.is_some_and(|balancer| balancer.algorithm == Algorithm::Passthrough);
    let found = discovery(&input.mesh, input.client.kind, &input.service);
    let found = if passed && input.subset.is_some() { DiscoveryType::OriginalDst } else { found };
    cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(found.into()));
    match found {
        DiscoveryType::StrictDns | DiscoveryType::LogicalDns => {
            let mut assignment = load_assignment(input.endpoints.as_ref()?);
            if assignment.endpoints.is_empty() {
                return None;
            }
            assignment.cluster_name.clone_from(&cluster.name);
            cluster.load_assignment = Some(assignment);
            dns::apply(&mut cluster, &input.mesh.traffic, &input.client);
        }
        DiscoveryType::OriginalDst => {
            cluster.lb_config = match port.target {
                TargetPort::Number(target) if input.service.registry == Registry::External => {
                    Some(LbConfig::OriginalDstLbConfig(OriginalDstLbConfig {
                        upstream_port_override: tiphys_proto::uint32(target),
                        ..OriginalDstLbConfig::default()
                    }))
                }
                _ => None,
            };
        }
        DiscoveryType::Eds | DiscoveryType::Static => {}
    }
    Some(cluster)
}

/// What is known only when the policy has been applied.
fn finish(cluster: &mut Cluster, input: &OutboundInput, policy: Option<&TrafficPolicy>) {
    match cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) if kind == i32::from(DiscoveryType::OriginalDst) => {
            cluster.set_lb_policy(LbPolicy::ClusterProvided);
        }
        Some(ClusterDiscoveryType::Type(kind)) if kind == i32::from(DiscoveryType::Eds) => {
            cluster.eds_cluster_config =
                Some(EdsClusterConfig { service_name: cluster.name.clone(), eds_config: Some(ads()) });
        }
        _ => {}
    }
    cluster.filters = metadata_exchange(&input.client);
    if input.service.mesh_external && input.subset.is_none() {
        metadata::set_external(cluster);
    }
    if let Some(rule) = &input.rule {
        metadata::set_rule(cluster, rule);
        if let Some(subset) = &input.subset {
            metadata::set_subset(cluster, subset);
        }
        metadata::set_alpn(cluster, policy.and_then(|policy| policy.tls.as_ref()).map(|tls| tls.mode));
    }
}

/// Endpoints come over the stream that the cluster came over, and the cluster waits for them.
fn ads() -> ConfigSource {
    ConfigSource {
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        initial_fetch_timeout: duration(std::time::Duration::ZERO),
        resource_api_version: ApiVersion::V3.into(),
        ..ConfigSource::default()
    }
}

/// The filter by which workloads tell each other who they are over TCP; only Istio's own proxy has it.
fn metadata_exchange(client: &Client) -> Vec<Filter> {
    use crate::value::{boolean, fields_of, text};
    use tiphys_proto::udpa::r#type::v1::TypedStruct;
    if !client.istio_filters {
        return Vec::new();
    }
    static CONFIG: std::sync::LazyLock<tiphys_proto::google::protobuf::Any> = std::sync::LazyLock::new(|| {
        tiphys_proto::to_any(&TypedStruct {
            type_url: "type.googleapis.com/envoy.tcp.metadataexchange.config.MetadataExchange".into(),
            value: Some(fields_of([("enable_discovery", boolean(true)), ("protocol", text("istio-peer-exchange"))])),
        })
    });
    let name = "istio.metadata_exchange".into();
    vec![Filter { name, typed_config: Some(CONFIG.clone()), ..Filter::default() }]
}

/// Whether requests of one session go to one endpoint by the service's own labels.
pub(crate) fn keeps_sessions(service: &Service) -> bool {
    ["istio.io/persistent-session", "istio.io/persistent-session-header"]
        .iter()
        .any(|label| service.labels.get(*label).is_some_and(|value| !value.is_empty()))
}

fn draining_too() -> HealthStatusSet {
    let statuses = [HealthStatus::Healthy, HealthStatus::Draining, HealthStatus::Unknown, HealthStatus::Degraded];
    HealthStatusSet { statuses: statuses.map(i32::from).to_vec() }
}

#[cfg(test)]
mod tests;
