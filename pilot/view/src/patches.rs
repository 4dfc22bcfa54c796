// SPDX-License-Identifier: Apache-2.0
//! What EnvoyFilters change: the resources of a type are made without them, and patched behind that, each by way of the memo. Proxies that no
//! EnvoyFilter selects pass by.

use crate::gateways::merged;
use crate::{Context, Generator, NoteKind, Patch};
use prost::{Message, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tiphys_model::{ClusterName, Fingerprint, PatchList, ProxyType, Str};
use tiphys_translate::patch::{
    Facts, Outcome, PatchInput, added_clusters, added_extensions, added_listeners, cluster, listener, routes,
};
use tiphys_xds::{Entry, ResourceType};

/// How extensions that proxies ask for by name are made: all of them come from EnvoyFilters.
pub(crate) const EXTENSIONS: Generator = Generator {
    ty: ResourceType::EXTENSION,
    proxy: |_| Fingerprint::default(),
    world: |_| Fingerprint::default(),
    build: |_| Vec::new(),
    patch: None,
};

/// The patches that touch resources of a type; none when there are none.
fn of<'a>(cx: &Context<'a>, ty: ResourceType) -> Option<&'a PatchList> {
    let all = cx.patches?;
    let list = match ty {
        ResourceType::LISTENER => &all.listeners,
        ResourceType::ROUTE => &all.routes,
        ResourceType::CLUSTER => &all.clusters,
        ResourceType::EXTENSION => &all.extensions,
        _ => return None,
    };
    (!list.is_empty()).then_some(list)
}

/// What a table of a type depends on of a proxy.
pub(crate) fn proxy(generator: &Generator, cx: &Context<'_>) -> Fingerprint {
    let own = (generator.proxy)(cx);
    match of(cx, generator.ty) {
        Some(patches) => Fingerprint::of(&(own, patches, cx.proxy.kind)),
        None => own,
    }
}

/// All resources of a type.
pub(crate) fn build(generator: &Generator, cx: &Context<'_>) -> Vec<Entry> {
    let made = (generator.build)(cx);
    let Some(patches) = of(cx, generator.ty) else { return made };
    let mut entries = each(generator.ty, cx, patches, made);
    let mut names: BTreeSet<Arc<str>> = entries.iter().map(|entry| entry.name.clone()).collect();
    for one in added(generator.ty, cx, patches) {
        match names.insert(one.name.clone()) {
            true => entries.push(one),
            false => {
                cx.notes.add(NoteKind::Patch, &*one.name, "an EnvoyFilter adds what is there already: it is left out")
            }
        }
    }
    entries
}

/// Resources of a type that changed.
pub(crate) fn patch(generator: &Generator, cx: &Context<'_>, mut change: Patch) -> Patch {
    if let Some(patches) = of(cx, generator.ty) {
        change.upserts = each(generator.ty, cx, patches, change.upserts);
    }
    change
}

fn added(ty: ResourceType, cx: &Context<'_>, patches: &PatchList) -> Vec<Entry> {
    let kind = cx.proxy.kind;
    match ty {
        ResourceType::LISTENER => entries(added_listeners(patches, kind), |one| &one.name),
        ResourceType::CLUSTER => entries(added_clusters(patches, kind), |one| &one.name),
        ResourceType::EXTENSION => entries(added_extensions(patches), |one| &one.name),
        _ => Vec::new(),
    }
}

fn entries<T: Message + Name>(all: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<Entry> {
    all.iter().map(|one| Entry::of(name(one), one)).collect()
}

/// Patches each resource.
fn each(ty: ResourceType, cx: &Context<'_>, patches: &PatchList, made: Vec<Entry>) -> Vec<Entry> {
    let facts = AllFacts::of(ty, cx);
    let one = |entry: Entry| match ty {
        ResourceType::LISTENER => patched(cx, patches, &facts, &entry, listener),
        ResourceType::ROUTE => patched(cx, patches, &facts, &entry, routes),
        ResourceType::CLUSTER => patched(cx, patches, &facts, &entry, cluster),
        _ => Some(entry),
    };
    made.into_iter().filter_map(one).collect()
}

/// One resource after its patches; none when it is removed.
fn patched<T: Message + Name + 'static>(
    cx: &Context<'_>,
    patches: &PatchList,
    facts: &AllFacts,
    entry: &Entry,
    apply: impl Fn(&PatchInput) -> Outcome<T>,
) -> Option<Entry> {
    let resource = entry.any().ok()?.value;
    let gateway = cx.proxy.kind == ProxyType::Router;
    let input = Input(PatchInput { patches: patches.clone(), gateway, facts: facts.of_name(&entry.name), resource });
    let (patched, problems) = cx.memo.get(&(input, T::full_name()), |(input, _)| {
        let (resource, problems) = apply(&input.0);
        (resource.map(|resource| Entry::of(entry.name.clone(), &resource)), Arc::new(problems))
    });
    for problem in problems.iter() {
        cx.notes.add(NoteKind::Patch, &*problem.origin, format!("{}: {}", entry.name, problem.message));
    }
    patched
}

/// The input as key of the memo.
#[derive(Hash)]
struct Input(PatchInput);

/// What matching asks for beside the resources of a type.
#[derive(Default)]
struct AllFacts {
    /// Hosts of inbound clusters by port.
    hosts: BTreeMap<u32, Vec<Str>>,
    /// Ports of a gateway's servers by the port of the workload.
    ports: BTreeMap<Str, Vec<u32>>,
}

impl AllFacts {
    fn of(ty: ResourceType, cx: &Context<'_>) -> Self {
        let mut facts = Self::default();
        match (ty, cx.proxy.kind) {
            (ResourceType::CLUSTER, ProxyType::Sidecar) => {
                for target in cx.targets {
                    let host = target.service.host.as_str().into();
                    facts.hosts.entry(target.target_port).or_default().push(host);
                }
            }
            (ResourceType::ROUTE, ProxyType::Router) => {
                for (name, servers) in &merged(cx).routes {
                    let ports: BTreeSet<u32> = servers.iter().map(|one| one.server().port).collect();
                    facts.ports.insert(name.clone(), ports.into_iter().collect());
                }
            }
            _ => {}
        }
        facts
    }

    fn of_name(&self, name: &str) -> Facts {
        let hosts = match ClusterName::parse(name) {
            Some(ClusterName::Inbound { port }) => self.hosts.get(&port),
            _ => None,
        };
        Facts { hosts: hosts.cloned().unwrap_or_default(), ports: self.ports.get(name).cloned().unwrap_or_default() }
    }
}
