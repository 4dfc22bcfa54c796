// SPDX-License-Identifier: Apache-2.0
//! A control plane on a temporary folder and free ports, and a proxy that speaks to it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test program uses a part of these helpers, which fail by panic"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tiphys_proto::envoy::config::core::v3::Node;
use tiphys_proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use tiphys_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use tiphys_proto::google::protobuf::{Struct, Value, value::Kind};
use tiphys_server::cli::{Cli, Command};
use tiphys_server::log::Log;
use tiphys_server::serve::{Bound, Server};
use tiphys_server::settings::Settings;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

/// What anything may take.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const CLUSTERS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
pub const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

/// A running control plane.
pub struct Plane {
    pub dir: TempDir,
    pub bound: Bound,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<anyhow::Result<()>>,
}

async fn exchange(address: SocketAddr, method: &str, path: &str, body: &str) -> http::Response<hyper::body::Incoming> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
    let uri = format!("http://{address}{path}");
    let request = http::Request::builder().method(method).uri(uri).header("content-type", "application/json");
    client.request(request.body(Full::from(body.to_owned())).unwrap()).await.unwrap()
}

impl Plane {
    /// Starts on a folder `config` with these files.
    pub async fn start(files: &[(&str, &str)]) -> Self {
        Self::start_with(files, &[], Settings::default()).await
    }

