// SPDX-License-Identifier: Apache-2.0
//! A source with a view that tests set, and scripted clients of both variants over a loopback connection.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tiphys_proto::envoy::config::core::v3::Node;
use tiphys_proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use tiphys_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use tiphys_proto::google::rpc;
use tiphys_xds::{
    AdsService, Answer, ClientView, ConfigSource, Entry, Options, OtherRequest, Peer, ResourceType, Signal, Signals,
    StreamEvent, Table,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::service::Routes;
use tonic::{Status, Streaming};

pub const CDS: ResourceType = ResourceType::CLUSTER;
pub const EDS: ResourceType = ResourceType::ENDPOINT;
pub const LDS: ResourceType = ResourceType::LISTENER;
pub const RDS: ResourceType = ResourceType::ROUTE;
pub const SDS: ResourceType = ResourceType::SECRET;

pub type Pairs<'a> = &'a [(&'a str, &'a str)];

pub fn table(ty: ResourceType, pairs: Pairs) -> Table {
    Table::from_entries(pairs.iter().map(|(n, v)| Entry::new(*n, ty.url(), v.as_bytes())).collect())
}

/// Serves all clients the same view.
pub struct Stub {
    view: RwLock<Arc<ClientView>>,
    pub secrets: RwLock<BTreeMap<String, String>>,
    signals: Signals,
    pub events: Mutex<Vec<String>>,
}

impl Stub {
    pub fn set(&self, tables: Vec<(ResourceType, Table)>) -> u64 {
        let generation = self.view.read().unwrap().generation() + 1;
        let view = tables.into_iter().fold(ClientView::new(generation), |v, (ty, t)| v.with(ty, t));
        *self.view.write().unwrap() = Arc::new(view.with_on_demand(SDS));
        self.signals.raise();
        generation
    }

    pub fn has_event(&self, event: &str) -> bool {
        self.events.lock().unwrap().iter().any(|e| e == event)
    }

    pub async fn wait_event(&self, event: &str) {
        for _ in 0..1_000 {
            if self.has_event(event) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no event {event} in {:?}", self.events.lock().unwrap());
    }
}

impl ConfigSource for Stub {
    type Client = String;

    fn connect(&self, node: &Node, _: &Peer, signal: &Arc<Signal>) -> Result<String, Status> {
        self.signals.add(signal);
        if node.id == "stranger" {
            return Err(Status::permission_denied("strangers are not served"));
        }
        Ok(node.id.clone())
    }

    fn view(&self, _: &String) -> Arc<ClientView> {
        Arc::clone(&self.view.read().unwrap())
    }

    fn resource(&self, _: &String, ty: ResourceType, name: &str) -> Option<Entry> {
        Some(Entry::new(name, ty.url(), self.secrets.read().unwrap().get(name)?))
    }

    fn other(&self, client: &String, request: &OtherRequest<'_>) -> Answer {
        match request.type_url {
            "test/debug" => Answer::Resources(vec![Entry::new("debug", "test/debug", client)]),
            "test/later" => {
                let (answer, later) = tokio::sync::oneshot::channel();
                let entries = match request.names {
                    [name] => Ok(vec![Entry::new(name.as_str(), "test/later", client)]),
                    _ => Err(Status::invalid_argument("one name")),
                };
                tokio::spawn(async move {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    drop(answer.send(entries));
                });
                Answer::Later(later)
            }
            "test/health" => {
                self.events.lock().unwrap().push(format!("{client} health {:?}", request.error));
                Answer::Noted
            }
            _ => Answer::Unknown,
        }
    }

    fn observe(&self, client: &String, event: StreamEvent<'_>) {
        let text = match event {
            StreamEvent::Subscribed { ty, wildcard, names } => {
                format!("{client} subscribed {ty} {wildcard} {}", names.len())
            }
            StreamEvent::Sent { ty, resources, removed, .. } => format!("{client} sent {ty} {resources} {removed}"),
            StreamEvent::Acked { ty, .. } => format!("{client} acked {ty}"),
            StreamEvent::Nacked { ty, code, error, .. } => format!("{client} nacked {ty} {code} {error}"),
            StreamEvent::Stale { ty } => format!("{client} stale {ty}"),
            StreamEvent::Kept { ty } => format!("{client} kept {ty}"),
            StreamEvent::Synced { generation } => format!("{client} synced {generation}"),
            StreamEvent::Refused { type_url } => format!("{client} refused {type_url}"),
            StreamEvent::Written { .. } => return,
        };
        self.events.lock().unwrap().push(text);
    }

    fn disconnect(&self, client: String) {
        self.events.lock().unwrap().push(format!("{client} gone"));
    }
}

pub struct Server {
    pub stub: Arc<Stub>,
    pub service: AdsService<Stub>,
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub async fn serve(options: Options) -> Server {
    let stub = Arc::new(Stub {
        view: RwLock::default(),
        secrets: RwLock::default(),
        signals: Signals::default(),
        events: Mutex::default(),
    });
    stub.set(Vec::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = AdsService::new(Arc::clone(&stub), options.clone());
    let server = options.transport().layer(service.clone()).add_routes(Routes::default());
    let task = tokio::spawn(async move { server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap() });
    Server { stub, service, address, task }
}

/// A server whose clients get one stage after the other without much patience.
pub async fn serve_default() -> Server {
    serve(Options { patience: Duration::from_millis(300), ..Options::default() }).await
}

pub type Channel = AggregatedDiscoveryServiceClient<tonic::transport::Channel>;

pub async fn channel(address: SocketAddr) -> Channel {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    // Small windows, so that a client that does not read stops its server soon.
    let endpoint = endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    AggregatedDiscoveryServiceClient::new(endpoint.connect().await.unwrap()).max_decoding_message_size(usize::MAX)
}

pub fn node(id: &str) -> Option<Node> {
    Some(Node { id: id.into(), ..Default::default() })
}

pub fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| n.to_string()).collect()
}

pub fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(60);

pub struct Delta {
    pub requests: mpsc::Sender<DeltaDiscoveryRequest>,
    pub responses: Streaming<DeltaDiscoveryResponse>,
}

impl Delta {
    pub async fn connect(server: &Server, id: &str) -> Self {
        let (requests, rx) = mpsc::channel(64);
        requests
            .send(DeltaDiscoveryRequest { node: node(id), type_url: "test/hello".into(), ..Default::default() })
            .await
            .unwrap();
        let mut channel = channel(server.address).await;
        let responses = channel.delta_aggregated_resources(ReceiverStream::new(rx)).await.unwrap().into_inner();
        Self { requests, responses }
    }

    pub async fn send(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(request).await.unwrap();
    }

    pub async fn subscribe(&self, ty: ResourceType, add: &[&str], remove: &[&str]) {
        self.resume(ty, add, remove, &[]).await;
    }

    /// Subscribes and tells what is held from an earlier stream.
    pub async fn resume(&self, ty: ResourceType, add: &[&str], remove: &[&str], held: Pairs<'_>) {
        self.send(DeltaDiscoveryRequest {
            type_url: ty.url().into(),
            resource_names_subscribe: strings(add),
            resource_names_unsubscribe: strings(remove),
            initial_resource_versions: held.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            ..Default::default()
        })
        .await;
    }

    pub async fn answer(&self, response: &DeltaDiscoveryResponse, error: Option<&str>) {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: error.map(|e| rpc::Status { code: 3, message: e.into(), ..Default::default() }),
            ..Default::default()
        })
        .await;
    }

    pub async fn receive(&mut self) -> DeltaDiscoveryResponse {
        tokio::time::timeout(LONG, self.responses.message()).await.expect("no response").unwrap().unwrap()
    }

    /// The next response must have these resources and removed names; it is acknowledged.
    pub async fn expect(&mut self, ty: ResourceType, resources: Pairs<'_>, removed: &[&str]) -> DeltaDiscoveryResponse {
        let response = self.expect_unanswered(ty, resources, removed).await;
        self.answer(&response, None).await;
        response
    }

    pub async fn expect_unanswered(
        &mut self,
        ty: ResourceType,
        resources: Pairs<'_>,
        removed: &[&str],
    ) -> DeltaDiscoveryResponse {
        let response = self.receive().await;
        assert_eq!(response.type_url, ty.url());
        let got: Vec<(&str, String)> =
            response.resources.iter().map(|r| (&*r.name, text(&r.resource.as_ref().unwrap().value))).collect();
        assert_eq!(got, resources.iter().map(|(n, v)| (*n, v.to_string())).collect::<Vec<_>>(), "{ty}");
        assert_eq!(response.removed_resources, removed, "{ty}");
        response
    }

    pub async fn expect_nothing(&mut self) {
        if let Ok(response) = tokio::time::timeout(SHORT, self.responses.message()).await {
            panic!("unexpected {response:?}");
        }
    }
}

