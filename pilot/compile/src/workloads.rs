// SPDX-License-Identifier: Apache-2.0
//! Workloads: Pods and WorkloadEntries, by address and by name.

use crate::lower::labels;
use crate::{LowerContext, Store};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use tiphys_api::{Key, Kind, Meta, Object, Spec, k8s};
use tiphys_model::{Labels, Locality, Marked, Str, name};

/// A named port of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkloadPort {
    /// Name of the port.
    pub name: Str,
    /// Its number.
    pub number: u32,
    /// UDP instead of TCP.
    pub udp: bool,
}

/// A Pod or a WorkloadEntry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Name of the object.
    pub object: Str,
    /// Namespace.
    pub namespace: Str,
    /// Name of what it is an instance of (Deployment, Job, ...), else the object's own.
    pub name: Str,
    /// Whether it is a Pod.
    pub pod: bool,
    /// Addresses; for a WorkloadEntry also a DNS name or `unix://PATH`.
    pub addresses: Vec<Str>,
    /// Labels.
    pub labels: Labels,
    /// Service account.
    pub service_account: Str,
    /// `spiffe://DOMAIN/ns/NS/sa/SA`; empty when it has no service account.
    pub identity: Str,
    /// Where it runs.
    pub locality: Locality,
    /// Network that it is in.
    pub network: Str,
    /// Node that it runs on.
    pub node: Str,
    /// Host name of its own.
    pub hostname: Str,
    /// Subdomain of its host name.
    pub subdomain: Str,
    /// Weight of a WorkloadEntry; 0 = not said.
    pub weight: u32,
    /// Its ports by name.
    pub ports: Vec<WorkloadPort>,
    /// Ready to take requests.
    pub ready: bool,
}

impl Workload {
    /// The number of a named port.
    pub fn port(&self, name: &str) -> Option<u32> {
        self.ports.iter().find(|port| &*port.name == name).map(|port| port.number)
    }
}

/// All workloads.
#[derive(Debug, Default)]
pub struct Workloads {
    by_object: BTreeMap<Key, Marked<Workload>>,
    by_address: HashMap<Str, Key>,
}

impl Workloads {
    /// The workload of an address; of two with one address a Pod wins, then the first by name.
    pub fn of_address(&self, address: &str) -> Option<&Marked<Workload>> {
        self.by_address.get(address).and_then(|key| self.by_object.get(key))
    }

    /// One Pod or WorkloadEntry.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Marked<Workload>> {
        self.by_object.get(&Key { kind, namespace: namespace.to_string(), name: name.to_string() })
    }

    /// All of them, by kind, namespace and name.
    pub fn all(&self) -> impl Iterator<Item = &Marked<Workload>> {
        self.by_object.values()
    }

    /// The workloads of a namespace.
    pub fn of_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Marked<Workload>> {
        [Kind::Pod, Kind::WorkloadEntry].into_iter().flat_map(move |kind| {
            let from = Key { kind, namespace: namespace.to_string(), name: String::new() };
            self.by_object
                .range(from..)
                .take_while(move |(key, _)| key.kind == kind && key.namespace == namespace)
                .map(|(_, workload)| workload)
        })
    }
}

/// Lowered workloads and the index over them.
#[derive(Default)]
pub(crate) struct WorkloadTable {
    by_object: BTreeMap<Key, Marked<Workload>>,
    current: Arc<Workloads>,
}

impl WorkloadTable {
    /// Lowers what changed; returns the workloads, old and new, that differ.
    pub fn update(
        &mut self,
        store: &Store,
        changed: &BTreeSet<Key>,
        cx: &LowerContext<'_>,
        all: bool,
    ) -> Vec<Marked<Workload>> {
        let keys: Vec<Key> = match all {
            true => [Kind::Pod, Kind::WorkloadEntry]
                .into_iter()
                .flat_map(|kind| store.of_kind(kind))
                .map(|object| object.key())
                .chain(self.by_object.keys().cloned())
                .collect(),
            false => changed.iter().filter(|k| matches!(k.kind, Kind::Pod | Kind::WorkloadEntry)).cloned().collect(),
        };
        let mut differing = Vec::new();
        for key in keys {
            let before = self.by_object.remove(&key);
            let object = store.get(key.kind, &key.namespace, &key.name);
            let after = object.and_then(|object| lower(object, store, cx)).map(Marked::new);
            if before != after {
                differing.extend(before.into_iter().chain(after.clone()));
            }
            if let Some(workload) = after {
                self.by_object.insert(key, workload);
            }
        }
        if !differing.is_empty() {
            self.index();
        }
        differing
    }

    fn index(&mut self) {
        let mut by_address = HashMap::new();
        // Backwards, so that the first one by kind and name is what stays.
        for (key, workload) in self.by_object.iter().rev() {
            for address in &workload.addresses {
                let keep = by_address.get(address).is_some_and(|known: &Key| known.kind == Kind::Pod && !workload.pod);
                if !keep {
                    by_address.insert(address.clone(), key.clone());
                }
            }
        }
        self.current = Arc::new(Workloads { by_object: self.by_object.clone(), by_address });
    }

    pub fn current(&self) -> &Arc<Workloads> {
        &self.current
    }
}

fn lower(object: &Object, store: &Store, cx: &LowerContext<'_>) -> Option<Workload> {
    match &object.spec {
        Spec::Pod(pod) => lower_pod(object, pod, store, cx),
        Spec::WorkloadEntry(entry) => Some(lower_entry(object, entry, cx)),
        _ => None,
    }
}

