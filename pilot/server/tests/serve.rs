// SPDX-License-Identifier: Apache-2.0
//! A folder, a control plane on it, and proxies: what becomes of edits, good and bad.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panic")]

mod common;

use std::time::{Duration, Instant};

use common::{ACCOUNTS, CLUSTERS, ENDPOINTS, Plane, Proxy, node, service_entry};
use tiphys_proto::istio::v1::auth::IstioCertificateRequest;
use tiphys_proto::istio::v1::auth::istio_certificate_service_client::IstioCertificateServiceClient;
use tiphys_server::cli::RequestArgs;
use tiphys_server::request;
use tiphys_server::settings::Settings;
use tonic::{Code, Request};

const WEB: &str = "outbound|80||web.example";
const NEW: &str = "outbound|80||new.example";

#[tokio::test]
async fn an_edit_reaches_the_proxy_and_a_mistake_does_not() {
    let plane = Plane::start(&[("web.yaml", &service_entry("web", "10.0.0.1"))]).await;
    let mut proxy = Proxy::connect(plane.plaintext().await, node("shop", "web", "10.0.0.7")).await.unwrap();
    proxy.subscribe(CLUSTERS, &[]).await;
    proxy.until("web", |p| p.names(CLUSTERS).contains(WEB)).await;
    proxy.subscribe(ENDPOINTS, &[WEB]).await;
    proxy.until("endpoints of web", |p| p.names(ENDPOINTS).contains(WEB)).await;

    // Another file, another cluster.
    plane.write("new.yaml", &service_entry("new", "10.0.0.2"));
    proxy.until("new", |p| p.names(CLUSTERS).contains(NEW)).await;

    // Endpoints change alone.
    let (before, clusters) = (proxy.held[ENDPOINTS][WEB].clone(), proxy.held[CLUSTERS].clone());
    plane.write("web.yaml", &service_entry("web", "10.0.0.3"));
    proxy.until("endpoints of web changed", |p| p.held[ENDPOINTS][WEB] != before).await;
    assert_eq!(proxy.held[CLUSTERS], clusters, "clusters are not sent for an endpoint");

    // A mistake is reported with its place, and what was good stays.
    plane.write("web.yaml", &service_entry("web", "10.0.0.4").replace("STATIC", "SOMEHOW"));
    plane.until("report", async |p| p.json("/debug/reportz").await.as_array().is_some_and(|r| r.len() == 1)).await;
    let report = plane.json("/debug/reportz").await[0].clone();
    assert_eq!(
        (report["object"].as_str(), report["outcome"].as_str()),
        (Some("ServiceEntry shop/web"), Some("the last good version stays in force"))
    );
    let problem = &report["problems"][0];
    assert!(problem["place"].as_str().unwrap().ends_with("config/web.yaml:8:3"), "{problem}");
    assert_eq!(problem["field"], "spec.resolution");
    assert_eq!(plane.metric("tiphys_rejected_objects").await, 1.0);
    // The mesh goes on.
    plane.write("third.yaml", &service_entry("third", "10.0.0.5"));
    proxy.until("third", |p| p.names(CLUSTERS).contains("outbound|80||third.example")).await;
    assert!(proxy.names(CLUSTERS).contains(WEB));

    // Mended; and a file that is gone takes its cluster with it.
    plane.write("web.yaml", &service_entry("web", "10.0.0.6"));
    plane.until("mended", async |p| p.json("/debug/reportz").await == serde_json::json!([])).await;
    std::fs::remove_file(plane.config("new.yaml")).unwrap();
    proxy.until("new is gone", |p| !p.names(CLUSTERS).contains(NEW)).await;
    assert!(plane.metric("pilot_xds_pushes{type=\"cds\"}").await >= 3.0);
    plane.until("converged", async |p| p.metric("pilot_proxy_convergence_time_count").await >= 2.0).await;
    plane.stop().await;
}

