// SPDX-License-Identifier: Apache-2.0
//! What of the mesh cannot be served as it was declared, by the names that istiod's metrics have for it: each name is a gauge that tells how
//! many there are, and an entry of `/debug/push_status` that tells which.

use std::collections::BTreeMap;

use serde::Serialize;
use tiphys_compile::Snapshot;
use tiphys_model::{Health, Resolution, Service};
use tiphys_view::{NoteKind, Views};

/// Names that are always there, so that a gauge falls back to zero; with their help.
pub const NAMES: &[(&str, &str)] = &[
    ("pilot_conflict_inbound_listener", "Number of conflicting inbound listeners."),
    (
        "pilot_conflict_outbound_listener_tcp_over_current_tcp",
        "Number of conflicting tcp listeners with current tcp listener.",
    ),
    ("pilot_destrule_subsets", "Duplicate subsets across destination rules for same host"),
    ("pilot_dns_cluster_without_endpoints", "DNS clusters without endpoints: proxies have no name to resolve."),
    ("pilot_duplicate_envoy_clusters", "Duplicate envoy clusters caused by service entries with same hostname"),
    ("pilot_eds_no_instances", "Number of clusters without instances."),
    ("pilot_endpoint_not_ready", "Endpoint found in unready state."),
    ("pilot_vservice_dup_domain", "Virtual services with dup domains."),
    ("tiphys_authorizer_unreachable", "Services that decide requests, and that proxies which ask them do not see."),
    ("tiphys_conflict_gateway_server", "Servers of gateways that are left out because of others, or without a route."),
    ("tiphys_patch_left_out", "Patches of EnvoyFilters that could not be applied to a resource."),
    ("tiphys_warnings", "Objects of which something is left out, or replaced by a fail-safe form."),
];

/// One thing, in the shape that istiod's page has.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Event {
    /// A workload that would have it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub proxy: String,
    /// What it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Things by name and by what they are about.
pub type PushStatus = BTreeMap<&'static str, BTreeMap<String, Event>>;

/// What cannot be served in the picture that is served now.
pub fn push_status(views: &Views) -> PushStatus {
    let mut status: PushStatus = NAMES.iter().map(|(name, _)| (*name, BTreeMap::new())).collect();
    let mut add = |name: &'static str, key: String, proxy: &str, message: String| {
        let events = status.entry(name).or_default();
        let event = Event { proxy: proxy.to_owned(), message };
        // Several of one key are told together.
        events
            .entry(key)
            .and_modify(|known| known.message = format!("{}; {}", known.message, event.message))
            .or_insert_with(|| event.clone());
    };
    for (note, workload) in views.notes() {
        let name = match note.kind {
            NoteKind::OutboundListener => "pilot_conflict_outbound_listener_tcp_over_current_tcp",
            NoteKind::InboundListener => "pilot_conflict_inbound_listener",
            NoteKind::Domain => "pilot_vservice_dup_domain",
            NoteKind::GatewayServer => "tiphys_conflict_gateway_server",
            NoteKind::Authorizer => "tiphys_authorizer_unreachable",
            NoteKind::Patch => "tiphys_patch_left_out",
        };
        add(name, note.key, &workload, note.message);
    }
    let Some(snapshot) = views.snapshot() else { return status };
    for (key, problems) in snapshot.warnings.iter() {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        add("tiphys_warnings", key.to_string(), "", problems.join("; "));
    }
    for (host, subset) in snapshot.destination_rules.duplicate_subsets() {
        let message = format!("subset {subset} is there twice: that of the older rule counts");
        add("pilot_destrule_subsets", host.to_string(), "", message);
    }
    for service in &snapshot.services.all {
        of_service(&snapshot, service, &mut add);
    }
    status
}

fn of_service(snapshot: &Snapshot, service: &Service, add: &mut impl FnMut(&'static str, String, &str, String)) {
    let key = format!("{}/{}", service.namespace, service.host);
    let first = snapshot.services.get(&service.host, &service.namespace);
    if first.is_some_and(|first| first.object_name != service.object_name && first.registry == service.registry) {
        let message = format!("ServiceEntry {} has the host of another", service.object_name);
        add("pilot_duplicate_envoy_clusters", key.clone(), "", message);
        return;
    }
    let endpoints = snapshot.endpoints.of(service);
    let none = endpoints.is_none_or(|endpoints| endpoints.endpoints.is_empty());
    let dns = matches!(service.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
    match service.resolution {
        _ if dns && none => {
            let message = "no endpoint has a name to resolve: the cluster is left out".to_owned();
            add("pilot_dns_cluster_without_endpoints", key, "", message);
        }
        Resolution::ClientSide if none => add("pilot_eds_no_instances", key, "", String::new()),
        _ => {
            let unready = |e: &&tiphys_model::Endpoint| e.health == Health::Unhealthy;
            for endpoint in endpoints.iter().flat_map(|e| &e.endpoints).filter(unready) {
                let at = format!("{}:{}", endpoint.address(), endpoint.port);
                add("pilot_endpoint_not_ready", format!("{key} {at}"), "", String::new());
            }
        }
    }
}
