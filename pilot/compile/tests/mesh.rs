// SPDX-License-Identifier: Apache-2.0
//! What a mesh of a few objects looks like once it is compiled.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use tiphys_api::mesh::MeshConfig;
use tiphys_api::{Key, Kind, parse_yaml};
use tiphys_compile::{Compiler, Settings};
use tiphys_model::{Host, Locality, NodeParts, ProxyNode};

const MESH: &str = r"
apiVersion: v1
kind: Service
metadata: {name: a, namespace: ns}
spec:
  clusterIP: 10.96.0.1
  selector: {app: a}
  ports: [{name: http, port: 80, targetPort: web}]
---
apiVersion: v1
kind: Pod
metadata: {name: a-1, namespace: ns, labels: {app: a, security.istio.io/tlsMode: istio}}
spec:
  serviceAccountName: a
  containers: [{name: app, ports: [{name: web, containerPort: 8080}]}]
status: {podIP: 10.0.0.1, phase: Running}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: a-x, namespace: ns, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- addresses: [10.0.0.1]
  conditions: {ready: true}
  targetRef: {kind: Pod, name: a-1, namespace: ns}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ext, namespace: other}
spec:
  hosts: [ext.example.com]
  ports: [{number: 443, name: https, protocol: HTTPS}]
  resolution: DNS
  exportTo: ['.']
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: vm, namespace: ns}
spec:
  hosts: [vm.example.com]
  location: MESH_INTERNAL
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 9080}]
  resolution: STATIC
  workloadSelector: {labels: {app: vm}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm-1, namespace: ns}
spec: {address: 127.0.0.9, labels: {app: vm}, serviceAccount: vm}
";

fn compiler(text: &str) -> Compiler {
    let mesh = MeshConfig { trust_domain: "cluster.local".into(), ..MeshConfig::default() };
    let mut compiler = Compiler::new(&mesh, Settings::default());
    for parsed in parse_yaml(text, None) {
        let object = parsed.unwrap().object;
        compiler.apply(object.key(), Some(Arc::new(object)));
    }
    compiler
}

fn proxy(namespace: &str, address: &str, labels: &serde_json::Value) -> ProxyNode {
    let id = &format!("sidecar~{address}~x.{namespace}~{namespace}.svc.cluster.local");
    let metadata = serde_json::json!({ "LABELS": labels });
    ProxyNode::parse(NodeParts { id, metadata, locality: Locality::default(), extensions: &[] }).unwrap()
}

#[test]
fn endpoints_carry_the_identity_of_their_pod() {
    let snapshot = compiler(MESH).snapshot();
    let service = snapshot.services.get(&Host::new("a.ns.svc.cluster.local"), "ns").unwrap();
    let endpoints = snapshot.endpoints.of(service).unwrap();
    let [endpoint] = &endpoints.endpoints[..] else { panic!("{endpoints:?}") };
    assert_eq!((endpoint.address(), endpoint.port, &*endpoint.port_name), ("10.0.0.1", 8080, "http"));
    assert_eq!(&*endpoint.identity, "spiffe://cluster.local/ns/ns/sa/a");
    assert!(endpoint.takes_mtls());
}

#[test]
fn workload_entries_answer_for_the_service_entries_that_select_them() {
    let snapshot = compiler(MESH).snapshot();
    let service = snapshot.services.get(&Host::new("vm.example.com"), "ns").unwrap();
    let endpoints = snapshot.endpoints.of(service).unwrap();
    assert_eq!((endpoints.endpoints[0].address(), endpoints.endpoints[0].port), ("127.0.0.9", 9080));
    assert!(endpoints.endpoints[0].takes_mtls());
}

