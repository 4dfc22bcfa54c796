// SPDX-License-Identifier: Apache-2.0
//! The clusters of a proxy: those of the services that it sees, shared by all proxies of a namespace and kind, those that lead to its own
//! workload, and those that every proxy has.

use crate::destination::{Destination, of_service, place, scope_name, seen};
use crate::environment::flag;
use crate::{Context, Generator, Patch};
use std::collections::BTreeSet;
use std::sync::Arc;
use tiphys_compile::{ServiceKey, proxy_config};
use tiphys_model::{
    Attachment, Fingerprint, Marked, Mesh, ProxyType, Resolution, ServerTlsMode, Service, ServiceEndpoints, Str,
    labels_match,
};
use tiphys_proto::envoy::config::cluster::v3::Cluster;
use tiphys_proto::envoy::config::cluster::v3::cluster::DiscoveryType;
use tiphys_translate::cluster::{self, Certificates, Client, OutboundInput};
use tiphys_xds::{Entry, ResourceType};

/// How clusters are made. The endpoints of a service touch its own clusters only: by the identities of its workloads, and by the
/// names that are to be resolved.
pub(crate) fn generator() -> Generator {
    Generator { ty: ResourceType::CLUSTER, proxy, world, build, patch: Some(patch) }
}

fn proxy(cx: &Context<'_>) -> Fingerprint {
    Fingerprint::of(&(scope_name(cx), outbound_proxy(cx), cx.targets, cx.proxy.interception, &cx.proxy.addresses))
}

fn world(cx: &Context<'_>) -> Fingerprint {
    Fingerprint::of(&(outbound_world(cx), &cx.scope.sidecar))
}

/// What the clusters of services depend on of a proxy.
fn outbound_proxy(cx: &Context<'_>) -> Fingerprint {
    let labels = cx.snapshot.destination_rules.client_reads().labels.then_some(&cx.proxy.labels);
    Fingerprint::of(&(client(cx), labels, place(cx)))
}

/// What the clusters of services depend on of the mesh, endpoints apart.
fn outbound_world(cx: &Context<'_>) -> Fingerprint {
    let snapshot = cx.snapshot;
    Fingerprint::of(&(
        snapshot.mesh.fingerprint(),
        cx.scope.services_fingerprint(),
        snapshot.destination_rules.fingerprint(),
        &snapshot.security.told,
        passes_sni(cx),
    ))
}

/// What the clusters of services are made of: equal keys have equal clusters.
#[derive(Hash)]
struct OutboundKey {
    proxy: Fingerprint,
    world: Fingerprint,
    endpoints: Fingerprint,
}

fn build(cx: &Context<'_>) -> Vec<Entry> {
    let key = OutboundKey {
        proxy: outbound_proxy(cx),
        world: outbound_world(cx),
        endpoints: cx.snapshot.endpoints.fingerprint(),
    };
    // Made once for all proxies that call alike, whatever they serve.
    let outbound: Arc<Vec<Entry>> = cx.memo.get(&key, |_| {
        let caller = Caller::of(cx);
        Arc::new(cx.scope.services.iter().flat_map(|service| of(cx, &caller, service).0).collect())
    });
    let mut entries = Vec::with_capacity(outbound.len() + 8);
    entries.extend_from_slice(&outbound);
    entries.extend(builtin(cx));
    entries.extend(crate::inbound_clusters::inbound(cx));
    entries
}

fn patch(cx: &Context<'_>, changed: &BTreeSet<ServiceKey>) -> Patch {
    let mut patch = Patch::default();
    let caller = Caller::of(cx);
    for service in seen(cx, changed) {
        let (upserts, removals) = of(cx, &caller, service);
        patch.upserts.extend(upserts);
        patch.removals.extend(removals);
    }
    patch
}

/// Whether a service is called by no cluster of its own: another name of a service, or one whose requests name what to resolve.
pub(crate) fn has_no_clusters(service: &Service) -> bool {
    matches!(service.resolution, Resolution::Alias | Resolution::DynamicDns)
}

/// What the clusters of all services share.
struct Caller {
    client: Client,
    sni: bool,
}

impl Caller {
    fn of(cx: &Context<'_>) -> Self {
        Self { client: client(cx), sni: passes_sni(cx) }
    }
}

/// The clusters of a service, and the names of those that it lacks because nothing is there to be resolved.
fn of(cx: &Context<'_>, caller: &Caller, service: &Marked<Service>) -> (Vec<Entry>, Vec<Arc<str>>) {
    let (mut entries, mut lacking) = (Vec::new(), Vec::new());
    if has_no_clusters(service) {
        return (entries, lacking);
    }
    let sni = (caller.sni && !service.mesh_external).then_some(true);
    let identities = identities(cx, service);
    for destination in std::iter::once(false).chain(sni).flat_map(|sni| of_service(cx, service, sni)) {
        let input = input(cx, caller, &destination, identities.clone());
        match cx.memo.get(&input, |input| cluster::outbound(input).as_ref().map(entry)) {
            Some(entry) => entries.push(entry),
            None => lacking.push(input.name().into()),
        }
    }
    (entries, lacking)
}

