// SPDX-License-Identifier: Apache-2.0
//! A control plane of a few lines in the test's own process (authority and discovery over TLS), and agents as processes beside it.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use rustls_pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tiphys_ca::authenticate::ClientCertificateAuthenticator;
use tiphys_ca::{
    Authenticators, Authority, AuthorityOptions, CertificateService, DevTokenIssuer, DevTokenOptions, RootOptions,
    ServerIdentity, ServerNames, ServiceAccount, Signing, TlsConnection, server_config,
};
use tiphys_proto::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use tiphys_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use tiphys_proto::google::protobuf::Any;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};

pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
pub const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

/// What the stub serves and what it has seen.
#[derive(Default)]
pub struct Seen {
    /// Resources by type: name and message.
    pub resources: Mutex<BTreeMap<String, Vec<(String, Any)>>>,
    /// Streams opened so far.
    pub streams: AtomicUsize,
    /// Node ids of the streams.
    pub nodes: Mutex<Vec<String>>,
    /// Versions that clients said to hold when they came: delta only.
    pub held: Mutex<Vec<BTreeMap<String, String>>>,
    /// Messages of refused resources.
    pub refused: Mutex<Vec<String>>,
    /// Whether the streams had a bearer token.
    pub tokens: Mutex<Vec<bool>>,
}

struct Ads(Arc<Seen>);

type Answers<T> = UnboundedReceiverStream<Result<T, Status>>;

impl Ads {
    fn opened(&self, token: bool) {
        self.0.streams.fetch_add(1, Ordering::SeqCst);
        self.0.tokens.lock().unwrap().push(token);
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        self.opened(request.metadata().contains_key("authorization"));
        let (seen, mut requests) = (self.0.clone(), request.into_inner());
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                note(&seen, request.node.map(|n| n.id), request.error_detail.map(|e| e.message));
                if !request.response_nonce.is_empty() {
                    continue;
                }
                let resources = resources(&seen, &request.type_url).into_iter().map(|(_, any)| any).collect();
                let answer = DiscoveryResponse {
                    version_info: "1".into(),
                    type_url: request.type_url,
                    nonce: "1".into(),
                    resources,
                    ..Default::default()
                };
                if sender.send(Ok(answer)).is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(receiver)))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        self.opened(request.metadata().contains_key("authorization"));
        let (seen, mut requests) = (self.0.clone(), request.into_inner());
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                note(&seen, request.node.map(|n| n.id), request.error_detail.map(|e| e.message));
                if !request.response_nonce.is_empty() {
                    continue;
                }
                seen.held.lock().unwrap().push(request.initial_resource_versions);
                let resource =
                    |(name, any)| Resource { name, version: "1".into(), resource: Some(any), ..Default::default() };
                let answer = DeltaDiscoveryResponse {
                    resources: resources(&seen, &request.type_url).into_iter().map(resource).collect(),
                    type_url: request.type_url,
                    nonce: "1".into(),
                    ..Default::default()
                };
                if sender.send(Ok(answer)).is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(receiver)))
    }
}

fn note(seen: &Seen, node: Option<String>, refused: Option<String>) {
    seen.nodes.lock().unwrap().extend(node);
    seen.refused.lock().unwrap().extend(refused);
}

fn resources(seen: &Seen, type_url: &str) -> Vec<(String, Any)> {
    seen.resources.lock().unwrap().get(type_url).cloned().unwrap_or_default()
}

/// The control plane.
pub struct ControlPlane {
    _dir: TempDir,
    pub authority: Arc<Authority>,
    pub tokens: Arc<DevTokenIssuer>,
    pub seen: Arc<Seen>,
    pub address: SocketAddr,
    server: Option<JoinHandle<()>>,
}

impl ControlPlane {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Arc::new(
            Authority::self_signed(
                &dir.path().join("ca"),
                &RootOptions::new("cluster.local"),
                AuthorityOptions::default(),
            )
            .unwrap(),
        );
        let options = DevTokenOptions::new(dir.path().join("tokens"), "cluster.local");
        let tokens = Arc::new(DevTokenIssuer::open(options).unwrap());
        let address = "127.0.0.1:0".parse().unwrap();
        let seen = Arc::new(Seen::default());
        let mut plane = Self { _dir: dir, authority, tokens, seen, address, server: None };
        plane.resume().await;
        plane
    }

    /// Serves, at the former address if there was one.
    pub async fn resume(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let names = ServerNames::istiod("istio-system", "").with_loopback();
        let identity = ServerIdentity::new(self.authority.clone(), names).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(server_config(identity, &self.authority.trust()).unwrap());
        let by_certificate = ClientCertificateAuthenticator::new(self.authority.clone()).unwrap();
        let authenticators = Authenticators::new(vec![Arc::new(by_certificate), self.tokens.clone()]);
        let ca = CertificateService::new(Signing::Own(self.authority.clone()), authenticators, Arc::default());
        let (sender, receiver) = mpsc::channel(8);
        let router = tonic::transport::Server::builder()
            .add_service(ca.into_server())
            .add_service(AggregatedDiscoveryServiceServer::new(Ads(self.seen.clone())));
        self.server = Some(tokio::spawn(async move {
            let accept = async move {
                loop {
                    let (tcp, _) = listener.accept().await.unwrap();
                    if let Ok(stream) = acceptor.accept(tcp).await {
                        let _ = sender.send(Ok::<_, std::io::Error>(TlsConnection::new(stream))).await;
                    }
                }
            };
            // Connections live in a set of their own, which goes down with this task.
            tokio::select! {
                () = accept => {}
                _ = router.serve_with_incoming(ReceiverStream::new(receiver)) => {}
            }
        }));
    }

    /// Stops accepting and serving; connections that are open break when the runtime that drives them does.
    pub fn stop(&mut self) {
        self.server.take().unwrap().abort();
    }

    pub fn token(&self, name: &str) -> PathBuf {
        let account = ServiceAccount { namespace: "default".into(), name: name.into() };
        self.tokens.refresh(&[account.clone()].into()).unwrap();
        self.tokens.token_path(&account)
    }

    pub fn root_certificate(&self) -> CertificateDer<'static> {
        self.authority.trust().certificates()[0].clone()
    }
}

