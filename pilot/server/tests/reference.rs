// SPDX-License-Identifier: Apache-2.0
//! Debug pages and metrics against those of a running istiod: each key of its pages is there, with a value of the same type, and each of its
//! metrics, or docs/compatibility.md names it. `make parity` tells the folder of the reference in TIPHYS_REFERENCE; without it the tests say
//! that they are skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panic")]

mod common;

use std::collections::BTreeSet;
use std::path::PathBuf;

use common::{Plane, Proxy};
use serde_json::Value;
use tiphys_proto::envoy::config::core::v3::Node;
use tiphys_proto::google::protobuf::value::Kind;
use tiphys_proto::google::protobuf::{ListValue, Struct, Value as ProtoValue};
use tiphys_server::settings::Settings;

const TYPES: &[&str] = &[
    "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
    "type.googleapis.com/envoy.config.listener.v3.Listener",
    "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
];

/// Objects of these keys are maps of data: what their values look like is compared, not their keys.
const MAPS: &[&str] = &[
    "",
    "labels",
    "Labels",
    "LabelSelectors",
    "metadata",
    "annotations",
    "ANNOTATIONS",
    "LABELS",
    "PROXY_CONFIG",
    "watches",
    "resources",
    "Shards",
    "ServiceAccounts",
    "namespace_to_policies",
    "namespace_to_telemetries",
];

/// Pages whose whole answer is a map of data.
const MAP_PAGES: &[&str] = &["endpointz", "instancesz", "cachez"];
/// Where the keys are namespaces.
const NAMESPACES: &[&str] = &["endpointz{}"];
/// What objects hold is theirs, not the page's.
const OPAQUE: &[&str] = &["spec", "status", "metadata"];

const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, resourceVersion: '7', labels: {app: web}, creationTimestamp: '2026-11-21T09:57:16Z'}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.9
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
status: {loadBalancer: {ingress: [{ip: 10.201.0.1}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web, security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: web, nodeName: node1, containers: [{name: web, image: web}]}
status: {podIP: 10.0.0.7, phase: Running, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: [10.0.0.7], conditions: {ready: true}, nodeName: node1, targetRef: {kind: Pod, name: web-1, namespace: shop}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: istio}
spec: {controllerName: istio.io/gateway-controller, description: a class}
status: {conditions: []}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [web], http: [{route: [{destination: {host: web}}]}]}
";

/// The folder `interop` beside the reference.
fn interop() -> Option<PathBuf> {
    let reference = std::env::var_os("TIPHYS_REFERENCE").filter(|v| !v.is_empty()).map(PathBuf::from);
    let found = reference.map(|r| r.join("../interop")).filter(|dir| dir.join("debug").is_dir());
    if found.is_none() {
        println!("SKIPPED: TIPHYS_REFERENCE names no reference with a folder interop beside it");
    }
    found
}

fn proto(value: &Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap()),
        Value::String(value) => Kind::StringValue(value.clone()),
        Value::Array(values) => Kind::ListValue(ListValue { values: values.iter().map(proto).collect() }),
        Value::Object(_) => Kind::StructValue(proto_struct(value)),
    };
    ProtoValue { kind: Some(kind) }
}

fn proto_struct(value: &Value) -> Struct {
    let fields = value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), proto(value)));
    Struct { fields: fields.collect() }
}

/// A proxy on the plane as a pod's agent would describe it.
async fn connect(plane: &Plane) -> Proxy {
    let metadata = serde_json::json!({
        "NAMESPACE": "shop", "SERVICE_ACCOUNT": "web", "ISTIO_VERSION": "1.30.0", "CLUSTER_ID": "Kubernetes", "MESH_ID": "cluster.local",
        "NODE_NAME": "node1", "WORKLOAD_NAME": "web", "INSTANCE_IPS": "10.0.0.7", "INTERCEPTION_MODE": "REDIRECT",
        "LABELS": {"app": "web"}, "PROXY_CONFIG": {"concurrency": 2},
    });
    let node = Node {
        id: "sidecar~10.0.0.7~web-1.shop~shop.svc.cluster.local".to_owned(),
        metadata: Some(proto_struct(&metadata)),
        ..Node::default()
    };
    let mut proxy = Proxy::connect(plane.plaintext().await, node).await.unwrap();
    proxy.subscribe(TYPES[0], &[]).await;
    proxy.until("clusters", |p| p.held.contains_key(TYPES[0])).await;
    proxy.subscribe(TYPES[1], &["outbound|80||web.shop.svc.cluster.local"]).await;
    proxy.until("endpoints", |p| p.held.contains_key(TYPES[1])).await;
    proxy.subscribe(TYPES[2], &[]).await;
    proxy.until("listeners", |p| p.held.contains_key(TYPES[2])).await;
    proxy.subscribe(TYPES[3], &["80"]).await;
    proxy.until("routes", |p| p.held.contains_key(TYPES[3])).await;
    proxy
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// All values of a list, or of a map of data, laid over each other.
fn laid_over<'a>(values: impl Iterator<Item = &'a Value>) -> Value {
    let mut all = Value::Null;
    for value in values {
        match (&mut all, value) {
            (Value::Object(all), Value::Object(own)) => {
                for (name, value) in own {
                    let slot = all.entry(name.clone()).or_insert(Value::Null);
                    *slot = laid_over([&*slot, value].into_iter());
                }
            }
            (Value::Array(all), Value::Array(own)) => all.extend(own.iter().cloned()),
            (slot @ Value::Null, value) => *slot = value.clone(),
            _ => {}
        }
    }
    all
}

