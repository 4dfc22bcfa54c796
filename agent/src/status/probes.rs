// SPDX-License-Identifier: Apache-2.0
//! The application's probes and lifecycle hooks. Injection leads them to the agent, because the kubelet has no certificate of the
//! mesh, and tells it in ISTIO_KUBE_APP_PROBERS what they were: JSON from `/app-health/NAME/{livez,readyz,startupz}` and
//! `/app-lifecycle/NAME/{prestopz,poststartz}` to an action. The agent asks the application as the kubelet would have, from the
//! address 127.0.0.6 (::6), whose connections are not captured.

use super::page::{Page, page};
use super::probe_http;
use crate::settings::Settings;
use http::StatusCode;
use http::request::Parts;
use rustix::net::sockopt::set_socket_linger;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

const VARIABLE: &str = "ISTIO_KUBE_APP_PROBERS";

/// What to do for a probe; exactly one action is there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prober {
    http_get: Option<HttpGet>,
    tcp_socket: Option<TcpConnect>,
    grpc: Option<Grpc>,
    #[serde(default)]
    timeout_seconds: u32,
}

/// Kubernetes' `HTTPGetAction`. Its headers are sent by the kubelet, with the probe that comes here.
#[derive(Debug, Deserialize)]
pub(super) struct HttpGet {
    #[serde(default)]
    pub(super) path: String,
    pub(super) port: u16,
    #[serde(default)]
    pub(super) scheme: String,
}

#[derive(Debug, Deserialize)]
struct TcpConnect {
    port: u16,
}

#[derive(Debug, Deserialize)]
struct Grpc {
    port: u16,
    service: Option<String>,
}

/// The application's probes.
#[derive(Debug, Default)]
pub struct Probes {
    probers: BTreeMap<String, Prober>,
    target: Target,
}

/// Where the application is, and how it is asked.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The pod's address, or loopback (REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION).
    pub(super) address: IpAddr,
    /// The agent's own port, in whose place the application's is told to it.
    pub(super) status_port: u16,
    /// Whether HTTP/2 is offered with TLS (ISTIO_ENABLE_HTTP2_PROBING).
    pub(super) http2: bool,
}

impl Default for Target {
    fn default() -> Self {
        Self { address: Ipv4Addr::LOCALHOST.into(), status_port: 0, http2: true }
    }
}

impl Probes {
    /// What injection wrote.
    ///
    /// # Errors
    /// Names the probe that is not understood.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let env = &settings.env;
        let mut address = settings.addresses.first().copied().unwrap_or(Ipv4Addr::LOCALHOST.into());
        if env.flag("REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION", false)? {
            address = if address.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        }
        let http2 = env.flag("ISTIO_ENABLE_HTTP2_PROBING", true)?;
        let probers = env.get(VARIABLE).map(parse).transpose()?.unwrap_or_default();
        Ok(Self { probers, target: Target { address, status_port: settings.config().status_port, http2 } })
    }

    /// The application's answer to a probe.
    pub(super) async fn answer(&self, request: Parts) -> hyper::Response<Page> {
        let path = request.uri.path();
        let Some(prober) = self.probers.get(path) else {
            return page(StatusCode::BAD_REQUEST, format!("app prober config does not exists for {path}"));
        };
        let within = Duration::from_secs(u64::from(prober.timeout_seconds.max(1)));
        match tokio::time::timeout(within, self.ask(prober, &request)).await {
            Ok(Ok((status, body))) => page(status, body),
            Ok(Err(error)) => {
                tracing::warn!(probe = path, error, "the application's probe failed");
                page(StatusCode::INTERNAL_SERVER_ERROR, String::new())
            }
            Err(_) => {
                tracing::warn!(probe = path, ?within, "the application does not answer its probe in time");
                page(StatusCode::INTERNAL_SERVER_ERROR, String::new())
            }
        }
    }

    async fn ask(&self, prober: &Prober, request: &Parts) -> Result<(StatusCode, String), String> {
        if let Some(get) = &prober.http_get {
            return probe_http::get(&self.target, get, request).await;
        }
        if let Some(tcp) = &prober.tcp_socket {
            connect(self.target.address, tcp.port).await.map_err(|e| format!("port {}: {e}", tcp.port))?;
            return Ok((StatusCode::OK, String::new()));
        }
        match &prober.grpc {
            Some(grpc) => health(self.target.address, grpc, request).await.map(|()| (StatusCode::OK, String::new())),
            None => Err("no action".into()),
        }
    }
}

