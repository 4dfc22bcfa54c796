// SPDX-License-Identifier: Apache-2.0
//! Route configurations (RDS): which there are for a proxy, and of which virtual hosts they are made.
//!
//! The way of the data: [`sidecar`] or [`gateway`] tells the names of the route configurations and plans the virtual hosts of each; every
//! virtual host is encoded by way of the memo, and the encoded ones are spliced. When one VirtualService changes, one virtual host is made.

mod destinations;
mod gateway;
mod hosts;
mod sidecar;
#[cfg(test)]
mod tests;

use crate::{Context, Generator};
use tiphys_compile::proxy_config;
use tiphys_model::{Fingerprint, Labels, ProxyType, Str};
use tiphys_proto::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use tiphys_translate::route::{
    EncodedVirtualHost, RouteConfigurationInput, VirtualHostInput, encoded, splice, virtual_host,
};
use tiphys_xds::{Entry, ResourceType};

/// How route configurations are made.
pub(crate) fn generator() -> Generator {
    Generator { ty: ResourceType::ROUTE, proxy: of_proxy, world: of_world, build: routes, patch: None }
}

/// What of a proxy its routes depend on: labels only as far as a VirtualService, a Gateway or a DestinationRule asks for them.
fn of_proxy(cx: &Context<'_>) -> Fingerprint {
    let proxy = cx.proxy;
    let sidecar = cx.scope.sidecar.as_ref().map(|sidecar| (&sidecar.namespace, &sidecar.name));
    let own = (proxy.kind, &proxy.namespace, &proxy.dns_domain, proxy.has_ipv4(), proxy.has_ipv6(), sidecar);
    let metadata = (proxy.metadata_str("DNS_CAPTURE"), proxy.metadata_str("HTTP_PROXY_PORT"));
    let own = (own, headers(cx));
    match proxy.kind {
        ProxyType::Sidecar => Fingerprint::of(&(own, metadata, asked_labels(cx))),
        _ => Fingerprint::of(&(own, metadata, &proxy.labels, cx.targets)),
    }
}

fn asked_labels(cx: &Context<'_>) -> Labels {
    let labels = &cx.proxy.labels;
    if cx.snapshot.destination_rules.asks_for_labels() {
        return labels.clone();
    }
    let services = cx.scope.egress.iter().flat_map(|egress| &egress.virtual_services);
    services.flat_map(|service| service.source_of(labels, &cx.proxy.namespace).labels).collect()
}

fn of_world(cx: &Context<'_>) -> Fingerprint {
    let snapshot = cx.snapshot;
    let both = (snapshot.mesh.fingerprint(), cx.scope.fingerprint(), snapshot.destination_rules.fingerprint());
    match cx.proxy.kind {
        ProxyType::Sidecar => Fingerprint::of(&both),
        _ => {
            let own = (
                snapshot.services.fingerprint(),
                snapshot.virtual_services.fingerprint(),
                snapshot.gateways.fingerprint(),
            );
            Fingerprint::of(&(both, own))
        }
    }
}

/// All route configurations of a proxy.
pub fn routes(cx: &Context<'_>) -> Vec<Entry> {
    match cx.proxy.kind {
        ProxyType::Sidecar => sidecar::routes(cx),
        ProxyType::Router => gateway::routes(cx),
        ProxyType::Waypoint => Vec::new(),
    }
}

/// Encodes virtual hosts, each once for all proxies that have it, and lays them into one route configuration sorted by name.
fn entry(
    cx: &Context<'_>,
    input: &RouteConfigurationInput,
    mut hosts: Vec<VirtualHostInput>,
    last: Option<&VirtualHost>,
) -> Entry {
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    let mut parts: Vec<EncodedVirtualHost> =
        hosts.iter().map(|host| cx.memo.get(host, |host| encoded(&virtual_host(host)))).collect();
    parts.extend(last.map(encoded));
    let type_url = tiphys_proto::type_url::<RouteConfiguration>();
    Entry::new(input.name.clone(), &type_url, splice(input, parts.iter()))
}

/// What of a proxy's headers settings its routes have.
#[derive(Clone, Copy, Hash)]
struct Headers {
    /// Upstreams are told which attempt a request is.
    attempt_count: bool,
    /// Rewritten requests tell the host that they were for.
    x_forwarded_host: bool,
}

fn headers(cx: &Context<'_>) -> Headers {
    let config = proxy_config(&cx.snapshot.mesh.listener.proxy_config, cx.proxy).headers;
    Headers { attempt_count: !config.attempt_count_disabled, x_forwarded_host: config.x_forwarded_host }
}

/// A name in lower case, as domains are compared.
fn lower(name: &str) -> Str {
    if name.bytes().any(|b| b.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name.into() }
}
