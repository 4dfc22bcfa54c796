// SPDX-License-Identifier: Apache-2.0
//! Connections that servers took without mutual TLS, as their agents counted them, and who was seen to be connected.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use tiphys_api::k8s::Pod;
use tiphys_api::names::annotation;

use crate::Context;
use crate::pods::{Class, Group, PodRef, Pods, is_system};
use crate::report::{Client, Finding, Reason, Severity, Statistics};
use crate::servers::{Servers, StrictServer};
use crate::words::{counted, named, verb};

/// Connections that a pod took without mutual TLS on some port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortTaken {
    /// The port of the workload; 0 for ports that nobody declared, and where it cannot be told which.
    pub port: u32,
    /// How many.
    pub plaintext: u64,
    /// Minutes since the last of them.
    #[serde(default)]
    pub last_minutes: u32,
}

/// What a pod's agent says of one period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodTaken {
    /// Minutes that it looks back.
    pub minutes: u32,
    /// By port.
    #[serde(default)]
    pub ports: Vec<PortTaken>,
    /// Addresses that were seen to be connected, with or without mutual TLS.
    #[serde(default)]
    pub peers: Vec<IpAddr>,
}

/// What agents say, by `POD.NAMESPACE`.
pub type Taken = BTreeMap<String, PodTaken>;

/// A pod's agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// `POD.NAMESPACE`
    pub pod: String,
    /// Where it answers.
    pub address: SocketAddr,
}

/// The agent's port, where the pod does not say another.
const STATUS_PORT: u16 = 15020;

pub(crate) fn agents(pods: &Pods<'_>, servers: &Servers<'_>) -> Vec<Agent> {
    let groups =
        servers.strict.iter().filter(|server| !server.ports.is_empty()).map(|server| &pods.groups[server.group]);
    let agent = |pod: &PodRef<'_>| {
        let meta = &pod.object.meta;
        let port = match meta.annotations.get(annotation::PORT) {
            Some(port) => port.parse().ok().filter(|port| *port > 0)?,
            None => STATUS_PORT,
        };
        let ip: IpAddr = pod.pod.ips().first()?.parse().ok()?;
        Some(Agent { pod: format!("{}.{}", meta.name, meta.namespace), address: SocketAddr::new(ip, port) })
    };
    groups.flat_map(|group| group.pods.iter().filter_map(agent)).collect()
}

fn of_server<'a>(cx: &'a Context<'_>, server: &StrictServer<'_>) -> impl Iterator<Item = &'a PodTaken> {
    let group = &cx.pods.groups[server.group];
    group
        .pods
        .iter()
        .filter_map(|pod| cx.inputs.taken.get(&format!("{}.{}", pod.object.meta.name, pod.object.meta.namespace)))
}

/// Of how many pods it is known what they took.
pub(crate) fn statistics(cx: &Context<'_>) -> Statistics {
    let mut statistics = Statistics::default();
    for server in &cx.servers.strict {
        let known: Vec<u32> = of_server(cx, server).map(|taken| taken.minutes).collect();
        let least = known.iter().min().copied();
        statistics.minutes = match (statistics.reporting, least) {
            (0, Some(least)) => least,
            (_, Some(least)) => statistics.minutes.min(least),
            (_, None) => statistics.minutes,
        };
        statistics.reporting += known.len();
        statistics.silent += cx.pods.groups[server.group].pods.len() - known.len();
    }
    statistics
}

/// Workloads without a sidecar by the addresses of their pods.
fn bare<'a>(cx: &'a Context<'_>) -> BTreeMap<IpAddr, &'a Group<'a>> {
    let addresses = |pod: &Pod| pod.ips().into_iter().filter_map(|ip| ip.parse().ok()).collect::<Vec<IpAddr>>();
    let groups = cx.pods.of_class(Class::Plain).chain(cx.pods.of_class(Class::HostNetwork));
    let of = |group: &'a Group<'a>| {
        let pods = group.pods.iter();
        pods.flat_map(|pod| addresses(pod.pod)).map(move |ip| (ip, group)).collect::<Vec<_>>()
    };
    groups.flat_map(of).collect()
}

/// Workloads without a sidecar that were seen to be connected to a server, by namespace and name. An address of the node's network may be
/// the kubelet's or that of any pod of it, so it says nothing.
fn seen_at<'a>(cx: &'a Context<'_>, server: &StrictServer<'_>) -> Vec<&'a Group<'a>> {
    let bare = bare(cx);
    let mut seen: BTreeMap<(&str, &str), &Group<'_>> = BTreeMap::new();
    for address in of_server(cx, server).flat_map(|taken| &taken.peers) {
        if let Some(group) = bare.get(address).filter(|group| group.class == Class::Plain) {
            seen.insert((group.namespace, group.workload), group);
        }
    }
    seen.into_values().collect()
}

/// All workloads without a sidecar that were seen to be connected.
pub(crate) fn clients_seen<'a>(cx: &'a Context<'_>) -> BTreeSet<(&'a str, &'a str)> {
    if cx.inputs.taken.values().all(|taken| taken.peers.is_empty()) {
        return BTreeSet::new();
    }
    let servers = cx.servers.strict.iter().filter(|server| ports(cx, server).next().is_some());
    servers.flat_map(|server| seen_at(cx, server)).map(|group| (group.namespace, group.workload)).collect()
}