pub struct Sotw {
    pub requests: mpsc::Sender<DiscoveryRequest>,
    pub responses: Streaming<DiscoveryResponse>,
}

impl Sotw {
    pub async fn connect(server: &Server, id: &str) -> Self {
        let (requests, rx) = mpsc::channel(64);
        requests
            .send(DiscoveryRequest { node: node(id), type_url: "test/hello".into(), ..Default::default() })
            .await
            .unwrap();
        let mut channel = channel(server.address).await;
        let responses = channel.stream_aggregated_resources(ReceiverStream::new(rx)).await.unwrap().into_inner();
        Self { requests, responses }
    }

    pub async fn request(&self, ty: ResourceType, names: &[&str], version: &str, nonce: &str, error: Option<&str>) {
        let request = DiscoveryRequest {
            type_url: ty.url().into(),
            resource_names: strings(names),
            version_info: version.into(),
            response_nonce: nonce.into(),
            error_detail: error.map(|e| rpc::Status { code: 3, message: e.into(), ..Default::default() }),
            ..Default::default()
        };
        self.requests.send(request).await.unwrap();
    }

    pub async fn receive(&mut self) -> DiscoveryResponse {
        tokio::time::timeout(LONG, self.responses.message()).await.expect("no response").unwrap().unwrap()
    }

    /// The next response must have these contents; it is acknowledged, naming the same resources again.
    pub async fn expect(&mut self, ty: ResourceType, names: &[&str], contents: &[&str]) -> DiscoveryResponse {
        let response = self.expect_unanswered(ty, contents).await;
        self.request(ty, names, &response.version_info, &response.nonce, None).await;
        response
    }

    pub async fn expect_unanswered(&mut self, ty: ResourceType, contents: &[&str]) -> DiscoveryResponse {
        let response = self.receive().await;
        assert_eq!(response.type_url, ty.url());
        let got: Vec<String> = response.resources.iter().map(|any| text(&any.value)).collect();
        assert_eq!(got, contents, "{ty}");
        response
    }

    pub async fn expect_nothing(&mut self) {
        if let Ok(response) = tokio::time::timeout(SHORT, self.responses.message()).await {
            panic!("unexpected {response:?}");
        }
    }
}
