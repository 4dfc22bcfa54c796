// SPDX-License-Identifier: Apache-2.0
//! Destinations of a proxy: what clusters and load assignments of a service's port are made from.

use crate::Context;
use std::collections::BTreeSet;
use tiphys_compile::ServiceKey;
use tiphys_model::{
    Algorithm, DestinationRule, Endpoint, Fingerprint, Marked, MutualTls, Port, Protocol, Resolution, Service,
    ServiceEndpoints, Str, TrafficDefaults,
};
use tiphys_translate::endpoint::{AssignmentInput, AssignmentPolicy};

/// A port of a service, or a subset of it, as a proxy calls it.
#[derive(Clone, Copy)]
pub(crate) struct Destination<'a> {
    pub service: &'a Marked<Service>,
    pub port: &'a Port,
    pub rule: Option<&'a Marked<DestinationRule>>,
    pub subset: Option<&'a Str>,
    /// It is for a gateway that passes TLS on by SNI.
    pub sni: bool,
}

/// The rule for a service that counts for a proxy.
pub(crate) fn rule<'a>(cx: &Context<'a>, service: &Service) -> Option<&'a Marked<DestinationRule>> {
    cx.snapshot.destination_rules.outbound(&cx.proxy.namespace, &cx.proxy.labels, service)
}

/// All destinations of a service: every port that is not UDP, and every subset of it.
pub(crate) fn of_service<'a>(
    cx: &Context<'a>,
    service: &'a Marked<Service>,
    sni: bool,
) -> impl Iterator<Item = Destination<'a>> {
    let rule = rule(cx, service);
    let subsets = rule.map(|rule| rule.subsets.as_slice()).unwrap_or_default();
    service.ports.iter().filter(|port| port.protocol != Protocol::Udp).flat_map(move |port| {
        let names = std::iter::once(None).chain(subsets.iter().map(|subset| Some(&subset.name)));
        names.map(move |subset| Destination { service, port, rule, subset, sni })
    })
}

/// The services of a set that the proxy sees.
pub(crate) fn seen<'a>(cx: &Context<'a>, keys: &BTreeSet<ServiceKey>) -> Vec<&'a Marked<Service>> {
    let own = |key: &ServiceKey| {
        let service = cx.scope.service(&key.host)?;
        (service.namespace == key.namespace).then_some(service)
    };
    keys.iter().filter_map(own).collect()
}

impl<'a> Destination<'a> {
    fn subset_name(&self) -> Option<&'a str> {
        self.subset.map(|name| &**name)
    }

    /// What its load assignment is made of.
    pub fn assignment(&self, cx: &Context<'_>) -> AssignmentInput {
        let defaults = &cx.snapshot.mesh.traffic;
        let rule = self.rule.map(|rule| &**rule);
        let policy = AssignmentPolicy::of(defaults, self.service, rule, self.port.number, self.subset_name());
        let endpoints = endpoints(cx, self.service);
        AssignmentInput {
            host: self.service.host.clone(),
            port: self.port.clone(),
            subset: self.subset.cloned(),
            sni: self.sni,
            plaintext: plaintext(cx, &endpoints),
            endpoints,
            place: policy.place(cx.proxy),
            node: policy.node_local.then(|| cx.proxy.metadata_str("NODE_NAME").into()),
            policy,
            networks: networks(cx),
            dns: matches!(self.service.resolution, Resolution::Dns | Resolution::DnsRoundRobin),
            dual_stack: defaults.dual_stack,
        }
    }

    /// Whether the policy sends on to the address that the client dialled, so that there are no endpoints to choose from.
    pub fn is_passthrough(&self) -> bool {
        let policy = self.rule.and_then(|rule| rule.policy(self.port.number, self.subset_name()));
        let balancer = policy.as_ref().and_then(|policy| policy.load_balancer.as_ref());
        balancer.is_some_and(|balancer| balancer.algorithm == Algorithm::Passthrough)
    }

    /// Whether mutual TLS of the mesh is used with endpoints that take it, unless a rule says otherwise. Where the client's destination
    /// is dialled as it is, nobody can tell endpoints apart: all have to take it.
    pub fn auto_mtls(&self, cx: &Context<'_>) -> bool {
        let mesh = &cx.snapshot.mesh;
        if !mesh.auto_mtls || self.service.mesh_external {
            return false;
        }
        if (self.service.resolution == Resolution::Passthrough || self.dials_address()) && !self.all_take_mtls(cx) {
            return false;
        }
        !cx.snapshot.security.told.namespace_is_off(mesh, &self.service.namespace)
    }

    /// As [`Self::is_passthrough`], by the policy as it was written for the subset or host, whatever its ports say.
    fn dials_address(&self) -> bool {
        let Some(rule) = self.rule else { return false };
        let policy = match self.subset_name() {
            Some(name) => rule.subset(name).and_then(|subset| subset.policy.as_ref()),
            None => rule.policy.as_ref(),
        };
        let balancer = policy.and_then(|policy| policy.load_balancer.as_ref());
        balancer.is_some_and(|balancer| balancer.algorithm == Algorithm::Passthrough)
    }

    fn all_take_mtls(&self, cx: &Context<'_>) -> bool {
        let Some(endpoints) = cx.snapshot.endpoints.of(self.service) else { return false };
        let mut endpoints = endpoints.of_port(self.port).peekable();
        endpoints.peek().is_some() && endpoints.all(|endpoint| &*endpoint.tls_mode != "disabled")
    }
}