/// What of the reference's shape is not there.
fn compare(path: &str, key: &str, wanted: &Value, own: &Value, wrong: &mut Vec<String>) {
    if wanted.is_null() || own.is_null() {
        return;
    }
    if kind(wanted) != kind(own) {
        return wrong.push(format!("{path}: {} instead of {}", kind(own), kind(wanted)));
    }
    match (wanted, own) {
        (Value::Array(wanted), Value::Array(own)) => {
            let (wanted, own) = (laid_over(wanted.iter()), laid_over(own.iter()));
            if own.is_null() && !wanted.is_null() {
                return wrong.push(format!("{path}: nothing is in the list"));
            }
            compare(&format!("{path}[]"), "[]", &wanted, &own, wrong);
        }
        (Value::Object(wanted), Value::Object(own)) if MAPS.contains(&key) || NAMESPACES.contains(&path) => {
            let (wanted, own) = (laid_over(wanted.values()), laid_over(own.values()));
            compare(&format!("{path}{{}}"), "{}", &wanted, &own, wrong);
        }
        (Value::Object(wanted), Value::Object(own)) => {
            for (name, wanted) in wanted {
                match own.get(name) {
                    None => wrong.push(format!("{path}: no {name}")),
                    Some(_) if OPAQUE.contains(&name.as_str()) => {}
                    Some(own) => compare(&format!("{path}.{name}"), name, wanted, own, wrong),
                }
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn every_debug_page_has_the_keys_that_istiods_has() {
    let Some(interop) = interop() else { return };
    let plane = Plane::start_with(&[("objects.yaml", OBJECTS)], &[], Settings::default()).await;
    let _proxy = connect(&plane).await;
    plane.until("taken", async |p| p.json("/debug/syncz").await[0]["route_acked"].is_string()).await;
    let mut wrong = Vec::new();
    let mut pages = 0;
    for file in std::fs::read_dir(interop.join("debug")).unwrap() {
        let path = file.unwrap().path();
        let page = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut wanted: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let own = plane.json(&format!("/debug/{page}")).await;
        if page == "mesh" {
            // What was set there, not in this test.
            wanted.as_object_mut().unwrap().remove("enablePrometheusMerge");
        }
        let key = if MAP_PAGES.contains(&page.as_str()) { "" } else { "page" };
        compare(&page, key, &wanted, &own, &mut wrong);
        pages += 1;
    }
    println!("{pages} pages were compared");
    assert!(wrong.is_empty() && pages > 10, "{}", wrong.join("\n"));
    plane.stop().await;
}

#[tokio::test]
async fn every_metric_of_istiods_is_there_or_named() {
    let Some(interop) = interop() else { return };
    let documented = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compatibility.md");
    let documented = std::fs::read_to_string(documented).unwrap();
    let names = |text: &str| -> BTreeSet<String> {
        text.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned)).collect()
    };
    let plane = Plane::start_with(&[("objects.yaml", OBJECTS)], &[], Settings::default()).await;
    let proxy = connect(&plane).await;
    plane.until("taken", async |p| p.json("/debug/syncz").await[0]["route_acked"].is_string()).await;
    plane.write("web.yaml", &common::service_entry("web", "10.0.0.1"));
    plane.until("pushed", async |p| p.metric("pilot_proxy_queue_time_count").await >= 1.0).await;
    drop(proxy);
    plane.until("gone", async |p| p.get("/metrics").await.1.contains("grpc_server_handled_total")).await;
    let own = names(&plane.get("/metrics").await.1);
    let wanted = names(&std::fs::read_to_string(interop.join("metrics.txt")).unwrap());
    let missing: Vec<&String> = wanted.difference(&own).filter(|name| !documented.contains(name.as_str())).collect();
    println!("{} of {} metrics are there", wanted.intersection(&own).count(), wanted.len());
    assert!(missing.is_empty(), "neither there nor in docs/compatibility.md: {missing:?}");
    plane.stop().await;
}
