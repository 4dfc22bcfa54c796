// SPDX-License-Identifier: Apache-2.0
//! Route configurations of gateways: one for each port of plain HTTP (`http.80`), one for each server that ends HTTPS.

use super::destinations::{Use, input, target};
use super::{entry, headers};
use crate::Context;
use crate::gateways::merged;
use std::collections::{BTreeMap, HashMap};
use tiphys_model::{Host, Marked, MergedServer, Service, Str, VirtualService};
use tiphys_translate::route::{
    RouteConfigurationInput, RoutesInput, VirtualHostInput, VirtualServiceRoutes, applies_to, domain_name,
};
use tiphys_xds::Entry;

/// All route configurations of a gateway.
pub(super) fn routes(cx: &Context<'_>) -> Vec<Entry> {
    let merged = merged(cx);
    let mut by_gateway = HashMap::new();
    merged
        .routes
        .iter()
        .map(|(name, servers)| {
            let hosts = virtual_hosts(cx, servers, &mut by_gateway);
            entry(cx, &RouteConfigurationInput::named(name), hosts, None)
        })
        .collect()
}

/// The VirtualServices of each gateway that was asked for.
type ByGateway = HashMap<Str, Vec<Marked<VirtualService>>>;

/// Virtual hosts as they come together, by host.
struct Made {
    name: Str,
    routes: Vec<RoutesInput>,
    require_tls: bool,
}

fn virtual_hosts(cx: &Context<'_>, servers: &[MergedServer], by_gateway: &mut ByGateway) -> Vec<VirtualHostInput> {
    let headers = headers(cx);
    let mut made: BTreeMap<Str, Made> = BTreeMap::new();
    // The first server of a gateway decides with which port and TLS its VirtualServices are routed.
    let mut inputs: HashMap<(Str, usize), Option<VirtualServiceRoutes>> = HashMap::new();
    for one in servers {
        let server = one.server();
        let gateway = one.gateway.key();
        let all = by_gateway.entry(gateway.clone()).or_insert_with(|| virtual_services(cx, &gateway));
        for (index, virtual_service) in all.iter().enumerate() {
            let hosts = common_hosts(one, virtual_service);
            if hosts.is_empty() {
                continue;
            }
            let routes = inputs.entry((gateway.clone(), index)).or_insert_with(|| {
                let used =
                    Use { port: server.port, gateway: &gateway, tls: server.tls.is_some(), http3: false, headers };
                let input =
                    input(cx, virtual_service, &used, |host| service(cx, host, &virtual_service.namespace).map(target));
                Some(input).filter(applies_to)
            });
            let Some(routes) = routes else { continue };
            for host in hosts {
                let entry = made.entry(host.to_str()).or_insert_with(|| Made {
                    name: domain_name(host.as_str(), server.port).into(),
                    routes: Vec::new(),
                    require_tls: false,
                });
                entry.routes.push(RoutesInput::VirtualService(Box::new(routes.clone())));
                entry.require_tls |= server.redirects_to_https();
            }
        }
        if server.redirects_to_https() {
            for host in &server.hosts {
                let text: Str = host.to_string().into();
                let name = domain_name(&text, server.port).into();
                made.entry(text).or_insert_with(|| Made { name, routes: Vec::new(), require_tls: true }).require_tls =
                    true;
            }
        }
    }
    if made.is_empty() {
        let port = servers.first().map_or(0, |one| one.server().port);
        // Envoy answers 404 where no route matches.
        let name = domain_name("blackhole", port).into();
        return vec![host(name, vec!["*".into()], Vec::new(), (false, false))];
    }
    collapse(made, headers.attempt_count)
}

fn host(
    name: Str,
    domains: Vec<Str>,
    routes: Vec<RoutesInput>,
    (require_tls, attempt_count): (bool, bool),
) -> VirtualHostInput {
    VirtualHostInput { name, domains, routes, sort: true, attempt_count, require_tls }
}

/// Hosts with the same routes become domains of one virtual host, the first by name.
fn collapse(made: BTreeMap<Str, Made>, attempt_count: bool) -> Vec<VirtualHostInput> {
    let mut hosts: Vec<VirtualHostInput> = Vec::with_capacity(made.len());
    let mut order: Vec<(Str, Made)> = made.into_iter().collect();
    order.sort_by(|a, b| by_name(&a.0, &b.0));
    for (domain, Made { name, routes, require_tls }) in order {
        let same = hosts.iter_mut().find(|known| known.require_tls == require_tls && known.routes == routes);
        match same {
            Some(known) => known.domains.push(domain),
            None => hosts.push(host(name, vec![domain], routes, (require_tls, attempt_count))),
        }
    }
    hosts
}

/// The longer and so more specific name first; wildcards come last.
fn by_name(a: &str, b: &str) -> std::cmp::Ordering {
    match (a.starts_with('*'), b.starts_with('*')) {
        (true, false) => std::cmp::Ordering::Greater,
        (false, true) => std::cmp::Ordering::Less,
        _ => b.len().cmp(&a.len()).then_with(|| a.cmp(b)),
    }
}

/// The VirtualServices of a gateway that the proxy's namespace sees, in the order of precedence.
fn virtual_services(cx: &Context<'_>, gateway: &str) -> Vec<Marked<VirtualService>> {
    let default = &cx.snapshot.mesh.default_virtual_service_export;
    let namespace = &*cx.proxy.namespace;
    let mut ranked: [Vec<Marked<VirtualService>>; 3] = Default::default();
    for one in cx.snapshot.virtual_services.iter().filter(|one| one.is_for_gateway(gateway)) {
        if !one.export_to.allows(&one.namespace, namespace, default) {
            continue;
        }
        // A namespace that cannot exist sees what everybody sees.
        let public = one.export_to.allows(&one.namespace, "\0", default);
        let rank = if public { 2 } else { usize::from(*one.namespace != *namespace) };
        ranked[rank].push(one.clone());
    }
    ranked.into_iter().flatten().collect()
}

/// The hosts that both a server and a VirtualService are about: of two that overlap the more specific one.
fn common_hosts(one: &MergedServer, virtual_service: &VirtualService) -> Vec<Host> {
    let mut hosts: Vec<Host> = Vec::new();
    for served in one.server().hosts.iter().filter(|host| host.allows(&virtual_service.namespace)) {
        for wanted in &virtual_service.hosts {
            let both = if wanted.subset_of(&served.host) {
                wanted
            } else if served.host.subset_of(wanted) {
                &served.host
            } else {
                continue;
            };
            if !hosts.contains(both) {
                hosts.push(both.clone());
            }
        }
    }
    hosts
}

/// The service that a route of a namespace means by a host: the namespace's own, else the first that the gateway sees.
fn service<'a>(cx: &'a Context<'_>, host: &Host, namespace: &str) -> Option<&'a Service> {
    let default = &cx.snapshot.mesh.default_service_export;
    let own = cx.snapshot.services.get(host, namespace);
    own.filter(|service| service.export_to.allows(namespace, &cx.proxy.namespace, default))
        .or_else(|| cx.scope.service(host))
        .map(|service| &**service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_come_after_names() {
        let mut names = ["*", "b.com", "*.com", "*.a.com", "a.com", "x.a.com"];
        names.sort_by(|a, b| by_name(a, b));
        assert_eq!(names, ["x.a.com", "a.com", "b.com", "*.a.com", "*.com", "*"]);
    }
}
