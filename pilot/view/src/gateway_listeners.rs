// SPDX-License-Identifier: Apache-2.0
//! The listeners of a gateway.

use crate::environment::{environment, flag};
use crate::gateways::merged;
use crate::listeners::entry;
use crate::policies::security_filters;
use crate::world::ProxyWorld;
use crate::{Context, NoteKind};
use std::collections::BTreeMap;
use tiphys_model::{Marked, Str, VirtualService};
use tiphys_translate::listener::gateway;
use tiphys_translate::listener::gateway_plan::{self, GatewayFacts};
use tiphys_xds::Entry;

/// The listeners of a gateway.
pub(crate) fn gateway(cx: &Context<'_>) -> Vec<Entry> {
    let merged = merged(cx);
    let mut routes: BTreeMap<Str, Vec<Marked<VirtualService>>> = BTreeMap::new();
    for one in merged.ports.iter().flat_map(|port| &port.servers) {
        routes.entry(one.gateway.key()).or_insert_with_key(|key| bound(cx, key));
    }
    let facts = GatewayFacts {
        merged: &merged,
        routes: &routes,
        services: &cx.scope.services,
        unprivileged: flag(cx.proxy, "UNPRIVILEGED_POD"),
    };
    let plan = gateway_plan::plan(&environment(cx), &security_filters(cx), &ProxyWorld(cx), &facts);
    for conflict in &plan.conflicts {
        cx.notes.add(NoteKind::GatewayServer, conflict.listener.as_str(), conflict.reason.as_str());
    }
    for conflict in &merged.conflicts {
        let key = format!("{}:{}", conflict.gateway, conflict.port);
        cx.notes.add(NoteKind::GatewayServer, key, conflict.reason.as_str());
    }
    plan.listeners.iter().map(|input| entry(cx, input, gateway::listener)).collect()
}

/// The routes that are bound to a gateway and seen from its namespace.
fn bound(cx: &Context<'_>, gateway: &Str) -> Vec<Marked<VirtualService>> {
    let default = &cx.snapshot.mesh.default_virtual_service_export;
    let seen = |one: &&Marked<VirtualService>| {
        one.is_for_gateway(gateway) && one.export_to.allows(&one.namespace, &cx.proxy.namespace, default)
    };
    cx.snapshot.virtual_services.iter().filter(seen).cloned().collect()
}
