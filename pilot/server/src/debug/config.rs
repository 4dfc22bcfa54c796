// SPDX-License-Identifier: Apache-2.0
//! Pages about what was configured: objects, settings, and what is wrong with them.

use std::collections::BTreeMap;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json as value};
use tiphys_api::{Kind, Object};
use tokio::sync::oneshot;

use super::json;
use crate::http::Shown;

/// Objects of these kinds hold secrets, or are too many and not configuration: istiod's page has configuration only as well.
fn is_config(kind: Kind) -> bool {
    kind.is_istio() || kind.is_gateway_api()
}

fn show(object: &Object) -> Option<Value> {
    let mut shown = object.to_json().ok()?;
    if let Some(annotations) = shown.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        // It repeats the whole object.
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    if object.kind() == Kind::WasmPlugin
        && let Some(env) = shown.pointer_mut("/spec/vmConfig/env").and_then(Value::as_array_mut)
    {
        env.iter_mut().filter_map(Value::as_object_mut).for_each(|e| {
            e.insert("value".to_owned(), "[redacted]".into());
        });
    }
    Some(shown)
}

pub(super) async fn configz(State(shown): State<Shown>, RawQuery(query): RawQuery) -> Response {
    let (ask, answer) = oneshot::channel();
    let asked = shown.queries.send(ask).await.is_ok();
    match answer.await {
        Ok(objects) if asked => {
            let objects: Vec<Value> = objects.iter().filter(|o| is_config(o.kind())).filter_map(|o| show(o)).collect();
            json(query.as_deref(), &objects)
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, "busy: ask again\n").into_response(),
    }
}

pub(super) async fn mesh(State(shown): State<Shown>, RawQuery(query): RawQuery) -> Response {
    let mesh = shown.published.borrow().mesh.clone();
    match mesh.to_json() {
        Ok(mesh) => json(query.as_deref(), &mesh),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

pub(super) async fn push_status(State(shown): State<Shown>, RawQuery(query): RawQuery) -> Response {
    let Some(snapshot) = shown.views.snapshot() else { return json(query.as_deref(), &value!({})) };
    let warnings: BTreeMap<String, Vec<String>> = snapshot
        .warnings
        .iter()
        .map(|(key, problems)| (key.to_string(), problems.iter().map(ToString::to_string).collect()))
        .collect();
    json(query.as_deref(), &value!({"generation": snapshot.generation, "warnings": warnings}))
}

pub(super) async fn reportz(State(shown): State<Shown>, RawQuery(query): RawQuery) -> Response {
    let reports = shown.published.borrow().reports.clone();
    let reports: Vec<Value> = reports
        .values()
        .map(|report| {
            let problems: Vec<Value> = report
                .problems
                .iter()
                .map(|p| {
                    let (problem, place) = (&p.problem, p.origin.to_string());
                    value!({"severity": problem.severity.to_string(), "place": place, "field": problem.path, "message": problem.message})
                })
                .collect();
            let object = report.id.key.as_ref().map(ToString::to_string);
            value!({"place": report.origin.to_string(), "object": object, "outcome": report.outcome.to_string(), "problems": problems})
        })
        .collect();
    json(query.as_deref(), &reports)
}

pub(super) async fn resourcesz(RawQuery(query): RawQuery) -> Response {
    let kinds: Vec<Value> = Kind::ALL
        .iter()
        .flat_map(|kind| {
            let info = kind.info();
            info.versions
                .iter()
                .map(move |version| value!({"Group": info.group, "Version": version, "Kind": info.name}))
        })
        .collect();
    json(query.as_deref(), &kinds)
}
