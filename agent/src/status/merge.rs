// SPDX-License-Identifier: Apache-2.0
//! The merged metrics: the agent's, Envoy's, the application's, one after the other, as they come; nothing is gathered in memory.
//!
//! Injection moves the pod's annotations `prometheus.io/*` into ISTIO_PROMETHEUS_ANNOTATIONS and points them at the agent. The
//! format of the whole is the application's: OpenMetrics when all its endpoints speak that, else Prometheus' text. One that fails
//! is counted and left out.

use super::page::{Page, page};
use crate::identity::SecretStore;
use crate::metrics::Metrics;
use crate::net;
use crate::settings::Settings;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Response, StatusCode, Uri};
use hyper::body::Incoming;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

const VARIABLE: &str = "ISTIO_PROMETHEUS_ANNOTATIONS";
/// In which Prometheus says how long it waits.
const TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";
/// For those who do not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text";

/// Ports of the agent and Envoy: what they have to say is merged anyway, or is no metric.
const RESERVED: [u16; 9] = [15000, 15001, 15004, 15006, 15008, 15020, 15021, 15053, 15090];

/// What the annotations say.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    scrape: String,
    path: String,
    port: String,
    targets: Vec<Endpoint>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
struct Endpoint {
    port: String,
    path: String,
}

/// Gathers metrics.
pub struct Scraping {
    settings: Arc<Settings>,
    store: Arc<SecretStore>,
    metrics: Arc<Metrics>,
    /// Address and path of the application's endpoints.
    application: Vec<(String, String)>,
    envoy: bool,
    localhost_only: bool,
}

impl Scraping {
    /// What is scraped, by the environment.
    ///
    /// # Errors
    /// Names what of the application's endpoints is not understood.
    pub fn new(settings: Arc<Settings>, store: Arc<SecretStore>, metrics: Arc<Metrics>) -> Result<Self, String> {
        let mut application = Vec::new();
        // A gateway's port is reachable from outside, and it has no application.
        if let Some(text) = settings.env.get(VARIABLE).filter(|_| settings.args.kind == "sidecar") {
            let address = loopback(settings.addresses.first().copied());
            for (port, path) in endpoints(text, settings.config().status_port)? {
                application.push((SocketAddr::new(address, port).to_string(), path));
            }
        }
        let envoy = !settings.disable_envoy && settings.env.flag("PILOT_AGENT_MERGE_ENVOY_STATS", true)?;
        let localhost_only = settings.env.flag("METRICS_LOCALHOST_ACCESS_ONLY", false)?;
        Ok(Self { settings, store, metrics, application, envoy, localhost_only })
    }

    /// Whether somebody may not ask (METRICS_LOCALHOST_ACCESS_ONLY).
    pub(super) fn refuses(&self, peer: IpAddr) -> bool {
        self.localhost_only && !peer.to_canonical().is_loopback()
    }

