// SPDX-License-Identifier: Apache-2.0
//! Debug requests on the discovery stream, as istioctl makes them, and who may make them.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panic")]

mod common;

use common::{ACCOUNTS, CLUSTERS, ENDPOINTS, PATIENCE, Plane, Proxy, node, service_entry};
use prost::Message;
use tiphys_proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use tiphys_proto::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use tiphys_proto::envoy::service::status::v3::{ClientConfig, ConfigStatus};
use tiphys_proto::google::protobuf::value::Kind;
use tiphys_proto::google::protobuf::{Struct, Value};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

const SYNCZ: &str = "istio.io/debug/syncz";
const CONFIG_DUMP: &str = "istio.io/debug/config_dump";
const PAGE: &str = "istio.io/debug";

/// Asks as istioctl does: state of the world, one request, the first answer.
async fn ask(
    channel: Channel,
    token: Option<&str>,
    namespace: &str,
    (type_url, names): (&str, &[&str]),
) -> Result<DiscoveryResponse, Status> {
    let mut own = node(namespace, "", "127.0.0.1");
    own.metadata.as_mut().unwrap().fields.remove("SERVICE_ACCOUNT");
    let request = DiscoveryRequest {
        node: Some(own),
        type_url: type_url.to_owned(),
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        // Whatever it is: there is no response yet that it could answer.
        response_nonce: "2026-01-01 00:00:00.5 +0000 UTC m=+0.1".to_owned(),
        ..DiscoveryRequest::default()
    };
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    sender.send(request).await.unwrap();
    let mut request = Request::new(tokio_stream::wrappers::ReceiverStream::new(requests));
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let mut stream =
        AggregatedDiscoveryServiceClient::new(channel).stream_aggregated_resources(request).await?.into_inner();
    let response = timeout(PATIENCE, stream.message()).await.unwrap()?;
    response.ok_or_else(|| Status::ok("the stream ended"))
}

/// Proxies of two namespaces, with a configuration of their agents as istioctl expects.
async fn proxies(plane: &Plane) -> Vec<Proxy> {
    let mut proxies = Vec::new();
    for namespace in ["shop", "other"] {
        let mut own = node(namespace, "web", "10.0.0.7");
        let config = Value { kind: Some(Kind::StructValue(Struct::default())) };
        own.metadata.as_mut().unwrap().fields.insert("PROXY_CONFIG".to_owned(), config);
        let mut proxy = Proxy::connect(plane.plaintext().await, own).await.unwrap();
        proxy.subscribe(CLUSTERS, &[]).await;
        proxy.until("clusters", |p| p.held.contains_key(CLUSTERS)).await;
        proxies.push(proxy);
    }
    let taken = async |p: &Plane| {
        let status = p.json("/debug/syncz").await;
        status.as_array().unwrap().iter().all(|proxy| proxy["cluster_acked"].is_string())
    };
    plane.until("taken", taken).await;
    proxies
}

/// Whether nothing is told of a proxy but that it is not here.
fn is_elsewhere(response: &DiscoveryResponse) -> bool {
    let words = "Proxy not connected to this Pilot instance";
    matches!(&response.resources[..], [any] if String::from_utf8_lossy(&any.value).contains(words))
}

fn states(response: &DiscoveryResponse) -> Vec<(String, i32)> {
    let states = response.resources.iter().map(|any| {
        assert_eq!(any.type_url, "type.googleapis.com/envoy.service.status.v3.ClientConfig");
        let config = ClientConfig::decode(&any.value[..]).unwrap();
        let clusters = config.generic_xds_configs.iter().find(|one| one.type_url == CLUSTERS).unwrap();
        assert!(clusters.last_updated.is_some());
        (config.node.unwrap().id, clusters.config_status)
    });
    states.collect()
}

