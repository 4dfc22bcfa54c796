// SPDX-License-Identifier: Apache-2.0
//! Which listeners a gateway has, from its merged servers: plain HTTP servers of a port share a chain, servers with TLS have one
//! each, told apart by server name; TCP and TLS that is passed on have chains by the routes that are bound to them.

use super::Environment;
use super::chain::{Body, Chain, ChainMatch, HttpBody, MESH_ALPN, RouteSource};
use super::connection_chains::{Connections, World, is_gateway_api};
use super::gateway::GatewayInput;
use super::outbound_plan::Conflict;
use crate::filter::prepared::SecurityFilters;
use crate::tls::Termination;
use std::collections::{BTreeMap, BTreeSet};
use tiphys_model::{
    Host, Marked, MergedGateway, MergedPort, MergedServer, Port, Protocol, Server, ServerTlsMode, Service, Source, Str,
    TargetPort, VirtualService,
};

/// What a gateway's plan reads, beside its environment.
pub struct GatewayFacts<'a> {
    /// Its servers.
    pub merged: &'a MergedGateway,
    /// The routes that are bound to each of its gateways, by `NAMESPACE/NAME`, in the order of precedence.
    pub routes: &'a BTreeMap<Str, Vec<Marked<VirtualService>>>,
    /// The services that it sees.
    pub services: &'a [Marked<Service>],
    /// It may not open ports below 1024.
    pub unprivileged: bool,
}

/// The listeners of a gateway.
#[derive(Default)]
pub struct GatewayPlan {
    /// Sorted by address and port.
    pub listeners: Vec<GatewayInput>,
    /// What was left out, and why.
    pub conflicts: Vec<Conflict>,
}

/// Server names that are taken, by port and by the address that the server is bound to.
type Taken = BTreeSet<(u32, Str, Host)>;

struct Planner<'a, W: World> {
    environment: &'a Environment,
    world: &'a W,
    facts: &'a GatewayFacts<'a>,
    taken: Taken,
    conflicts: Vec<Conflict>,
}

/// Plans the listeners of a gateway.
pub fn plan<W: World>(
    environment: &Marked<Environment>,
    security: &Marked<SecurityFilters>,
    world: &W,
    facts: &GatewayFacts<'_>,
) -> GatewayPlan {
    let mut planner = Planner { environment, world, facts, taken: Taken::new(), conflicts: Vec::new() };
    let mut listeners: BTreeMap<(Str, u32), GatewayInput> = BTreeMap::new();
    for merged in &facts.merged.ports {
        let number = merged.port.number;
        if facts.unprivileged && number < 1024 {
            let reason = format!("port {number} needs a privileged proxy");
            planner.conflicts.push(Conflict::new(&merged.port.bind, number, reason));
            continue;
        }
        let binds = match &*merged.port.bind {
            "" => environment.binds(environment.families.wildcards()),
            _ => vec![merged.port.bind.clone()],
        };
        let chains = planner.chains(merged);
        let listener = listeners.entry((binds[0].clone(), number)).or_insert_with(|| GatewayInput {
            environment: environment.clone(),
            security: security.clone(),
            binds,
            port: number,
            chains: Vec::new(),
        });
        listener.chains.extend(chains);
    }
    // Envoy refuses a listener without chains.
    let listeners = listeners.into_values().filter(|listener| !listener.chains.is_empty()).collect();
    GatewayPlan { listeners, conflicts: planner.conflicts }
}

