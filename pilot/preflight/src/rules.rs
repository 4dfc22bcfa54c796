// SPDX-License-Identifier: Apache-2.0
//! DestinationRules by which clients of the mesh call without its certificates, and a mesh in which nobody uses them by themselves.

use std::collections::{BTreeMap, BTreeSet};

use tiphys_api::istio::networking::destination_rule::TrafficPolicy;
use tiphys_api::istio::networking::tls::ClientTlsMode as ApiMode;
use tiphys_api::{Kind, Spec};
use tiphys_model::{ClientTlsMode, DestinationRule, Host, Labels, Marked, Port, Service};

use crate::Context;
use crate::pods::Class;
use crate::report::{Client, Finding, Reason, Severity};
use crate::servers::of_services;
use crate::words::{counted, named};

/// What rules would break.
pub(crate) fn find(cx: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(automatic(cx));
    let hosts = hosts(cx);
    let services: Vec<_> = (cx.servers.services().into_iter())
        .filter(|(service, _)| hosts.iter().any(|host| service.host.subset_of(host)))
        .collect();
    if !services.is_empty() {
        findings.extend(by_rule(cx, &services));
    }
    findings
}

/// Hosts for which some rule says something else than the mesh's own mutual TLS.
fn hosts(cx: &Context<'_>) -> Vec<Host> {
    let mesh = &cx.inputs.snapshot.mesh;
    let other = |policy: &TrafficPolicy| {
        let whole = policy.tls.iter();
        let ports = policy.port_level_settings.iter().flat_map(|port| port.tls.iter());
        whole.chain(ports).any(|tls| tls.mode != ApiMode::IstioMutual)
    };
    let mut hosts = Vec::new();
    for object in cx.of_kind(Kind::DestinationRule) {
        let Spec::DestinationRule(rule) = &object.spec else { continue };
        let subsets = rule.subsets.iter().filter_map(|subset| subset.traffic_policy.as_ref());
        if rule.traffic_policy.iter().chain(subsets).any(other) {
            hosts.push(Host::resolve(&rule.host, &object.meta.namespace, &mesh.short_name_domain));
        }
    }
    hosts.extend(cx.inputs.snapshot.gateway_api.rules.iter().map(|rule| rule.host.clone()));
    hosts
}

/// The mode by which clients under a rule call a port of a service, of the subsets the first that is not the mesh's own.
fn mode(rule: &DestinationRule, port: u32) -> Option<(ClientTlsMode, Option<&str>)> {
    let of = |subset: Option<&str>| Some(rule.policy(port, subset)?.tls.as_ref()?.mode);
    let plain = |mode: &ClientTlsMode| *mode != ClientTlsMode::IstioMutual;
    let whole = of(None).filter(plain).map(|mode| (mode, None));
    whole.or_else(|| {
        let mut subsets = rule.subsets.iter().map(|subset| &*subset.name);
        subsets.find_map(|name| Some((of(Some(name)).filter(plain)?, Some(name))))
    })
}

/// A rule, the mode, and the subset that it is about.
type Cause = (String, String, &'static str, Option<String>);

fn by_rule<'a>(cx: &Context<'a>, services: &[(&'a Marked<Service>, &'a Port)]) -> Vec<Finding> {
    let mut found: BTreeMap<Cause, (BTreeSet<usize>, BTreeSet<String>)> = BTreeMap::new();
    let rules = &cx.inputs.snapshot.destination_rules;
    // Namespaces that have no rules of their own find the same ones.
    let mut clients: BTreeMap<Option<&str>, BTreeMap<&str, Vec<&Labels>>> = BTreeMap::new();
    for group in cx.pods.of_class(Class::Sidecar).chain(cx.pods.of_class(Class::Gateway)) {
        let apart = rules.tells_apart(group.namespace).then_some(group.namespace);
        clients.entry(apart).or_default().entry(group.namespace).or_default().push(&group.labels);
    }
    let (mesh, none) = (&cx.inputs.snapshot.mesh, Labels::new());
    for (place, (service, port)) in services.iter().enumerate() {
        for namespaces in clients.values() {
            let Some((first, of_first)) = namespaces.first_key_value() else { continue };
            let labels: Vec<&Labels> = if rules.asks_for_labels() { of_first.clone() } else { vec![&none] };
            for labels in labels {
                let Some(rule) = rules.outbound(first, labels, service) else { continue };
                let Some((mode, subset)) = mode(rule, port.number) else { continue };
                let sees = |namespace: &&&str| {
                    service.export_to.allows(&service.namespace, namespace, &mesh.default_service_export)
                };
                let key = (rule.namespace.to_string(), rule.name.to_string(), word(mode), subset.map(str::to_owned));
                let (places, seen) = found.entry(key).or_default();
                places.insert(place);
                seen.extend(namespaces.keys().filter(sees).map(ToString::to_string));
            }
        }
    }
    let named = found.into_iter().filter(|(_, (_, clients))| !clients.is_empty());
    named
        .map(|(cause, (places, clients))| {
            let hit: Vec<_> = places.into_iter().map(|place| services[place]).collect();
            finding(&cause, &hit, clients.into_iter().collect())
        })
        .collect()
}

