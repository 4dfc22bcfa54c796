// SPDX-License-Identifier: Apache-2.0
//! Load assignments: the endpoints of a service's port or subset become one `envoy.config.endpoint.v3.ClusterLoadAssignment`.
//!
//! [`AssignmentPolicy::of`] takes from the service, its rule and the mesh the little that endpoints depend on, so that other changes
//! of them leave assignments alone; of the client an input holds only what that policy makes it depend on. [`load_assignment`] selects
//! endpoints, groups them by locality, and ranks and weighs the groups for the client.

mod lb_endpoint;
mod policy;
mod spread;

pub use lb_endpoint::address;
pub use policy::AssignmentPolicy;

use std::collections::BTreeMap;
use tiphys_model::{ClusterName, Endpoint, Health, Host, Labels, Locality, Marked, Port, ServiceEndpoints, Str};
use tiphys_proto::envoy::config::core::v3::Locality as EnvoyLocality;
use tiphys_proto::envoy::config::endpoint::v3::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints};
use tiphys_proto::uint32;

/// Where a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// Its locality.
    pub locality: Locality,
    /// Its labels, those of its place included, as far as the policy's priorities name them.
    pub labels: Labels,
}

/// What an assignment is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AssignmentInput {
    /// Host of the service.
    pub host: Host,
    /// Its port.
    pub port: Port,
    /// Subset; none = the whole service.
    pub subset: Option<Str>,
    /// It is for a cluster to which an AUTO_PASSTHROUGH gateway passes TLS on by SNI: only endpoints that take mutual TLS are listed.
    pub sni: bool,
    /// All endpoints of the service.
    pub endpoints: Marked<ServiceEndpoints>,
    /// Places in `endpoints` of those that state that they take mutual TLS but may not be spoken to so (PeerAuthentication), sorted.
    pub plaintext: Vec<u32>,
    /// What is asked for.
    pub policy: AssignmentPolicy,
    /// The client's place, if [`AssignmentPolicy::spread`] is set.
    pub place: Option<Place>,
    /// The client's node, if [`AssignmentPolicy::node_local`] is set.
    pub node: Option<Str>,
    /// Networks whose endpoints the client sees; none = all.
    pub networks: Option<Vec<Str>>,
    /// Endpoints are resolved by DNS: their addresses may be names.
    pub dns: bool,
    /// All addresses of an endpoint are used, not the first alone.
    pub dual_stack: bool,
}

/// Endpoints of one locality and priority.
struct Group<'a> {
    locality: Locality,
    members: Vec<(&'a Endpoint, LbEndpoint)>,
    weight: Option<u32>,
    priority: u32,
}

/// The endpoints of a cluster.
pub fn load_assignment(input: &AssignmentInput) -> ClusterLoadAssignment {
    let mut groups = groups(input);
    if input.sni {
        // The gateway sees only bytes: it must not lead to endpoints that would take plaintext.
        for group in &mut groups {
            group.members.retain(|(_, endpoint)| lb_endpoint::takes_mtls(endpoint));
            group.weight = (!group.members.is_empty()).then(|| total(&group.members));
        }
    }
    if let (Some(spread), Some(place)) = (&input.policy.spread, &input.place) {
        groups = spread::apply(groups, spread, place);
    }
    let (port, host) = (input.port.number, input.host.as_str());
    let subset = input.subset.as_deref().unwrap_or_default();
    let name =
        if input.sni { ClusterName::Sni { port, subset, host } } else { ClusterName::Outbound { port, subset, host } };
    ClusterLoadAssignment {
        cluster_name: name.to_string(),
        endpoints: groups.into_iter().map(Group::finish).collect(),
        ..ClusterLoadAssignment::default()
    }
}

fn groups(input: &AssignmentInput) -> Vec<Group<'_>> {
    let mut by_locality: BTreeMap<String, Group<'_>> = BTreeMap::new();
    for (index, endpoint) in input.endpoints.endpoints.iter().enumerate() {
        if !input.selects(endpoint) {
            continue;
        }
        let member = lb_endpoint::lb_endpoint(endpoint, input.mtls(index, endpoint), input.dual_stack);
        let group = by_locality.entry(endpoint.locality.to_string()).or_insert_with(|| Group {
            locality: endpoint.locality.clone(),
            members: Vec::new(),
            weight: None,
            priority: 0,
        });
        group.members.push((endpoint, member));
    }
    let mut groups: Vec<_> = by_locality.into_values().collect();
    for group in &mut groups {
        group.weight = Some(total(&group.members));
    }
    groups
}

fn total(members: &[(&Endpoint, LbEndpoint)]) -> u32 {
    members.iter().fold(0, |sum, (endpoint, _)| sum.saturating_add(endpoint.weight.max(1)))
}

impl AssignmentInput {
    /// Whether an endpoint answers for this cluster and is given to this client.
    fn selects(&self, endpoint: &Endpoint) -> bool {
        let of_port = endpoint.port_name == self.port.name
            && (endpoint.service_port == 0 || endpoint.service_port == self.port.number);
        if !of_port || !tiphys_model::labels_match(&self.policy.labels, &endpoint.labels) {
            return false;
        }
        if self.policy.node_local && self.node.as_ref() != Some(&endpoint.node) {
            return false;
        }
        let sees = |networks: &Vec<Str>| endpoint.network.is_empty() || networks.contains(&endpoint.network);
        if !self.networks.as_ref().is_none_or(sees) {
            return false;
        }
        let address = endpoint.address();
        let usable = self.dns || endpoint.port == 0 || address.parse::<std::net::IpAddr>().is_ok();
        !address.is_empty() && usable && self.takes_health(endpoint)
    }

    fn takes_health(&self, endpoint: &Endpoint) -> bool {
        match lb_endpoint::health(endpoint) {
            Health::Unknown | Health::Healthy => true,
            Health::Unhealthy => self.policy.unready,
            Health::Draining => self.policy.draining,
            Health::Terminating => false,
        }
    }

    /// Whether the endpoint is marked for mutual TLS of the mesh: a mode that the rule states goes before what the workload accepts.
    fn mtls(&self, index: usize, endpoint: &Endpoint) -> bool {
        match self.policy.tls {
            Some(mode) => mode == tiphys_model::ClientTlsMode::IstioMutual,
            None => {
                let plain = u32::try_from(index).is_ok_and(|index| self.plaintext.binary_search(&index).is_ok());
                endpoint.takes_mtls() && !plain
            }
        }
    }
}

impl Group<'_> {
    fn finish(self) -> LocalityLbEndpoints {
        let Locality { region, zone, subzone } = &self.locality;
        LocalityLbEndpoints {
            locality: Some(EnvoyLocality {
                region: region.to_string(),
                zone: zone.to_string(),
                sub_zone: subzone.to_string(),
            }),
            lb_endpoints: self.members.into_iter().map(|(_, member)| member).collect(),
            load_balancing_weight: self.weight.and_then(uint32),
            priority: self.priority,
            ..LocalityLbEndpoints::default()
        }
    }
}

#[cfg(test)]
mod tests;
