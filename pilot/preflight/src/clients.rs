// SPDX-License-Identifier: Apache-2.0
//! Clients that cannot show a certificate of the mesh: pods without a sidecar, and those on the node's network.
//!
//! Nobody knows whom a pod may call. Those of the namespaces that are asked about count as clients of what becomes STRICT there, others
//! only when their connections were seen; else they are one warning together.

use std::collections::{BTreeMap, BTreeSet};

use tiphys_api::names::{annotation, label};

use crate::Context;
use crate::pods::{Class, Group, is_system, restart};
use crate::report::{Client, Finding, Reason, Severity};
use crate::words::{counted, named, verb};

/// Why a pod has no sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// Its namespace is not labelled.
    Namespace,
    /// It is older than the label.
    Older,
    /// It asks for none.
    Refused,
    /// It uses the node's network.
    HostNetwork,
}

fn cause(cx: &Context<'_>, group: &Group<'_>) -> Cause {
    if group.class == Class::HostNetwork {
        return Cause::HostNetwork;
    }
    let said = group.labels.get(label::INJECT).map(|said| &**said).or_else(|| group.annotation(annotation::INJECT));
    match said {
        Some("false") => Cause::Refused,
        Some("true") => Cause::Older,
        _ if group.labels.contains_key(label::REV) || cx.injected.contains(group.namespace) => Cause::Older,
        _ => Cause::Namespace,
    }
}

/// Clients without a sidecar.
pub(crate) fn find(cx: &Context<'_>) -> Vec<Finding> {
    let mut own: BTreeMap<(&str, Cause), Vec<&Group<'_>>> = BTreeMap::new();
    let mut others: Vec<&Group<'_>> = Vec::new();
    let seen = crate::taken::clients_seen(cx);
    let root = &*cx.inputs.snapshot.mesh.root_namespace;
    let bare = cx.pods.of_class(Class::Plain).chain(cx.pods.of_class(Class::HostNetwork));
    // What was seen has findings of its own.
    for group in bare.filter(|group| !seen.contains(&(group.namespace, group.workload))) {
        if is_system(group.namespace, root) {
            continue;
        }
        match cx.inputs.ask.covers(group.namespace) && in_reach(cx, group.namespace) {
            true => own.entry((group.namespace, cause(cx, group))).or_default().push(group),
            false => others.push(group),
        }
    }
    let mut findings: Vec<Finding> =
        own.into_iter().map(|((namespace, cause), groups)| of_namespace(cx, namespace, cause, &groups)).collect();
    findings.extend(elsewhere(cx, &others));
    findings
}

/// Whether a namespace's pods count as clients. Of given policies those count that live beside what becomes STRICT, or all when one of the
/// policies is the mesh's.
fn in_reach(cx: &Context<'_>, namespace: &str) -> bool {
    let policies = &cx.inputs.ask.policies;
    let root = &*cx.inputs.snapshot.mesh.root_namespace;
    policies.is_empty()
        || policies.iter().any(|policy| policy.meta.namespace == root)
        || cx.servers.strict.iter().any(|server| server.namespace == namespace)
}

fn of_namespace(cx: &Context<'_>, namespace: &str, cause: Cause, groups: &[&Group<'_>]) -> Finding {
    let pods: usize = groups.iter().map(|group| group.pods.len()).sum();
    let workloads: Vec<String> = groups.iter().map(|group| group.workload.to_owned()).collect();
    let have = verb(pods, "has", "have");
    let (counted, names) = (counted(pods, "pod"), named(&workloads));
    let message = match cause {
        Cause::Namespace => {
            format!("{counted} of {namespace} ({names}) {have} no sidecar: the namespace is not labelled for injection")
        }
        Cause::Older => {
            format!(
                "{counted} of {namespace} ({names}) {have} no sidecar: {} made before injection was on",
                verb(pods, "it was", "they were")
            )
        }
        Cause::Refused => {
            format!("{counted} of {namespace} ({names}) {have} no sidecar: sidecar.istio.io/inject is \"false\"")
        }
        Cause::HostNetwork => {
            format!(
                "{counted} of {namespace} ({names}) {} the node's network and cannot have a sidecar",
                verb(pods, "uses", "use")
            )
        }
    };
    Finding {
        severity: Severity::Breaks,
        reason: if cause == Cause::HostNetwork { Reason::HostNetwork } else { Reason::NoSidecar },
        client: Client { namespaces: vec![namespace.to_owned()], workloads, pods, who: String::new() },
        server: cx.servers.all(),
        message,
        fix: fix(cx, namespace, cause, groups),
    }
}

/// What gives pods a sidecar.
fn fix(cx: &Context<'_>, namespace: &str, cause: Cause, groups: &[&Group<'_>]) -> String {
    let restarted = restart(namespace, groups);
    let ignored = "or, if they call none of these, pass --ignore";
    let name = if groups.len() == 1 { groups[0].workload } else { "WORKLOAD" };
    match cause {
        Cause::Namespace => {
            let labelled = match cx.inputs.revision {
                "" | "default" => "istio-injection=enabled".to_owned(),
                revision => format!("{}={revision}", label::REV),
            };
            format!("kubectl label namespace {namespace} {labelled}, then {restarted}; {ignored} {namespace}")
        }
        Cause::Older => restarted,
        Cause::Refused => {
            format!("remove sidecar.istio.io/inject from the pods' template; {ignored} {namespace}/{name}")
        }
        Cause::HostNetwork => {
            format!(
                "take them off the node's network, or leave the ports that they call PERMISSIVE (portLevelMtls); {ignored} {namespace}/{name}"
            )
        }
    }
}

/// Those of other namespaces, in one line.
fn elsewhere(cx: &Context<'_>, groups: &[&Group<'_>]) -> Option<Finding> {
    let namespaces: BTreeSet<&str> = groups.iter().map(|group| group.namespace).collect();
    let namespaces: Vec<String> = namespaces
        .into_iter()
        .filter(|name| !cx.inputs.ask.ignore.iter().any(|i| i == name))
        .map(str::to_owned)
        .collect();
    let of = groups.iter().filter(|group| namespaces.iter().any(|name| name == group.namespace));
    let pods: usize = of.map(|group| group.pods.len()).sum();
    if pods == 0 {
        return None;
    }
    Some(Finding {
        severity: Severity::Warning,
        reason: Reason::NoSidecar,
        message: format!(
            "{} of {} ({}) {} no sidecar: whatever of them calls what becomes STRICT will be refused; {}",
            counted(pods, "pod"),
            counted(namespaces.len(), "other namespace"),
            named(&namespaces),
            verb(pods, "has", "have"),
            if cx.inputs.taken.is_empty() { "who does is not known" } else { "none was seen doing so" },
        ),
        client: Client { namespaces, pods, ..Client::default() },
        server: cx.servers.all(),
        fix: "label the namespaces of clients for injection and restart their workloads, or leave the ports that they call PERMISSIVE".to_owned(),
    })
}
