// SPDX-License-Identifier: Apache-2.0
//! Debug pages, in the shapes that istiod's have, so that `istioctl` and scripts read them.
//!
//! Callers on this machine see everything. Others show a service account's token: one of the system namespace sees everything, one of another
//! namespace the pages and proxies of its own namespace only. Secrets are never shown.

pub mod ads;
mod config;
mod dump;
mod policies;
mod preflight;
mod proxies;
mod scope;
mod services;

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use crate::authenticate::credentials_of;
use crate::http::Shown;

/// What a caller may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    All,
    /// What belongs to this namespace.
    Namespace(String),
}

impl Access {
    /// Whether something of this namespace may be seen.
    pub fn sees(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(own) => own == namespace,
        }
    }
}

/// Name and purpose of each page.
const PAGES: &[(&str, &str)] = &[
    ("adsz", "Connected proxies, who they are and what they watch"),
    ("adsz?push=true", "How connected proxies are sent what changed"),
    ("ambientz", "Ambient mesh: not supported"),
    ("authorizationz", "AuthorizationPolicies in force, by namespace"),
    ("cachez", "Encoded resources that are kept for connected proxies"),
    ("cachez?clear=true", "Forgets what encoded resources are made of"),
    ("cachez?sizes=true", "Sizes of encoded resources"),
    ("clusterz", "Clusters that objects are read from"),
    (
        "config_dump",
        "What a proxy is given, as Envoy's config_dump has it; ?proxyID=NAME.NAMESPACE, types=, include_eds",
    ),
    ("configz", "Objects in force"),
    ("connections", "Connected proxies"),
    ("ecdsz", "Extension configurations of a proxy; ?proxyID=NAME.NAMESPACE"),
    ("edsz", "Endpoints that a proxy is given; ?proxyID=NAME.NAMESPACE"),
    ("endpointShardz", "Endpoints of every service"),
    ("endpointz", "Endpoints of every service"),
    ("inject", "Templates of the injection"),
    ("instancesz", "Services that each connected proxy serves"),
    ("krtz", "Collections of istiod's: not there"),
    ("mcsz", "Multi-cluster services: not supported"),
    ("mesh", "Settings of the mesh"),
    ("mtls_rolloutz", "How far a change of mutual TLS is, and for whom it waits"),
    ("ndsz", "Names that a proxy resolves; ?proxyID=NAME.NAMESPACE"),
    ("networkz", "Gateways between networks"),
    ("preflight/strict", "What STRICT would break, and the fix for each; ?namespace=, minutes=, ignore="),
    ("push_status", "What the last picture leaves out or replaces, and why"),
    ("pushcontext", "Policies and gateways between networks, as they are served"),
    ("registryz", "Services"),
    ("reportz", "What is wrong with objects and files"),
    ("resourcesz", "Kinds of objects that are read"),
    ("sidecarz", "What a proxy sees of the mesh; ?proxyID=NAME.NAMESPACE"),
    ("syncz", "What each connected proxy was sent and took"),
    ("telemetryz", "Telemetry resources in force, by namespace"),
];

/// Pages that show one proxy only: open to the proxy's namespace.
const OF_ONE_PROXY: &[&str] = &["config_dump", "edsz", "ndsz", "ecdsz", "sidecarz"];
/// Pages that can be cut down to one namespace.
const CUT: &[&str] = &["adsz", "connections", "syncz", "instancesz", "preflight/strict"];

/// The largest question: the proxies of a large mesh.
const LARGEST: usize = 8 << 20;

