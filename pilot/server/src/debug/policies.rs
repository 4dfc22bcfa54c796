// SPDX-License-Identifier: Apache-2.0
//! Pages about policies as they were declared, by namespace: authorization and telemetry; and how far a change of mutual TLS is.

use std::collections::BTreeMap;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json as value};
use tiphys_api::Kind;

use super::config::{objects, show};
use super::json;
use crate::http::Shown;

/// The objects of a kind by namespace, each with these fields of its metadata and its spec, as istiod lists policies.
fn by_namespace(shown: &Shown, objects: &[Value], named: (&str, &str), fields: &[&str]) -> Value {
    let (kind, list) = named;
    let mut namespaces: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for object in objects.iter().filter(|object| object["kind"] == kind) {
        let mut one: Map<String, Value> =
            fields.iter().map(|field| ((*field).to_owned(), object["metadata"][*field].clone())).collect();
        one.insert("spec".to_owned(), object["spec"].clone());
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        namespaces.entry(namespace.to_owned()).or_default().push(one.into());
    }
    value!({list: namespaces, "root_namespace": shown.published.borrow().mesh.root_namespace})
}

/// The objects in force of a kind, as JSON.
async fn of_kind(shown: &Shown, kind: Kind) -> Result<Vec<Value>, Response> {
    let objects = objects(shown).await.map_err(IntoResponse::into_response)?;
    Ok(objects.iter().filter(|object| object.kind() == kind).filter_map(|object| show(object)).collect())
}

async fn authorization(shown: &Shown) -> Result<Value, Response> {
    let objects = of_kind(shown, Kind::AuthorizationPolicy).await?;
    let named = (Kind::AuthorizationPolicy.name(), "namespace_to_policies");
    Ok(by_namespace(shown, &objects, named, &["name", "namespace", "annotations"]))
}

fn answer(query: Option<&str>, made: Result<Value, Response>) -> Response {
    made.map_or_else(|refused| refused, |made| json(query, &made))
}

pub(super) async fn authorizationz(State(shown): State<Shown>, RawQuery(query): RawQuery) -> Response {
    let made = authorization(&shown).await.map(|policies| value!({"authorization_policies": policies}));
    answer(query.as_deref(), made)
}

pub(super) async fn telemetryz(State(shown): State<Shown>, RawQuery(query): RawQuery) -> Response {
    let named = (Kind::Telemetry.name(), "namespace_to_telemetries");
    let made = of_kind(&shown, Kind::Telemetry).await.map(|objects| {
        let telemetries = by_namespace(&shown, &objects, named, &["name", "namespace"]);
        value!({"telemetries": telemetries})
    });
    answer(query.as_deref(), made)
}

/// What istiod keeps beside its caches; gateways between networks are none, since there is one network.
pub(super) async fn pushcontext(State(shown): State<Shown>, RawQuery(query): RawQuery) -> Response {
    let made = authorization(&shown).await.map(
        |policies| value!({"AuthorizationPolicies": policies, "NetworkGateways": null, "UnresolvedGateways": null}),
    );
    answer(query.as_deref(), made)
}

pub(super) async fn mtls_rolloutz(State(shown): State<Shown>, RawQuery(query): RawQuery) -> Response {
    json(query.as_deref(), &shown.rollouts.status())
}