fn word(mode: ClientTlsMode) -> &'static str {
    match mode {
        ClientTlsMode::Disable => "DISABLE",
        ClientTlsMode::Simple => "SIMPLE",
        ClientTlsMode::Mutual => "MUTUAL",
        ClientTlsMode::IstioMutual => "ISTIO_MUTUAL",
    }
}

fn finding(cause: &Cause, services: &[(&Marked<Service>, &Port)], clients: Vec<String>) -> Finding {
    let (namespace, name, mode, subset) = cause;
    let of: BTreeSet<&str> = services.iter().map(|(service, _)| &*service.namespace).collect();
    let how = match *mode {
        "DISABLE" => "in plain text",
        "SIMPLE" => "by TLS without a certificate of their own",
        _ => "by TLS with certificates of their own, which servers of the mesh know only if its root signed them",
    };
    let subset = subset.as_ref().map(|name| format!(" for subset {name}")).unwrap_or_default();
    Finding {
        severity: Severity::Breaks,
        reason: Reason::DestinationRule,
        message: format!(
            "DestinationRule {namespace}/{name} has tls mode {mode}{subset}: clients in {} call {how}",
            named(&clients)
        ),
        client: Client { namespaces: clients, ..Client::default() },
        server: of_services(services, of.into_iter().map(str::to_owned).collect()),
        fix: format!(
            "remove trafficPolicy.tls from DestinationRule {namespace}/{name}, or set its mode to ISTIO_MUTUAL"
        ),
    }
}

/// Services that are called in plain text because MeshConfig says so.
fn automatic(cx: &Context<'_>) -> Option<Finding> {
    if cx.inputs.snapshot.mesh.auto_mtls {
        return None;
    }
    let rules = &cx.inputs.snapshot.destination_rules;
    let none = Labels::new();
    let mutual = |service: &Marked<Service>, port: u32| {
        let rule = rules.outbound(&service.namespace, &none, service)?;
        Some(rule.policy(port, None)?.tls.as_ref()?.mode == ClientTlsMode::IstioMutual)
    };
    let hit: Vec<_> = (cx.servers.services().into_iter())
        .filter(|(service, port)| mutual(service, port.number) != Some(true))
        .collect();
    let of: BTreeSet<&str> = hit.iter().map(|(service, _)| &*service.namespace).collect();
    (!hit.is_empty()).then(|| Finding {
        severity: Severity::Breaks,
        reason: Reason::AutoMtlsOff,
        client: Client { who: "every workload of the mesh".to_owned(), ..Client::default() },
        server: of_services(&hit, of.into_iter().map(str::to_owned).collect()),
        message: format!(
            "MeshConfig has enableAutoMtls: false, and {} no DestinationRule with tls mode ISTIO_MUTUAL: clients call in plain text",
            match hit.len() {
                1 => "1 port of services has".to_owned(),
                many => format!("{} have", counted(many, "service port")),
            }
        ),
        fix: "set enableAutoMtls: true in MeshConfig (its default), or write a DestinationRule with tls mode ISTIO_MUTUAL".to_owned(),
    })
}
