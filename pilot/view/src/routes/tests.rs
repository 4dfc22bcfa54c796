// SPDX-License-Identifier: Apache-2.0
//! Tests of route configurations, from objects to what a proxy gets.

use crate::{Context, Memo, Notes};
use std::collections::BTreeMap;
use std::sync::Arc;
use tiphys_api::mesh::MeshConfig;
use tiphys_compile::{Compiler, Settings, Snapshot};
use tiphys_model::{Locality, NodeParts, ProxyNode};
use tiphys_proto::envoy::config::route::v3::{RouteConfiguration, VirtualHost};

fn apply(compiler: &mut Compiler, yaml: &str) {
    for parsed in tiphys_api::parse_yaml(yaml, None) {
        let object = parsed.unwrap().object;
        compiler.apply(object.key(), Some(Arc::new(object)));
    }
}

fn snapshot(yaml: &str) -> Arc<Snapshot> {
    let mut compiler = Compiler::new(&MeshConfig::default(), Settings::default());
    apply(&mut compiler, yaml);
    compiler.snapshot()
}

fn proxy(kind: &str, metadata: serde_json::Value) -> ProxyNode {
    let id = &format!("{kind}~10.0.0.1~x.ns~ns.svc.cluster.local");
    ProxyNode::parse(NodeParts { id, metadata, locality: Locality::default(), extensions: &[] }).unwrap()
}

fn routes(snapshot: &Snapshot, proxy: &ProxyNode, memo: &Memo) -> BTreeMap<String, RouteConfiguration> {
    let scope = snapshot.scope(proxy);
    let targets = snapshot.targets(proxy);
    let notes = Notes::default();
    let cx = Context { snapshot, scope: &scope, proxy, targets: &targets, patches: None, memo, notes: &notes };
    let decode = |entry: &tiphys_xds::Entry| {
        let any = entry.any().unwrap();
        (entry.name.to_string(), prost::Message::decode(any.value).unwrap())
    };
    super::routes(&cx).iter().map(decode).collect()
}

fn sidecar(yaml: &str) -> BTreeMap<String, RouteConfiguration> {
    routes(&snapshot(yaml), &proxy("sidecar", serde_json::json!({})), &Memo::default())
}

fn host<'a>(config: &'a RouteConfiguration, name: &str) -> Option<&'a VirtualHost> {
    config.virtual_hosts.iter().find(|host| host.name == name)
}

/// Names of the routes of a virtual host.
fn names(config: &RouteConfiguration, name: &str) -> Vec<String> {
    host(config, name).map(|host| host.routes.iter().map(|route| route.name.clone()).collect()).unwrap_or_default()
}

const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: ns}
spec: {clusterIP: 10.1.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: c, namespace: ns}
spec: {clusterIP: 10.1.0.2, ports: [{name: http, port: 9090}, {name: web, port: 7070}]}
---
";

fn http_route(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}, namespace: ns}}\nspec: {spec}\n---\n"
    )
}

const MESH: &str = "{parentRefs: [{kind: Mesh, name: istio}], hostnames: [a, example.com],
    rules: [{name: mesh, backendRefs: [{name: c, port: 9090}]}]}";

#[test]
fn a_route_of_the_mesh_acts_on_every_port_for_hosts_that_no_service_has() {
    let configs = sidecar(&format!("{SERVICES}{}", http_route("r", MESH)));
    assert_eq!(names(&configs["80"], "a.ns.svc.cluster.local:80"), ["mesh"]);
    assert_eq!(names(&configs["80"], "example.com:80"), ["mesh"]);
    assert_eq!(names(&configs["9090"], "example.com:9090"), ["mesh"]);
    // The service keeps its own ports.
    assert!(host(&configs["9090"], "a.ns.svc.cluster.local:9090").is_none());
    assert_eq!(names(&configs["9090"], "c.ns.svc.cluster.local:9090"), ["default"]);
}

#[test]
fn a_parents_port_narrows_a_route_of_the_mesh() {
    let spec = MESH.replace("name: istio}", "name: istio, port: 9090}");
    let configs = sidecar(&format!("{SERVICES}{}", http_route("r", &spec)));
    assert_eq!(names(&configs["80"], "a.ns.svc.cluster.local:80"), ["default"]);
    assert!(host(&configs["80"], "example.com:80").is_none());
    assert_eq!(names(&configs["9090"], "example.com:9090"), ["mesh"]);
}

