// SPDX-License-Identifier: Apache-2.0
use super::*;
use std::sync::Arc;
use tiphys_api::mesh::MeshConfig;
use tiphys_compile::{Compiler, Settings};
use tiphys_model::{Locality, NodeParts};

const CERT: &str = "-----BEGIN X-----\\nAAAA\\n-----END X-----\\n";

/// Secrets `tls` (with authorities) and `only-ca-cacert` in `ns`, `tls` in `other`, a ConfigMap in `other`, a Gateway of Istio's API in `ns`, and
/// one of the Gateway API in `ns` that refers to `ns/tls`, `other/granted` and, without a grant, `other/tls`.
fn snapshot() -> Arc<Snapshot> {
    let secret = |namespace: &str, name: &str| {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {namespace}}}\nstringData: {{tls.crt: \"{CERT}\", tls.key: \"{CERT}\", ca.crt: \"{CERT}\"}}\n"
        )
    };
    let rest = format!(
        "---
apiVersion: v1
kind: Secret
metadata: {{name: only-ca-cacert, namespace: ns}}
stringData: {{cacert: \"{CERT}\"}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: roots, namespace: other}}
data: {{ca.crt: \"{CERT}\"}}
---
apiVersion: v1
kind: Service
metadata: {{name: gw, namespace: ns}}
spec: {{selector: {{app: gw}}, ports: [{{name: https, port: 443, targetPort: 8443}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: gw-1, namespace: ns, labels: {{app: gw}}}}
spec: {{serviceAccountName: gw, containers: [{{name: istio-proxy}}]}}
status: {{phase: Running, podIP: 10.0.0.1, podIPs: [{{ip: 10.0.0.1}}], conditions: [{{type: Ready, status: 'True'}}]}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: classic, namespace: ns}}
spec:
  selector: {{app: gw}}
  servers:
  - port: {{number: 9443, name: a, protocol: HTTPS}}
    hosts: [a.example.com]
    tls: {{mode: SIMPLE, credentialName: kubernetes-gateway://other/tls}}
  - port: {{number: 9444, name: b, protocol: HTTPS}}
    hosts: [b.example.com]
    tls: {{mode: MUTUAL, credentialName: kubernetes-gateway://ns/mine}}
"
    );
    let text =
        [secret("ns", "tls"), secret("ns", "mine"), secret("other", "tls"), secret("other", "granted"), rest].concat();
    let mut compiler = Compiler::new(&MeshConfig::default(), Settings::default());
    for parsed in tiphys_api::parse_yaml(&text, None) {
        let object = parsed.unwrap().object;
        compiler.apply(object.key(), Some(Arc::new(object)));
    }
    compiler.snapshot()
}

fn node(kind: &str, namespace: &str) -> ProxyNode {
    let id = &format!("{kind}~10.0.0.1~g.{namespace}~d");
    let metadata = serde_json::json!({"NAMESPACE": namespace, "LABELS": {"app": "gw"}});
    ProxyNode::parse(NodeParts { id, metadata, locality: Locality::default(), extensions: &[] }).unwrap()
}

fn peer(identity: &str) -> Peer {
    Peer { tls: true, identities: vec![identity.into()], ..Peer::default() }
}

struct Only(&'static str);

impl SecretAccess for Only {
    fn may_read(&self, reader: &SecretReader<'_>) -> bool {
        reader.service_account == self.0 && reader.namespace == "ns"
    }
}

fn get(kind: &str, namespace: &str, peer: &Peer, access: &dyn SecretAccess, name: &str) -> bool {
    let snapshot = snapshot();
    secret(&Asking { snapshot: &snapshot, node: &node(kind, namespace), peer, access }, name).is_some()
}

#[test]
fn only_a_proven_proxy_gets_the_credentials_of_its_namespace() {
    let gw = peer("spiffe://d/ns/ns/sa/gw");
    let of_gw = |kind: &str, namespace: &str, peer: &Peer, name: &str| get(kind, namespace, peer, &GatewaysMay, name);
    assert!(of_gw("router", "ns", &gw, "kubernetes://tls"));
    assert!(of_gw("router", "ns", &gw, "kubernetes://ns/tls"));
    assert!(!of_gw("router", "ns", &gw, "kubernetes://other/tls"));
    assert!(!of_gw("router", "ns", &gw, "kubernetes://none"));
    // On the plaintext port nothing is proven, whatever is claimed; and without an identity nothing is on the other.
    assert!(!of_gw("router", "ns", &Peer { tls: false, ..gw.clone() }, "kubernetes://tls"));
    assert!(!of_gw("router", "ns", &Peer { tls: false, ..gw.clone() }, "kubernetes://tls-cacert"));
    assert!(!of_gw("router", "ns", &Peer { tls: true, ..Peer::default() }, "kubernetes://tls"));
    // The identity of another namespace, although the node says it is of this one.
    assert!(!of_gw("router", "ns", &peer("spiffe://d/ns/other/sa/gw"), "kubernetes://tls"));
    assert!(!of_gw("sidecar", "ns", &gw, "kubernetes://tls"));
}

#[test]
fn keys_need_a_service_account_that_may_read_them_and_authorities_do_not() {
    let (may, may_not) = (peer("spiffe://d/ns/ns/sa/gw"), peer("spiffe://d/ns/ns/sa/web"));
    let of = |kind: &str, peer: &Peer, name: &str| get(kind, "ns", peer, &Only("gw"), name);
    assert!(of("router", &may, "kubernetes://tls"));
    assert!(!of("router", &may_not, "kubernetes://tls"));
    assert!(of("router", &may_not, "kubernetes://tls-cacert"));
    assert!(of("router", &may_not, "kubernetes://only-ca-cacert"));
    assert!(of("sidecar", &may, "kubernetes://tls"));
    assert!(!of("router", &may, "kubernetes://other/tls-cacert"));
}

#[test]
fn references_of_gateways() {
    let gw = peer("spiffe://d/ns/ns/sa/gw");
    let of = |kind: &str, namespace: &str, peer: &Peer, name: &str| get(kind, namespace, peer, &Only("nobody"), name);
    assert!(of("router", "ns", &gw, "kubernetes-gateway://ns/mine"));
    assert!(of("router", "ns", &gw, "kubernetes-gateway://ns/mine-cacert"));
    // No Gateway refers to it; one does, but into another namespace; another proxy.
    assert!(!of("router", "ns", &gw, "kubernetes-gateway://ns/tls"));
    assert!(!of("router", "ns", &gw, "kubernetes-gateway://other/tls"));
    let other = peer("spiffe://d/ns/other/sa/gw");
    assert!(!of("router", "other", &other, "kubernetes-gateway://ns/mine"));
}

#[test]
fn config_maps_are_public() {
    let web = peer("spiffe://d/ns/ns/sa/web");
    assert!(get("sidecar", "ns", &web, &Only("nobody"), "configmap://other/roots-cacert"));
    assert!(!get("sidecar", "ns", &web, &Only("nobody"), "configmap://other/none-cacert"));
    assert!(!get("sidecar", "ns", &Peer::default(), &Only("nobody"), "configmap://other/roots-cacert"));
}