    pub async fn start_with(files: &[(&str, &str)], more: &[&str], settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(path("config")).unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join("config").join(name), text).unwrap();
        }
        let mut args: Vec<String> = ["tiphys", "serve"].map(str::to_owned).into();
        if !more.contains(&"--httpsAddr") {
            args.extend(["--httpsAddr", ""].map(str::to_owned));
        }
        for flag in ["--grpcAddr", "--secureGRPCAddr", "--httpAddr", "--monitoringAddr"] {
            args.extend([flag.to_owned(), "127.0.0.1:0".to_owned()]);
        }
        for (flag, name) in [
            ("--configDir", "config"),
            ("--meshConfig", "mesh.yaml"),
            ("--ca-dir", "ca"),
            ("--dev-token-issuer", "tokens"),
        ] {
            args.extend([flag.to_owned(), path(name)]);
        }
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        let Command::Serve(args) = Cli::try_parse_from(args).unwrap().command else { panic!("serve was asked for") };
        let server = Server::start(*args, settings, Log::detached()).await.unwrap();
        let bound = server.bound;
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.until(async move { drop(stopped.await) }));
        let plane = Self { dir, bound, stop: Some(stop), running };
        plane.until("ready", async |p| p.get("/ready").await.0 == 200).await;
        plane
    }

    pub fn config(&self, name: &str) -> PathBuf {
        self.dir.path().join("config").join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.config(name), text).unwrap();
    }

    /// The development token of a service account.
    pub fn token(&self, namespace: &str, account: &str) -> String {
        std::fs::read_to_string(self.dir.path().join("tokens").join(namespace).join(account).join("token")).unwrap()
    }

    /// Status and text of a page.
    pub async fn get(&self, path: &str) -> (u16, String) {
        self.send("GET", path, "").await
    }

    pub async fn send(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.send_to(self.bound.monitoring.unwrap(), method, path, body).await
    }

    /// Status and text of a page of another port.
    pub async fn send_to(&self, address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
        let response = exchange(address, method, path, body).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Status of a page, and where it leads.
    pub async fn location(&self, path: &str) -> (u16, String) {
        let response = exchange(self.bound.monitoring.unwrap(), "GET", path, "").await;
        let location = response.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), location.unwrap_or_default())
    }

    pub async fn json(&self, path: &str) -> serde_json::Value {
        let (status, text) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Waits for something.
    pub async fn until(&self, what: &str, wanted: impl AsyncFn(&Self) -> bool) {
        let wait = async {
            while !wanted(self).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(timeout(PATIENCE, wait).await.is_ok(), "not in time: {what}");
    }

    /// The value of a metric by its whole name with labels; zero when there is none.
    pub async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics").await;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or_default()
    }

    /// Tells it to stop and waits for its end.
    pub async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        timeout(PATIENCE, self.running).await.unwrap().unwrap().unwrap();
    }

    pub async fn plaintext(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.bound.grpc.unwrap())).unwrap().connect().await.unwrap()
    }

    /// Asks the webhooks, and gives status and answer.
    pub async fn review(&self, path: &str, body: &serde_json::Value) -> (u16, serde_json::Value) {
        let mut config = self.client(None);
        config.alpn_protocols.clear();
        let tcp = TcpStream::connect(self.bound.https.unwrap()).await.unwrap();
        let name = ServerName::try_from("istiod.istio-system.svc").unwrap();
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post(path).header("host", "istiod").header("content-type", "application/json");
        let response =
            sender.send_request(request.body(Full::<bytes::Bytes>::from(body.to_string())).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// A TLS connection, with a client certificate if one is given in PEM.
    pub async fn tls(&self, own: Option<(&str, &str)>) -> Channel {
        let mut config = self.client(own);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let address = self.bound.secure_grpc.unwrap();
        let connect = tower::service_fn(move |_| {
            let connector = connector.clone();
            async move {
                let tcp = TcpStream::connect(address).await?;
                connector.connect(ServerName::try_from("istiod.istio-system.svc").unwrap(), tcp).await.map(TokioIo::new)
            }
        });
        Endpoint::from_static("http://istiod").connect_with_connector(connect).await.unwrap()
    }

    /// TLS that trusts the authority.
    fn client(&self, own: Option<(&str, &str)>) -> rustls::ClientConfig {
        let root = CertificateDer::from_pem_file(self.dir.path().join("ca/root-cert.pem")).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        match own {
            Some((chain, key)) => {
                let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
            None => builder.with_no_client_auth(),
        }
    }
}

/// A text as a field of metadata.
pub fn text(value: &str) -> Value {
    Value { kind: Some(Kind::StringValue(value.to_owned())) }
}

/// The Node of a sidecar.
pub fn node(namespace: &str, account: &str, address: &str) -> Node {
    let metadata = [
        ("NAMESPACE", namespace),
        ("SERVICE_ACCOUNT", account),
        ("ISTIO_VERSION", "1.30.0"),
        ("CLUSTER_ID", "Kubernetes"),
    ];
    Node {
        id: format!("sidecar~{address}~{account}-1.{namespace}~{namespace}.svc.cluster.local"),
        metadata: Some(Struct {
            fields: metadata.into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect(),
        }),
        ..Node::default()
    }
}

/// A proxy that takes everything it is sent.
pub struct Proxy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    node: Option<Node>,
    /// Versions by type and name.
    pub held: BTreeMap<String, BTreeMap<String, String>>,
}

impl Proxy {
    pub async fn connect(channel: Channel, node: Node) -> Result<Self, Status> {
        Self::connect_with(channel, node, None).await
    }

    pub async fn connect_with(channel: Channel, node: Node, token: Option<&str>) -> Result<Self, Status> {
        let (requests, rx) = mpsc::channel(64);
        let mut request = Request::new(tokio_stream::wrappers::ReceiverStream::new(rx));
        if let Some(token) = token {
            let value: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        let responses = AggregatedDiscoveryServiceClient::new(channel)
            // As Envoy, which sets no limit.
            .max_decoding_message_size(usize::MAX)
            .delta_aggregated_resources(request)
            .await?
            .into_inner();
        Ok(Self { requests, responses, node: Some(node), held: BTreeMap::new() })
    }

    pub async fn subscribe(&mut self, type_url: &str, names: &[&str]) {
        let request = DeltaDiscoveryRequest {
            node: self.node.take(),
            type_url: type_url.to_owned(),
            resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(request).await.unwrap();
    }

    /// The next response, which is taken; or refused with this text.
    pub async fn next(&mut self, refuse: Option<&str>) -> Result<DeltaDiscoveryResponse, Status> {
        let response = timeout(PATIENCE, self.responses.message()).await.expect("a response in time")?;
        let response = response.ok_or_else(|| Status::ok("the stream ended"))?;
        let error = refuse.map(|text| tiphys_proto::google::rpc::Status {
            code: 13,
            message: text.to_owned(),
            ..Default::default()
        });
        let ack = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: error,
            ..DeltaDiscoveryRequest::default()
        };
        // A server that is stopping takes no more.
        let _ = self.requests.send(ack).await;
        if refuse.is_none() {
            let held = self.held.entry(response.type_url.clone()).or_default();
            held.extend(response.resources.iter().map(|r| (r.name.clone(), r.version.clone())));
            held.retain(|name, _| !response.removed_resources.contains(name));
        }
        Ok(response)
    }

    /// Takes responses until what is held is as wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        while !wanted(self) {
            if let Err(status) = self.next(None).await {
                panic!("{what}: the stream ended: {status}");
            }
        }
    }

    pub fn names(&self, type_url: &str) -> BTreeSet<&str> {
        self.held.get(type_url).into_iter().flat_map(|held| held.keys().map(String::as_str)).collect()
    }
}

/// A host of the mesh.
pub fn service_entry(name: &str, endpoint: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  hosts: [{name}.example]\n  \
         addresses: [10.9.9.9]\n  ports: [{{number: 80, name: http, protocol: HTTP}}]\n  resolution: STATIC\n  location: MESH_INTERNAL\n  \
         endpoints: [{{address: {endpoint}}}]\n"
    )
}

/// Accounts that get tokens.
pub const ACCOUNTS: &str = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web, namespace: shop}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: admin, namespace: istio-system}\n";

/// A loopback peer of another port.
pub fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}
