// SPDX-License-Identifier: Apache-2.0
//! What one proxy sees of the mesh, and which resources are kept encoded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json as value};
use tiphys_api::Kind;
use tiphys_model::OutboundMode;

use super::config::{objects, show};
use super::proxies::one;
use super::services::{resource_versions, service};
use super::{Access, json, parameter};
use crate::http::Shown;

pub(super) async fn sidecarz(
    State(shown): State<Shown>,
    Extension(access): Extension<Access>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.as_deref();
    let client = match one(&shown, &access, query) {
        Ok(client) => client,
        Err(answer) => return answer.into_response(),
    };
    let objects = match objects(&shown).await {
        Ok(objects) => objects,
        Err(answer) => return answer.into_response(),
    };
    let Some(snapshot) = shown.views.snapshot() else { return json(query, &Value::Null) };
    let scope = snapshot.scope(&client.node);
    let versions = resource_versions(&objects);
    let spec = |kind: Kind, namespace: &str, name: &str| {
        let object =
            objects.iter().find(|o| o.kind() == kind && o.meta.namespace == namespace && o.meta.name == name)?;
        Some(show(object)?["spec"].take())
    };
    let list = |services: &[tiphys_model::Marked<tiphys_model::Service>]| -> Vec<Value> {
        services.iter().map(|s| service(&shown, &snapshot, s, &versions)).collect()
    };
    let egress: Vec<Vec<Value>> = scope.egress.iter().map(|listener| list(&listener.services)).collect();
    let by_host: BTreeMap<String, Value> =
        scope.services.iter().map(|s| (s.host.to_string(), service(&shown, &snapshot, s, &versions))).collect();
    let mut rules: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for service in &scope.services {
        let node = &client.node;
        if let Some(rule) = snapshot.destination_rules.outbound(&node.namespace, &node.labels, service) {
            let rule = value!({
                "rule": spec(Kind::DestinationRule, &rule.namespace, &rule.name),
                "from": [{"Name": &*rule.name, "Namespace": &*rule.namespace}],
            });
            rules.insert(service.host.to_string(), vec![rule]);
        }
    }
    let mode = match scope.outbound_mode {
        OutboundMode::AllowAny => "ALLOW_ANY",
        OutboundMode::RegistryOnly => "REGISTRY_ONLY",
    };
    let sidecar = scope.sidecar.as_ref();
    let shown_scope = value!({
        "version": snapshot.generation.to_string(),
        "name": sidecar.map(|s| s.name.to_string()).unwrap_or_default(),
        "namespace": &*scope.namespace,
        "outboundTrafficPolicy": {"mode": mode},
        "services": list(&scope.services),
        "egressListenerServices": egress,
        "servicesByHostname": by_host,
        "sidecar": sidecar.and_then(|s| spec(Kind::Sidecar, &s.namespace, &s.name)),
        "destinationRules": rules,
    });
    json(query, &shown_scope)
}

/// Resources that are kept encoded for connected proxies, by type. `?sizes` tells their bytes, `?clear` forgets what they are made of.
pub(super) async fn cachez(State(shown): State<Shown>, RawQuery(query): RawQuery) -> Response {
    let query = query.as_deref();
    if parameter(query, "clear").is_some_and(|value| !value.is_empty()) {
        shown.views.forget();
        return "Cache cleared\n".into_response();
    }
    let mut seen = BTreeSet::new();
    let mut names: BTreeMap<&'static str, BTreeMap<Arc<str>, usize>> = BTreeMap::new();
    for client in shown.views.clients() {
        let Some(view) = shown.views.view_of(client.connection) else { continue };
        for (ty, _) in view.types() {
            let Some(table) = view.table(ty) else { continue };
            if seen.insert((ty, table.fingerprint())) {
                let of_type = names.entry(ty.url()).or_default();
                of_type.extend(table.iter().map(|entry| (entry.name.clone(), entry.body.len())));
            }
        }
    }
    if parameter(query, "sizes").is_some_and(|value| !value.is_empty()) {
        let of = |names: &BTreeMap<Arc<str>, usize>| names.values().sum::<usize>();
        let mut sizes: BTreeMap<&str, String> = names.iter().map(|(ty, names)| (*ty, bytes(of(names)))).collect();
        sizes.insert("total", bytes(names.values().map(of).sum()));
        return json(query, &sizes);
    }
    let names: BTreeMap<_, Vec<_>> = names.iter().map(|(ty, names)| (ty, names.keys().collect())).collect();
    json(query, &names)
}

/// A number of bytes for readers, in the unit that fits, as istiod writes it.
fn bytes(count: usize) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count}B");
    }
    // What is lost beyond 2^52 bytes is not shown.
    #[allow(clippy::cast_precision_loss)]
    let (mut value, mut unit) = (count as f64 / 1e3, 0);
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1e3;
        unit += 1;
    }
    format!("{value:.1}{}", UNITS[unit])
}

/// Pages of istiod about what this control plane does not have.
pub(super) async fn absent(request: axum::extract::Request) -> Response {
    let why = match request.uri().path().rsplit('/').next().unwrap_or_default() {
        "ambientz" => "ambient mesh is not supported: there are no ztunnels and waypoints to show",
        "krtz" => "there are no krt collections in this control plane; see /debug/push_status and /debug/reportz",
        "mcsz" => "ServiceExport and ServiceImport are not supported: there are no multi-cluster services to show",
        // On the first words `istioctl x internal-debug` prints the list of pages.
        _ => "404 page not found: see /debug",
    };
    (StatusCode::NOT_FOUND, format!("{why}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_are_readable() {
        assert_eq!([0, 999, 1000, 1_550_000].map(bytes), ["0B", "999B", "1.0kB", "1.6MB"]);
    }
}
