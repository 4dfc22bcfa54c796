// SPDX-License-Identifier: Apache-2.0
//! The ports that would become STRICT, and what of them a server's own settings would break.

use std::collections::{BTreeMap, BTreeSet};

use tiphys_api::IntOrString;
use tiphys_api::k8s::pod::Probe;
use tiphys_compile::security::Security;
use tiphys_model::{Marked, MutualTls, PeerModes, Port, Service, TargetPort, labels_match, name};

use crate::capture::Inbound;
use crate::pods::{Class, Group, PROXY, Pods, restart};
use crate::report::{Client, Finding, Reason, Server, Severity};
use crate::words::{counted, named, verb};
use crate::{Context, Inputs};

/// How many services a finding names.
const NAMED: usize = 5;

/// A port of a workload that would become STRICT.
pub(crate) struct StrictPort<'a> {
    pub number: u32,
    /// Services that lead here.
    pub services: Vec<(&'a Marked<Service>, &'a Port)>,
}

/// A workload of which some port would become STRICT, or would without its annotations.
pub(crate) struct StrictServer<'a> {
    /// Its place among the groups of pods.
    pub group: usize,
    pub namespace: &'a str,
    pub workload: &'a str,
    pub ports: Vec<StrictPort<'a>>,
    /// Ports that would, but are not captured.
    pub uncaptured: Vec<u32>,
    was: PeerModes,
    would: PeerModes,
}

/// All of them.
pub(crate) struct Servers<'a> {
    pub strict: Vec<StrictServer<'a>>,
    already: usize,
}

impl<'a> Servers<'a> {
    pub fn find(inputs: &Inputs<'a>, pods: &Pods<'a>, (before, after): (&Security, &Security)) -> Self {
        let (mut strict, mut already) = (Vec::new(), 0);
        let mesh = &inputs.snapshot.mesh;
        for (place, group) in pods.groups.iter().enumerate() {
            if group.class != Class::Sidecar || !inputs.ask.covers(group.namespace) {
                continue;
            }
            let was = before.modes_of(mesh, group.namespace, &group.labels);
            let would = after.modes_of(mesh, group.namespace, &group.labels);
            let news = |port: u32| becomes_strict(&was, &would, port);
            let inbound = Inbound::of(group);
            let declared = declared(inputs, group);
            let others = was.mode != MutualTls::Strict && would.mode == MutualTls::Strict;
            if !others && !declared.keys().any(|port| news(*port)) {
                already += usize::from(was.mode == MutualTls::Strict);
                continue;
            }
            let (mut ports, mut uncaptured) = (Vec::new(), Vec::new());
            for (number, services) in declared.into_iter().filter(|(number, _)| news(*number)) {
                match inbound.takes(number) {
                    true => ports.push(StrictPort { number, services }),
                    false => uncaptured.push(number),
                }
            }
            let (namespace, workload) = (group.namespace, group.workload);
            strict.push(StrictServer { group: place, namespace, workload, ports, uncaptured, was, would });
        }
        Self { strict, already }
    }

    /// Whether anything would become STRICT.
    pub fn any(&self) -> bool {
        !self.strict.is_empty()
    }

    /// Workloads that would become STRICT, and those that are.
    pub fn counts(&self) -> (usize, usize) {
        (self.strict.len(), self.already)
    }

    /// All ports that would become STRICT.
    pub fn ports(&self) -> impl Iterator<Item = (&StrictServer<'a>, &StrictPort<'a>)> {
        self.strict.iter().flat_map(|server| server.ports.iter().map(move |port| (server, port)))
    }

    /// Services that lead to ports that would become STRICT, each once.
    pub fn services(&self) -> Vec<(&'a Marked<Service>, &'a Port)> {
        let mut seen = BTreeSet::new();
        let all = self.ports().flat_map(|(_, port)| port.services.iter().copied());
        all.filter(|(service, port)| seen.insert((&service.host, &service.namespace, port.number))).collect()
    }

    /// All servers, for a finding.
    pub fn all(&self) -> Server {
        let namespaces: BTreeSet<&str> = self.strict.iter().map(|server| server.namespace).collect();
        of_services(&self.services(), namespaces.into_iter().map(str::to_owned).collect())
    }
}

/// Services, for a finding.
pub(crate) fn of_services(services: &[(&Marked<Service>, &Port)], namespaces: Vec<String>) -> Server {
    let mut names: Vec<String> =
        services.iter().map(|(service, port)| format!("{}:{}", service.host.as_str(), port.number)).collect();
    names.sort();
    names.dedup();
    let count = names.len();
    names.truncate(NAMED);
    Server { namespaces, services: names, count, ..Server::default() }
}