/// What counts of a server: ports that would become STRICT, with their connections and the minutes since the last one.
fn ports(cx: &Context<'_>, server: &StrictServer<'_>) -> impl Iterator<Item = (u32, u64, u32)> {
    let mut counts: BTreeMap<u32, (u64, u32)> = BTreeMap::new();
    for taken in of_server(cx, server).flat_map(|taken| &taken.ports) {
        let strict = if taken.port == 0 { !server.ports.is_empty() } else { server.news(taken.port) };
        if strict && taken.plaintext > 0 {
            let (count, last) = counts.entry(taken.port).or_insert((0, u32::MAX));
            *count += taken.plaintext;
            *last = (*last).min(taken.last_minutes);
        }
    }
    counts.into_iter().map(|(port, (count, last))| (port, count, last))
}

/// Servers that took connections without mutual TLS.
pub(crate) fn find(cx: &Context<'_>) -> Vec<Finding> {
    cx.servers.strict.iter().filter_map(|server| of_one(cx, server)).collect()
}

fn of_one(cx: &Context<'_>, server: &StrictServer<'_>) -> Option<Finding> {
    // Where mutual TLS is off plain text says nothing of the client.
    let (off, found): (Vec<_>, Vec<_>) = ports(cx, server).partition(|(port, ..)| server.is_off(*port));
    if found.is_empty() {
        return off_by_policy(server, &off);
    }
    let last = found.iter().map(|(_, _, last)| *last).min()?;
    let each: Vec<String> = found
        .iter()
        .map(|(port, count, _)| {
            let port = if *port == 0 { "other ports".to_owned() } else { format!("port {port}") };
            format!("{} on {port}", counted(usize::try_from(*count).unwrap_or(usize::MAX), "connection"))
        })
        .collect();
    let minutes = of_server(cx, server).map(|taken| taken.minutes).max().unwrap_or_default();
    let seen = seen_at(cx, server);
    let (namespace, workload) = (server.namespace, server.workload);
    let by = match &seen[..] {
        [] => String::new(),
        groups => {
            let names: Vec<String> =
                groups.iter().map(|group| format!("{}/{}", group.namespace, group.workload)).collect();
            format!("; {} without a sidecar {} seen there", named(&names), verb(names.len(), "was", "were"))
        }
    };
    let ago = match last {
        0 => "less than a minute ago".to_owned(),
        last => format!("{} ago", counted(usize::try_from(last).unwrap_or_default(), "minute")),
    };
    Some(Finding {
        severity: Severity::Breaks,
        reason: Reason::PlaintextTaken,
        client: client(&seen),
        server: server.shown(found.iter().map(|(port, ..)| *port).filter(|port| *port > 0).collect()),
        message: format!(
            "{namespace}/{workload} took {} without mutual TLS in the last {}, the last one {ago}{by}",
            each.join(", "),
            counted(usize::try_from(minutes).unwrap_or_default(), "minute"),
        ),
        fix: match &seen[..] {
            [] => "find the clients among those without a sidecar (findings below), give them one, or leave the port PERMISSIVE (portLevelMtls)".to_owned(),
            groups => injection(cx, groups),
        },
    })
}

/// Connections to ports on which nobody is asked for mutual TLS.
fn off_by_policy(server: &StrictServer<'_>, off: &[(u32, u64, u32)]) -> Option<Finding> {
    let ports: Vec<u32> = off.iter().map(|(port, ..)| *port).filter(|port| *port > 0).collect();
    let names: Vec<String> = ports.iter().map(u32::to_string).collect();
    let count: u64 = off.iter().map(|(_, count, _)| *count).sum();
    (count > 0).then(|| Finding {
        severity: Severity::Warning,
        reason: Reason::PlaintextTaken,
        client: Client { who: "clients without mutual TLS".to_owned(), ..Client::default() },
        server: server.shown(ports),
        message: format!(
            "mode DISABLE: {}/{} took {} on port {} without mutual TLS, and nobody can tell which clients could do it",
            server.namespace,
            server.workload,
            counted(usize::try_from(count).unwrap_or(usize::MAX), "connection"),
            named(&names),
        ),
        fix: "make it PERMISSIVE first, and look again after a while".to_owned(),
    })
}

/// What gives the clients that were seen a sidecar.
fn injection(cx: &Context<'_>, groups: &[&Group<'_>]) -> String {
    let root = &*cx.inputs.snapshot.mesh.root_namespace;
    let mut by_namespace: BTreeMap<&str, Vec<&Group<'_>>> = BTreeMap::new();
    for group in groups {
        by_namespace.entry(group.namespace).or_default().push(group);
    }
    let each = by_namespace.iter().take(3).map(|(namespace, groups)| match is_system(namespace, root) {
        true => format!("leave the ports that {namespace} calls PERMISSIVE (portLevelMtls)"),
        false if cx.injected.contains(namespace) => crate::pods::restart(namespace, groups),
        false => format!("label namespace {namespace} for injection, then {}", crate::pods::restart(namespace, groups)),
    });
    each.collect::<Vec<_>>().join("; ")
}

fn client(seen: &[&Group<'_>]) -> Client {
    let namespaces: BTreeSet<&str> = seen.iter().map(|group| group.namespace).collect();
    let pods: BTreeMap<&str, usize> = seen.iter().map(|group| (group.workload, group.pods.len())).collect();
    Client {
        workloads: if namespaces.len() == 1 { pods.keys().map(ToString::to_string).collect() } else { Vec::new() },
        namespaces: namespaces.into_iter().map(str::to_owned).collect(),
        pods: pods.values().sum(),
        who: if seen.is_empty() { "clients without mutual TLS".to_owned() } else { String::new() },
    }
}
