// SPDX-License-Identifier: Apache-2.0
//! Pages about what was configured: objects, settings, and what is wrong with them.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json as value};
use tiphys_api::{Kind, Object};
use tiphys_webhook::inject::config::template_texts;
use tokio::sync::oneshot;

use super::json;
use crate::http::Shown;

/// Objects of these kinds hold secrets, or are too many and not configuration: istiod's page has configuration only as well.
fn is_config(kind: Kind) -> bool {
    kind.is_istio() || kind.is_gateway_api()
}

/// Objects in force, as the writer has them.
///
/// # Errors
/// The answer when the writer is gone.
pub(super) async fn objects(shown: &Shown) -> Result<Vec<Arc<Object>>, (StatusCode, &'static str)> {
    let (ask, answer) = oneshot::channel();
    let asked = shown.queries.send(ask).await.is_ok();
    answer.await.ok().filter(|_| asked).ok_or((StatusCode::SERVICE_UNAVAILABLE, "busy: ask again\n"))
}

/// An object as JSON, without what repeats it and what is secret.
pub(super) fn show(object: &Object) -> Option<Value> {
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
    match objects(&shown).await {
        Ok(objects) => {
            let objects: Vec<Value> = objects.iter().filter(|o| is_config(o.kind())).filter_map(|o| show(o)).collect();
            json(query.as_deref(), &objects)
        }
        Err(answer) => answer.into_response(),
    }
}

/// The templates in force, by name.
pub(super) async fn inject(State(shown): State<Shown>, RawQuery(query): RawQuery) -> Response {
    let Some(config) = shown.injection.load_full() else {
        return (StatusCode::NOT_FOUND, "nothing is injected here: there is no configuration of the injection\n")
            .into_response();
    };
    match template_texts(&config) {
        Ok(templates) => json(query.as_deref(), &templates),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
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
    json(query.as_deref(), &crate::push_status::push_status(&shown.views))
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