fn becomes_strict(was: &PeerModes, would: &PeerModes, port: u32) -> bool {
    was.of_port(port) != MutualTls::Strict && would.of_port(port) == MutualTls::Strict
}

impl StrictServer<'_> {
    /// Whether a port would become STRICT, declared or not.
    pub fn news(&self, port: u32) -> bool {
        becomes_strict(&self.was, &self.would, port)
    }

    /// Whether mutual TLS is off on a port, so that even clients with a sidecar send it plain text.
    pub fn is_off(&self, port: u32) -> bool {
        self.was.of_port(port) == MutualTls::Disable
    }

    /// The workload with some of its ports, for a finding.
    pub fn shown(&self, ports: Vec<u32>) -> Server {
        let led: Vec<_> = (self.ports.iter())
            .filter(|port| ports.contains(&port.number))
            .flat_map(|port| port.services.iter().copied())
            .collect();
        let mut server = of_services(&led, vec![self.namespace.to_owned()]);
        server.workloads = vec![self.workload.to_owned()];
        server.ports = ports;
        server
    }
}

/// Ports of a workload, by its services and its containers.
fn declared<'a>(inputs: &Inputs<'a>, group: &Group<'a>) -> BTreeMap<u32, Vec<(&'a Marked<Service>, &'a Port)>> {
    let mut ports: BTreeMap<u32, Vec<(&Marked<Service>, &Port)>> = BTreeMap::new();
    let containers = || group.pods[0].pod.spec.containers.iter().filter(|container| container.name != PROXY);
    for port in containers().flat_map(|container| &container.ports) {
        if let (Ok(number), false) = (u32::try_from(port.container_port), port.protocol.eq_ignore_ascii_case("UDP")) {
            ports.entry(number).or_default();
        }
    }
    for service in inputs.snapshot.services.selecting(group.namespace) {
        if !labels_match(&service.selector, &group.labels) {
            continue;
        }
        for port in service.ports.iter().filter(|port| port.protocol != tiphys_model::Protocol::Udp) {
            let number = match &port.target {
                TargetPort::Same => Some(port.number),
                TargetPort::Number(number) => Some(*number),
                TargetPort::Named(name) => containers()
                    .flat_map(|container| &container.ports)
                    .find(|declared| *declared.name == **name)
                    .and_then(|declared| u32::try_from(declared.container_port).ok()),
            };
            if let Some(number) = number {
                ports.entry(number).or_default().push((service, port));
            }
        }
    }
    ports
}

/// What of servers' own settings would break, or is not protected.
pub(crate) fn find(cx: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for server in &cx.servers.strict {
        let group = &cx.pods.groups[server.group];
        findings.extend(uncaptured(group, server));
        findings.extend(unmarked(group, server));
        findings.extend(probes(group, server));
    }
    findings.extend(exposed(cx));
    findings.extend(headless(cx));
    findings
}

fn uncaptured(group: &Group<'_>, server: &StrictServer<'_>) -> Option<Finding> {
    let first = *server.uncaptured.first()?;
    let cause = Inbound::of(group).cause(first);
    let ports: Vec<String> = server.uncaptured.iter().map(u32::to_string).collect();
    let what = if ports.len() == 1 { "port" } else { "ports" };
    Some(Finding {
        severity: Severity::Warning,
        reason: Reason::InboundExcluded,
        client: Client::default(),
        server: Server {
            namespaces: vec![server.namespace.to_owned()],
            workloads: vec![server.workload.to_owned()],
            ports: server.uncaptured.clone(),
            ..Server::default()
        },
        message: format!(
            "{what} {} of {}/{} {} left out of the capture by {cause}: STRICT does not protect {}",
            ports.join(", "),
            server.namespace,
            server.workload,
            verb(ports.len(), "is", "are"),
            verb(ports.len(), "it", "them"),
        ),
        fix: format!("remove the annotation {cause} from the pods, or keep others away by a NetworkPolicy"),
    })
}