/// The pages, less the list at /debug itself.
pub fn router() -> Router<Shown> {
    Router::new()
        .route("/debug/adsz", get(proxies::adsz))
        .route("/debug/{page}", get(scope::absent))
        .route("/debug/authorizationz", get(policies::authorizationz))
        .route("/debug/cachez", get(scope::cachez))
        .route("/debug/clusterz", get(services::clusterz))
        .route("/debug/config_dump", get(dump::config_dump))
        .route("/debug/configz", get(config::configz))
        .route("/debug/connections", get(proxies::connections))
        .route("/debug/ecdsz", get(dump::ecdsz))
        .route("/debug/edsz", get(dump::edsz))
        .route("/debug/endpointShardz", get(services::endpointz))
        .route("/debug/endpointz", get(services::endpointz))
        .route("/debug/inject", get(config::inject))
        .route("/debug/instancesz", get(services::instancesz))
        .route("/debug/list", get(list))
        .route("/debug/mesh", get(config::mesh))
        .route("/debug/mtls_rolloutz", get(policies::mtls_rolloutz))
        .route("/debug/ndsz", get(dump::ndsz))
        .route("/debug/networkz", get(services::networkz))
        .route(
            "/debug/preflight/strict",
            get(preflight::get).post(preflight::post).layer(DefaultBodyLimit::max(LARGEST)),
        )
        .route("/debug/push_status", get(config::push_status))
        .route("/debug/pushcontext", get(policies::pushcontext))
        .route("/debug/registryz", get(services::registryz))
        .route("/debug/reportz", get(config::reportz))
        .route("/debug/resourcesz", get(config::resourcesz))
        .route("/debug/sidecarz", get(scope::sidecarz))
        .route("/debug/syncz", get(proxies::syncz))
        .route("/debug/telemetryz", get(policies::telemetryz))
}

/// What this caller may see of this page.
///
/// # Errors
/// The status to answer: 401 without a valid token, 403 when the page is not for the token's namespace.
pub async fn access(shown: &Shown, peer: SocketAddr, headers: &HeaderMap, path: &str) -> Result<Access, StatusCode> {
    if is_loopback(peer.ip()) {
        return Ok(Access::All);
    }
    let mut request = Request::new(());
    *request.headers_mut() = headers.clone();
    let caller = shown.authenticators.authenticate(&credentials_of(&request)).await.map_err(|error| {
        tracing::warn!(target: "authn", "{path} is refused to {peer}: {error}");
        StatusCode::UNAUTHORIZED
    })?;
    let namespace = caller.identities.first().map(|id| id.namespace().to_owned()).ok_or(StatusCode::UNAUTHORIZED)?;
    of_namespace(shown, namespace, path)
}

/// What a caller of a namespace may see of this page.
fn of_namespace(shown: &Shown, namespace: String, path: &str) -> Result<Access, StatusCode> {
    let system = shown.published.borrow().mesh.root_namespace.clone();
    if !shown.settings.debug_auth || namespace == system || shown.settings.debug_namespaces.contains(&namespace) {
        return Ok(Access::All);
    }
    let page = path.strip_prefix("/debug/").unwrap_or_default();
    if OF_ONE_PROXY.contains(&page) || CUT.contains(&page) {
        return Ok(Access::Namespace(namespace));
    }
    tracing::warn!(target: "authn", "{path} is not for namespace {namespace}");
    Err(StatusCode::FORBIDDEN)
}

/// Loopback, also as IPv4 inside of IPv6, which a dual-stack listener reports.
fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
    }
}

/// The list of pages.
pub async fn index(State(shown): State<Shown>) -> Html<String> {
    let rows: String = PAGES
        .iter()
        .map(|(name, what)| format!("<tr><td><a href=\"/debug/{name}\">/debug/{name}</a></td><td>{what}</td></tr>\n"))
        .collect();
    let proxies = shown.views.clients().len();
    Html(format!(
        "<!DOCTYPE html>\n<html><head><title>Tiphys: debug</title></head><body>\n<p>{proxies} proxies are connected. \
         <b>?pretty</b> formats a page's JSON.</p>\n<table>\n<tr><th>Page</th><th>What it shows</th></tr>\n{rows}</table>\n</body></html>\n"
    ))
}

async fn list(RawQuery(query): RawQuery) -> Response {
    json(query.as_deref(), &PAGES.iter().map(|(name, _)| *name).collect::<Vec<_>>())
}