/// `spiffe://DOMAIN/ns/NS/sa/SA`, or nothing without an account.
pub(crate) fn identity(trust_domain: &str, namespace: &str, account: &str) -> Str {
    match account {
        "" => Str::default(),
        account => format!("spiffe://{trust_domain}/ns/{namespace}/sa/{account}").into(),
    }
}

fn lower_pod(object: &Object, pod: &k8s::Pod, store: &Store, cx: &LowerContext<'_>) -> Option<Workload> {
    let meta = &object.meta;
    let spec = &pod.spec;
    let addresses = pod.ips();
    let finished = matches!(&*pod.status.phase, "Succeeded" | "Failed");
    if addresses.is_empty() || spec.host_network || finished {
        return None;
    }
    let labels = labels(&meta.labels);
    let account = if spec.service_account_name.is_empty() { "default" } else { &spec.service_account_name };
    let locality = match labels.get(name::LOCALITY) {
        Some(label) if !label.is_empty() => Locality::parse(&label.replace('.', "/")),
        _ => node_locality(store, &spec.node_name),
    };
    Some(Workload {
        object: meta.name.as_str().into(),
        namespace: meta.namespace.as_str().into(),
        name: workload_name(meta).into(),
        pod: true,
        addresses: addresses.into_iter().map(Str::from).collect(),
        service_account: account.into(),
        identity: identity(&cx.mesh.trust_domain, &meta.namespace, account),
        locality,
        network: labels.get(name::NETWORK).cloned().unwrap_or_default(),
        labels,
        node: spec.node_name.as_str().into(),
        hostname: match spec.subdomain.is_empty() {
            true => Str::default(),
            false if spec.hostname.is_empty() => meta.name.as_str().into(),
            false => spec.hostname.as_str().into(),
        },
        subdomain: spec.subdomain.as_str().into(),
        weight: 0,
        ports: spec
            .containers
            .iter()
            .chain(&spec.init_containers)
            .flat_map(|container| &container.ports)
            .map(|port| WorkloadPort {
                name: port.name.as_str().into(),
                number: u32::try_from(port.container_port).unwrap_or_default(),
                udp: port.protocol.eq_ignore_ascii_case("UDP"),
            })
            .collect(),
        ready: pod.is_ready(),
    })
}

/// The Deployment, Job or the like that a Pod is an instance of, told from its owner's name; else the Pod's own name.
pub fn workload_name(meta: &Meta) -> &str {
    if let Some(name) = meta.labels.get("service.istio.io/workload-name") {
        return name;
    }
    let Some(owner) = meta.owners.iter().find(|owner| owner.controller) else { return &meta.name };
    let hash = meta.labels.get("pod-template-hash");
    match (owner.kind.as_str(), hash) {
        ("ReplicaSet", Some(hash)) => {
            owner.name.strip_suffix(hash.as_str()).and_then(|name| name.strip_suffix('-')).unwrap_or(&owner.name)
        }
        // A CronJob's Jobs are named after it and the minute of their start.
        ("Job", _) => match owner.name.rsplit_once('-') {
            Some((name, minute)) if minute.len() >= 8 && minute.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => &owner.name,
        },
        _ => &owner.name,
    }
}

fn node_locality(store: &Store, node: &str) -> Locality {
    let Some(node) = store.get(Kind::Node, "", node) else { return Locality::default() };
    let label = |keys: &[&str]| {
        keys.iter().find_map(|key| node.meta.labels.get(*key)).map_or_else(Str::default, |v| v.as_str().into())
    };
    Locality {
        region: label(&["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"]),
        zone: label(&["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"]),
        subzone: label(&[name::SUBZONE]),
    }
}

fn lower_entry(
    object: &Object,
    entry: &tiphys_api::istio::networking::workload_entry::WorkloadEntry,
    cx: &LowerContext<'_>,
) -> Workload {
    let meta = &object.meta;
    let mut merged = labels(&entry.labels);
    merged.extend(labels(&meta.labels));
    Workload {
        object: meta.name.as_str().into(),
        namespace: meta.namespace.as_str().into(),
        name: meta.name.as_str().into(),
        ..entry_workload(entry, merged, &meta.namespace, cx)
    }
}

/// A WorkloadEntry, whether an object of its own or written inside a ServiceEntry.
pub(crate) fn entry_workload(
    entry: &tiphys_api::istio::networking::workload_entry::WorkloadEntry,
    labels: Labels,
    namespace: &str,
    cx: &LowerContext<'_>,
) -> Workload {
    let locality = match (entry.locality.as_str(), labels.get(name::LOCALITY)) {
        ("", Some(label)) => Locality::parse(&label.replace('.', "/")),
        (text, _) => Locality::parse(text),
    };
    let network = match entry.network.as_str() {
        "" => labels.get(name::NETWORK).cloned().unwrap_or_default(),
        network => network.into(),
    };
    Workload {
        object: Str::default(),
        namespace: namespace.into(),
        name: Str::default(),
        pod: false,
        addresses: if entry.address.is_empty() { Vec::new() } else { vec![entry.address.as_str().into()] },
        service_account: entry.service_account.as_str().into(),
        identity: identity(&cx.mesh.trust_domain, namespace, &entry.service_account),
        locality,
        network,
        labels,
        node: Str::default(),
        hostname: Str::default(),
        subdomain: Str::default(),
        weight: entry.weight,
        ports: entry
            .ports
            .iter()
            .map(|(name, number)| WorkloadPort { name: name.as_str().into(), number: *number, udp: false })
            .collect(),
        ready: true,
    }
}
