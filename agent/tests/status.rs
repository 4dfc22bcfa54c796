// SPDX-License-Identifier: Apache-2.0
//! The agent's port for probes and metrics, with an application beside it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod support;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use support::{Agent, AgentOptions, ControlPlane};
use tiphys_agent::net;
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(10);

/// Addresses that no other test has, nor another run of these tests on the same machine.
fn own(number: u8) -> String {
    let pid = std::process::id();
    format!("127.{}.{}.{number}", 64 + (pid >> 8) % 128, pid % 256)
}

async fn agent(plane: &ControlPlane, address: &str, env: &[(&str, &str)]) -> Agent {
    let mut all = vec![("DISABLE_ENVOY", "true".to_string())];
    all.extend(env.iter().map(|(name, value)| (*name, (*value).to_string())));
    let agent = Agent::start(plane, &AgentOptions { address, env: all, proxy_config: String::new() });
    agent.until("ready", SOON, async || matches!(agent.get(15020, "/healthz/ready").await, Ok((200, _)))).await;
    agent
}

/// An application over HTTP/1.1, or 2 by what the client speaks, with TLS where there is a certificate.
async fn serve(
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
    answer: impl Fn(Request<Incoming>, SocketAddr) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
) {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let (tls, answer) = (tls.clone(), answer.clone());
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request| {
                    let answered = answer(request, peer);
                    async move { Ok::<_, Infallible>(answered) }
                });
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                if let Some(config) = tls {
                    let stream = tokio_rustls::TlsAcceptor::from(config).accept(stream).await.unwrap();
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                } else {
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                }
            });
        }
    });
}

fn text(status: u16, body: impl Into<String>) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(Bytes::from(body.into()))).unwrap()
}

fn self_signed() -> Arc<rustls::ServerConfig> {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["app".to_string()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

const PROBERS: &str = r#"{
  "/app-health/app/livez":    {"httpGet": {"path": "/live?deep", "port": 8080, "scheme": "HTTP"}, "timeoutSeconds": 2},
  "/app-health/app/readyz":   {"httpGet": {"path": "ready", "port": 8443, "scheme": "HTTPS"}, "timeoutSeconds": 5},
  "/app-health/app/startupz": {"tcpSocket": {"port": 8080}},
  "/app-health/gone/livez":   {"tcpSocket": {"port": 8081}},
  "/app-health/slow/livez":   {"httpGet": {"path": "/slow", "port": 8082}},
  "/app-health/sick/livez":   {"httpGet": {"path": "/sick", "port": 8080}},
  "/app-health/moved/livez":  {"httpGet": {"path": "/moved", "port": 8080}},
  "/app-health/away/livez":   {"httpGet": {"path": "/away", "port": 8080}},
  "/app-lifecycle/app/prestopz": {"httpGet": {"path": "/bye", "port": 8080}}
}"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_applications_probes_are_asked_as_the_kubelet_would() {
    let plane = ControlPlane::start().await;
    let address = own(31);
    let at = |port| SocketAddr::new(address.parse().unwrap(), port);
    serve(at(8080), None, |request, peer| {
        let header = |name: &str| request.headers().get(name).map(|v| v.to_str().unwrap().to_string());
        match request.uri().to_string().as_str() {
            "/live?deep" => {
                text(200, format!("{} {} {}", header("host").unwrap(), header("x-own").unwrap_or_default(), peer.ip()))
            }
            "/sick" => text(418, "I am not well"),
            "/moved" => Response::builder().status(302).header("location", "/bye").body(Full::default()).unwrap(),
            "/away" => {
                let elsewhere = "http://example.com/";
                Response::builder().status(301).header("location", elsewhere).body(Full::default()).unwrap()
            }
            "/bye" => text(200, "bye"),
            other => text(404, other),
        }
    })
    .await;
    serve(at(8443), Some(self_signed()), |request, _| {
        text(200, format!("{:?} {}", request.version(), request.uri().path()))
    })
    .await;
    // One that takes connections and says nothing.
    let _silent = TcpListener::bind(at(8082)).await.unwrap();
    let agent = agent(&plane, &address, &[("ISTIO_KUBE_APP_PROBERS", PROBERS)]).await;

    let mut headers = HeaderMap::new();
    headers.insert("x-own", "header".parse().unwrap());
    let response = net::get(&format!("{address}:15020"), "/app-health/app/livez", headers).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, format!("{address}:8080 header 127.0.0.6"));
    let get = async |path: &str| agent.get(15020, path).await.unwrap();
    assert_eq!(get("/app-health/app/readyz").await, (200, "HTTP/2.0 /ready".into()));
    assert_eq!(get("/app-health/app/startupz").await.0, 200);
    assert_eq!(get("/app-health/gone/livez").await.0, 500);
    assert_eq!(get("/app-health/slow/livez").await.0, 500);
    assert_eq!(get("/app-health/sick/livez").await, (418, "I am not well".into()));
    assert_eq!(get("/app-health/moved/livez").await, (200, "bye".into()));
    assert_eq!(get("/app-health/away/livez").await, (200, String::new()));
    assert_eq!(get("/app-lifecycle/app/prestopz").await, (200, "bye".into()));
    assert_eq!(get("/app-health/nobody/livez").await.0, 400);
}