    /// The metrics of all.
    pub(super) async fn answer(&self, uri: &Uri, headers: &HeaderMap, peer: IpAddr) -> Response<Page> {
        if self.refuses(peer) {
            return page(StatusCode::FORBIDDEN, "only from this machine".into());
        }
        self.metrics.scrapes.add();
        let said = headers.get(TIMEOUT).and_then(|t| t.to_str().ok()?.parse().ok());
        let timeout = said.and_then(|s| Duration::try_from_secs_f64(s).ok()).unwrap_or(DEFAULT_TIMEOUT);
        let deadline = tokio::time::Instant::now() + timeout;
        let envoy = self.envoy.then(|| {
            let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
            let path = format!("/stats/prometheus{query}");
            tokio::spawn(scrape(self.settings.admin_address(), path, forwarded(headers, false), deadline))
        });
        let endpoints = self.application.iter().cloned();
        let application: Vec<_> = endpoints
            .map(|(address, path)| tokio::spawn(scrape(address, path, forwarded(headers, true), deadline)))
            .collect();
        let mut bodies = Vec::new();
        let mut formats = Vec::new();
        for task in application {
            match task.await.unwrap_or_else(|e| Err(e.to_string())) {
                Ok(response) => {
                    formats.push(format(response.headers()));
                    bodies.push(response.into_body());
                }
                Err(error) => failed("application", &self.metrics.failed_application_scrapes)(&error),
            }
        }
        let format = match formats.first() {
            Some(first) if formats.iter().all(|f| f == first) => *first,
            _ => TEXT,
        };
        let envoy = match envoy {
            Some(task) => task.await.unwrap_or_else(|e| Err(e.to_string())).map(Some),
            None => Ok(None),
        };
        let envoy = envoy.unwrap_or_else(|error| {
            failed("Envoy", &self.metrics.failed_envoy_scrapes)(&error);
            None
        });
        let mut whole = Page::default().until(deadline).with_text(self.metrics.text(&self.store));
        if let Some(response) = envoy {
            let metrics = self.metrics.clone();
            let failed = move |e: &str| failed("Envoy", &metrics.failed_envoy_scrapes)(e);
            whole = whole.with_metrics(response.into_body(), failed);
        }
        for body in bodies {
            let metrics = self.metrics.clone();
            let failed = move |e: &str| failed("application", &metrics.failed_application_scrapes)(e);
            whole = whole.with_metrics(body, failed);
        }
        if format != TEXT {
            whole = whole.with_text("# EOF\n");
        }
        let mut response = Response::new(whole);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format));
        response
    }
}

fn failed<'a>(whose: &'static str, count: &'a crate::metrics::Counter) -> impl Fn(&str) + 'a {
    move |error| {
        count.add();
        tracing::warn!(error, "cannot scrape the metrics of: {whose}");
    }
}

async fn scrape(
    address: String,
    path: String,
    headers: HeaderMap,
    deadline: tokio::time::Instant,
) -> Result<Response<Incoming>, String> {
    let answered = tokio::time::timeout_at(deadline, net::get(&address, &path, headers)).await;
    let response = answered.unwrap_or_else(|_| Err(format!("{address}: not answered in time")))?;
    match response.status() {
        StatusCode::OK => Ok(response),
        status => Err(format!("{address}{path}: {status}")),
    }
}

/// Where the application listens: an address of loopback that is the workload's own, or the usual one.
fn loopback(own: Option<IpAddr>) -> IpAddr {
    match own {
        Some(own) if own.is_loopback() => own,
        Some(IpAddr::V6(_)) => Ipv6Addr::LOCALHOST.into(),
        _ => Ipv4Addr::LOCALHOST.into(),
    }
}

/// Port and path of the application's endpoints.
fn endpoints(text: &str, status_port: u16) -> Result<Vec<(u16, String)>, String> {
    let annotations: Annotations = serde_json::from_str(text).map_err(|e| format!("{VARIABLE}: {e}"))?;
    if annotations.scrape == "false" {
        return Ok(Vec::new());
    }
    let mut targets = annotations.targets;
    if targets.is_empty() {
        let port = if annotations.port.is_empty() { "80".into() } else { annotations.port };
        targets.push(Endpoint { port, path: annotations.path });
    }
    let checked = targets.into_iter().map(|target| {
        let port = target.port.parse::<u16>().ok().filter(|p| *p > 0);
        let port = port.ok_or_else(|| format!("{VARIABLE}: {:?} is no port", target.port))?;
        if port == status_port || RESERVED.contains(&port) {
            return Err(format!(
                "{VARIABLE}: port {port} is one of the agent's or Envoy's; name the application's (annotation prometheus.io/port)"
            ));
        }
        let path = match target.path {
            path if path.is_empty() => "/metrics".to_string(),
            path if path.starts_with('/') => path,
            path => format!("/{path}"),
        };
        Ok((port, path))
    });
    checked.collect()
}