#[test]
fn a_scope_holds_what_its_namespace_sees() {
    let snapshot = compiler(MESH).snapshot();
    let hosts = |namespace: &str| {
        let scope = snapshot.scope(&proxy(namespace, "10.0.0.7", &serde_json::json!({})));
        scope.services.iter().map(|service| service.host.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(hosts("ns"), ["a.ns.svc.cluster.local", "vm.example.com"]);
    assert_eq!(hosts("other"), ["ext.example.com", "a.ns.svc.cluster.local", "vm.example.com"]);
}

#[test]
fn a_sidecar_object_cuts_the_scope() {
    let sidecar = "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s, namespace: ns}
spec:
  egress:
  - hosts: [./vm.example.com]
";
    let snapshot = compiler(&format!("{MESH}---{sidecar}")).snapshot();
    let scope = snapshot.scope(&proxy("ns", "10.0.0.7", &serde_json::json!({})));
    assert_eq!(scope.services.len(), 1);
    assert!(scope.service(&Host::new("vm.example.com")).is_some());
}

#[test]
fn named_target_ports_are_those_of_the_pod() {
    let snapshot = compiler(MESH).snapshot();
    let targets = snapshot.targets(&proxy("ns", "10.0.0.1", &serde_json::json!({"app": "a"})));
    assert_eq!(targets.len(), 1);
    assert_eq!((targets[0].port.number, targets[0].target_port), (80, 8080));
}

#[test]
fn what_does_not_matter_makes_no_snapshot() {
    let mut compiler = compiler(MESH);
    let first = compiler.snapshot();
    let mut object = (**compiler.store().get(Kind::Service, "ns", "a").unwrap()).clone();
    object.meta.resource_version = "2".into();
    compiler.apply(object.key(), Some(Arc::new(object)));
    assert!(Arc::ptr_eq(&first, &compiler.snapshot()));
}

#[test]
fn a_deleted_slice_takes_its_endpoints_along() {
    let mut compiler = compiler(MESH);
    let before = compiler.snapshot();
    compiler.apply(Key { kind: Kind::EndpointSlice, namespace: "ns".into(), name: "a-x".into() }, None);
    let after = compiler.snapshot();
    let service = after.services.get(&Host::new("a.ns.svc.cluster.local"), "ns").unwrap();
    assert!(before.endpoints.of(service).is_some() && after.endpoints.of(service).is_none());
    assert!(Arc::ptr_eq(&before.services, &after.services));
}

#[test]
fn what_is_not_served_is_warned_of_by_name() {
    let text = r"
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: any, namespace: ns}
spec: {hosts: ['*.example.com'], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DYNAMIC_DNS}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: t, namespace: ns}
spec: {host: a, trafficPolicy: {tunnel: {protocol: CONNECT, targetHost: x, targetPort: 443}}}
";
    let mut compiler = Compiler::new(&MeshConfig::default(), Settings::default());
    for parsed in parse_yaml(text, None) {
        let object = parsed.unwrap().object;
        compiler.apply(object.key(), Some(Arc::new(object)));
    }
    let snapshot = compiler.snapshot();
    let told: Vec<String> = snapshot
        .warnings
        .iter()
        .flat_map(|(key, problems)| problems.iter().map(move |problem| format!("{}: {}", key.name, problem.path)))
        .collect();
    assert_eq!(told, ["t: spec.trafficPolicy.tunnel", "t: spec.host", "any: spec.resolution"]);
}

#[test]
fn what_is_not_served_is_said_of_the_object() {
    let plugin = "
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: f, namespace: ns}
spec: {url: file:///x.wasm}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: h, namespace: ns}
spec: {rules: [{}, {sessionPersistence: {sessionName: s}}]}
";
    let mut compiler = compiler(MESH);
    let before = compiler.snapshot();
    for parsed in parse_yaml(plugin, None) {
        let object = parsed.unwrap().object;
        compiler.apply(object.key(), Some(Arc::new(object)));
    }
    let after = compiler.snapshot();
    let said =
        |kind| after.warnings.iter().find(|(key, _)| key.kind == kind).map(|(_, problems)| &problems[0].path[..]);
    assert!(before.warnings.is_empty());
    assert_eq!(said(Kind::WasmPlugin), Some("spec"));
    assert_eq!(said(Kind::HttpRoute), Some("spec.rules[1].sessionPersistence"));
}