#[test]
fn a_route_of_a_service_wins_over_one_of_the_mesh() {
    let own =
        "{parentRefs: [{group: '', kind: Service, name: a}], rules: [{name: own, backendRefs: [{name: a, port: 80}]}]}";
    // Whatever comes first by name.
    for (mesh, service) in [("r1", "r2"), ("r2", "r1")] {
        let yaml = format!("{SERVICES}{}{}", http_route(mesh, MESH), http_route(service, own));
        let configs = sidecar(&yaml);
        assert_eq!(names(&configs["80"], "a.ns.svc.cluster.local:80"), ["own"]);
        assert_eq!(names(&configs["80"], "example.com:80"), ["mesh"]);
    }
}

#[test]
fn a_sniffed_port_has_routes_of_its_own() {
    let configs = sidecar(SERVICES);
    let own = &configs["c.ns.svc.cluster.local:7070"];
    assert_eq!(own.virtual_hosts.len(), 1);
    assert_eq!(own.virtual_hosts[0].domains, ["*"]);
    assert!(configs["7070"].virtual_hosts.iter().any(|host| host.name == "allow_any"));
}

#[test]
fn the_closest_wildcard_has_a_service() {
    let service = |name: &str, host: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: ns}}
spec: {{hosts: ['{host}'], http: [{{name: {name}, route: [{{destination: {{host: a}}}}]}}]}}\n---\n"
        )
    };
    let wide = service("wide", "*.cluster.local");
    let close = service("close", "*.ns.svc.cluster.local");
    let configs = sidecar(&format!("{SERVICES}{wide}{close}"));
    assert_eq!(names(&configs["80"], "a.ns.svc.cluster.local:80"), ["close"]);
    let exact = service("zexact", "a");
    let configs = sidecar(&format!("{SERVICES}{wide}{close}{exact}"));
    assert_eq!(names(&configs["80"], "a.ns.svc.cluster.local:80"), ["zexact"]);
    assert_eq!(names(&configs["9090"], "c.ns.svc.cluster.local:9090"), ["close"]);
}

#[test]
fn a_changed_virtual_service_makes_one_virtual_host() {
    let service = |n: usize| {
        let address = format!("10.{}.{}.1", 1 + n / 250, n % 250);
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s{n}, namespace: ns}}\nspec: {{clusterIP: {address}, ports: [{{name: http, port: 80}}]}}\n---\n"
        )
    };
    let rule = |name: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v, namespace: ns}}
spec: {{hosts: [s7], http: [{{name: {name}, route: [{{destination: {{host: s7}}}}]}}]}}\n"
        )
    };
    let mut compiler = Compiler::new(&MeshConfig::default(), Settings::default());
    apply(&mut compiler, &((0..50).map(service).collect::<String>() + &rule("one")));
    let (memo, proxy) = (Memo::default(), proxy("sidecar", serde_json::json!({})));
    routes(&compiler.snapshot(), &proxy, &memo);
    let before = memo.len();
    apply(&mut compiler, &rule("two"));
    let configs = routes(&compiler.snapshot(), &proxy, &memo);
    assert_eq!(names(&configs["80"], "s7.ns.svc.cluster.local:80"), ["two"]);
    assert_eq!(memo.len(), before + 1);
}

const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: ns}
spec:
  selector: {istio: gw}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*.example.com'], tls: {httpsRedirect: true}}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: ['./a.example.com'], tls: {mode: SIMPLE, credentialName: c}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: ns}
spec: {hosts: [a.example.com, b.example.com], gateways: [g], http: [{name: v, route: [{destination: {host: a}}]}]}
---
";

#[test]
fn hosts_of_a_gateway_share_routes_and_are_sent_to_https() {
    let snapshot = snapshot(&format!("{SERVICES}{GATEWAY}"));
    let gateway = proxy("router", serde_json::json!({"LABELS": {"istio": "gw"}}));
    let configs = routes(&snapshot, &gateway, &Memo::default());
    let plain = &configs["http.80"];
    let shared = host(plain, "a.example.com:80").unwrap();
    assert_eq!(shared.domains, ["a.example.com", "b.example.com"]);
    assert_eq!((shared.require_tls, shared.routes.len()), (2, 1));
    assert!(host(plain, "*.example.com:80").unwrap().routes.is_empty());
    let https = &configs["https.443.https.g.ns"];
    assert_eq!(https.virtual_hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["a.example.com:443"]);
    assert!(routes(&snapshot, &proxy("router", serde_json::json!({})), &Memo::default()).is_empty());
}