pub(crate) fn entry(cluster: &Cluster) -> Entry {
    Entry::of(cluster.name.as_str(), cluster)
}

fn input(cx: &Context<'_>, caller: &Caller, destination: &Destination<'_>, identities: Vec<Str>) -> OutboundInput {
    let mesh = &cx.snapshot.mesh;
    let found = cluster::discovery(mesh, cx.proxy.kind, destination.service);
    let dns = matches!(found, DiscoveryType::StrictDns | DiscoveryType::LogicalDns);
    OutboundInput {
        mesh: mesh.clone(),
        client: caller.client.clone(),
        service: destination.service.clone(),
        port: destination.port.number,
        subset: destination.subset.cloned(),
        sni: destination.sni,
        rule: destination.rule.cloned(),
        auto_mtls: destination.auto_mtls(cx),
        identities,
        endpoints: dns.then(|| destination.assignment(cx)),
    }
}

/// What clusters read of a proxy.
pub(crate) fn client(cx: &Context<'_>) -> Client {
    let proxy = cx.proxy;
    let text = |key: &str| Str::from(proxy.metadata_str(key));
    let chain = text("TLS_CLIENT_CERT_CHAIN");
    let certificates = (!chain.is_empty()).then(|| Certificates {
        chain,
        key: text("TLS_CLIENT_KEY"),
        root: text("TLS_CLIENT_ROOT_CERT"),
    });
    Client {
        kind: proxy.kind,
        istio_filters: proxy.istio_filters,
        ipv4: proxy.has_ipv4(),
        ipv6: proxy.has_ipv6(),
        certificates,
        credential_socket: flag(proxy, "credential"),
        files_socket: flag(proxy, "file-credential"),
        preserve_case: proxy_config(&cx.snapshot.mesh.listener.proxy_config, proxy).headers.preserve_case,
    }
}

/// Whether the proxy is a gateway with servers that pass TLS on by the SNI of clients of the mesh.
pub(crate) fn passes_sni(cx: &Context<'_>) -> bool {
    cx.proxy.kind == ProxyType::Router
        && cx.snapshot.gateways.iter().any(|gateway| {
            let attached = match &gateway.attachment {
                Attachment::Labels(labels) => labels_match(labels, &cx.proxy.labels),
                Attachment::Services(_) => false,
            };
            let passes = |tls: &tiphys_model::ServerTls| tls.mode == ServerTlsMode::AutoPassthrough;
            attached && gateway.servers.iter().any(|server| server.tls.as_ref().is_some_and(passes))
        })
}

/// What the identities of a service are made of.
#[derive(Hash)]
struct IdentityKey {
    mesh: Marked<Mesh>,
    service: Marked<Service>,
    endpoints: Option<Marked<ServiceEndpoints>>,
}

/// Names that the certificates of a service's workloads may have: in the mesh's trust domain and in those that count as it.
fn identities(cx: &Context<'_>, service: &Marked<Service>) -> Vec<Str> {
    let key = IdentityKey {
        mesh: cx.snapshot.mesh.clone(),
        service: service.clone(),
        endpoints: cx.snapshot.endpoints.of(service).cloned(),
    };
    cx.memo.get(&key, |key| {
        let of_endpoints = key.endpoints.as_ref().map(|endpoints| endpoints.identities()).unwrap_or_default();
        let mut names: BTreeSet<Str> = of_endpoints;
        names.extend(key.service.subject_alt_names.iter().cloned());
        let of_domain = |name: &Str| Some(name.strip_prefix("spiffe://")?.split_once('/')?.1.to_owned());
        let paths: Vec<String> = names.iter().filter_map(of_domain).collect();
        for alias in &key.mesh.trust_domain_aliases {
            names.extend(paths.iter().map(|path| Str::from(format!("spiffe://{alias}/{path}"))));
        }
        names.into_iter().collect::<Vec<Str>>()
    })
}

/// What the clusters that belong to no service are made of.
#[derive(Hash)]
struct BuiltinKey {
    mesh: Marked<Mesh>,
    client: Client,
}

fn builtin(cx: &Context<'_>) -> Vec<Entry> {
    let key = BuiltinKey { mesh: cx.snapshot.mesh.clone(), client: client(cx) };
    let entries: Arc<Vec<Entry>> = cx.memo.get(&key, |key| {
        let mut clusters = vec![cluster::black_hole(&key.mesh)];
        // Gateways have no listener that knows where clients were going.
        if key.client.kind == ProxyType::Sidecar {
            clusters.push(cluster::passthrough(&key.mesh, &key.client));
            clusters.push(cluster::inbound_passthrough(&key.mesh, &key.client));
        }
        if key.client.credential_socket {
            clusters.push(cluster::external_secrets(&key.mesh));
        }
        Arc::new(clusters.iter().map(entry).collect())
    });
    entries.to_vec()
}
