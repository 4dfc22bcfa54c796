// SPDX-License-Identifier: Apache-2.0
//! Meshes of a few lines.
#![allow(dead_code, clippy::unwrap_used, reason = "shared by test programs that use different parts")]

use std::sync::Arc;

use tiphys_api::mesh::MeshConfig;
use tiphys_api::{Object, parse_yaml};
use tiphys_compile::{Compiler, Settings};
use tiphys_preflight::{Ask, Inputs, Proxies, Reason, Report, Severity, Taken, check};

pub fn objects(text: &str) -> Vec<Arc<Object>> {
    parse_yaml(text, None).into_iter().map(|parsed| Arc::new(parsed.unwrap().object)).collect()
}

/// What is asked, of which mesh.
#[derive(Default)]
pub struct Case {
    pub objects: Vec<Arc<Object>>,
    pub mesh: String,
    pub ask: Ask,
    pub proxies: Option<Proxies>,
    pub taken: Taken,
}

impl Case {
    /// STRICT for the mesh.
    pub fn of(text: &str) -> Self {
        Self { objects: objects(text), ..Self::default() }
    }

    pub fn namespace(mut self, namespace: &str) -> Self {
        self.ask.namespace = Some(namespace.to_owned());
        self
    }

    pub fn check(&self) -> Report {
        let mesh = MeshConfig::default().merge_yaml(&self.mesh).unwrap().0;
        let mut compiler = Compiler::new(&mesh, Settings::default());
        for object in &self.objects {
            compiler.apply(object.key(), Some(object.clone()));
        }
        let snapshot = compiler.snapshot();
        check(Inputs {
            snapshot: &snapshot,
            objects: &self.objects,
            ask: &self.ask,
            proxies: self.proxies.as_ref(),
            taken: &self.taken,
            revision: "",
        })
    }

    /// Each finding as `SEVERITY REASON CLIENT -> SERVER`.
    pub fn lines(&self) -> Vec<String> {
        let findings = self.check().findings;
        findings
            .iter()
            .map(|f| f.to_string().lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }

    /// The findings of one reason: severity, message, fix.
    pub fn of_reason(&self, reason: Reason) -> Vec<(Severity, String, String)> {
        let findings = self.check().findings.into_iter().filter(|finding| finding.reason == reason);
        findings.map(|finding| (finding.severity, finding.message, finding.fix)).collect()
    }
}

/// A namespace with these labels.
pub fn namespace(name: &str, labels: &str) -> String {
    format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n")
}

/// A pod of a Deployment and what differs of it.
pub struct Pod<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
    pub ip: &'a str,
    pub sidecar: bool,
    pub labels: &'a str,
    pub annotations: &'a str,
    pub spec: &'a str,
    pub container: &'a str,
    pub image: &'a str,
}

/// A workload with a sidecar.
pub const WEB: Pod<'static> = Pod {
    name: "web",
    namespace: "shop",
    ip: "10.1.0.1",
    sidecar: true,
    labels: "",
    annotations: "",
    spec: "",
    container: "ports: [{containerPort: 8080}]",
    image: "proxyv2:1.30.0",
};

impl Default for Pod<'_> {
    fn default() -> Self {
        WEB
    }
}

impl Pod<'_> {
    pub fn yaml(&self) -> String {
        let Self { name, namespace, ip, labels, annotations, spec, container, image, .. } = self;
        let mode = if self.sidecar && !labels.contains("tlsMode") { ", security.istio.io/tlsMode: istio" } else { "" };
        let labels = if labels.is_empty() { String::new() } else { format!(", {labels}") };
        let proxy = if self.sidecar { format!(", {{name: istio-proxy, image: '{image}'}}") } else { String::new() };
        format!(
            "---
apiVersion: v1
kind: Pod
metadata:
  name: {name}-6f7-x
  namespace: {namespace}
  labels: {{app: {name}, pod-template-hash: 6f7{mode}{labels}}}
  annotations: {{{annotations}}}
  ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: {name}-6f7, controller: true}}]
spec:
  containers: [{{name: app, {container}}}{proxy}]
  {spec}
status: {{phase: Running, podIP: {ip}, conditions: [{{type: Ready, status: 'True'}}]}}
"
        )
    }
}

/// A service with endpoints at these addresses, each of the pod `NAME-6f7-x` of the service's name.
pub fn service(name: &str, namespace: &str, ip: &str, more: &str, pods: &[(&str, &str)]) -> String {
    let endpoints: Vec<String> = pods
        .iter()
        .map(|(ip, pod)| {
            format!("{{addresses: [{ip}], conditions: {{ready: true}}, targetRef: {{kind: Pod, name: {pod}-6f7-x, namespace: {namespace}}}}}")
        })
        .collect();
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  clusterIP: {ip}
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
  {more}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: {namespace}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints: [{}]
",
        endpoints.join(", ")
    )
}

/// The namespace shop, injected, with the workload web and its service.
pub fn shop(web: &Pod<'_>) -> String {
    namespace("shop", "istio-injection: enabled")
        + &web.yaml()
        + &service("web", "shop", "10.96.0.1", "", &[(web.ip, "web")])
}
