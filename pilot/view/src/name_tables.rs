// SPDX-License-Identifier: Apache-2.0
//! The name table of proxies whose agent answers DNS queries (DNS_CAPTURE, or ENABLE_DNS_SERVER on gateways). Others have none.

use crate::destination::scope_name;
use crate::environment::flag;
use crate::world::ProxyWorld;
use crate::{Context, Generator};
use tiphys_model::{Fingerprint, Marked, ProxyType, Resolution, Service, Str, UNSPECIFIED};
use tiphys_translate::listener::connection_chains::World;
use tiphys_translate::name_table::{NameTableInput, Named, Pod, name_table};
use tiphys_xds::{Entry, ResourceType};

/// The one resource's name.
const NAME: &str = "name-table";

/// How name tables are made.
pub(crate) const GENERATOR: Generator = Generator { ty: ResourceType::NAME_TABLE, proxy, world, build, patch: None };

fn is_wanted(cx: &Context<'_>) -> bool {
    flag(cx.proxy, "DNS_CAPTURE") || flag(cx.proxy, "ENABLE_DNS_SERVER")
}

fn proxy(cx: &Context<'_>) -> Fingerprint {
    if !is_wanted(cx) {
        return Fingerprint::default();
    }
    let proxy = cx.proxy;
    Fingerprint::of(&(scope_name(cx), flag(proxy, "DNS_CAPTURE"), proxy.has_ipv4(), proxy.has_ipv6()))
}

fn world(cx: &Context<'_>) -> Fingerprint {
    if !is_wanted(cx) {
        return Fingerprint::default();
    }
    // Of endpoints only those of headless services are read.
    let headless = services(cx).into_iter().filter(|service| is_headless(service));
    let endpoints: Vec<_> = headless.filter_map(|service| cx.snapshot.endpoints.of(service)).collect();
    Fingerprint::of(&(cx.scope.fingerprint(), endpoints))
}

fn build(cx: &Context<'_>) -> Vec<Entry> {
    if !is_wanted(cx) {
        return Vec::new();
    }
    let input = NameTableInput { services: services(cx).into_iter().map(|service| named(cx, service)).collect() };
    vec![cx.memo.get(&input, |input| Entry::of(NAME, &name_table(input)))]
}

/// The services of all egress listeners; those of a gateway are not divided among listeners.
fn services<'a>(cx: &Context<'a>) -> Vec<&'a Marked<Service>> {
    match cx.proxy.kind {
        ProxyType::Sidecar => cx.scope.egress.iter().flat_map(|listener| &listener.services).collect(),
        ProxyType::Router | ProxyType::Waypoint => cx.scope.services.iter().collect(),
    }
}

fn is_headless(service: &Service) -> bool {
    service.resolution == Resolution::Passthrough && service.address() == UNSPECIFIED && !service.ports.is_empty()
}

fn named(cx: &Context<'_>, service: &Service) -> Named {
    let addresses: Vec<Str> = ProxyWorld(cx).addresses(service);
    let none = addresses.iter().any(|address| &**address == UNSPECIFIED);
    let endpoints = cx.snapshot.endpoints.of(service).filter(|_| none && is_headless(service));
    let pods = endpoints.iter().flat_map(|found| &found.endpoints).map(|endpoint| Pod {
        addresses: endpoint.addresses.clone(),
        hostname: endpoint.hostname.clone(),
        subdomain: endpoint.subdomain.clone(),
        told: Pod::is_told(endpoint.health, service.publish_not_ready),
    });
    Named {
        host: service.host.clone(),
        name: service.name.clone(),
        namespace: service.namespace.clone(),
        registry: service.registry,
        pods: pods.collect(),
        addresses: if none { Vec::new() } else { addresses },
    }
}