#[tokio::test]
async fn the_tls_port_wants_a_credential() {
    let plane = Plane::start(&[("web.yaml", &service_entry("web", "10.0.0.1")), ("accounts.yaml", ACCOUNTS)]).await;
    // Nothing shown, nothing given.
    let refused = Proxy::connect(plane.tls(None).await, node("shop", "web", "10.0.0.7")).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = Proxy::connect_with(plane.tls(None).await, node("shop", "web", "10.0.0.7"), Some("nonsense"))
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated);
    // A token opens the stream, but not for another namespace.
    let token = plane.token("shop", "web");
    let mut proxy =
        Proxy::connect_with(plane.tls(None).await, node("shop", "web", "10.0.0.7"), Some(&token)).await.unwrap();
    proxy.subscribe(CLUSTERS, &[]).await;
    proxy.until("web", |p| p.names(CLUSTERS).contains(WEB)).await;
    let mut thief = Proxy::connect_with(plane.tls(None).await, node("istio-system", "admin", "10.0.0.8"), Some(&token))
        .await
        .unwrap();
    thief.subscribe(CLUSTERS, &[]).await;
    assert_eq!(thief.next(None).await.unwrap_err().code(), Code::PermissionDenied);
    // The token buys a certificate, and the certificate opens the stream as well.
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let mut request = Request::new(IstioCertificateRequest { csr, validity_duration: 600, ..Default::default() });
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let mut service = IstioCertificateServiceClient::new(plane.tls(None).await);
    let chain = service.create_certificate(request).await.unwrap().into_inner().cert_chain;
    let channel = plane.tls(Some((&chain[0], &key.serialize_pem()))).await;
    let mut proxy = Proxy::connect(channel, node("shop", "web", "10.0.0.7")).await.unwrap();
    proxy.subscribe(CLUSTERS, &[]).await;
    proxy.until("web", |p| p.names(CLUSTERS).contains(WEB)).await;
    assert_eq!(plane.metric("citadel_server_success_cert_issuance_count").await, 1.0);
    plane.stop().await;
}

