// SPDX-License-Identifier: Apache-2.0
//! Route configurations, their virtual hosts, and the routes in them.

use super::place::place;
use super::{Patcher, lists};
use tiphys_model::{
    ClusterName, Patch, PatchMatch, PatchOperation, Patched, RouteKind, RouteMatch, RoutesMatch, Traffic,
    VirtualHostMatch,
};
use tiphys_proto::envoy::config::route::v3::{Route, RouteConfiguration, VirtualHost, route};

/// Patches a route configuration.
pub(super) fn patch(patcher: &mut Patcher<'_>, traffic: Traffic, configuration: &mut RouteConfiguration) {
    for patch in meant(patcher, Patched::RouteConfiguration, traffic, &configuration.name) {
        patcher.merge(patch, configuration);
    }
    let of_hosts = meant(patcher, Patched::VirtualHost, traffic, &configuration.name);
    let of_routes = meant(patcher, Patched::HttpRoute, traffic, &configuration.name);
    let hosts = std::mem::take(&mut configuration.virtual_hosts);
    for host in hosts {
        if let Some(mut host) = patch_host(patcher, &of_hosts, host) {
            let inside: Vec<&Patch> = of_routes.iter().copied().filter(|patch| covers_host(patch, &host)).collect();
            patch_routes(patcher, &inside, &mut host.routes);
            configuration.virtual_hosts.push(host);
        }
    }
    for patch in of_hosts.iter().filter(|patch| patch.operation == PatchOperation::Add) {
        configuration.virtual_hosts.extend(patcher.value(patch));
    }
}

/// The patches that are about a route configuration of this name.
fn meant<'a>(patcher: &Patcher<'a>, object: Patched, traffic: Traffic, name: &str) -> Vec<&'a Patch> {
    let all = patcher.of(object, traffic);
    all.into_iter().filter(|patch| covers(patch, traffic, name, &patcher.input.facts.ports)).collect()
}

fn patch_host(patcher: &mut Patcher<'_>, patches: &[&Patch], mut host: VirtualHost) -> Option<VirtualHost> {
    for patch in patches {
        if !covers_host(patch, &host) {
            continue;
        }
        match patch.operation {
            PatchOperation::Remove => return None,
            PatchOperation::Replace => host = patcher.value(patch).unwrap_or(host),
            operation if lists(operation).is_some() => patcher.merge(patch, &mut host),
            _ => {}
        }
    }
    Some(host)
}

/// First what is there is merged into or removed, then come the new routes.
fn patch_routes(patcher: &mut Patcher<'_>, patches: &[&Patch], routes: &mut Vec<Route>) {
    let known = std::mem::take(routes);
    for mut route in known {
        let mut removed = false;
        for patch in patches {
            if !covers_route(patch, &route) {
                continue;
            }
            removed = patch.operation == PatchOperation::Remove;
            if removed {
                break;
            }
            patcher.merge(patch, &mut route);
        }
        if !removed {
            routes.push(route);
        }
    }
    for patch in patches {
        let named = of_host(patch).is_some_and(|host| host.route.is_some());
        let matches = |route: &Route| covers_route(patch, route);
        match patch.operation {
            PatchOperation::InsertFirst if named && !routes.iter().any(matches) => {}
            PatchOperation::Add
            | PatchOperation::InsertFirst
            | PatchOperation::InsertBefore
            | PatchOperation::InsertAfter => place(routes, patch.operation, named, || patcher.value(patch), matches),
            _ => {}
        }
    }
}

fn of(patch: &Patch) -> Option<&RoutesMatch> {
    match &patch.matching {
        PatchMatch::Routes(wanted) => Some(wanted),
        _ => None,
    }
}

fn of_host(patch: &Patch) -> Option<&VirtualHostMatch> {
    of(patch)?.host.as_ref()
}

/// Whether a patch means a route configuration, or something in it. `ports` are those of a gateway's servers.
fn covers(patch: &Patch, traffic: Traffic, name: &str, ports: &[u32]) -> bool {
    let Some(wanted) = of(patch) else { return true };
    if !wanted.name.is_empty() && *wanted.name != *name {
        return false;
    }
    if traffic != Traffic::Gateway {
        let port = match ClusterName::parse(name) {
            Some(ClusterName::Inbound { port }) => port,
            _ => name.parse().unwrap_or(0),
        };
        return wanted.port == 0 || wanted.port == port;
    }
    let (port, port_name, gateway) = of_gateway(name);
    let by_port = if ports.is_empty() { wanted.port == port } else { ports.contains(&wanted.port) };
    (wanted.port_name.is_empty() || *wanted.port_name == *port_name)
        && (wanted.gateway.is_empty() || *wanted.gateway == *gateway)
        && (wanted.port == 0 || by_port)
}

/// Port, name of the port and Gateway (`NAMESPACE/NAME`) that the name of a gateway's route configuration tells:
/// `http.PORT` or `https.PORT.PORT_NAME.GATEWAY.NAMESPACE`.
fn of_gateway(name: &str) -> (u32, &str, String) {
    if let Some(port) = name.strip_prefix("http.") {
        return (port.parse().unwrap_or(0), "", String::new());
    }
    let parts: Vec<&str> = name.split('.').collect();
    match parts[..] {
        ["https", port, port_name, gateway, namespace] => {
            (port.parse().unwrap_or(0), port_name, format!("{namespace}/{gateway}"))
        }
        _ => (0, "", String::new()),
    }
}

fn covers_host(patch: &Patch, host: &VirtualHost) -> bool {
    let Some(wanted) = of_host(patch) else { return true };
    (wanted.name.is_empty() || *wanted.name == *host.name)
        && (wanted.domain.is_empty() || host.domains.iter().any(|domain| *domain == *wanted.domain))
}

fn covers_route(patch: &Patch, route: &Route) -> bool {
    let Some(RouteMatch { name, kind }) = of_host(patch).and_then(|host| host.route.as_ref()) else { return true };
    let found = match &route.action {
        Some(route::Action::Route(_)) => Some(RouteKind::Route),
        Some(route::Action::Redirect(_)) => Some(RouteKind::Redirect),
        Some(route::Action::DirectResponse(_)) => Some(RouteKind::DirectResponse),
        // What does something else is not told apart.
        _ => *kind,
    };
    (name.is_empty() || **name == *route.name) && (kind.is_none() || *kind == found)
}
