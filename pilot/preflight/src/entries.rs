// SPDX-License-Identifier: Apache-2.0
//! ServiceEntries of the mesh whose endpoints do not say who they are: clients call them in plain text, or refuse them.

use std::collections::BTreeMap;

use tiphys_api::Kind;
use tiphys_model::{Endpoint, Marked, MutualTls, Registry, Service};

use crate::Context;
use crate::report::{Client, Finding, Reason, Severity};
use crate::servers::of_services;
use crate::words::{counted, named};

/// What is the matter with an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// A pod with a sidecar stands behind it, and clients do not know.
    OfPod,
    /// Others say who they are, and it does not.
    Stranger,
    /// Nothing is known of it.
    Unknown,
}

/// Endpoints without an identity.
pub(crate) fn find(cx: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for service in &cx.inputs.snapshot.services.all {
        let object = (&*service.namespace, &*service.object_name);
        if service.registry != Registry::External || service.mesh_external || seen.contains(&object) {
            continue;
        }
        let troubles = of_service(cx, service);
        if !troubles.is_empty() {
            seen.push(object);
        }
        findings.extend(troubles.into_iter().map(|(trouble, places)| finding(service, trouble, &places)));
    }
    findings
}

fn of_service(cx: &Context<'_>, service: &Marked<Service>) -> BTreeMap<Trouble, Vec<String>> {
    let mut troubles: BTreeMap<Trouble, Vec<String>> = BTreeMap::new();
    let Some(endpoints) = cx.inputs.snapshot.endpoints.of(service) else { return troubles };
    let names = !service.subject_alt_names.is_empty();
    let known = names || !endpoints.identities().is_empty();
    // A pod that a selector found is a workload like any other.
    let is_pod = |endpoint: &Endpoint| {
        cx.inputs.snapshot.workloads.of_address(endpoint.address()).is_some_and(|workload| workload.pod)
    };
    let own = |endpoint: &&Endpoint| service.selector.is_empty() || !is_pod(endpoint);
    for endpoint in endpoints.endpoints.iter().filter(own).filter(|endpoint| becomes_strict(cx, endpoint)) {
        let trouble = match (endpoint.takes_mtls(), endpoint.identity.is_empty()) {
            (false, _) if of_strict_pod(cx, endpoint) => Trouble::OfPod,
            (false, true) if !names => Trouble::Unknown,
            (true, true) if known && !names => Trouble::Stranger,
            (true, true) if !known => Trouble::Unknown,
            _ => continue,
        };
        let place = endpoint.address().to_owned();
        let places = troubles.entry(trouble).or_default();
        if !places.contains(&place) {
            places.push(place);
        }
    }
    troubles
}

fn becomes_strict(cx: &Context<'_>, endpoint: &Endpoint) -> bool {
    let mesh = &cx.inputs.snapshot.mesh;
    let mode = |security: &tiphys_compile::security::Security| {
        security.modes_of(mesh, &endpoint.namespace, &endpoint.labels).of_port(endpoint.port)
    };
    cx.inputs.ask.covers(&endpoint.namespace)
        && mode(&cx.before) != MutualTls::Strict
        && mode(&cx.after) == MutualTls::Strict
}

/// Whether the address is that of a pod that becomes STRICT.
fn of_strict_pod(cx: &Context<'_>, endpoint: &Endpoint) -> bool {
    let workload = cx.inputs.snapshot.workloads.of_address(endpoint.address()).filter(|workload| workload.pod);
    workload.is_some_and(|workload| {
        let mut strict = cx.servers.strict.iter();
        strict.any(|server| {
            server.namespace == &*workload.namespace && server.workload == &*workload.name && server.news(endpoint.port)
        })
    })
}

fn finding(service: &Marked<Service>, trouble: Trouble, places: &[String]) -> Finding {
    let (namespace, name) = (&service.namespace, &service.object_name);
    let (count, shown) = (counted(places.len(), "endpoint"), named(places));
    let entry = format!("{} {namespace}/{name}", Kind::ServiceEntry.name());
    let (severity, message, fix) = match trouble {
        Trouble::OfPod => (
            Severity::Breaks,
            format!(
                "{entry}: {count} ({shown}) are pods of the mesh, but nothing says that they take mutual TLS: they are called in plain text"
            ),
            "select the pods by workloadSelector in place of listing their addresses, or give the endpoints serviceAccount and the label security.istio.io/tlsMode: istio",
        ),
        Trouble::Stranger => (
            Severity::Breaks,
            format!(
                "{entry}: {count} ({shown}) have no serviceAccount while others have: clients refuse their certificates"
            ),
            "give each endpoint its serviceAccount, or the ServiceEntry subjectAltNames of all",
        ),
        Trouble::Unknown => (
            Severity::Warning,
            format!(
                "{entry}: {count} ({shown}) have no identity: a proxy of the mesh there would refuse what clients send in plain text"
            ),
            "where a proxy of the mesh runs, give the endpoints serviceAccount and the label security.istio.io/tlsMode: istio; else make the ServiceEntry MESH_EXTERNAL",
        ),
    };
    let ports: Vec<_> = service.ports.iter().map(|port| (service, port)).collect();
    Finding {
        severity,
        reason: Reason::NoIdentity,
        client: Client { who: "every workload of the mesh".to_owned(), ..Client::default() },
        server: of_services(&ports, vec![namespace.to_string()]),
        message,
        fix: fix.to_owned(),
    }
}