#[tokio::test]
async fn debug_pages_have_istiods_shapes() {
    let plane = Plane::start(&[("web.yaml", &service_entry("web", "10.0.0.1"))]).await;
    let mut proxy = Proxy::connect(plane.plaintext().await, node("shop", "web", "10.0.0.7")).await.unwrap();
    proxy.subscribe(CLUSTERS, &[]).await;
    proxy.until("web", |p| p.names(CLUSTERS).contains(WEB)).await;
    plane.until("taken", async |p| p.json("/debug/syncz").await[0]["cluster_acked"].is_string()).await;
    let sync = plane.json("/debug/syncz").await[0].clone();
    assert_eq!(
        (&sync["proxy"], &sync["proxy_type"], &sync["cluster_id"]),
        (&"web-1.shop".into(), &"sidecar".into(), &"Kubernetes".into())
    );
    assert_eq!(sync["cluster_sent"], sync["cluster_acked"]);
    assert_eq!(sync["resources"][CLUSTERS]["acked"], sync["cluster_acked"]);
    let clients = plane.json("/debug/connections").await;
    assert_eq!(clients["totalClients"], 1);
    assert!(clients["clients"][0]["connectionId"].as_str().unwrap().starts_with("web-1.shop-"));
    assert!(clients["clients"][0].get("metadata").is_none());
    let client = plane.json("/debug/adsz").await["clients"][0].clone();
    assert_eq!(client["metadata"]["NAMESPACE"], "shop");
    assert!(client["watches"][CLUSTERS].as_array().unwrap().contains(&WEB.into()));
    let dump = plane.json("/debug/config_dump?proxyID=web-1.shop").await;
    assert_eq!(dump["configs"][1]["@type"], "type.googleapis.com/envoy.admin.v3.ClustersConfigDump");
    let edsz = plane.json("/debug/edsz?proxyID=web-1.shop&pretty").await;
    assert!(edsz["configs"].as_array().unwrap().iter().any(|c| c["clusterName"] == WEB));
    assert_eq!(plane.get("/debug/config_dump").await.0, 400);
    assert_eq!(plane.get("/debug/config_dump?proxyID=none").await.0, 404);
    let config = plane.json("/debug/configz").await;
    assert_eq!((&config[0]["kind"], &config[0]["metadata"]["name"]), (&"ServiceEntry".into(), &"web".into()));
    assert_eq!(plane.json("/debug/registryz").await[0]["hostname"], "web.example");
    let endpoints = plane.json("/debug/endpointz").await;
    assert_eq!(endpoints["web.example"]["shop"]["Shards"]["External/Kubernetes"][0]["Addresses"][0], "10.0.0.1");
    assert_eq!(plane.json("/debug/mesh").await["rootNamespace"], "istio-system");
    assert!(plane.json("/debug/list").await.as_array().unwrap().contains(&"syncz".into()));
    assert!(plane.get("/debug").await.1.contains("/debug/syncz"));
    assert_eq!(plane.get("/debug/inject").await.0, 404);
    // The command that asks from inside a container; without a slash as istioctl has it.
    let address = plane.bound.monitoring.unwrap().to_string();
    let ask = |path: &str| RequestArgs {
        method: "GET".parse().unwrap(),
        path: path.into(),
        body: String::new(),
        address: address.clone(),
    };
    assert!(request::send(&ask("debug/registryz?pretty")).await.unwrap().contains("web.example"));
    assert!(request::send(&ask("/debug/nosuch")).await.unwrap().contains("404 page not found"));
    let error = request::send(&ask("/debug/config_dump")).await.unwrap_err().to_string();
    assert!(error.contains("400") && error.contains("proxyID"), "{error}");
    assert!(plane.get("/version").await.1.starts_with(env!("CARGO_PKG_VERSION")));
    // As Go's servers do; istioctl asks for //version.
    assert_eq!(plane.location("//version").await, (308, "/version".to_owned()));
    assert_eq!(plane.location("//debug//syncz?pretty").await, (308, "/debug/syncz?pretty".to_owned()));
    assert_eq!(plane.location("/nosuch").await.0, 404);
    assert_eq!(plane.metric("pilot_xds{version=\"1.30.0\"}").await, 1.0);
    // Levels change while it runs.
    assert_eq!(plane.send("PUT", "/scopej/ads", r#"{"output_level": "debug"}"#).await.0, 202);
    assert_eq!(plane.json("/scopej/ads").await["output_level"], "debug");
    assert_eq!(plane.send("PUT", "/scopej/none", r#"{"output_level": "debug"}"#).await.0, 400);
    plane.stop().await;
}

#[tokio::test]
async fn the_control_page_has_the_levels_of_the_log() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = format!("--ctrlz_port={free}");
    let plane = Plane::start_with(&[], &[&port, "--ctrlz_address=127.0.0.1"], Settings::default()).await;
    let control = plane.bound.control.unwrap();
    let put = async |body: &str| plane.send_to(control, "PUT", "/scopej/ads", body).await;
    // As `istioctl admin log` tells a level, and as it resets one thing or both.
    assert_eq!(put(r#"{"name": "ads", "output_level": "debug"}"#).await.0, 202);
    assert_eq!(put(r#"{"name": "ads", "stack_trace_level": "none"}"#).await.0, 202);
    let (status, text) = plane.send_to(control, "GET", "/scopej", "").await;
    assert_eq!(status, 200);
    let scopes: serde_json::Value = serde_json::from_str(&text).unwrap();
    let ads = scopes.as_array().unwrap().iter().find(|scope| scope["name"] == "ads").unwrap();
    assert_eq!((&ads["output_level"], &ads["stack_trace_level"]), (&"debug".into(), &"none".into()));
    let (status, why) = put(r#"{"name": "ads", "stack_trace_level": "debug"}"#).await;
    assert!(status == 400 && why.contains("stack traces are not logged"), "{status} {why}");
    assert_eq!(plane.send_to(control, "GET", "/", "").await.0, 307);
    assert_eq!(plane.send_to(control, "GET", "/debug/configz", "").await.0, 404);
    plane.stop().await;
}

#[tokio::test]
async fn a_refusal_is_counted_and_shown() {
    let plane = Plane::start(&[("web.yaml", &service_entry("web", "10.0.0.1"))]).await;
    let mut proxy = Proxy::connect(plane.plaintext().await, node("shop", "web", "10.0.0.7")).await.unwrap();
    proxy.subscribe(CLUSTERS, &[]).await;
    proxy.next(Some("I do not like it")).await.unwrap();
    plane.until("counted", async |p| p.metric("pilot_total_xds_rejects{type=\"cds\"}").await == 1.0).await;
    let error = plane.json("/debug/syncz").await[0]["resources"][CLUSTERS]["lastError"].clone();
    assert!(error.as_str().unwrap().contains("I do not like it"), "{error}");
    plane.stop().await;
}

#[tokio::test]
async fn settings_of_the_mesh_are_watched() {
    let plane = Plane::start(&[]).await;
    let mesh = plane.dir.path().join("mesh.yaml");
    std::fs::write(&mesh, "rootNamespace: mesh-root\n").unwrap();
    plane.until("taken", async |p| p.json("/debug/mesh").await["rootNamespace"] == "mesh-root").await;
    std::fs::write(&mesh, "rootNamespace: [broken\n").unwrap();
    plane.until("reported", async |p| p.json("/debug/reportz").await.as_array().is_some_and(|r| r.len() == 1)).await;
    assert_eq!(plane.json("/debug/mesh").await["rootNamespace"], "mesh-root");
    std::fs::remove_file(&mesh).unwrap();
    plane.until("defaults", async |p| p.json("/debug/mesh").await["rootNamespace"] == "istio-system").await;
    assert_eq!(plane.json("/debug/reportz").await, serde_json::json!([]));
    plane.stop().await;
}

#[tokio::test]
async fn configuration_gathers_and_endpoints_go_at_once() {
    let quiet = Settings {
        debounce_after: Duration::from_secs(6),
        debounce_max: Duration::from_secs(12),
        ..Settings::default()
    };
    let slice = |address: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\nspec: {{clusterIP: 10.1.1.1, ports: [{{name: http, port: 80}}]}}\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: web-1, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}\n\
             addressType: IPv4\nports: [{{name: http, port: 8080}}]\nendpoints: [{{addresses: [{address}], conditions: {{ready: true}}}}]\n"
        )
    };
    let plane = Plane::start_with(&[("web.yaml", &slice("10.0.0.1"))], &[], quiet).await;
    let mut proxy = Proxy::connect(plane.plaintext().await, node("shop", "web", "10.0.0.7")).await.unwrap();
    let name = "outbound|80||web.shop.svc.cluster.local";
    proxy.subscribe(CLUSTERS, &[]).await;
    proxy.until("web", |p| p.names(CLUSTERS).contains(name)).await;
    proxy.subscribe(ENDPOINTS, &[name]).await;
    proxy.until("endpoints", |p| p.names(ENDPOINTS).contains(name)).await;
    let (before, start) = (proxy.held[ENDPOINTS][name].clone(), Instant::now());
    plane.write("new.yaml", &service_entry("new", "10.0.0.2"));
    plane.write("web.yaml", &slice("10.0.0.3"));
    proxy.until("endpoints changed", |p| p.held[ENDPOINTS][name] != before).await;
    assert!(start.elapsed() < Duration::from_secs(6) && !proxy.names(CLUSTERS).contains(NEW));
    proxy.until("new", |p| p.names(CLUSTERS).contains(NEW)).await;
    assert!(start.elapsed() >= Duration::from_secs(6));
    plane.stop().await;
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let plane = Plane::start_with(
        &[("web.yaml", &service_entry("web", "10.0.0.1"))],
        &["--shutdownDuration", "300ms"],
        Settings::default(),
    )
    .await;
    let mut proxy = Proxy::connect(plane.plaintext().await, node("shop", "web", "10.0.0.7")).await.unwrap();
    proxy.subscribe(CLUSTERS, &[]).await;
    proxy.until("web", |p| p.names(CLUSTERS).contains(WEB)).await;
    let (stopped, ended) = tokio::join!(plane.stop(), proxy.next(None));
    let () = stopped;
    assert!(ended.is_err());
}

#[tokio::test]
async fn settings_of_the_mesh_may_stand_in_a_config_map_of_the_folder() {
    let map = |mesh: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    {mesh}\n  meshNetworks: \"networks: {{}}\"\n"
        )
    };
    // Certificates are of the trust domain that it says, from the first on.
    let plane = Plane::start(&[("istio.yaml", &map("trustDomain: example.org")), ("accounts.yaml", ACCOUNTS)]).await;
    assert_eq!(plane.json("/debug/mesh").await["trustDomain"], "example.org");
    let token = plane.token("shop", "web");
    let refused = Proxy::connect_with(plane.tls(None).await, node("shop", "web", "10.0.0.7"), Some(&token)).await.err();
    assert!(refused.is_none(), "{refused:?}");
    plane.write("istio.yaml", &map("{trustDomain: example.org, rootNamespace: mesh-root}"));
    plane.until("taken", async |p| p.json("/debug/mesh").await["rootNamespace"] == "mesh-root").await;
    plane.write("istio.yaml", &map("connectTimeout: -1s"));
    plane.until("refused", async |p| p.json("/debug/reportz").await.as_array().is_some_and(|r| r.len() == 1)).await;
    assert_eq!(plane.json("/debug/mesh").await["rootNamespace"], "mesh-root");
    // The file goes before it.
    std::fs::write(plane.dir.path().join("mesh.yaml"), "rootNamespace: of-the-file\n").unwrap();
    plane.until("of the file", async |p| p.json("/debug/mesh").await["rootNamespace"] == "of-the-file").await;
    plane.stop().await;
}
