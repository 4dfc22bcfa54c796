// SPDX-License-Identifier: Apache-2.0
//! The load assignments of a proxy: one for each of its clusters whose endpoints the control plane tells.

use crate::clusters::{has_no_clusters, passes_sni};
use crate::destination::{Destination, of_service, place, scope_name, seen};
use crate::{Context, Generator, Patch};
use std::collections::BTreeSet;
use std::sync::Arc;
use tiphys_compile::ServiceKey;
use tiphys_model::{Fingerprint, Marked, Service};
use tiphys_proto::envoy::config::cluster::v3::cluster::DiscoveryType;
use tiphys_translate::cluster::discovery;
use tiphys_translate::endpoint::load_assignment;
use tiphys_xds::{Entry, ResourceType};

/// How load assignments are made. The endpoints of a service touch its own assignments only.
pub(crate) fn generator() -> Generator {
    Generator { ty: ResourceType::ENDPOINT, proxy, world, build, patch: Some(patch) }
}

fn proxy(cx: &Context<'_>) -> Fingerprint {
    Fingerprint::of(&(scope_name(cx), place(cx)))
}

fn world(cx: &Context<'_>) -> Fingerprint {
    let snapshot = cx.snapshot;
    Fingerprint::of(&(
        snapshot.mesh.fingerprint(),
        cx.scope.services_fingerprint(),
        snapshot.destination_rules.fingerprint(),
        &snapshot.security.told,
        passes_sni(cx),
    ))
}

/// What all load assignments are made of: equal keys have equal assignments.
#[derive(Hash)]
struct AllKey {
    place: Fingerprint,
    world: Fingerprint,
    endpoints: Fingerprint,
}

fn build(cx: &Context<'_>) -> Vec<Entry> {
    let key = AllKey { place: place(cx), world: world(cx), endpoints: cx.snapshot.endpoints.fingerprint() };
    // Made once for all proxies that see alike, of whatever namespace.
    let all: Arc<Vec<Entry>> = cx.memo.get(&key, |_| {
        let sni = passes_sni(cx);
        Arc::new(cx.scope.services.iter().flat_map(|service| of(cx, sni, service)).collect())
    });
    all.to_vec()
}

fn patch(cx: &Context<'_>, changed: &BTreeSet<ServiceKey>) -> Patch {
    let sni = passes_sni(cx);
    let upserts = seen(cx, changed).into_iter().flat_map(|service| of(cx, sni, service)).collect();
    // A service without endpoints keeps its assignments: they are empty.
    Patch { upserts, removals: Vec::new() }
}

fn of(cx: &Context<'_>, sni: bool, service: &Marked<Service>) -> Vec<Entry> {
    let told = discovery(&cx.snapshot.mesh, cx.proxy.kind, service) == DiscoveryType::Eds;
    if !told || has_no_clusters(service) {
        return Vec::new();
    }
    let sni = (sni && !service.mesh_external).then_some(true);
    let kinds = std::iter::once(false).chain(sni);
    let all = kinds.flat_map(|sni| of_service(cx, service, sni));
    all.filter(|destination| !destination.is_passthrough()).map(|destination| entry(cx, &destination)).collect()
}

fn entry(cx: &Context<'_>, destination: &Destination<'_>) -> Entry {
    cx.memo.get(&destination.assignment(cx), |input| {
        let assignment = load_assignment(input);
        Entry::of(assignment.cluster_name.as_str(), &assignment)
    })
}
