// SPDX-License-Identifier: Apache-2.0
//! Proxies that do not work with the control plane, and those that are too old for mutual TLS by itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Context;
use crate::pods::{Class, Group, PROXY, PodRef, restart};
use crate::report::{Client, Finding, Reason, Severity};
use crate::words::{counted, named, verb};

/// Clients know by themselves which servers take mutual TLS since this version of Istio.
const AUTOMATIC: (u32, u32) = (1, 5);

/// The name of Istio's image, whose tags are Istio's versions.
const ISTIO_IMAGE: &str = "proxyv2";

/// A connected proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// The version of Istio whose contracts its agent fulfils; may be empty.
    #[serde(default)]
    pub version: String,
}

/// The connected proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxies {
    /// Whether these are those of all replicas of the control plane: else one that is not there may be connected to another.
    pub all: bool,
    /// By `POD.NAMESPACE`.
    pub connected: BTreeMap<String, Proxy>,
}

/// Major and minor version of a text such as `1.4.10-distroless`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim_start_matches('v').split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What is known of a pod's proxy: the version of Istio that it says, else that of Istio's image.
fn version_of(cx: &Context<'_>, pod: &PodRef<'_>) -> Option<String> {
    let said = connected(cx, pod).flatten().map(|proxy| proxy.version.clone()).filter(|text| !text.is_empty());
    said.or_else(|| {
        let spec = &pod.pod.spec;
        let proxy = spec.containers.iter().chain(&spec.init_containers).find(|container| container.name == PROXY)?;
        let (image, tag) = proxy.image.rsplit_once(':')?;
        image.ends_with(ISTIO_IMAGE).then(|| tag.to_owned())
    })
}

/// The pod's proxy, when it is connected; none on the outside when nobody can say.
fn connected<'a>(cx: &Context<'a>, pod: &PodRef<'_>) -> Option<Option<&'a Proxy>> {
    let meta = &pod.object.meta;
    cx.inputs.proxies.map(|proxies| proxies.connected.get(&format!("{}.{}", meta.name, meta.namespace)))
}

/// Proxies that would not do.
pub(crate) fn find(cx: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for group in cx.pods.of_class(Class::Sidecar).filter(|group| cx.inputs.ask.covers(group.namespace)) {
        findings.extend(absent(cx, group));
        findings.extend(old(cx, group));
    }
    findings
}

fn absent(cx: &Context<'_>, group: &Group<'_>) -> Option<Finding> {
    let running = group.pods.iter().filter(|pod| pod.pod.status.phase == "Running");
    let (away, unready): (Vec<_>, Vec<_>) = match cx.inputs.proxies {
        Some(proxies) => {
            let away = |pod: &&PodRef<'_>| connected(cx, pod) == Some(None) && (proxies.all || !pod.pod.is_ready());
            (running.filter(away).collect(), Vec::new())
        }
        None => (Vec::new(), running.filter(|pod| !pod.pod.is_ready()).collect()),
    };
    let (pods, severity) = match (&away[..], &unready[..]) {
        ([], []) => return None,
        ([], unready) => (unready, Severity::Warning),
        (away, _) => (away, Severity::Breaks),
    };
    let names: Vec<&str> = pods.iter().map(|pod| pod.object.meta.name.as_str()).collect();
    let (namespace, workload, count) = (group.namespace, group.workload, counted(pods.len(), "pod"));
    let message = match severity {
        Severity::Breaks => format!(
            "{count} of {namespace}/{workload} ({}) {} a sidecar that is not connected to the control plane: it can neither call by mutual TLS nor be told to ask for it",
            named(&names),
            verb(pods.len(), "has", "have")
        ),
        Severity::Warning => {
            format!(
                "{count} of {namespace}/{workload} ({}) {} not ready: its sidecar may be the reason",
                named(&names),
                verb(pods.len(), "is", "are")
            )
        }
    };
    Some(Finding {
        severity,
        reason: Reason::NotReady,
        client: client(group, pods.len()),
        server: cx.servers.all(),
        message,
        fix: format!(
            "kubectl -n {namespace} logs {} -c {PROXY} says why; then {}",
            names[0],
            restart(namespace, &[group])
        ),
    })
}

fn old(cx: &Context<'_>, group: &Group<'_>) -> Option<Finding> {
    let versions: BTreeMap<String, usize> =
        group.pods.iter().filter_map(|pod| version_of(cx, pod)).fold(BTreeMap::new(), |mut all, one| {
            *all.entry(one).or_default() += 1;
            all
        });
    let old: Vec<(&String, &usize)> =
        versions.iter().filter(|(text, _)| version(text).is_some_and(|version| version < AUTOMATIC)).collect();
    let pods: usize = old.iter().map(|(_, count)| **count).sum();
    let names: Vec<&String> = old.iter().map(|(text, _)| *text).collect();
    (pods > 0).then(|| Finding {
        severity: Severity::Breaks,
        reason: Reason::TooOld,
        client: client(group, pods),
        server: cx.servers.all(),
        message: format!(
            "{} of {}/{} {} a proxy of version {}: it calls in plain text, since proxies use mutual TLS by themselves from {}.{} on",
            counted(pods, "pod"),
            group.namespace,
            group.workload,
            verb(pods, "has", "have"),
            named(&names),
            AUTOMATIC.0,
            AUTOMATIC.1,
        ),
        fix: restart(group.namespace, &[group]),
    })
}

fn client(group: &Group<'_>, pods: usize) -> Client {
    Client {
        namespaces: vec![group.namespace.to_owned()],
        workloads: vec![group.workload.to_owned()],
        pods,
        who: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version("1.4.10-distroless"), Some((1, 4)));
        assert_eq!(version("v1.30.0"), Some((1, 30)));
        assert_eq!(version("latest"), None);
        assert!(version("1.10.1") > Some(AUTOMATIC) && version("1.4.9") < Some(AUTOMATIC));
    }
}