/// A gRPC answer of one message.
fn grpc(message: &[u8]) -> Response<impl http_body::Body<Data = Bytes, Error = Infallible> + use<>> {
    let mut frame = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
    frame.extend_from_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let frames = [Ok(Frame::data(Bytes::from(frame))), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(tokio_stream::iter(frames));
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_probes_speak_the_health_protocol() {
    let plane = ControlPlane::start().await;
    let address = own(32);
    let listener = TcpListener::bind(format!("{address}:9000")).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let service = hyper::service::service_fn(async |request: Request<Incoming>| {
                    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    // Serving, for the service "well" only.
                    Ok::<_, Infallible>(grpc(&[8, if body.ends_with(b"well") { 1 } else { 2 }]))
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    let probers = r#"{"/app-health/a/livez":{"grpc":{"port":9000,"service":"well"}},"/app-health/a/readyz":{"grpc":{"port":9000}},
                      "/app-health/a/startupz":{"grpc":{"port":9001}}}"#;
    let agent = agent(&plane, &address, &[("ISTIO_KUBE_APP_PROBERS", probers)]).await;
    let status = async |kind: &str| agent.get(15020, &format!("/app-health/a/{kind}")).await.unwrap().0;
    assert_eq!((status("livez").await, status("readyz").await, status("startupz").await), (200, 500, 500));
}

fn metrics(kind: &str, body: &str) -> Response<Full<Bytes>> {
    Response::builder().header("content-type", kind).body(Full::new(Bytes::from(body.to_string()))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_of_the_application_come_last_in_its_format() {
    let plane = ControlPlane::start().await;
    let address = own(33);
    let at = |port| SocketAddr::new(address.parse::<IpAddr>().unwrap(), port);
    let large = "app_large 1\n".repeat(100_000);
    serve(at(8080), None, move |request, _| match request.uri().path() {
        "/open" => {
            let accepts = request.headers()["accept"].to_str().unwrap();
            metrics(
                "application/openmetrics-text; version=1.0.0",
                &format!("app_accepts{{x=\"{accepts}\"}} 1\n# EOF\n"),
            )
        }
        "/text" => metrics("text/plain", "app_text 1"),
        "/large" => metrics("text/plain", &large),
        _ => text(500, ""),
    })
    .await;
    let scrape = async |agent: &Agent| {
        let mut headers = HeaderMap::new();
        let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
        headers.insert("accept", accept.parse().unwrap());
        headers.insert("x-prometheus-scrape-timeout-seconds", "1".parse().unwrap());
        let response = net::get(&format!("{}:15020", agent.address), "/stats/prometheus", headers).await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_string();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (kind, String::from_utf8(body.to_vec()).unwrap())
    };
    let annotations = |text: &'static str| [("ISTIO_PROMETHEUS_ANNOTATIONS", text)];

    let one = agent(&plane, &address, &annotations(r#"{"scrape":"true","path":"/open","port":"8080"}"#)).await;
    let (kind, body) = scrape(&one).await;
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(body.contains("istio_agent_scrapes_total 1\n"), "{body}");
    let accepts = "application/openmetrics-text;version=1.0.0;q=0.2,text/plain;version=0.0.4;q=0.1";
    assert!(body.ends_with(&format!("app_accepts{{x=\"{accepts}\"}} 1\n# EOF\n")), "{body}");
    drop(one);

    let several = r#"{"targets":[{"port":"8080","path":"/open"},{"port":"8080","path":"/gone"},{"port":"8081","path":"/"},
                      {"port":"8080","path":"/large"},{"port":"8080","path":"/text"}]}"#;
    let several = agent(&plane, &address, &annotations(several)).await;
    let (kind, body) = scrape(&several).await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert!(!body.contains("# EOF") && body.contains("app_accepts") && body.ends_with("app_large 1\napp_text 1\n"));
    assert_eq!(body.matches("app_large 1\n").count(), 100_000);
    assert!(body.contains("istio_agent_scrape_failures_total{type=\"application\"} 2\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_are_refused() {
    let plane = ControlPlane::start().await;
    let address = own(34);
    for (name, value, part) in [
        ("ISTIO_KUBE_APP_PROBERS", r#"{"/livez":{"tcpSocket":{"port":1}}}"#, "/livez"),
        ("ISTIO_PROMETHEUS_ANNOTATIONS", r#"{"port":"15020"}"#, "15020"),
    ] {
        let env = vec![("DISABLE_ENVOY", "true".to_string()), (name, value.to_string())];
        let mut agent = Agent::start(&plane, &AgentOptions { address: &address, env, proxy_config: String::new() });
        assert_eq!(agent.exit(SOON).await, Some(1));
        assert!(agent.log().contains(name) && agent.log().contains(part), "{}", agent.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_mutual_tls_are_counted() {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    let plane = ControlPlane::start().await;
    let address = own(37);
    let agent = agent(&plane, &address, &[("TIPHYS_ADMIN_ADDRESS", &address)]).await;
    // Nobody can say before Envoy answers.
    let (status, why) = agent.get(15020, "/debug/plaintext").await.unwrap();
    assert_eq!(status, 503, "{why}");
    // Envoy's admin interface: half of the connections by HTTP are encrypted.
    let count = Arc::new(AtomicU64::new(3));
    let counted = count.clone();
    let admin = SocketAddr::new(address.parse().unwrap(), 15000);
    serve(admin, None, move |request, _| {
        assert!(request.uri().path() == "/stats" && request.uri().query().unwrap().contains("plaintext"));
        let count = counted.load(Relaxed);
        let http = "http.inbound_0.0.0.0_8080;.downstream_cx";
        text(
            200,
            format!(
                "{http}_ssl_total: {count}\n{http}_total: {}\ntcp.inbound|9000||;plaintext.downstream_cx_total: 1\n",
                2 * count
            ),
        )
    })
    .await;
    let taken = async |path: &str| -> serde_json::Value {
        serde_json::from_str(&agent.get(15020, path).await.unwrap().1).unwrap()
    };
    let first = taken("/debug/plaintext").await;
    let ports = serde_json::json!([
        {"port": 8080, "plaintext": 3, "last_minutes": 0}, {"port": 9000, "plaintext": 1, "last_minutes": 0}
    ]);
    assert_eq!((&first["minutes"], &first["ports"]), (&1.into(), &ports));
    assert!(first["peers"].is_array());
    count.store(5, Relaxed);
    assert_eq!(taken("/debug/plaintext?minutes=5").await["ports"][0]["plaintext"], 5);
    assert_eq!(agent.get(15020, "/debug/plaintext?minutes=x").await.unwrap().0, 400);
}
