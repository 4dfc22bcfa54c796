// SPDX-License-Identifier: Apache-2.0
//! Clusters that lead to the application beside the proxy: `inbound|PORT||`.

use super::builtin::{bind_config, single};
use super::http_options::HttpOptions;
use super::{Client, connection_pool, metadata, stat_name};
use crate::endpoint::address;
use tiphys_model::{ClusterName, ConnectionPool, DestinationRule, Marked, Mesh, Port, Service, Str, TrafficPolicy};
use tiphys_proto::duration;
use tiphys_proto::envoy::config::cluster::v3::Cluster;
use tiphys_proto::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, LbPolicy,
};

/// Where the application is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum InboundTarget {
    /// The address and port that the client dialled.
    Dialled,
    /// An address and a port; a Unix socket's address is `unix://PATH`.
    Address(Str, u32),
}

/// What an inbound cluster is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InboundInput {
    /// Mesh configuration.
    pub mesh: Marked<Mesh>,
    /// The proxy.
    pub client: Client,
    /// Port of the workload, after which the cluster is named.
    pub cluster_port: u32,
    /// Where the application is.
    pub target: InboundTarget,
    /// Services of which this is a port, with the number of theirs. The first is the one whose rule counts; none when only a
    /// Sidecar declares the port.
    pub services: Vec<(Marked<Service>, u32)>,
    /// The port, as the first service or the Sidecar declares it.
    pub port: Port,
    /// Host that stands for the port in statistics when there is no service.
    pub host: Str,
    /// The rule for the first service.
    pub rule: Option<Marked<DestinationRule>>,
    /// The connection pool that the Sidecar sets, which goes before the rule's.
    pub connection_pool: Option<ConnectionPool>,
}

/// The cluster of a port of the workload.
pub fn inbound(input: &InboundInput) -> Cluster {
    let name = ClusterName::Inbound { port: input.cluster_port }.to_string();
    let mut cluster = Cluster {
        name: name.clone(),
        common_lb_config: Some(CommonLbConfig::default()),
        alt_stat_name: stat_name::delimited(&statistics(input).unwrap_or_else(|| name.clone())),
        ..Cluster::default()
    };
    match &input.target {
        InboundTarget::Dialled => {
            cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into()));
            cluster.set_lb_policy(LbPolicy::ClusterProvided);
            // The greatest time that Envoy takes: endpoints are never forgotten.
            cluster.cleanup_interval = duration(std::time::Duration::from_secs(9_223_372_035));
        }
        InboundTarget::Address(host, port) => {
            cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into()));
            cluster.load_assignment = Some(single(&name, address(host, *port)));
        }
    }
    let mut http = HttpOptions::default();
    http.set_port(input.port.protocol, input.client.kind, input.client.preserve_case);
    describe(&mut cluster, input);
    let policy = policy(input);
    connection_pool::apply(&mut cluster, &mut http, &input.mesh, policy.as_ref());
    let loopback = matches!(&input.target, InboundTarget::Address(host, _) if matches!(&**host, "127.0.0.1" | "::1"));
    if !loopback {
        let ipv6 = input.client.ipv6 && (input.mesh.traffic.dual_stack || !input.client.ipv4);
        cluster.upstream_bind_config = Some(bind_config(input.client.ipv4, ipv6));
    }
    cluster.typed_extension_protocol_options = http.finish();
    cluster
}

fn statistics(input: &InboundInput) -> Option<String> {
    let pattern = &input.mesh.traffic.inbound_stat_name;
    if pattern.is_empty() {
        return None;
    }
    let names = match input.services.first() {
        Some((service, _)) => stat_name::Names::of(service),
        None => stat_name::Names::of_host(&input.host),
    };
    Some(names.fill(pattern, "", &input.port, input.cluster_port))
}

/// Lists the services of the port, each host once.
fn describe(cluster: &mut Cluster, input: &InboundInput) {
    if input.services.first().is_none_or(|(service, _)| service.mesh_external) {
        return;
    }
    let mut services: Vec<&Service> = Vec::new();
    for (service, port) in &input.services {
        if *port == input.port.number && !services.iter().any(|seen| seen.host == service.host) {
            services.push(service);
        }
    }
    metadata::set_services(cluster, services);
    if let Some(rule) = input.rule.as_ref().filter(|rule| rule.policy.is_some()) {
        metadata::add_rule(cluster, rule);
    }
}

/// Limits that hold on both ends: the server needs the capacity that clients are allowed.
fn policy(input: &InboundInput) -> Option<TrafficPolicy> {
    let rule = input.rule.as_deref().filter(|rule| rule.policy.is_some());
    let policy = input.mesh.traffic.policy(rule, input.port.number, None);
    match (&input.connection_pool, policy) {
        (Some(own), policy) => {
            let mut policy = policy.map(std::borrow::Cow::into_owned).unwrap_or_default();
            policy.connection_pool = Some(own.clone());
            Some(policy)
        }
        (None, policy) => policy.map(std::borrow::Cow::into_owned),
    }
}