fn parse(text: &str) -> Result<BTreeMap<String, Prober>, String> {
    let probers: BTreeMap<String, Prober> = serde_json::from_str(text).map_err(|e| format!("{VARIABLE}: {e}"))?;
    for (path, prober) in &probers {
        if !is_path(path) {
            return Err(format!(
                "{VARIABLE}: {path:?} is neither /app-health/NAME/livez (readyz, startupz) nor /app-lifecycle/NAME/prestopz (poststartz)"
            ));
        }
        let actions = [prober.http_get.is_some(), prober.tcp_socket.is_some(), prober.grpc.is_some()];
        if actions.into_iter().filter(|there| *there).count() != 1 {
            return Err(format!("{VARIABLE}: {path} must have one of httpGet, tcpSocket and grpc"));
        }
    }
    Ok(probers)
}

fn is_path(path: &str) -> bool {
    let mut parts = path.split('/');
    let known = |kind: &str| ["livez", "readyz", "startupz", "prestopz", "poststartz"].contains(&kind);
    parts.next() == Some("")
        && matches!(parts.next(), Some("app-health" | "app-lifecycle"))
        && parts.next().is_some_and(|name| !name.is_empty())
        && parts.next().is_some_and(known)
        && parts.next().is_none()
}

/// A connection to the application that is not captured.
pub(super) async fn connect(address: IpAddr, port: u16) -> io::Result<TcpStream> {
    let (socket, own) = if address.is_ipv4() {
        (TcpSocket::new_v4()?, IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6)))
    } else {
        (TcpSocket::new_v6()?, IpAddr::V6(Ipv6Addr::from(6)))
    };
    // Probes are many: their sockets shall not wait a minute after the end. As the kubelet does it.
    set_socket_linger(&socket, Some(Duration::from_secs(1)))?;
    match socket.bind(SocketAddr::new(own, 0)) {
        // Without capture nobody gave the interface the address ::6.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
        bound => bound?,
    }
    socket.connect(SocketAddr::new(address, port)).await
}

/// grpc.health.v1.HealthCheckRequest
#[derive(prost::Message)]
struct HealthRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// grpc.health.v1.HealthCheckResponse
#[derive(prost::Message)]
struct HealthResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;

async fn health(address: IpAddr, grpc: &Grpc, request: &Parts) -> Result<(), String> {
    use prost::Message;
    let stream = connect(address, grpc.port).await.map_err(|e| format!("port {}: {e}", grpc.port))?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let handshake = hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await;
    let (mut sender, connection) = handshake.map_err(|e| e.to_string())?;
    tokio::spawn(async move { drop(connection.await) });
    let mut headers = crate::upstream::grpc_headers();
    if let Some(agent) = request.headers.get(http::header::USER_AGENT) {
        headers.insert(http::header::USER_AGENT, agent.clone());
    }
    let target = format!("http://{}/grpc.health.v1.Health/Check", SocketAddr::new(address, grpc.port));
    let message = HealthRequest { service: grpc.service.clone().unwrap_or_default() }.encode_to_vec();
    let answer = crate::upstream::call(&mut sender, &target, headers, &message).await.map_err(|e| e.to_string())?;
    match HealthResponse::decode(answer).map_err(|e| e.to_string())?.status {
        SERVING => Ok(()),
        other => Err(format!("{target}: status {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_injection_writes() {
        let probers = parse(
            r#"{"/app-health/a/livez":{"httpGet":{"path":"/live","port":8080,"scheme":"HTTPS"},"timeoutSeconds":2},
                "/app-health/a/readyz":{"tcpSocket":{"port":9000}},
                "/app-health/a/startupz":{"grpc":{"port":9001,"service":null}},
                "/app-lifecycle/a/prestopz":{"httpGet":{"path":"bye","port":8080}}}"#,
        )
        .unwrap();
        assert_eq!(probers["/app-health/a/livez"].timeout_seconds, 2);
        assert!(probers["/app-health/a/startupz"].grpc.is_some());
    }

    #[test]
    fn what_is_not_understood() {
        for (text, part) in [
            ("{", VARIABLE),
            (r#"{"/app-health/livez":{"tcpSocket":{"port":1}}}"#, "is neither"),
            (r#"{"/app-health/a/livez":{}}"#, "one of"),
            (r#"{"/app-health/a/livez":{"tcpSocket":{"port":1},"grpc":{"port":1}}}"#, "one of"),
            (r#"{"/app-health/a/livez":{"httpGet":{"port":"http"}}}"#, VARIABLE),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
