// SPDX-License-Identifier: Apache-2.0
//! Route configurations of sidecars: one for each port on which HTTP is spoken to any service (`80`), one for each service and port where
//! the protocol is found out by sniffing (`HOST:PORT`), `http_proxy`, and one for each Unix socket of a Sidecar's egress listeners.

use super::destinations::{Use, input, service_hash, target};
use super::hosts::Hosts;
use super::{Headers, entry, headers};
use crate::Context;
use std::collections::{BTreeMap, BTreeSet};
use tiphys_compile::EgressListener;
use tiphys_model::{
    Host, MESH_GATEWAY, Marked, OutboundMode, Port, Resolution, Semantics, Service, Str, UNSPECIFIED, VirtualService,
};
use tiphys_translate::route::{
    CatchAll, RouteConfigurationInput, RoutesInput, ServiceRoute, Target, VirtualHostInput, applies_to, catch_all,
};
use tiphys_xds::Entry;

/// The route configuration of the HTTP proxy port.
const HTTP_PROXY: &str = "http_proxy";
const UNIX: &str = "unix://";

/// All route configurations of a sidecar.
pub(super) fn routes(cx: &Context<'_>) -> Vec<Entry> {
    let catch_all = catch_all(&unknown_hosts(cx), headers(cx).attempt_count);
    let mut planned: BTreeMap<(u32, Str), Vec<VirtualHostInput>> = BTreeMap::new();
    let mut entries = Vec::new();
    for name in names(cx) {
        let (port, sniffed) = listener_port(&name);
        // Only Unix sockets are told apart by their name.
        let bind = if port == 0 { name.clone() } else { Str::default() };
        let hosts = planned.entry((port, bind)).or_insert_with(|| match cx.scope.egress_for(port, &name) {
            Some(egress) => virtual_hosts(cx, egress, port),
            None => Vec::new(),
        });
        let config = RouteConfigurationInput::named(&name);
        entries.push(match sniffed {
            true => entry(cx, &config, of_service(hosts, &name), None),
            false => entry(cx, &config, hosts.clone(), Some(&catch_all)),
        });
    }
    entries
}

/// What becomes of requests for hosts that no service has.
fn unknown_hosts(cx: &Context<'_>) -> CatchAll {
    match cx.scope.outbound_mode {
        OutboundMode::AllowAny => {
            let cluster = crate::listeners::unknown_hosts(cx);
            CatchAll::Allow { cluster, x_forwarded_host: headers(cx).x_forwarded_host }
        }
        OutboundMode::RegistryOnly => CatchAll::Block,
    }
}

/// The names that listeners can refer to.
fn names(cx: &Context<'_>) -> BTreeSet<Str> {
    let mut names = BTreeSet::new();
    if cx.snapshot.mesh.proxy_http_port != 0 || !cx.proxy.metadata_str("HTTP_PROXY_PORT").is_empty() {
        names.insert(HTTP_PROXY.into());
    }
    for egress in &cx.scope.egress {
        if let Some(declared) = &egress.declared
            && let Some(port) = &declared.port
        {
            let name: Str = if port.number == 0 { declared.bind.clone() } else { port.number.to_string().into() };
            names.insert(name);
        }
        for service in &egress.services {
            for port in service.ports.iter().filter(|port| speaks_http(port)) {
                names.insert(port.number.to_string().into());
                if port.protocol.is_unsupported() && (service.address() != UNSPECIFIED || service.is_headless()) {
                    names.insert(format!("{}:{}", service.host, port.number).into());
                }
            }
        }
    }
    names
}

/// Whether requests may come on a port: HTTP, or a protocol that is to be found out.
fn speaks_http(port: &Port) -> bool {
    port.protocol.is_http() || port.protocol.is_unsupported()
}

/// Port of a listener by the name of its routes, 0 where there is none; and whether the protocol was found out by sniffing.
fn listener_port(name: &str) -> (u32, bool) {
    if name.starts_with(UNIX) {
        return (0, false);
    }
    match name.rsplit_once(':') {
        Some((_, port)) => (port.parse().unwrap_or_default(), true),
        None => (name.parse().unwrap_or_default(), false),
    }
}

/// Of all virtual hosts of a port that of the one service for which a listener was made; it takes every request.
fn of_service(hosts: &[VirtualHostInput], name: &str) -> Vec<VirtualHostInput> {
    let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
    let is_of = |one: &&VirtualHostInput| one.domains.iter().any(|domain| &**domain == name || &**domain == host);
    let mut own: Vec<VirtualHostInput> = hosts.iter().filter(is_of).cloned().collect();
    if let [only] = own.as_mut_slice() {
        only.domains = vec!["*".into()];
    }
    own
}