/// The value of a parameter in a query.
fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A page of JSON; `?pretty` lays it out for readers.
fn json(query: Option<&str>, value: &impl Serialize) -> Response {
    let text =
        if parameter(query, "pretty").is_some() { serde_json::to_vec_pretty(value) } else { serde_json::to_vec(value) };
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], Body::from(text)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Log;
    use crate::metrics::Metrics;
    use crate::settings::Settings;
    use crate::writer::Published;
    use http_body_util::BodyExt;
    use std::sync::Arc;
    use tiphys_api::mesh::MeshConfig;
    use tiphys_ca::{AuthenticationError, Authenticator, Authenticators, Caller, Credentials, SpiffeId};
    use tiphys_view::Views;
    use tokio::sync::{mpsc, watch};
    use tower::ServiceExt;

    /// Takes a token for the namespace that it says.
    struct Says;

    #[tonic::async_trait]
    impl Authenticator for Says {
        fn name(&self) -> &'static str {
            "says"
        }

        async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Caller>, AuthenticationError> {
            let id =
                credentials.bearer.as_deref().map(|namespace| SpiffeId::new("cluster.local", namespace, "a").unwrap());
            Ok(id.map(|id| Caller { identities: vec![id], authenticator: "says", pod: None }))
        }
    }

    pub(super) fn shown() -> Shown {
        let published = Published { ready: true, ..Published::first(MeshConfig::default()) };
        Shown {
            views: Arc::new(Views::new(Vec::new(), ())),
            published: watch::channel(published).1,
            queries: mpsc::channel(1).0,
            metrics: Metrics::new().unwrap(),
            log: Log::detached(),
            authenticators: Authenticators::new(vec![Arc::new(Says)]),
            settings: Arc::new(Settings { debug_namespaces: ["ops".to_owned()].into(), ..Settings::default() }),
            cluster: "Kubernetes".into(),
            rollouts: Arc::default(),
            injection: Arc::default(),
        }
    }

    async fn asks(from: &str, token: Option<&str>, path: &str) -> Result<Access, StatusCode> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        access(&shown(), SocketAddr::new(from.parse().unwrap(), 1), &headers, path).await
    }

    #[tokio::test]
    async fn who_sees_what() {
        for here in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(asks(here, None, "/debug/configz").await, Ok(Access::All));
        }
        assert_eq!(asks("10.0.0.1", None, "/debug/configz").await, Err(StatusCode::UNAUTHORIZED));
        assert_eq!(asks("10.0.0.1", Some("istio-system"), "/debug/configz").await, Ok(Access::All));
        assert_eq!(asks("10.0.0.1", Some("ops"), "/debug/configz").await, Ok(Access::All));
        assert_eq!(asks("10.0.0.1", Some("shop"), "/debug/configz").await, Err(StatusCode::FORBIDDEN));
        assert_eq!(asks("10.0.0.1", Some("shop"), "/scopej/ads").await, Err(StatusCode::FORBIDDEN));
        let own = Access::Namespace("shop".into());
        assert_eq!(asks("10.0.0.1", Some("shop"), "/debug/config_dump").await, Ok(own.clone()));
        assert_eq!(asks("10.0.0.1", Some("shop"), "/debug/syncz").await, Ok(own.clone()));
        assert!(own.sees("shop") && !own.sees("other"));
    }

    /// Asks for a page as one from elsewhere would.
    async fn page(path: &str, token: Option<&str>) -> (StatusCode, String) {
        let mut request = Request::get(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let from = SocketAddr::from(([10, 0, 0, 1], 1));
        let pages = crate::http::router(shown()).layer(axum::extract::connect_info::MockConnectInfo(from));
        let response = pages.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(text.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn from_elsewhere_every_page_asks_for_a_token() {
        for (name, _) in PAGES.iter().filter(|(name, _)| !name.contains('?')) {
            assert_eq!(page(&format!("/debug/{name}"), None).await.0, StatusCode::UNAUTHORIZED, "{name}");
        }
        for path in ["/debug", "/version", "/metrics", "/ready"] {
            assert_eq!(page(path, None).await.0, StatusCode::OK, "{path}");
        }
        assert_eq!(
            page("/debug/connections", Some("istio-system")).await,
            (StatusCode::OK, "{\"totalClients\":0}".into())
        );
        assert_eq!(page("/debug/connections", Some("shop")).await.0, StatusCode::OK);
        assert_eq!(page("/debug/registryz", Some("shop")).await.0, StatusCode::FORBIDDEN);
        let (status, text) = page("/debug/ambientz", Some("istio-system")).await;
        assert!(status == StatusCode::NOT_FOUND && text.contains("ambient mesh is not supported"), "{text}");
    }

    #[test]
    fn every_page_is_listed() {
        assert!(PAGES.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(OF_ONE_PROXY.iter().chain(CUT).all(|page| PAGES.iter().any(|(name, _)| name == page)));
    }
}
