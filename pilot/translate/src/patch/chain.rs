// SPDX-License-Identifier: Apache-2.0
//! Filter chains, and the network filters in them.

use super::listeners::{covers as covers_listener, is_virtual, of};
use super::{Patcher, filters, http, lists, route_configurations};
use tiphys_model::{ChainMatch, Patch, PatchOperation, Patched, Traffic};
use tiphys_proto::envoy::config::listener::v3::{FilterChain, Listener};
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;

/// Patches the chains of a listener.
pub(super) fn patch(patcher: &mut Patcher<'_>, traffic: Traffic, listener: &mut Listener) {
    let chains = std::mem::take(&mut listener.filter_chains);
    let default = listener.default_filter_chain.take();
    let patched: Vec<FilterChain> =
        chains.into_iter().filter_map(|chain| patch_chain(patcher, traffic, listener, chain)).collect();
    listener.default_filter_chain = default.and_then(|chain| patch_chain(patcher, traffic, listener, chain));
    listener.filter_chains = patched;
    for patch in patcher.of(Patched::FilterChain, traffic) {
        if patch.operation == PatchOperation::Add && covers_listener(patch, listener) {
            listener.filter_chains.extend(patcher.value(patch));
        }
    }
}

/// Patches the routes that are written into the connection managers of an inbound listener.
pub(super) fn patch_inline_routes(patcher: &mut Patcher<'_>, listener: &mut Listener) {
    let objects = [Patched::RouteConfiguration, Patched::VirtualHost, Patched::HttpRoute];
    if objects.into_iter().all(|object| patcher.of(object, Traffic::Inbound).is_empty()) {
        return;
    }
    let chains = listener.filter_chains.iter_mut().chain(&mut listener.default_filter_chain);
    for filter in chains.flat_map(|chain| &mut chain.filters) {
        http::in_manager(filter, |manager| {
            if let Some(RouteSpecifier::RouteConfig(configuration)) = &mut manager.route_specifier {
                route_configurations::patch(patcher, Traffic::Inbound, configuration);
            }
        });
    }
}

fn patch_chain(
    patcher: &mut Patcher<'_>,
    traffic: Traffic,
    listener: &Listener,
    mut chain: FilterChain,
) -> Option<FilterChain> {
    for patch in patcher.of(Patched::FilterChain, traffic) {
        if !covers(patch, listener, &chain) {
            continue;
        }
        match patch.operation {
            PatchOperation::Remove => return None,
            operation if lists(operation).is_some() => merge(patcher, patch, &mut chain),
            _ => {}
        }
    }
    for patch in patcher.of(Patched::NetworkFilter, traffic) {
        if covers(patch, listener, &chain) {
            filters::place_network_filter(patcher, patch, filter_name(patch), &mut chain.filters);
        }
    }
    let mut network = std::mem::take(&mut chain.filters);
    for filter in &mut network {
        for patch in patcher.of(Patched::NetworkFilter, traffic) {
            if covers(patch, listener, &chain) {
                filters::merge_network_filter(patcher, patch, filter_name(patch), filter);
            }
        }
        let name = filter.name.clone();
        let inside: Vec<&Patch> = patcher
            .of(Patched::HttpFilter, traffic)
            .into_iter()
            .filter(|patch| covers(patch, listener, &chain) && filter_name(patch).is_none_or(|wanted| *wanted == *name))
            .collect();
        if !inside.is_empty() {
            http::in_manager(filter, |manager| http::patch(patcher, &inside, &mut manager.http_filters));
        }
    }
    chain.filters = network;
    Some(chain)
}

/// Merges into a chain. A transport socket of the same name is merged alone, in its own configuration.
fn merge(patcher: &mut Patcher<'_>, patch: &Patch, chain: &mut FilterChain) {
    let Some(value) = patcher.value::<FilterChain>(patch) else { return };
    let same = |own: &&mut _| filters::same_socket(own, value.transport_socket.as_ref());
    match chain.transport_socket.as_mut().filter(same) {
        Some(own) => filters::merge_socket(patcher, patch, own, value.transport_socket.as_ref()),
        None => patcher.merge(patch, chain),
    }
}

/// The network filter that a patch means.
pub(super) fn filter_name(patch: &Patch) -> Option<&str> {
    of(patch)?.chain.as_ref()?.filter.as_deref()
}

/// Whether a patch means a chain, or something in it.
fn covers(patch: &Patch, listener: &Listener, chain: &FilterChain) -> bool {
    if !covers_listener(patch, listener) {
        return false;
    }
    let Some(wanted) = of(patch) else { return true };
    let found = chain.filter_chain_match.as_ref();
    let port = found.and_then(|found| found.destination_port).map_or(0, |port| port.value);
    if is_virtual(listener) && wanted.port > 0 && port != wanted.port {
        return false;
    }
    let Some(ChainMatch { name, server_name, transport_protocol, application_protocols, port: of_chain, .. }) =
        &wanted.chain
    else {
        return true;
    };
    let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
    let has = |list: &[String], wanted: &str| list.iter().any(|item| item == wanted);
    is(name, &chain.name)
        && is(transport_protocol, found.map_or("", |found| &found.transport_protocol))
        && (server_name.is_empty() || found.is_some_and(|found| has(&found.server_names, server_name)))
        && application_protocols.iter().all(|p| found.is_some_and(|found| has(&found.application_protocols, p)))
        && (*of_chain == 0 || *of_chain == port)
}
