// SPDX-License-Identifier: Apache-2.0
//! What is known of the hosts that routes send to: their ports, and what of a request their DestinationRules hash.

use crate::Context;
use std::collections::BTreeMap;
use tiphys_model::{
    Destination, DestinationRule, HashKey, Host, HttpAction, LoadBalancer, Marked, PortPolicy, Service, Str,
    TrafficPolicy, VirtualService,
};
use tiphys_translate::route::{Target, VirtualServiceRoutes};

/// How a VirtualService is used.
pub(super) struct Use<'a> {
    /// Port that was dialled.
    pub port: u32,
    /// `mesh`, or the gateway as `NAMESPACE/NAME`.
    pub gateway: &'a str,
    /// TLS ends at the listener.
    pub tls: bool,
    /// HTTP/3 is spoken as well.
    pub http3: bool,
    /// Headers settings of the proxy.
    pub headers: super::Headers,
}

/// The input of a VirtualService's routes. `target` tells what is known of a host.
pub(super) fn input(
    cx: &Context<'_>,
    virtual_service: &Marked<VirtualService>,
    used: &Use<'_>,
    target: impl Fn(&Host) -> Option<Target>,
) -> VirtualServiceRoutes {
    let mut targets = BTreeMap::new();
    for destination in virtual_service.http.iter().flat_map(|rule| rule.destinations()) {
        if targets.contains_key(&destination.host) {
            continue;
        }
        if let Some(known) = target(&destination.host) {
            targets.insert(destination.host.clone(), known);
        }
    }
    VirtualServiceRoutes {
        virtual_service: virtual_service.clone(),
        port: used.port,
        gateway: used.gateway.into(),
        source: virtual_service.source_of(&cx.proxy.labels, &cx.proxy.namespace),
        targets,
        hashes: hashes(cx, virtual_service),
        default_retries: cx.snapshot.mesh.default_retries.clone(),
        tls: used.tls,
        http3: used.http3,
        x_forwarded_host: used.headers.x_forwarded_host,
    }
}

/// What is known of a service.
pub(super) fn target(service: &Service) -> Target {
    let only_port = match service.ports.as_slice() {
        [only] => Some(only.number),
        _ => None,
    };
    let external_name: Option<Str> = service.external_name.clone().filter(|name| !name.is_empty());
    Target { only_port, external_name }
}

/// The hash keys of a VirtualService's destinations.
fn hashes(cx: &Context<'_>, virtual_service: &VirtualService) -> BTreeMap<Destination, HashKey> {
    let mut hashes = BTreeMap::new();
    for rule in &virtual_service.http {
        let HttpAction::Route(destinations) = &rule.action else { continue };
        for one in destinations {
            let Some(service) = cx.scope.service(&one.destination.host) else { continue };
            if let Some(key) = rule_of(cx, service).and_then(|rule| of_destination(rule, &one.destination)) {
                hashes.insert(one.destination.clone(), key);
            }
        }
    }
    hashes
}

/// The hash key of a service's port, when no VirtualService is about it.
pub(super) fn service_hash(cx: &Context<'_>, service: &Service, port: u32) -> Option<HashKey> {
    let policy = rule_of(cx, service)?.policy.as_ref()?;
    of_port(policy, Some(port)).or_else(|| key(policy.load_balancer.as_ref()))
}

fn rule_of<'a>(cx: &'a Context<'_>, service: &Service) -> Option<&'a DestinationRule> {
    let rules = &cx.snapshot.destination_rules;
    rules.outbound(&cx.proxy.namespace, &cx.proxy.labels, service).map(|rule| &**rule)
}

/// What is said closest to the destination counts: for the subset's port, the subset, the port, the host.
fn of_destination(rule: &DestinationRule, to: &Destination) -> Option<HashKey> {
    let subset = rule.subset(&to.subset).and_then(|subset| subset.policy.as_ref());
    let whole = rule.policy.as_ref();
    subset
        .and_then(|policy| of_port(policy, to.port))
        .or_else(|| subset.and_then(|policy| key(policy.load_balancer.as_ref())))
        .or_else(|| whole.and_then(|policy| of_port(policy, to.port)))
        .or_else(|| whole.and_then(|policy| key(policy.load_balancer.as_ref())))
}

fn of_port(policy: &TrafficPolicy, port: Option<u32>) -> Option<HashKey> {
    let own: Option<&PortPolicy> = policy.ports.get(&port?);
    key(own?.load_balancer.as_ref())
}

fn key(balancer: Option<&LoadBalancer>) -> Option<HashKey> {
    balancer?.consistent_hash.as_ref().map(|hash| hash.key.clone())
}
