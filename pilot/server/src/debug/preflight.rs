// SPDX-License-Identifier: Apache-2.0
//! What STRICT would break: `GET` for a namespace or the mesh as the query says, `POST` with given policies and the proxies that are
//! connected to all replicas.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Json, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use tiphys_api::{Kind, Origin, parse_value};
use tiphys_preflight::{Ask, Proxies};

use super::{Access, json, parameter};
use crate::http::Shown;
use crate::preflight::{Preflight, Question};

/// Agents are waited for no longer.
const WITHIN: Duration = Duration::from_secs(15);
/// How many agents are asked at most.
const AGENTS: usize = 10_000;
/// Agents remember an hour.
const MINUTES: u32 = 60;

/// What is asked.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    /// The namespace whose servers count; none for the mesh.
    namespace: Option<String>,
    /// PeerAuthentications that would be applied.
    policies: Vec<Value>,
    /// Clients that do not count.
    ignore: Vec<String>,
    /// How far agents look back.
    minutes: Option<u32>,
    /// The proxies of all replicas.
    proxies: Option<Proxies>,
}

pub(super) async fn get(
    State(shown): State<Shown>,
    Extension(access): Extension<Access>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.as_deref();
    let ignore = parameter(query, "ignore").unwrap_or_default();
    let minutes = match parameter(query, "minutes").map(|text| text.parse()) {
        None => None,
        Some(Ok(minutes)) => Some(minutes),
        Some(Err(_)) => return (StatusCode::BAD_REQUEST, "minutes: a number from 1 to 60\n").into_response(),
    };
    let asked = Asked {
        namespace: parameter(query, "namespace").filter(|name| !name.is_empty()),
        ignore: ignore.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        minutes,
        ..Asked::default()
    };
    answer(&shown, &access, query, asked).await
}

pub(super) async fn post(
    State(shown): State<Shown>,
    Extension(access): Extension<Access>,
    RawQuery(query): RawQuery,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Response {
    match asked {
        Ok(Json(asked)) => answer(&shown, &access, query.as_deref(), asked).await,
        Err(error) => (error.status(), format!("{}\n", error.body_text())).into_response(),
    }
}

async fn answer(shown: &Shown, access: &Access, query: Option<&str>, asked: Asked) -> Response {
    let question = match question(access, asked) {
        Ok(question) => question,
        Err((status, why)) => return (status, format!("{why}\n")).into_response(),
    };
    match Preflight::of(shown).report(question).await {
        Ok(report) => json(query, &report),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

fn question(access: &Access, asked: Asked) -> Result<Question, (StatusCode, String)> {
    let limited = match access {
        Access::All => None,
        Access::Namespace(own) => Some(own.clone()),
    };
    let namespace = asked.namespace.or_else(|| limited.clone());
    if let Some(other) = namespace.as_deref().filter(|name| !access.sees(name)) {
        return Err((StatusCode::FORBIDDEN, format!("this token is not for namespace {other}")));
    }
    let mut policies = Vec::new();
    for (index, value) in asked.policies.into_iter().enumerate() {
        let wrong = |why: String| (StatusCode::BAD_REQUEST, format!("policies[{index}]: {why}"));
        let object = parse_value(value, Origin::default()).map_err(|error| wrong(error.to_string()))?.object;
        if object.kind() != Kind::PeerAuthentication {
            return Err(wrong(format!("a {} is no PeerAuthentication", object.kind())));
        }
        policies.push(Arc::new(object));
    }
    Ok(Question {
        ask: Ask { namespace, policies, ignore: asked.ignore },
        proxies: asked.proxies,
        minutes: asked.minutes.unwrap_or(MINUTES).clamp(1, MINUTES),
        within: WITHIN,
        agents: AGENTS,
        limited,
    })
}