impl<W: World> Planner<'_, W> {
    fn chains(&mut self, merged: &MergedPort) -> Vec<Chain> {
        if merged.port.protocol.is_http() {
            let route = merged.servers.first().and_then(|first| first.route_name.clone()).unwrap_or_default();
            return vec![Chain::new(ChainMatch::default(), http(route, merged.port.protocol, Str::default()))];
        }
        merged.servers.iter().flat_map(|one| self.of_server(one, merged.port.number)).collect()
    }

    fn of_server(&mut self, one: &MergedServer, number: u32) -> Vec<Chain> {
        let server = one.server();
        let server_names = || server.sni_hosts().iter().map(Host::to_str).collect();
        let termination =
            |tls: &tiphys_model::ServerTls| Some(Termination::Server { tls: tls.clone(), protocol: server.protocol });
        match &server.tls {
            Some(tls) if server.terminates_https() => {
                let route = one.route_name.clone().unwrap_or_default();
                let matches = ChainMatch { server_names: server_names(), ..ChainMatch::default() };
                let body = http(route, server.protocol, server.name.clone());
                vec![Chain { tls: termination(tls), ..Chain::new(matches, body) }]
            }
            Some(tls) if tls.mode == ServerTlsMode::AutoPassthrough => self.by_cluster(server),
            Some(_) if server.is_passthrough() => self.passed_on(one, number),
            tls => {
                let Some(body) = self.tcp_route(one) else {
                    let reason = format!("no route for port {} of {}", server.port, one.gateway.key());
                    self.conflicts.push(Conflict::new(&server.bind, server.port, reason));
                    return Vec::new();
                };
                let mut matches = ChainMatch::default();
                if tls.is_some() {
                    matches.server_names = server_names();
                }
                vec![Chain { tls: tls.as_ref().and_then(termination), ..Chain::new(matches, body) }]
            }
        }
    }

    fn bound(&self, one: &MergedServer) -> Vec<Marked<VirtualService>> {
        let key = one.gateway.key();
        let all = self.facts.routes.get(&key).map(Vec::as_slice).unwrap_or_default();
        all.iter().filter(|owner| serves(one.server(), owner)).cloned().collect()
    }

    /// Where the connections of a TCP server go, or of one that terminates TLS: the first route that applies.
    fn tcp_route(&self, one: &MergedServer) -> Option<Body> {
        let server = one.server();
        let (source, gateways, port) = (Source::default(), [one.gateway.key()], port_of(server));
        let connections = self.connections(&source, &gateways, &port);
        let mutual = server.tls.as_ref().is_some_and(|tls| tls.mode == ServerTlsMode::IstioMutual);
        let applies = |m: &tiphys_model::ConnectionMatch| m.applies(&source, &gateways, server.port);
        for owner in self.bound(one) {
            let tcp = owner.tcp.iter().filter(|route| route.matches.is_empty() || route.matches.iter().any(applies));
            let mut found: Vec<_> = tcp.map(|route| &route.destinations).collect();
            if is_gateway_api(&owner) {
                // A TLSRoute behind terminated TLS.
                let tls = owner.tls.iter().filter(|route| route.matches.iter().any(applies));
                found.extend(tls.map(|route| &route.destinations));
            }
            if let Some(mut body) = found.into_iter().find_map(|to| connections.routed(to, &owner)) {
                body.metadata_exchange = mutual;
                return Some(Body::Tcp(body));
            }
        }
        None
    }

    /// Chains of TLS that is passed on by server name.
    fn passed_on(&mut self, one: &MergedServer, number: u32) -> Vec<Chain> {
        let server = one.server();
        let (source, gateways, port) = (Source::default(), [one.gateway.key()], port_of(server));
        let mut chains = Vec::new();
        for owner in self.bound(one) {
            for route in &owner.tls {
                let applying = route.matches.iter().filter(|m| m.applies(&source, &gateways, server.port));
                for one_match in applying {
                    if !self.claim(&one_match.sni_hosts, number, &server.bind) {
                        let text = format!("server name of {}/{} is taken", owner.namespace, owner.name);
                        let reason = format!("{text} on port {} of {}", server.port, one.gateway.key());
                        self.conflicts.push(Conflict::new(&server.bind, server.port, reason));
                        continue;
                    }
                    let body = self.connections(&source, &gateways, &port).routed(&route.destinations, &owner);
                    let server_names = one_match.sni_hosts.iter().map(Host::to_str).collect();
                    let matches = ChainMatch { server_names, ..ChainMatch::default() };
                    chains.extend(body.map(|body| Chain::new(matches, Body::Tcp(body))));
                }
            }
        }
        chains
    }

    /// Envoy refuses two chains of one server name.
    fn claim(&mut self, names: &[Host], number: u32, bind: &Str) -> bool {
        let keys: Vec<_> = names.iter().map(|name| (number, bind.clone(), name.clone())).collect();
        if keys.iter().any(|key| self.taken.contains(key)) {
            return false;
        }
        self.taken.extend(keys);
        true
    }

    /// Chains by the clusters that server names stand for, between the networks of a mesh.
    fn by_cluster(&self, server: &Server) -> Vec<Chain> {
        let (source, gateways) = (Source::default(), []);
        let hosts = server.sni_hosts();
        let mut chains = Vec::new();
        for service in self.facts.services.iter().filter(|service| !service.mesh_external) {
            if !hosts.iter().any(|host| service.host.subset_of(host)) {
                continue;
            }
            for port in service.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
                let connections = self.connections(&source, &gateways, port);
                let subsets = std::iter::once(Str::default()).chain(self.world.subsets(&service.host));
                for subset in subsets {
                    let body = connections.by_name(service, &subset, port.number);
                    let matches = ChainMatch {
                        server_names: vec![body.target.stat_prefix.clone()],
                        // Only mutual TLS of the mesh is let through.
                        alpn: MESH_ALPN.iter().map(|name| (*name).into()).collect(),
                        ..ChainMatch::default()
                    };
                    chains.push(Chain::new(matches, Body::Tcp(body)));
                }
            }
        }
        chains
    }

    fn connections<'b>(&'b self, source: &'b Source, gateways: &'b [Str], port: &'b Port) -> Connections<'b, W> {
        Connections { world: self.world, source, gateways, idle_timeout: self.environment.idle_timeout, port }
    }
}

fn http(routes: Str, protocol: Protocol, stat_prefix: Str) -> Body {
    Body::Http(HttpBody { routes: RouteSource::Named(routes), protocol, stat_prefix, forward_proxy: false })
}

fn port_of(server: &Server) -> Port {
    Port { name: server.port_name.clone(), number: server.port, protocol: server.protocol, target: TargetPort::Same }
}

/// Whether a VirtualService has a host that a server serves.
fn serves(server: &Server, owner: &VirtualService) -> bool {
    server.hosts.iter().any(|own| own.allows(&owner.namespace) && owner.hosts.iter().any(|host| own.host.matches(host)))
}
