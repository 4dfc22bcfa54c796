// SPDX-License-Identifier: Apache-2.0
//! The agent in pods that Istio's own istiod injects, from Tiphys's charts: both ends speak the same protocol.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use anyhow::{Result, ensure};
use serde_json::json;
use std::time::Duration;
use tiphys_cluster_tests::istio::{Istio, MOUNTED};
use tiphys_cluster_tests::mesh::SYSTEM;
use tiphys_cluster_tests::pod::Answer;
use tiphys_cluster_tests::{Cluster, Mesh, Pod, manifests};

/// How long what istiod sends may take to reach every sidecar.
const PATIENCE: Duration = Duration::from_secs(60);
/// istiod reads more than Tiphys does.
const RIGHTS: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: istiod-of-istio}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: istiod, namespace: istio-system}]
";

/// Filters that only Istio's own build of Envoy has are left out: these metrics, and what two settings of istiod's switch off.
const NO_METRICS: &str = "apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: default, namespace: istio-system}
spec:
  metrics:
  - providers: [{name: prometheus}]
    overrides: [{match: {metric: ALL_METRICS}, disabled: true}]
";

fn eventually(from: &Pod, url: &str, what: &str, right: impl Fn(&Answer) -> bool) -> Result<Answer> {
    from.cluster().eventually(what, PATIENCE, || {
        let answer = from.get(url, &[])?;
        ensure!(right(&answer), "{url}: {answer:?}");
        Ok(answer)
    })
}

#[test]
fn the_agent_works_with_istiod() -> Result<()> {
    let test = "the_agent_works_with_istiod";
    let (Some(cluster), Some(istio)) = (Cluster::of_test(test)?, Istio::of_test(test)?) else { return Ok(()) };
    Mesh::remove(&cluster)?;
    let tried = with_istiod(&cluster, &istio);
    cluster.kubectl(&["delete", "clusterrolebinding", "istiod-of-istio", "--ignore-not-found"])?;
    Mesh::remove(&cluster)?;
    tried
}

fn with_istiod(cluster: &Cluster, istio: &Istio) -> Result<()> {
    let mesh = Mesh::shared(cluster)?;
    cluster.apply(RIGHTS)?;
    cluster.apply(NO_METRICS)?;
    let program = json!([format!("{MOUNTED}/pilot-discovery")]);
    let environment = json!([
        {"name": "PILOT_ENABLE_METADATA_EXCHANGE", "value": "false"},
        {"name": "PILOT_ENABLE_ALPN_FILTER", "value": "false"},
    ]);
    let patch = istio.patch(&json!({"name": "discovery", "command": program, "env": environment})).to_string();
    cluster.kubectl(&["--namespace", SYSTEM, "patch", "deployment/istiod", "--patch", &patch])?;
    let rollout = ["--namespace", SYSTEM, "rollout", "status", "deployment/istiod", "--timeout=180s"];
    cluster.kubectl(&rollout).map_err(|error| error.context(mesh.account()))?;

    let namespace = cluster.namespace("of-istiod", &[("istio-injection", "enabled")])?;
    let names = "proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true'}";
    let world = "proxyMetadata: {ISTIO_DELTA_XDS: 'false'}";
    for (app, config) in [("server", ""), ("client", names), ("world", world)] {
        let annotations = format!(
            "metadata: {{labels: {{app: {app}, version: v1}}, annotations: {{proxy.istio.io/config: \"{config}\"}}}}"
        );
        let plain = format!("metadata: {{labels: {{app: {app}, version: v1}}}}");
        namespace.apply(&manifests::echo(app, 1).replace(&plain, &annotations))?;
    }
    for app in ["server", "client", "world"] {
        namespace.rollout(app).map_err(|error| error.context(mesh.account()))?;
        let pod = namespace.pod(app)?;
        ensure!(pod.ready() == (2, 2), "{app}: {:?}", pod.ready());
        ensure!(pod.object().to_string().contains("tiphys/tiphys-proxy:test"), "{}", pod.object());
    }
    let outside = cluster.namespace("beside-istiod", &[])?;
    outside.apply(&manifests::echo("client", 1))?;
    outside.rollout("client")?;
    namespace.apply(manifests::STRICT)?;
    let url = "http://server.of-istiod/";
    eventually(&outside.pod("client")?, url, "STRICT refuses plaintext", |answer| answer.status == 0)?;
    for app in ["client", "world"] {
        let answer = eventually(&namespace.pod(app)?, url, "mutual TLS", |answer| answer.status == 200)?;
        let identity = format!("URI=spiffe://cluster.local/ns/of-istiod/sa/{app}");
        ensure!(answer.body.contains(&identity), "{answer:?}");
    }
    // A change comes over the stream that is there, in both variants of the protocol.
    namespace.apply(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: server}
spec:
  hosts: [server]
  http: [{directResponse: {status: 418}}]
",
    )?;
    for app in ["client", "world"] {
        eventually(&namespace.pod(app)?, url, "a changed route", |answer| answer.status == 418)?;
    }
    // The names that the agent answers came from istiod.
    let request = ["pilot-agent", "request", "--debug-port=15020", "GET", "/debug/ndsz"];
    let names = namespace.pod("client")?.exec_in("istio-proxy", &request)?;
    ensure!(names.contains("server.of-istiod.svc.cluster.local"), "{names}");
    Ok(())
}
