// SPDX-License-Identifier: Apache-2.0
//! The HTTP ports: readiness, metrics, version, log levels and debug pages. What tells of the mesh's inside is behind [`crate::debug::access`].

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Redirect, Response};
use axum::routing::get;
use axum::{Extension, Router};
use serde::{Deserialize, Serialize};
use tiphys_ca::Authenticators;
use tiphys_view::Views;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::debug::{self, Access};
use crate::log::{Log, SCOPES};
use crate::metrics::Metrics;
use crate::rollout::Board;
use crate::settings::Settings;
use crate::version;
use crate::writer::{ObjectsQuery, Published};

/// What the pages show.
#[derive(Clone)]
pub struct Shown {
    /// The served picture and its clients.
    pub views: Arc<Views>,
    /// What the writer published last.
    pub published: watch::Receiver<Published>,
    /// Questions to the writer.
    pub queries: mpsc::Sender<ObjectsQuery>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// The log, whose levels may be changed.
    pub log: Log,
    /// Who accepts the tokens of callers from elsewhere.
    pub authenticators: Authenticators,
    /// Settings of the pages.
    pub settings: Arc<Settings>,
    /// Name of this cluster.
    pub cluster: Arc<str>,
    /// Changes of mutual TLS on their way.
    pub rollouts: Arc<Board>,
    /// The injection's `config` in force, where there are webhooks.
    pub injection: Arc<ArcSwapOption<String>>,
}

/// Levels of the log.
fn levels() -> Router<Shown> {
    Router::new()
        .route("/scopej", get(scopes))
        .route("/scopej/", get(scopes))
        .route("/scopej/{scope}", get(scope).put(set_scope))
}

/// The pages of the control port, in the place of istiod's ControlZ.
pub fn control_router(shown: Shown) -> Router {
    let home = Router::new().route("/", get(|| async { Redirect::temporary("/scopej/") }));
    home.merge(levels().layer(middleware::from_fn_with_state(shown.clone(), guard))).with_state(shown)
}

/// All pages.
pub fn router(shown: Shown) -> Router {
    let mut inside = levels();
    let mut open =
        Router::new().route("/ready", get(ready)).route("/metrics", get(metrics)).route("/version", get(version_page));
    if shown.settings.debug_on_http {
        inside = inside.merge(debug::router());
        open = open.route("/debug", get(debug::index));
    }
    let guarded = inside.layer(middleware::from_fn_with_state(shown.clone(), guard));
    open.merge(guarded).fallback(elsewhere).with_state(shown)
}

/// Where a path that no page has leads: without repeated slashes, as `istioctl version` writes them (`//version`), there may be one.
async fn elsewhere(uri: Uri) -> Response {
    let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    let end = if uri.path().ends_with('/') && !parts.is_empty() { "/" } else { "" };
    let clean = format!("/{}{end}", parts.join("/"));
    if clean == uri.path() {
        return (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Redirect::permanent(&(clean + &query)).into_response()
}

/// Serves the pages until told to stop.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(stop).await
}

async fn guard(
    State(shown): State<Shown>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    match debug::access(&shown, peer, request.headers(), request.uri().path()).await {
        Ok(access) => {
            request.extensions_mut().insert(access);
            next.run(request).await
        }
        Err(status) => status.into_response(),
    }
}

async fn ready(State(shown): State<Shown>) -> (StatusCode, &'static str) {
    if shown.published.borrow().ready {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the first picture of the mesh is not complete yet\n")
    }
}

async fn metrics(State(shown): State<Shown>) -> Response {
    match shown.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn version_page() -> String {
    version::build()
}

/// One scope of the log, in the form of istiod's control page.
#[derive(Debug, Serialize, Deserialize)]
struct Scope {
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    output_level: String,
    #[serde(default)]
    stack_trace_level: String,
    #[serde(default)]
    log_callers: bool,
}

fn show_scope(log: &Log, name: &str) -> Option<Scope> {
    let (name, description, _) = SCOPES.iter().find(|(known, _, _)| *known == name)?;
    Some(Scope {
        name: (*name).to_owned(),
        description: (*description).to_owned(),
        output_level: log.levels().get(name)?.to_string(),
        stack_trace_level: "none".to_owned(),
        log_callers: false,
    })
}

async fn scopes(State(shown): State<Shown>) -> Json<Vec<Scope>> {
    Json(SCOPES.iter().filter_map(|(name, _, _)| show_scope(&shown.log, name)).collect())
}

async fn scope(State(shown): State<Shown>, Path(name): Path<String>) -> Response {
    match show_scope(&shown.log, &name) {
        Some(scope) => Json(scope).into_response(),
        None => (StatusCode::BAD_REQUEST, format!("unknown scope name: {name}\n")).into_response(),
    }
}

async fn set_scope(
    State(shown): State<Shown>,
    Extension(access): Extension<Access>,
    Path(name): Path<String>,
    body: String,
) -> Response {
    if access != Access::All {
        return StatusCode::FORBIDDEN.into_response();
    }
    let set = || -> Result<(), String> {
        let wanted: Scope =
            serde_json::from_str(&body).map_err(|error| format!("unable to decode request: {error}"))?;
        if !["", "none"].contains(&wanted.stack_trace_level.as_str()) {
            return Err("stack traces are not logged: the only stack_trace_level is none".to_owned());
        }
        let level = match wanted.output_level.as_str() {
            // What is not told stays: `istioctl admin log --stack-trace-reset` tells of stack traces only.
            "" => shown.log.level(&name),
            level => level.parse(),
        };
        level.and_then(|level| shown.log.set(&name, level)).map_err(|error| error.to_string())
    };
    match set() {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error + "\n").into_response(),
    }
}
