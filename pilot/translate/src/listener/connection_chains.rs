// SPDX-License-Identifier: Apache-2.0
//! Chains of connections that are passed on: by the tls and tcp routes of VirtualServices, else to the service that was dialled.

use super::chain::{Body, Chain, ChainMatch, TcpBody};
use crate::filter::tcp_proxy::TcpTarget;
use std::time::Duration;
use tiphys_model::{
    ClusterName, Destination, Host, Labels, Port, Resolution, Semantics, Service, Source, Str, UNSPECIFIED,
    VirtualService, WeightedDestination,
};

/// The part of a DestinationRule that TCP chains read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpPolicy {
    /// A connection without traffic is closed after this time.
    pub idle_timeout: Option<Duration>,
    /// Longest life of a connection.
    pub max_duration: Option<Duration>,
    /// Endpoints are chosen by the client's address.
    pub hash_source_ip: bool,
}

/// What plans ask of the mesh, as one proxy sees it.
pub trait World {
    /// The service of a host.
    fn service(&self, host: &Host) -> Option<&Service>;
    /// The addresses of a service for the proxy, the main one first; `0.0.0.0` when it has none.
    fn addresses(&self, service: &Service) -> Vec<Str>;
    /// The addresses of each endpoint of a service's port.
    fn endpoints(&self, service: &Service, port: &Port) -> Vec<Vec<Str>>;
    /// What a DestinationRule says of connections to a host, or to a subset of it.
    fn tcp_policy(&self, host: &Host, subset: &str) -> TcpPolicy;
    /// The subsets of a host.
    fn subsets(&self, host: &Host) -> Vec<Str>;
}

/// What the chains of one port depend on.
pub struct Connections<'a, W: World> {
    /// The mesh.
    pub world: &'a W,
    /// The workload that dials.
    pub source: &'a Source,
    /// `mesh`, or the gateway.
    pub gateways: &'a [Str],
    /// Connections without traffic are closed after this time, when no rule says otherwise.
    pub idle_timeout: Option<Duration>,
    /// The port that is dialled.
    pub port: &'a Port,
}

impl<W: World> Connections<'_, W> {
    /// A chain's body to weighted destinations.
    pub fn routed(&self, destinations: &[WeightedDestination], owner: &VirtualService) -> Option<TcpBody> {
        let first = &destinations.first()?.destination;
        let service = self.world.service(&first.host);
        let weighted = destinations.len() > 1;
        let subset = if weighted { "" } else { &*first.subset };
        let policy = service.map(|service| self.world.tcp_policy(&service.host, subset)).unwrap_or_default();
        if !weighted {
            let cluster = self.cluster(first);
            return Some(self.body(cluster.clone(), vec![(cluster, 0)], policy));
        }
        let clusters: Vec<(Str, u32)> = destinations
            .iter()
            .filter(|one| one.weight > 0)
            .map(|one| (self.cluster(&one.destination), one.weight))
            .collect();
        if clusters.is_empty() {
            return None;
        }
        let mut body = self.body(format!("{}.{}", owner.name, owner.namespace).into(), clusters, policy);
        body.target.weighted = true;
        Some(body)
    }

    /// A chain's body to a service itself. A service with one port gets that, whatever port was dialled.
    pub fn direct(&self, service: &Service) -> TcpBody {
        let port = match &service.ports[..] {
            [only] => only.number,
            _ => self.port.number,
        };
        let cluster = ClusterName::Outbound { port, subset: "", host: service.host.as_str() }.to_str();
        self.body(cluster.clone(), vec![(cluster, 0)], self.world.tcp_policy(&service.host, ""))
    }

    /// A chain's body to the cluster that a server name stands for.
    pub fn by_name(&self, service: &Service, subset: &str, port: u32) -> TcpBody {
        let cluster = ClusterName::Sni { port, subset, host: service.host.as_str() }.to_str();
        let policy = self.world.tcp_policy(&service.host, subset);
        TcpBody { unpoliced: true, ..self.body(cluster.clone(), vec![(cluster, 0)], policy) }
    }

    fn body(&self, stat_prefix: Str, clusters: Vec<(Str, u32)>, policy: TcpPolicy) -> TcpBody {
        let target = TcpTarget {
            stat_prefix,
            clusters,
            weighted: false,
            idle_timeout: policy.idle_timeout.or(self.idle_timeout),
            max_duration: policy.max_duration,
            hash_source_ip: policy.hash_source_ip,
        };
        TcpBody::to(self.port.protocol, target)
    }

    fn cluster(&self, destination: &Destination) -> Str {
        if destination.host.as_str().is_empty() {
            // A backend that does not exist or may not be used.
            return "UnknownService".into();
        }
        let service = self.world.service(&destination.host);
        let port = destination.port.or_else(|| match service.map(|service| &service.ports[..]) {
            Some([only]) => Some(only.number),
            _ => None,
        });
        let host = match service.and_then(|service| service.external_name.as_deref()) {
            Some(external) => external,
            None => destination.host.as_str(),
        };
        ClusterName::Outbound { port: port.unwrap_or(self.port.number), subset: &destination.subset, host }.to_str()
    }
}

/// The path of the object that a route comes from.
pub fn origin(owner: &VirtualService) -> Str {
    let VirtualService { name, namespace, .. } = owner;
    format!("/apis/networking.istio.io/v1/namespaces/{namespace}/virtual-service/{name}").into()
}