/// An agent's folder and process.
pub struct Agent {
    pub dir: TempDir,
    pub address: IpAddr,
    child: Child,
}

pub struct AgentOptions<'a> {
    pub address: &'a str,
    pub env: Vec<(&'a str, String)>,
    pub proxy_config: String,
}

impl Agent {
    /// Starts an agent with token and root certificate of the control plane.
    pub fn start(plane: &ControlPlane, options: &AgentOptions<'_>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let secrets = dir.path().join("var/run/secrets");
        for folder in ["tokens", "istio"] {
            std::fs::create_dir_all(secrets.join(folder)).unwrap();
        }
        std::os::unix::fs::symlink(plane.token("reviews"), secrets.join("tokens/istio-token")).unwrap();
        std::fs::write(secrets.join("istio/root-cert.pem"), plane.authority.trust().pem()).unwrap();
        let config = format!(
            "{{discoveryAddress: '{}', terminationDrainDuration: 1s, concurrency: 1 {}}}",
            plane.address, options.proxy_config
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_tiphys-agent"));
        command
            .args(["proxy", "sidecar", "--log_output_level=debug"])
            .current_dir(dir.path())
            .env_clear()
            .envs([
                ("POD_NAME", "reviews-1"),
                ("POD_NAMESPACE", "default"),
                ("SERVICE_ACCOUNT", "reviews"),
                ("INSTANCE_IP", options.address),
                ("TIPHYS_LISTEN_ADDRESS", options.address),
                ("TIPHYS_ADMIN_ADDRESS", options.address),
                ("PROXY_CONFIG", &config),
            ])
            .envs(options.env.iter().map(|(k, v)| (*k, v.as_str())))
            .stdout(std::fs::File::create(dir.path().join("log")).unwrap())
            .stderr(Stdio::from(std::fs::File::create(dir.path().join("errors")).unwrap()));
        let child = command.spawn().unwrap();
        Self { address: options.address.parse().unwrap(), dir, child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    pub fn log(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.path(name)).unwrap_or_default();
        read("log") + &read("errors")
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub async fn exit(&mut self, within: Duration) -> Option<i32> {
        let until = Instant::now() + within;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("still running after {within:?}:\n{}", self.log());
    }

    /// The status server's answer.
    pub async fn get(&self, port: u16, path: &str) -> Result<(u16, String), String> {
        let address = SocketAddr::new(self.address, port).to_string();
        let answer = tiphys_agent::net::request(http::Method::GET, &address, path, Duration::from_secs(5)).await?;
        Ok((answer.status.as_u16(), answer.text()))
    }

    pub async fn post(&self, port: u16, path: &str) -> Result<u16, String> {
        let address = SocketAddr::new(self.address, port).to_string();
        let answer = tiphys_agent::net::request(http::Method::POST, &address, path, Duration::from_secs(5)).await?;
        Ok(answer.status.as_u16())
    }

    /// Waits until a condition holds.
    pub async fn until(&self, what: &str, within: Duration, mut condition: impl AsyncFnMut() -> bool) {
        let until = Instant::now() + within;
        while !condition().await {
            assert!(Instant::now() < until, "{what}: not within {within:?}; the agent's log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Envoy's binary: the one that `make setup` installs, or the one that TIPHYS_ENVOY or ENVOY_BINARY names.
pub fn envoy() -> Option<PathBuf> {
    let named = ["TIPHYS_ENVOY", "ENVOY_BINARY"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let set_up = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/tiphys/envoy"));
    named.chain(set_up).find(|p| p.is_file())
}

/// Resident and private anonymous memory of a process, in KiB.
pub fn memory(pid: u32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let field = |name: &str| {
        let line = text.lines().find(|l| l.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (field("Rss:"), field("Anonymous:"))
}
