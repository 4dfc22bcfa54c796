// SPDX-License-Identifier: Apache-2.0
//! Pods by workload: which have a sidecar, which are gateways, which have neither, and why not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tiphys_api::k8s::Pod;
use tiphys_api::names::label;
use tiphys_api::{Kind, Object, Spec};
use tiphys_compile::workload_name;
use tiphys_model::Labels;

use crate::words::named;

/// The proxy's container.
pub(crate) const PROXY: &str = "istio-proxy";

/// Namespaces of Kubernetes itself, in which nothing is injected.
const KUBERNETES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

/// What becomes of the traffic of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// It has no proxy.
    Plain,
    /// It has no proxy, and uses the node's network.
    HostNetwork,
    /// It has a proxy beside it.
    Sidecar,
    /// It is a proxy.
    Gateway,
}

/// A pod that runs or is about to.
#[derive(Clone, Copy)]
pub(crate) struct PodRef<'a> {
    pub object: &'a Object,
    pub pod: &'a Pod,
}

/// Pods of one workload and class.
pub(crate) struct Group<'a> {
    pub namespace: &'a str,
    pub workload: &'a str,
    pub class: Class,
    pub pods: Vec<PodRef<'a>>,
    pub labels: Labels,
}

/// All pods that run or are about to, by workload.
pub(crate) struct Pods<'a> {
    pub groups: Vec<Group<'a>>,
}

impl<'a> Pods<'a> {
    pub fn of(objects: &'a [Arc<Object>]) -> Self {
        let mut groups: BTreeMap<(&str, &str, Class), Group<'a>> = BTreeMap::new();
        for object in objects {
            let Spec::Pod(pod) = &object.spec else { continue };
            if matches!(&*pod.status.phase, "Succeeded" | "Failed") || object.meta.deleting {
                continue;
            }
            let meta = &object.meta;
            let (namespace, workload, class) = (meta.namespace.as_str(), workload_name(meta), class(pod));
            let group = groups.entry((namespace, workload, class)).or_insert_with(|| Group {
                namespace,
                workload,
                class,
                pods: Vec::new(),
                labels: meta.labels.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect(),
            });
            group.pods.push(PodRef { object, pod });
        }
        Self { groups: groups.into_values().collect() }
    }

    /// Workloads of a class.
    pub fn of_class(&self, class: Class) -> impl Iterator<Item = &Group<'a>> {
        self.groups.iter().filter(move |group| group.class == class)
    }
}

impl<'a> Group<'a> {
    /// An annotation of its first pod.
    pub fn annotation(&self, name: &str) -> Option<&'a str> {
        self.pods[0].object.meta.annotations.get(name).map(String::as_str)
    }

    /// `deployment/NAME` and the like; none for what cannot be restarted by name.
    pub fn restartable(&self) -> Option<String> {
        let owner = self.pods[0].object.meta.owners.iter().find(|owner| owner.controller)?;
        let kind = match owner.kind.as_str() {
            "ReplicaSet" => "deployment",
            "StatefulSet" => "statefulset",
            "DaemonSet" => "daemonset",
            _ => return None,
        };
        Some(format!("{kind}/{}", self.workload))
    }
}

fn class(pod: &Pod) -> Class {
    let spec = &pod.spec;
    let native = spec.init_containers.iter().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let has_proxy = spec.containers.iter().chain(native).any(|container| container.name == PROXY);
    match has_proxy {
        true if spec.containers.len() == 1 && spec.containers[0].name == PROXY => Class::Gateway,
        true => Class::Sidecar,
        false if spec.host_network => Class::HostNetwork,
        false => Class::Plain,
    }
}

/// Whether a namespace is Kubernetes' or the control plane's own.
pub(crate) fn is_system(namespace: &str, root: &str) -> bool {
    namespace == root || KUBERNETES.contains(&namespace)
}

/// Namespaces whose new pods are injected, by their labels.
pub(crate) fn injected_namespaces(objects: &[Arc<Object>]) -> BTreeSet<&str> {
    let injects = |object: &&Arc<Object>| {
        let labels = &object.meta.labels;
        match labels.get("istio-injection").map(String::as_str) {
            Some(said) => said == "enabled",
            None => labels.contains_key(label::REV),
        }
    };
    let namespaces = objects.iter().filter(|object| object.kind() == Kind::Namespace);
    namespaces.filter(injects).map(|object| object.meta.name.as_str()).collect()
}

/// The command that restarts workloads of a namespace; what it cannot restart is named.
pub(crate) fn restart(namespace: &str, groups: &[&Group<'_>]) -> String {
    let commands: Vec<String> = groups.iter().filter_map(|group| group.restartable()).collect();
    let others: Vec<&str> =
        groups.iter().filter(|group| group.restartable().is_none()).map(|group| group.workload).collect();
    let restarted = match &commands[..] {
        [] => String::new(),
        all if all.len() > 5 => format!("kubectl -n {namespace} rollout restart deployment,statefulset,daemonset"),
        all => format!("kubectl -n {namespace} rollout restart {}", all.join(" ")),
    };
    match (restarted.is_empty(), others.is_empty()) {
        (_, true) => restarted,
        (true, false) => format!("make the pods of {} anew", named(&others)),
        (false, false) => format!("{restarted}, and make the pods of {} anew", named(&others)),
    }
}