fn unmarked(group: &Group<'_>, server: &StrictServer<'_>) -> Option<Finding> {
    let marked = |labels: &BTreeMap<String, String>| labels.get(name::TLS_MODE).is_some_and(|mode| mode == "istio");
    let bare = group.pods.iter().filter(|pod| !marked(&pod.object.meta.labels)).count();
    if bare == 0 || server.ports.is_empty() {
        return None;
    }
    Some(Finding {
        severity: Severity::Breaks,
        reason: Reason::NotMarked,
        client: Client { who: "every workload of the mesh".to_owned(), ..Client::default() },
        server: server.shown(server.ports.iter().map(|port| port.number).collect()),
        message: format!(
            "{} of {}/{} {} a sidecar without the label {}=istio (injected before Istio 1.5, or by hand), so clients send plain text",
            counted(bare, "pod"),
            server.namespace,
            server.workload,
            verb(bare, "has", "have"),
            name::TLS_MODE,
        ),
        fix: restart(server.namespace, &[group]),
    })
}

fn probes(group: &Group<'_>, server: &StrictServer<'_>) -> Option<Finding> {
    let inbound = Inbound::of(group);
    let containers = &group.pods[0].pod.spec.containers;
    let number = |port: &IntOrString| match port {
        IntOrString::Int(number) => u32::try_from(*number).ok(),
        IntOrString::Name(name) => {
            let declared = containers.iter().flat_map(|container| &container.ports);
            declared.clone().find(|one| one.name == *name).and_then(|one| u32::try_from(one.container_port).ok())
        }
    };
    // A probe that only connects is answered by the proxy, in any mode.
    let asked = containers.iter().filter(|container| container.name != PROXY).flat_map(|container| &container.probes);
    let ports: BTreeSet<u32> = asked
        .filter_map(|probe| match probe {
            Probe::Http(port) | Probe::Grpc(port) => number(port),
            Probe::Tcp(_) | Probe::Other => None,
        })
        .filter(|port| inbound.takes(*port) && server.news(*port))
        .collect();
    if ports.is_empty() {
        return None;
    }
    let shown: Vec<String> = ports.iter().map(u32::to_string).collect();
    let annotation = tiphys_api::names::annotation::REWRITE_APP_HTTP_PROBERS;
    let remove = match group.annotation(annotation) {
        Some("false") => format!("remove the annotation {annotation}=false from"),
        _ => format!("set the annotation {annotation}=true on"),
    };
    Some(Finding {
        severity: Severity::Breaks,
        reason: Reason::ProbesNotRewritten,
        client: Client { who: "the kubelet".to_owned(), ..Client::default() },
        server: server.shown(ports.into_iter().collect()),
        message: format!(
            "probes of {}/{} go to port {} in plain text: the pods would no longer be ready, or be restarted for ever",
            server.namespace,
            server.workload,
            named(&shown)
        ),
        fix: format!("{remove} its pods, or let them probe a port that is excluded from the capture"),
    })
}

/// Services that are called from outside of the cluster, with no gateway in between.
fn exposed(cx: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (service, port) in cx.servers.services() {
        if !matches!(&*service.kind, "LoadBalancer" | "NodePort") {
            continue;
        }
        let (name, namespace, kind) = (&service.name, &service.namespace, &service.kind);
        findings.push(Finding {
            severity: Severity::Breaks,
            reason: Reason::Exposed,
            client: Client { who: "clients outside of the cluster".to_owned(), ..Client::default() },
            server: of_services(&[(service, port)], vec![namespace.to_string()]),
            message: format!(
                "Service {namespace}/{name} is of type {kind}: who calls port {} from outside has no certificate of the mesh",
                port.number
            ),
            fix: format!(
                "put a gateway of the mesh in front and make the Service a ClusterIP, or keep the port PERMISSIVE: a PeerAuthentication in {namespace} with a selector and portLevelMtls"
            ),
        });
    }
    findings
}

/// Headless services of which some endpoints take mutual TLS and others do not: clients call all of them without.
fn headless(cx: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (service, port) in cx.servers.services().into_iter().filter(|(service, _)| service.is_headless()) {
        let Some(endpoints) = cx.inputs.snapshot.endpoints.of(service) else { continue };
        let without: BTreeSet<&str> =
            endpoints.of_port(port).filter(|e| !e.takes_mtls()).map(|e| &*e.workload).collect();
        if without.is_empty() {
            continue;
        }
        let (name, namespace) = (&service.name, &service.namespace);
        let without: Vec<&str> = without.into_iter().collect();
        findings.push(Finding {
            severity: Severity::Breaks,
            reason: Reason::HeadlessMixed,
            client: Client { who: "every workload of the mesh".to_owned(), ..Client::default() },
            server: of_services(&[(service, port)], vec![namespace.to_string()]),
            message: format!(
                "headless Service {namespace}/{name} has endpoints without a sidecar ({}), so all of its endpoints are called in plain text",
                named(&without)
            ),
            fix: format!("give all pods behind {namespace}/{name} a sidecar"),
        });
    }
    findings
}