/// A service that a listener is made for.
pub struct Dialled<'a> {
    /// The service.
    pub service: &'a Service,
    /// The listener's address; empty for none yet.
    pub bind: &'a str,
    /// The address that stands for all.
    pub wildcard: &'a str,
    /// Ranges of addresses by which it is told from others on the port.
    pub cidrs: Vec<Str>,
    /// VirtualServices that are about its host.
    pub routes: Vec<&'a VirtualService>,
}

impl<W: World> Connections<'_, W> {
    /// The chains of a service's port.
    pub fn chains(&self, dialled: &Dialled<'_>) -> Vec<Chain> {
        if self.port.protocol.is_tls() { self.by_server_name(dialled) } else { self.by_address(dialled) }
    }

    fn by_server_name(&self, dialled: &Dialled<'_>) -> Vec<Chain> {
        let mut chains = Vec::new();
        // Of two matches that a proxy could not tell apart the first one counts.
        let mut seen: Vec<(&[Host], &[Str])> = Vec::new();
        let mut cidrs = dialled.cidrs.clone();
        for owner in &dialled.routes {
            for route in owner.tls.iter().filter(|route| !route.destinations.is_empty()) {
                for one in route.matches.iter().filter(|m| m.applies(self.source, self.gateways, self.port.number)) {
                    if !one.destination_subnets.is_empty() && self.port.number > 0 {
                        cidrs.clone_from(&one.destination_subnets);
                    }
                    let key = (&one.sni_hosts[..], &one.destination_subnets[..]);
                    if seen.contains(&key) {
                        continue;
                    }
                    seen.push(key);
                    let Some(body) = self.routed(&route.destinations, owner) else { continue };
                    let server_names = one.sni_hosts.iter().map(Host::to_str).collect();
                    let matches = ChainMatch { server_names, cidrs: cidrs.clone(), ..ChainMatch::default() };
                    chains.push(Chain { origin: origin(owner), ..Chain::new(matches, Body::Tcp(body)) });
                }
            }
        }
        if chains.is_empty() {
            let named = self.needs_server_name(dialled, &cidrs);
            let server_names = if named { vec![dialled.service.host.to_str()] } else { Vec::new() };
            let matches = ChainMatch { server_names, cidrs, ..ChainMatch::default() };
            chains.push(Chain::new(matches, Body::Tcp(self.direct(dialled.service))));
        }
        chains
    }

    /// Where services share an address only the server name tells which one is meant.
    fn needs_server_name(&self, dialled: &Dialled<'_>, cidrs: &[Str]) -> bool {
        let service = dialled.service;
        let address = self.world.addresses(service).first().cloned().unwrap_or_default();
        let address = if address.contains('/') { Str::default() } else { address };
        let unspecified = &*address == UNSPECIFIED && (dialled.wildcard == UNSPECIFIED || dialled.wildcard == "::");
        !cidrs.is_empty()
            || address.is_empty()
            || (dialled.bind == dialled.wildcard && (unspecified || &*address == dialled.wildcard))
            || (service.host.is_wildcard() && service.resolution == Resolution::DynamicDns)
    }

    fn by_address(&self, dialled: &Dialled<'_>) -> Vec<Chain> {
        let mut chains = Vec::new();
        let chain = |cidrs: &[Str], origin: Str, body| {
            let matches = ChainMatch { cidrs: cidrs.to_vec(), ..ChainMatch::default() };
            Chain { origin, ..Chain::new(matches, Body::Tcp(body)) }
        };
        for owner in &dialled.routes {
            for route in owner.tcp.iter().filter(|route| !route.destinations.is_empty()) {
                let applying: Vec<_> =
                    route.matches.iter().filter(|m| m.applies(self.source, self.gateways, self.port.number)).collect();
                let whole = route.matches.is_empty()
                    || applying.iter().any(|m| m.destination_subnets.is_empty() || self.port.number == 0);
                let Some(body) = self.routed(&route.destinations, owner) else { continue };
                if whole {
                    // What takes all connections ends the list.
                    chains.push(chain(&dialled.cidrs, origin(owner), body));
                    return chains;
                }
                let mut subnets: Vec<Str> = applying.iter().flat_map(|m| m.destination_subnets.clone()).collect();
                if subnets.is_empty() {
                    continue;
                }
                chains.push(chain(&subnets, Str::default(), body));
                let mut own = dialled.cidrs.clone();
                subnets.sort();
                own.sort();
                if subnets == own {
                    return chains;
                }
            }
        }
        chains.push(chain(&dialled.cidrs, Str::default(), self.direct(dialled.service)));
        chains
    }
}

/// The VirtualServices that are about a host.
pub fn routes_of<'a>(host: &Host, all: &'a [tiphys_model::Marked<VirtualService>]) -> Vec<&'a VirtualService> {
    let about = |one: &&tiphys_model::Marked<VirtualService>| {
        (!one.tls.is_empty() || !one.tcp.is_empty()) && one.hosts.iter().any(|own| own.matches(host))
    };
    all.iter().filter(about).map(|one| &**one).collect()
}

/// Labels of a workload as a source of connections.
pub fn source(labels: &Labels, namespace: &str) -> Source {
    Source { labels: labels.clone(), namespace: namespace.into() }
}

/// Whether a VirtualService came from the Gateway API.
pub fn is_gateway_api(owner: &VirtualService) -> bool {
    owner.semantics == Semantics::GatewayApi
}