/// The virtual hosts of a port; port 0 stands for all ports.
fn virtual_hosts(cx: &Context<'_>, egress: &EgressListener, listener_port: u32) -> Vec<VirtualHostInput> {
    let proxy_port = egress.declared.as_ref().is_some_and(|declared| declared.http_proxy);
    let port = if proxy_port { 0 } else { listener_port };
    let plan = Plan::new(cx, egress, port);
    let mut hosts = Hosts::new(cx, port);
    let mut wrappers = Vec::new();
    let mut taken: BTreeSet<Host> = BTreeSet::new();
    for virtual_service in &egress.virtual_services {
        for wrapper in plan.of_virtual_service(virtual_service) {
            taken.extend(wrapper.services.iter().map(|service| service.host.clone()));
            wrappers.push(wrapper);
        }
    }
    let free = plan
        .services
        .values()
        .filter(|service| !taken.contains(&service.host) && service.resolution != Resolution::Alias);
    for service in free {
        for port in plan.ports(service).filter(|port| speaks_http(port)) {
            wrappers.push(plan.of_service(service, port));
        }
    }
    for wrapper in &wrappers {
        for service in &wrapper.services {
            hosts.know(service, wrapper.port);
        }
    }
    for wrapper in wrappers {
        for host in &wrapper.hosts {
            hosts.add_host(host.as_str(), wrapper.port, wrapper.routes.clone());
        }
        for service in &wrapper.services {
            hosts.add_service(service, plan.aliases(service), wrapper.port, wrapper.routes.clone());
        }
    }
    let made = hosts.made.into_iter();
    if port != 0 {
        return made.filter(|(of, _)| *of == port).map(|(_, host)| host).collect();
    }
    // Names without a port mean port 80.
    made.filter_map(|(of, mut host)| {
        if of != 80 {
            host.domains.retain(|domain| domain.contains(':'));
        }
        (!host.domains.is_empty()).then_some(host)
    })
    .collect()
}

/// Hosts and services of one port that share their routes.
struct Wrapper {
    port: u32,
    hosts: Vec<Host>,
    services: Vec<Marked<Service>>,
    routes: RoutesInput,
}

/// What the virtual hosts of one port are made of.
struct Plan<'a, 'b> {
    cx: &'a Context<'b>,
    egress: &'a EgressListener,
    port: u32,
    headers: Headers,
    /// Services that have the port.
    services: BTreeMap<&'a str, &'a Marked<Service>>,
    /// The VirtualService that is about a service most exactly, by the service's host.
    closest: BTreeMap<&'a str, &'a Marked<VirtualService>>,
}

impl<'a, 'b> Plan<'a, 'b> {
    fn new(cx: &'a Context<'b>, egress: &'a EgressListener, port: u32) -> Self {
        let has_port = |service: &&Marked<Service>| port == 0 || service.port(port).is_some();
        let services =
            egress.services.iter().filter(has_port).map(|service| (service.host.as_str(), service)).collect();
        let mut plan = Self { cx, egress, port, headers: headers(cx), services, closest: BTreeMap::new() };
        plan.closest = plan.closest();
        plan
    }

