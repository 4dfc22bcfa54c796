// SPDX-License-Identifier: Apache-2.0
//! Which listeners there are behind the workload of a sidecar, and what their chains are.
//!
//! HTTP services of a port share the listener of all addresses; others have one at their address. Services that meet at one
//! address and port are merged: requests are told from other bytes by sniffing, connections by range or server name; of two that
//! cannot be told apart the first one counts.

use super::Environment;
use super::chain::{Body, Chain, ChainMatch, HttpBody, PLAIN, RouteSource};
use super::connection_chains::{Connections, Dialled, World, routes_of};
use super::outbound::OutboundInput;
use std::collections::BTreeMap;
use tiphys_model::{
    CaptureMode, InterceptionMode, MESH_GATEWAY, Marked, Port, Protocol, Registry, Resolution, Service, SidecarEgress,
    Source, Str, UNSPECIFIED, VirtualService,
};

/// Name of the route configuration of the HTTP proxy.
pub const HTTP_PROXY_ROUTES: &str = "http_proxy";

/// One egress listener of a scope.
pub struct Egress<'a> {
    /// What a Sidecar object says of it.
    pub declared: Option<&'a SidecarEgress>,
    /// The services that it lets through.
    pub services: &'a [Marked<Service>],
    /// VirtualServices that apply.
    pub virtual_services: &'a [Marked<VirtualService>],
}

/// What the plan reads of the proxy, beside its environment.
pub struct OutboundFacts {
    /// The workload.
    pub source: Source,
    /// Its own first address: connections to itself have no listener.
    pub own_address: Str,
    /// It may not open ports below 1024.
    pub unprivileged: bool,
    /// Ports that its bootstrap listens at.
    pub reserved_ports: Vec<u32>,
    /// Where connections go that no listener takes; none = they are refused.
    pub catch_all: Option<Str>,
    /// Port of the HTTP proxy; 0 = none.
    pub http_proxy_port: u32,
}

/// The listeners of a proxy.
#[derive(Default)]
pub struct OutboundPlan {
    /// Sorted by address and port.
    pub listeners: Vec<OutboundInput>,
    /// What was left out, and why.
    pub conflicts: Vec<Conflict>,
}

/// A listener, or a part of one, that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Address and port, `ADDRESS_PORT`.
    pub listener: String,
    /// What was left out, and why.
    pub reason: String,
}

impl Conflict {
    /// What is left out at an address (empty = every one) and port.
    pub fn new(address: &str, port: u32, reason: String) -> Self {
        let address = if address.is_empty() { "0.0.0.0" } else { address };
        Self { listener: format!("{address}_{port}"), reason }
    }
}

/// A listener in the making.
struct Entry {
    binds: Vec<Str>,
    bind_to_port: bool,
    chains: Vec<Chain>,
    protocol: Protocol,
    /// Declared by a Sidecar: what the catch-all listener has for the port does not come in.
    locked: bool,
}

/// A service's port that wants a listener.
struct Wanted<'a> {
    binds: Vec<Str>,
    bind_to_port: bool,
    cidrs: Vec<Str>,
    port: &'a Port,
    service: &'a Service,
    http_proxy: bool,
    virtual_services: &'a [Marked<VirtualService>],
}

struct Planner<'a, W: World> {
    environment: &'a Environment,
    world: &'a W,
    facts: &'a OutboundFacts,
    entries: BTreeMap<(Str, u32), Entry>,
    conflicts: Vec<Conflict>,
}

