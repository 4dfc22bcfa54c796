// SPDX-License-Identifier: Apache-2.0
//! What endpoints of a cluster depend on, taken from the service, its rule and the mesh.

use super::Place;
use crate::locality::{Balancing, Spread, always_lists_unready, label, lists_unready};
use tiphys_model::{ClientTlsMode, DestinationRule, Labels, Locality, ProxyNode, Service, Str, TrafficDefaults};

/// What is asked for of the endpoints of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AssignmentPolicy {
    /// Labels of the subset.
    pub labels: Labels,
    /// Endpoints that are not ready are listed.
    pub unready: bool,
    /// Endpoints that drain are listed, for the sessions that stick to them.
    pub draining: bool,
    /// TLS mode that the rule states.
    pub tls: Option<ClientTlsMode>,
    /// Ranks and weights by the client's place.
    pub spread: Option<Spread>,
    /// Only endpoints of the client's node are listed.
    pub node_local: bool,
}

impl AssignmentPolicy {
    /// What counts for a port of a service, or for a subset of it.
    pub fn of(
        defaults: &TrafficDefaults,
        service: &Service,
        rule: Option<&DestinationRule>,
        port: u32,
        subset: Option<&str>,
    ) -> Self {
        let policy = rule.and_then(|rule| rule.policy(port, subset));
        let outlier = policy.as_ref().and_then(|policy| policy.outlier_detection.as_ref());
        let balancer = policy.as_ref().and_then(|policy| policy.load_balancer.as_ref());
        // With a threshold above zero, proxies in panic would send to endpoints that are known not to be ready.
        let panics = outlier.is_some_and(|outlier| outlier.min_health_percent > 0);
        let labels = subset.and_then(|name| rule?.subset(name)).map(|subset| subset.labels.clone());
        Self {
            labels: labels.unwrap_or_default(),
            unready: always_lists_unready(defaults, service) || (lists_unready(defaults, service) && !panics),
            draining: crate::cluster::keeps_sessions(service),
            tls: rule.and_then(|rule| rule.tls_mode(port, subset)),
            spread: Balancing::of(defaults, balancer, service)
                .and_then(|balancing| balancing.spread(outlier.is_some())),
            node_local: service.node_local,
        }
    }

    /// What an assignment under this policy depends on of a client's place; none = nothing.
    pub fn place(&self, proxy: &ProxyNode) -> Option<Place> {
        let labels = match self.spread.as_ref()? {
            Spread::Distribute(_) => Labels::new(),
            Spread::Failover { priority, .. } | Spread::Zones { priority, .. } => priority
                .iter()
                .map(|wanted| wanted.split_once('=').map_or(&**wanted, |(key, _)| key))
                .map(|key| (Str::from(key), proxy_label(proxy, key)))
                .collect(),
        };
        Some(Place { locality: proxy.locality.clone(), labels })
    }
}

/// A label of a proxy. Those that tell its place are what it states of its place, whatever its labels say.
fn proxy_label(proxy: &ProxyNode, key: &str) -> Str {
    if key == label::NODE {
        return proxy.metadata_str("NODE_NAME").into();
    }
    place_label(key, &proxy.locality, [&proxy.network, &proxy.cluster])
        .or_else(|| proxy.labels.get(key).cloned())
        .unwrap_or_default()
}

/// What a label that tells a place says; none for other labels.
pub(super) fn place_label(key: &str, locality: &Locality, network_and_cluster: [&Str; 2]) -> Option<Str> {
    let [network, cluster] = network_and_cluster;
    let value = match key {
        label::REGION => &locality.region,
        label::ZONE => &locality.zone,
        label::SUBZONE => &locality.subzone,
        label::NETWORK => network,
        label::CLUSTER => cluster,
        _ => return None,
    };
    Some(value.clone())
}