    /// Of the VirtualServices with wildcards each service goes to the one whose host is closest.
    fn closest(&self) -> BTreeMap<&'a str, &'a Marked<VirtualService>> {
        let all = &self.egress.virtual_services;
        let mut hosts: Vec<(&'a Host, &'a Marked<VirtualService>)> =
            all.iter().flat_map(|service| service.hosts.iter().map(move |host| (host, service))).collect();
        if !hosts.iter().any(|(host, _)| host.is_wildcard()) {
            return BTreeMap::new();
        }
        hosts.sort_by_key(|(host, _)| (host.is_wildcard(), std::cmp::Reverse(host.as_str().len())));
        let closest = |service: &&'a Marked<Service>| {
            hosts.iter().find(|(host, _)| service.host.subset_of(host)).map(|(_, of)| (service.host.as_str(), *of))
        };
        self.services.values().filter_map(closest).collect()
    }

    /// The ports of a service that count here.
    fn ports(&self, service: &'a Marked<Service>) -> impl Iterator<Item = &'a Port> {
        let wanted = self.port;
        service.ports.iter().filter(move |port| wanted == 0 || port.number == wanted)
    }

    /// Other hosts that stand for a service.
    fn aliases(&self, service: &Service) -> Vec<Str> {
        let is_alias = |other: &&Marked<Service>| {
            other.resolution == Resolution::Alias && other.external_name.as_deref() == Some(service.host.as_str())
        };
        self.egress.services.iter().filter(is_alias).map(|other| other.host.to_str()).collect()
    }

    fn of_service(&self, service: &Marked<Service>, port: &Port) -> Wrapper {
        let route = ServiceRoute {
            host: service.host.clone(),
            port: port.number,
            hash: service_hash(self.cx, service, port.number),
            retries: self.cx.snapshot.mesh.default_retries.clone(),
        };
        Wrapper {
            port: port.number,
            hosts: Vec::new(),
            services: vec![service.clone()],
            routes: RoutesInput::Service(route),
        }
    }

    /// What a VirtualService adds on the port.
    fn of_virtual_service(&self, virtual_service: &Marked<VirtualService>) -> Vec<Wrapper> {
        // Port 80 takes hosts that no service has as well.
        if self.port != 80 && !virtual_service.all_ports && !self.is_about_a_service(virtual_service) {
            return Vec::new();
        }
        let used = Use { port: self.port, gateway: MESH_GATEWAY, tls: false, http3: false, headers: self.headers };
        let input = input(self.cx, virtual_service, &used, |host| {
            self.services.get(host.as_str()).map(|service| self.target(service))
        });
        if !applies_to(&input) {
            return Vec::new();
        }
        let (hosts, services) = self.split(virtual_service);
        if virtual_service.semantics == Semantics::GatewayApi && !virtual_service.all_ports {
            let (from, own) = (&virtual_service.namespace, &self.cx.proxy.namespace);
            if !services.iter().any(|service| service.namespace == *from || own == from) {
                return Vec::new();
            }
        }
        let mut by_port: BTreeMap<u32, Vec<Marked<Service>>> = BTreeMap::new();
        for service in services {
            for port in self.ports(service).filter(|port| speaks_http(port)) {
                by_port.entry(port.number).or_default().push(service.clone());
            }
        }
        if by_port.is_empty() && (self.port == 80 || virtual_service.all_ports && self.port != 0) {
            by_port.insert(self.port, Vec::new());
        }
        let routes = RoutesInput::VirtualService(Box::new(input));
        by_port
            .into_iter()
            .map(|(port, services)| Wrapper { port, hosts: hosts.clone(), services, routes: routes.clone() })
            .collect()
    }

    /// What is known of a service here: on a port's own listener a destination without a port means that very port.
    fn target(&self, service: &Service) -> Target {
        let known = target(service);
        if self.port == 0 { known } else { Target { only_port: None, ..known } }
    }

    fn is_about_a_service(&self, virtual_service: &VirtualService) -> bool {
        virtual_service.hosts.iter().any(|host| match host.is_wildcard() {
            false => {
                self.services.contains_key(host.as_str())
                    || self.services.values().any(|service| service.host.is_wildcard() && host.matches(&service.host))
            }
            true => self.services.values().any(|service| host.matches(&service.host)),
        })
    }

    /// The hosts of a VirtualService that no service has, and the services that it is about.
    fn split(&self, virtual_service: &VirtualService) -> (Vec<Host>, Vec<&'a Marked<Service>>) {
        let mut hosts = Vec::new();
        let mut services: Vec<&'a Marked<Service>> = Vec::new();
        for host in virtual_service.hosts.iter().filter(|host| !host.is_wildcard()) {
            match self.services.get(host.as_str()) {
                Some(service) if self.has_own_route(virtual_service, service) => {}
                Some(service) => services.push(service),
                // A route of the mesh is about a service on that service's own ports only.
                None if virtual_service.all_ports && self.cx.scope.service(host).is_some() => {}
                None => hosts.push(host.clone()),
            }
        }
        for host in virtual_service.hosts.iter().filter(|host| host.is_wildcard()) {
            if virtual_service.semantics == Semantics::GatewayApi {
                hosts.push(host.clone());
                continue;
            }
            let matching: Vec<_> = self.services.values().filter(|service| service.host.matches(host)).collect();
            if matching.is_empty() {
                hosts.push(host.clone());
            }
            services.extend(matching.into_iter().filter(|service| {
                self.closest.get(service.host.as_str()).is_some_and(|closest| {
                    closest.name == virtual_service.name && closest.namespace == virtual_service.namespace
                })
            }));
        }
        (hosts, services)
    }

    /// Whether a route whose parent is the service itself comes before this route of the whole mesh.
    fn has_own_route(&self, virtual_service: &VirtualService, service: &Service) -> bool {
        virtual_service.all_ports
            && self.egress.virtual_services.iter().any(|other| {
                other.semantics == Semantics::GatewayApi
                    && !other.all_ports
                    && (other.namespace == service.namespace || other.namespace == self.cx.proxy.namespace)
                    && other.hosts.contains(&service.host)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_port_and_sniffing() {
        assert_eq!(listener_port("80"), (80, false));
        assert_eq!(listener_port("a.ns.svc.cluster.local:9000"), (9000, true));
        assert_eq!(listener_port("unix:///tmp/x.sock"), (0, false));
        assert_eq!(listener_port(HTTP_PROXY), (0, false));
    }
}