/// The headers that go along. Envoy is asked for text, with which the others can be joined.
fn forwarded(headers: &HeaderMap, application: bool) -> HeaderMap {
    let mut out = HeaderMap::new();
    for name in [USER_AGENT.as_str(), TIMEOUT] {
        if let (Some(value), Ok(name)) = (headers.get(name), http::HeaderName::from_bytes(name.as_bytes())) {
            out.insert(name, value.clone());
        }
    }
    let accept = headers.get(ACCEPT).and_then(|a| a.to_str().ok()).unwrap_or_default();
    let accept = if application { accepted(accept) } else { "text/plain;version=0.0.4".to_string() };
    if let Ok(value) = HeaderValue::from_str(&accept) {
        out.insert(ACCEPT, value);
    }
    out
}

/// Of what a scraper accepts, what can be joined with other metrics: Prometheus' text and OpenMetrics, in its order.
fn accepted(accept: &str) -> String {
    let mut kinds: Vec<String> = Vec::new();
    for entry in accept.split(',') {
        let mut parts = entry.split(';').map(str::trim);
        let kind = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "*/*" | "*" => "text/plain;version=0.0.4".to_string(),
            "application/*" => format!("{OPEN_METRICS};version=0.0.1"),
            kind @ ("text/plain" | "text/*" | OPEN_METRICS) => {
                let parameters = parts.filter(|p| !p.starts_with("q=") && !p.is_empty());
                parameters.fold(kind.to_string(), |all, parameter| format!("{all};{parameter}"))
            }
            _ => continue,
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if kinds.is_empty() {
        kinds.push("text/plain;version=0.0.4".into());
    }
    let count = kinds.len();
    let weighed = kinds.iter().enumerate().map(|(at, kind)| format!("{kind};q=0.{}", (count - at).min(9)));
    weighed.collect::<Vec<_>>().join(",")
}

/// In which format an endpoint answers.
fn format(headers: &HeaderMap) -> &'static str {
    let kind = headers.get(CONTENT_TYPE).and_then(|k| k.to_str().ok()).unwrap_or_default();
    let mut parts = kind.split(';').map(str::trim);
    if !parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(OPEN_METRICS)) {
        return TEXT;
    }
    match parts.find_map(|p| p.strip_prefix("version=")) {
        Some("1.0.0") => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        Some("0.0.1") | None => "application/openmetrics-text; version=0.0.1; charset=utf-8",
        Some(_) => TEXT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_of_the_application() {
        let found = |text: &str| endpoints(text, 15020);
        assert_eq!(found(r#"{"scrape":"true","path":"","port":""}"#).unwrap(), [(80, "/metrics".to_string())]);
        assert_eq!(found(r#"{"scrape":"true","path":"m","port":"8080"}"#).unwrap(), [(8080, "/m".to_string())]);
        let two = r#"{"targets":[{"port":"1","path":"/a"},{"port":"2"}]}"#;
        assert_eq!(found(two).unwrap(), [(1, "/a".to_string()), (2, "/metrics".to_string())]);
        assert_eq!(found(r#"{"scrape":"false","port":"15020"}"#).unwrap(), []);
        assert!(found(r#"{"port":"15090"}"#).unwrap_err().contains("15090"));
        assert!(found(r#"{"port":"http"}"#).unwrap_err().contains("no port"));
        assert!(found("x").unwrap_err().contains(VARIABLE));
    }

    #[test]
    fn what_a_scraper_accepts() {
        let prometheus = "application/vnd.google.protobuf;proto=x;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,\
                          text/plain;version=0.0.4;q=0.4,*/*;q=0.2";
        assert_eq!(
            accepted(prometheus),
            "application/openmetrics-text;version=1.0.0;q=0.2,text/plain;version=0.0.4;q=0.1"
        );
        assert_eq!(accepted(""), "text/plain;version=0.0.4;q=0.1");
    }
}
