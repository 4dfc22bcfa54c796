// SPDX-License-Identifier: Apache-2.0
//! The TCP proxy: passes the bytes of a connection on to a cluster
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/tcp_proxy_filter>).

use super::network_filter;
use std::time::Duration;
use tiphys_model::Str;
use tiphys_proto::duration;
use tiphys_proto::envoy::config::accesslog::v3::AccessLog;
use tiphys_proto::envoy::config::listener::v3::Filter;
use tiphys_proto::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy,
    tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight},
};
use tiphys_proto::envoy::r#type::v3::{
    HashPolicy,
    hash_policy::{PolicySpecifier, SourceIp},
};

/// Where the connections of a filter chain go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpTarget {
    /// Prefix of the statistics.
    pub stat_prefix: Str,
    /// Clusters with their weights; one alone takes all, whatever its weight.
    pub clusters: Vec<(Str, u32)>,
    /// The target is written with weights even when it is one.
    pub weighted: bool,
    /// A connection without traffic is closed after this time; none = Envoy's default.
    pub idle_timeout: Option<Duration>,
    /// Longest life of a connection.
    pub max_duration: Option<Duration>,
    /// Endpoints are chosen by the client's address.
    pub hash_source_ip: bool,
}

impl TcpTarget {
    /// A single cluster, its name being the stat prefix.
    pub fn cluster(name: &str) -> Self {
        Self { stat_prefix: name.into(), clusters: vec![(name.into(), 0)], ..Self::default() }
    }
}

/// The filter.
pub fn build(target: &TcpTarget, access_log: Vec<AccessLog>) -> Filter {
    let source_ip = HashPolicy { policy_specifier: Some(PolicySpecifier::SourceIp(SourceIp::default())) };
    let config = TcpProxy {
        stat_prefix: target.stat_prefix.to_string(),
        cluster_specifier: Some(specifier(target)),
        idle_timeout: target.idle_timeout.and_then(duration),
        max_downstream_connection_duration: target.max_duration.and_then(duration),
        hash_policy: target.hash_source_ip.then_some(source_ip).into_iter().collect(),
        access_log,
        ..TcpProxy::default()
    };
    network_filter("envoy.filters.network.tcp_proxy", &config)
}

fn specifier(target: &TcpTarget) -> ClusterSpecifier {
    match &target.clusters[..] {
        [(only, _)] if !target.weighted => ClusterSpecifier::Cluster(only.to_string()),
        many => {
            let clusters = many
                .iter()
                .map(|(name, weight)| ClusterWeight {
                    name: name.to_string(),
                    weight: *weight,
                    ..ClusterWeight::default()
                })
                .collect();
            ClusterSpecifier::WeightedClusters(WeightedCluster { clusters })
        }
    }
}