/// The endpoints of a service.
fn endpoints(cx: &Context<'_>, service: &Service) -> Marked<ServiceEndpoints> {
    static NONE: std::sync::LazyLock<Marked<ServiceEndpoints>> =
        std::sync::LazyLock::new(|| Marked::new(ServiceEndpoints::default()));
    cx.snapshot.endpoints.of(service).cloned().unwrap_or_else(|| NONE.clone())
}

/// Places of endpoints that state mutual TLS although a PeerAuthentication switches it off for their port.
fn plaintext(cx: &Context<'_>, endpoints: &ServiceEndpoints) -> Vec<u32> {
    let (mesh, told) = (&cx.snapshot.mesh, &cx.snapshot.security.told);
    if told.all_take_mtls() {
        return Vec::new();
    }
    let plain = |endpoint: &Endpoint| {
        endpoint.takes_mtls()
            && told.modes_of(mesh, &endpoint.namespace, &endpoint.labels).of_port(endpoint.port) == MutualTls::Disable
    };
    let places = (0..).zip(&endpoints.endpoints).filter(|(_, endpoint)| plain(endpoint));
    places.map(|(place, _)| place).collect()
}

/// The networks whose endpoints a proxy asks for.
fn networks(cx: &Context<'_>) -> Option<Vec<Str>> {
    let wanted = cx.proxy.metadata.get("REQUESTED_NETWORK_VIEW")?;
    let names: Vec<Str> = match wanted {
        serde_json::Value::String(list) => list.split(',').map(|name| name.trim().into()).collect(),
        serde_json::Value::Array(list) => list.iter().filter_map(|name| name.as_str()).map(Str::from).collect(),
        _ => return None,
    };
    (!names.is_empty()).then_some(names)
}

/// Which scope a proxy has: what it holds changes, but proxies of one stay of one.
pub(crate) fn scope_name(cx: &Context<'_>) -> Fingerprint {
    let sidecar = cx.scope.sidecar.as_ref().map(|sidecar| (&sidecar.namespace, &sidecar.name));
    Fingerprint::of(&(&cx.scope.namespace, sidecar))
}

/// What load assignments depend on of a proxy: the less, the more proxies share them.
pub(crate) fn place(cx: &Context<'_>) -> Fingerprint {
    let rules = &cx.snapshot.destination_rules;
    let (reads, balances) = (rules.client_reads(), cx.scope.balances());
    let defaults: &TrafficDefaults = &cx.snapshot.mesh.traffic;
    let by_mesh = defaults.zone_aware.is_some()
        || defaults.outlier_detection.is_some()
        || defaults.locality.as_ref().is_some_and(|locality| !locality.distribute.is_empty());
    let by_rule = reads.labels || reads.place || by_mesh;
    let proxy = cx.proxy;
    let namespace = rules.tells_apart(&proxy.namespace).then_some(&proxy.namespace);
    let place = (by_rule || balances.distributed).then_some((&proxy.locality, &proxy.network, &proxy.cluster));
    let labels = by_rule.then_some(&proxy.labels);
    let node = (by_rule || balances.distributed || balances.node_local).then(|| proxy.metadata_str("NODE_NAME"));
    Fingerprint::of(&(namespace, proxy.kind, place, labels, node, networks(cx)))
}