/// Plans the listeners of a proxy.
pub fn plan<W: World>(
    environment: &Marked<Environment>,
    world: &W,
    facts: &OutboundFacts,
    egress: &[Egress<'_>],
) -> OutboundPlan {
    let mut planner = Planner { environment, world, facts, entries: BTreeMap::new(), conflicts: Vec::new() };
    for one in egress {
        planner.add_egress(one);
    }
    let input = |(_, port): (Str, u32), entry: Entry| OutboundInput {
        environment: environment.clone(),
        binds: entry.binds,
        port,
        bind_to_port: entry.bind_to_port,
        chains: entry.chains,
        catch_all: facts.catch_all.clone(),
    };
    let conflicts = std::mem::take(&mut planner.conflicts);
    let mut listeners: Vec<_> = planner.entries.into_iter().map(|(key, entry)| input(key, entry)).collect();
    listeners.extend((facts.http_proxy_port > 0).then(|| http_proxy(environment, facts)));
    OutboundPlan { listeners, conflicts }
}

/// The HTTP proxy of MeshConfig's proxyHttpPort.
fn http_proxy(environment: &Marked<Environment>, facts: &OutboundFacts) -> OutboundInput {
    let body = HttpBody {
        routes: RouteSource::Named(HTTP_PROXY_ROUTES.into()),
        protocol: Protocol::Http,
        stat_prefix: Str::default(),
        forward_proxy: true,
    };
    OutboundInput {
        environment: environment.clone(),
        binds: texts(environment.families.loopbacks()),
        port: facts.http_proxy_port,
        bind_to_port: true,
        chains: vec![Chain::new(ChainMatch::default(), Body::Http(body))],
        catch_all: facts.catch_all.clone(),
    }
}

fn texts(addresses: &[&str]) -> Vec<Str> {
    addresses.iter().map(|address| (*address).into()).collect()
}

impl<'a, W: World> Planner<'a, W> {
    fn wildcard(&self) -> &'static str {
        self.environment.families.wildcards()[0]
    }

    fn add_egress(&mut self, egress: &Egress<'a>) {
        let declared = egress.declared;
        let unix = declared.is_some_and(|declared| declared.bind.starts_with("unix://"));
        let bind_to_port = self.environment.interception == InterceptionMode::None
            || unix
            || declared.is_some_and(|declared| declared.capture == CaptureMode::None);
        let binds = match declared.map_or("", |declared| &declared.bind) {
            "" if bind_to_port => texts(self.environment.families.loopbacks()),
            "" => Vec::new(),
            own => vec![own.into()],
        };
        let http_proxy = declared.is_some_and(|declared| declared.http_proxy);
        let declared_port = declared.and_then(|declared| declared.port.as_ref());
        if declared_port.is_none() {
            // Ports that were declared one by one are closed to all other services.
            self.entries.values_mut().for_each(|entry| entry.locked = true);
        }
        for service in egress.services {
            let ports = match declared_port {
                Some(port) => std::slice::from_ref(port),
                None => &service.ports[..],
            };
            for port in ports {
                let wanted = Wanted {
                    binds: binds.clone(),
                    bind_to_port,
                    cidrs: Vec::new(),
                    port,
                    service,
                    http_proxy,
                    virtual_services: egress.virtual_services,
                };
                if !self.can_bind(&wanted) {
                    continue;
                }
                if declared_port.is_none() && self.is_dialled_by_endpoint(&wanted) {
                    self.add_endpoints(wanted);
                } else {
                    self.add(wanted);
                }
            }
        }
    }

    fn can_bind(&mut self, wanted: &Wanted<'_>) -> bool {
        let number = wanted.port.number;
        let bind = wanted.binds.first().map_or("", |bind| bind);
        if wanted.bind_to_port && self.facts.unprivileged && number > 0 && number < 1024 {
            let reason = format!("port {number} of {} needs a privileged proxy", wanted.service.host);
            self.conflicts.push(Conflict::new(bind, number, reason));
            return false;
        }
        let everywhere = match bind {
            "" => wanted.port.protocol.is_http(),
            bind => bind == self.wildcard(),
        };
        let own = [self.environment.outbound_port, self.environment.inbound_port];
        if everywhere && (own.contains(&number) || self.facts.reserved_ports.contains(&number)) {
            let reason = format!("port {number} of {} is the proxy's own", wanted.service.host);
            self.conflicts.push(Conflict::new(bind, number, reason));
            return false;
        }
        true
    }

    /// A headless service: other than by requests, its endpoints are told apart by their addresses only.
    fn is_dialled_by_endpoint(&self, wanted: &Wanted<'_>) -> bool {
        let protocol = wanted.port.protocol;
        wanted.binds.is_empty()
            && wanted.service.resolution == Resolution::Passthrough
            && (protocol.is_tcp() || protocol.is_unsupported())
            && self.world.addresses(wanted.service).first().is_none_or(|address| &**address == UNSPECIFIED)
    }

    fn add_endpoints(&mut self, wanted: Wanted<'_>) {
        let endpoints = self.world.endpoints(wanted.service, wanted.port);
        let service = wanted.service;
        if service.registry != Registry::Kubernetes && endpoints.is_empty() && service.selector.is_empty() {
            return self.add(wanted);
        }
        for addresses in endpoints {
            let are_ips = addresses.iter().all(|address| address.parse::<std::net::IpAddr>().is_ok());
            if are_ips && addresses.first() != Some(&self.facts.own_address) {
                self.add(Wanted { binds: addresses, cidrs: Vec::new(), ..wanted });
            }
        }
    }

    fn add(&mut self, mut wanted: Wanted<'_>) {
        let protocol = wanted.port.protocol;
        if wanted.service.resolution == Resolution::Alias || protocol == Protocol::Udp || protocol == Protocol::Hbone {
            return;
        }
        if wanted.binds.is_empty() {
            self.bind(&mut wanted);
        }
        let Some(bind) = wanted.binds.first().cloned() else { return };
        let key = (bind, wanted.port.number);
        if self.entries.get(&key).is_some_and(|entry| entry.locked) {
            return;
        }
        let existing = self.entries.get(&key).map(|entry| entry.protocol);
        if wanted.http_proxy {
            let chains = vec![self.http_chain(&wanted, false)];
            return self.put(key, &wanted, chains, Protocol::Http);
        }
        if let Some(existing) = existing
            && !can_share(protocol, existing)
        {
            let port = wanted.port.number;
            let text = format!("{} on port {port} of {} cannot share it", protocol.as_str(), wanted.service.host);
            let reason = format!("{text} with {}", existing.as_str());
            self.conflicts.push(Conflict::new(&key.0, port, reason));
            return;
        }
        if protocol.is_http() {
            self.add_http(key, &wanted, existing);
        } else if protocol.is_tcp() {
            self.add_tcp(key, &wanted, existing);
        } else {
            self.add_sniffed(key, &wanted, existing);
        }
    }

    /// Where a service without a declared address is listened for.
    fn bind(&self, wanted: &mut Wanted<'_>) {
        let wildcards = texts(self.environment.families.wildcards());
        if wanted.port.protocol.is_http() {
            wanted.binds = wildcards;
            return;
        }
        let mut addresses = self.world.addresses(wanted.service);
        let external = wanted.service.registry == Registry::External;
        if external && addresses.first().is_some_and(|first| &**first == UNSPECIFIED) {
            // Its family cannot be told from the address.
            addresses = wildcards;
        } else if addresses.first().is_some_and(|first| first.contains('/')) {
            wanted.cidrs = std::mem::replace(&mut addresses, wildcards);
        }
        wanted.binds = addresses;
    }

    fn add_http(&mut self, key: (Str, u32), wanted: &Wanted<'_>, existing: Option<Protocol>) {
        let everywhere = &*key.0 == self.wildcard();
        match existing {
            // Its routes come by RDS.
            Some(existing) if !existing.is_tcp() => {}
            existing => {
                let chains = vec![self.http_chain(wanted, everywhere)];
                // At all addresses there are bytes of others too.
                let protocol = if everywhere { Protocol::Unsupported } else { wanted.port.protocol };
                match existing {
                    None => self.put(key, wanted, chains, protocol),
                    Some(_) => self.merge(&key, wanted, chains, Some(Protocol::Unsupported)),
                }
            }
        }
    }

    fn add_tcp(&mut self, key: (Str, u32), wanted: &Wanted<'_>, existing: Option<Protocol>) {
        let chains = self.tcp_chains(wanted);
        match existing {
            None => self.put(key, wanted, chains, wanted.port.protocol),
            Some(existing) => {
                let mixed = existing.is_http().then_some(Protocol::Unsupported);
                self.merge(&key, wanted, chains, mixed);
            }
        }
    }

    fn add_sniffed(&mut self, key: (Str, u32), wanted: &Wanted<'_>, existing: Option<Protocol>) {
        let mut chains = self.tcp_chains(wanted);
        match existing {
            Some(existing) if existing.is_unsupported() => self.merge(&key, wanted, chains, None),
            Some(existing) if existing.is_tcp() => {
                chains.push(self.http_chain(wanted, true));
                self.merge(&key, wanted, chains, Some(Protocol::Unsupported));
            }
            _ => {
                chains.push(self.http_chain(wanted, true));
                self.put(key, wanted, chains, wanted.port.protocol);
            }
        }
    }

    fn put(&mut self, key: (Str, u32), wanted: &Wanted<'_>, chains: Vec<Chain>, protocol: Protocol) {
        let Wanted { binds, bind_to_port, .. } = wanted;
        let entry = Entry { binds: binds.clone(), bind_to_port: *bind_to_port, chains, protocol, locked: false };
        self.entries.insert(key, entry);
    }

    fn merge(&mut self, key: &(Str, u32), wanted: &Wanted<'_>, chains: Vec<Chain>, protocol: Option<Protocol>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        for chain in chains {
            if entry.chains.iter().any(|own| own.matches.conflicts_with(&chain.matches)) {
                let (host, (bind, port)) = (&wanted.service.host, key);
                let reason = format!("{host} cannot be told from another service at {bind}:{port}");
                self.conflicts.push(Conflict::new(bind, *port, reason));
            } else {
                entry.chains.push(chain);
            }
        }
        entry.protocol = protocol.unwrap_or(entry.protocol);
    }

    fn http_chain(&self, wanted: &Wanted<'_>, sniffed: bool) -> Chain {
        let port = wanted.port;
        let bind = wanted.binds.first().map_or("", |bind| bind);
        let routes: Str = if port.number == 0 {
            bind.into()
        } else if port.protocol.is_unsupported() && bind != self.wildcard() {
            format!("{}:{}", wanted.service.host, port.number).into()
        } else {
            port.number.to_string().into()
        };
        let mut matches = ChainMatch::default();
        if sniffed {
            matches.alpn = self.environment.plain_http();
            matches.transport = PLAIN.into();
        }
        let routes = RouteSource::Named(routes);
        let body = HttpBody { routes, protocol: port.protocol, stat_prefix: Str::default(), forward_proxy: false };
        Chain::new(matches, Body::Http(body))
    }

    fn tcp_chains(&self, wanted: &Wanted<'_>) -> Vec<Chain> {
        let gateways = [Str::from(MESH_GATEWAY)];
        let connections = Connections {
            world: self.world,
            source: &self.facts.source,
            gateways: &gateways,
            idle_timeout: self.environment.idle_timeout,
            port: wanted.port,
        };
        connections.chains(&Dialled {
            service: wanted.service,
            bind: wanted.binds.first().map_or("", |bind| bind),
            wildcard: self.wildcard(),
            cidrs: wanted.cidrs.clone(),
            routes: routes_of(&wanted.service.host, wanted.virtual_services),
        })
    }
}

/// Servers of these protocols speak first, which sniffing would stall: they share a port only with their like.
fn can_share(incoming: Protocol, existing: Protocol) -> bool {
    let speaks_first = |protocol| matches!(protocol, Protocol::Mongo | Protocol::MySql);
    incoming == existing || !(speaks_first(incoming) || speaks_first(existing))
}