#[tokio::test]
async fn istioctl_is_answered_on_the_discovery_stream() {
    let plane = Plane::start(&[("web.yaml", &service_entry("web", "10.0.0.1"))]).await;
    let mut proxies = proxies(&plane).await;
    let answer = async |type_url: &str, names: &[&str]| {
        ask(plane.plaintext().await, None, "istio-system", (type_url, names)).await
    };
    let synced = ConfigStatus::Synced.into();
    let status = answer(SYNCZ, &[]).await.unwrap();
    assert_eq!(states(&status), [("web-1.other".to_owned(), synced), ("web-1.shop".to_owned(), synced)]);
    // Its `version` command reads who answers.
    let identifier: serde_json::Value = serde_json::from_str(&status.control_plane.unwrap().identifier).unwrap();
    assert_eq!(identifier["Component"], "istiod");

    let dump = answer(CONFIG_DUMP, &["web-1.shop"]).await.unwrap();
    let types: Vec<&str> = dump.resources.iter().map(|any| any.type_url.rsplit('.').next().unwrap()).collect();
    assert_eq!(&types[..3], ["BootstrapConfigDump", "ClustersConfigDump", "ListenersConfigDump"]);
    assert_eq!(types.len(), 7);
    // These words send istioctl to the next replica.
    let elsewhere = answer(CONFIG_DUMP, &["nobody.nowhere"]).await.unwrap();
    assert!(is_elsewhere(&elsewhere), "{elsewhere:?}");

    let text =
        async |page: &str| String::from_utf8(answer(PAGE, &[page]).await.unwrap().resources[0].value.to_vec()).unwrap();
    assert!(text("list").await.contains("\"syncz\""));
    assert!(text("edsz?proxyID=web-1.shop").await.contains("outbound|80||web.example"));
    // What a proxy does not ask for is no difference between what it has and what it is given.
    proxies[0].subscribe(ENDPOINTS, &["outbound|80||nosuch"]).await;
    let cut = async |p: &Plane| !p.get("/debug/edsz?proxyID=web-1.shop").await.1.contains("web.example");
    plane.until("only what is asked for", cut).await;
    assert!(text("config_dump?proxyID=nobody").await.contains("Proxy not connected to this Pilot instance"));
    assert!(text("ambientz").await.contains("not supported"));
    assert!(text("no-such-page").await.contains("404 page not found"));
    assert_eq!(answer(PAGE, &[]).await.unwrap_err().code(), Code::InvalidArgument);
    plane.stop().await;
}

#[tokio::test]
async fn a_token_shows_its_own_namespace() {
    let plane = Plane::start(&[("web.yaml", &service_entry("web", "10.0.0.1")), ("accounts.yaml", ACCOUNTS)]).await;
    let _proxies = proxies(&plane).await;
    let (shop, admin) = (plane.token("shop", "web"), plane.token("istio-system", "admin"));
    let as_shop = async |what: (&str, &[&str])| ask(plane.tls(None).await, Some(&shop), "shop", what).await;
    let as_admin = async |what: (&str, &[&str])| ask(plane.tls(None).await, Some(&admin), "istio-system", what).await;
    assert_eq!(states(&as_shop((SYNCZ, &[])).await.unwrap()).len(), 1);
    assert_eq!(states(&as_admin((SYNCZ, &[])).await.unwrap()).len(), 2);
    assert_eq!(as_shop((CONFIG_DUMP, &["web-1.shop"])).await.unwrap().resources.len(), 7);
    assert!(is_elsewhere(&as_shop((CONFIG_DUMP, &["web-1.other"])).await.unwrap()));
    assert_eq!(as_admin((CONFIG_DUMP, &["web-1.other"])).await.unwrap().resources.len(), 7);
    assert_eq!(as_shop((PAGE, &["configz"])).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(as_admin((PAGE, &["configz"])).await.unwrap().resources.len(), 1);
    assert_eq!(ask(plane.tls(None).await, None, "shop", (SYNCZ, &[])).await.unwrap_err().code(), Code::Unauthenticated);
    plane.stop().await;
}

#[tokio::test]
async fn calls_and_messages_are_counted() {
    let plane = Plane::start(&[("web.yaml", &service_entry("web", "10.0.0.1"))]).await;
    let proxies = proxies(&plane).await;
    let labels = "grpc_method=\"DeltaAggregatedResources\",\
                  grpc_service=\"envoy.service.discovery.v3.AggregatedDiscoveryService\",grpc_type=\"bidi_stream\"";
    assert_eq!(plane.metric(&format!("grpc_server_started_total{{{labels}}}")).await, 2.0);
    assert!(plane.metric(&format!("grpc_server_msg_received_total{{{labels}}}")).await >= 4.0);
    assert!(plane.metric(&format!("grpc_server_msg_sent_total{{{labels}}}")).await >= 2.0);
    assert!(plane.metric("pilot_xds_recv_max").await > 50.0);
    drop(proxies);
    let handled = async |p: &Plane| {
        let (_, text) = p.get("/metrics").await;
        text.lines().any(|l| l.starts_with("grpc_server_handled_total") && l.contains(labels) && l.ends_with(" 2"))
    };
    plane.until("handled", handled).await;
    plane.stop().await;
}
