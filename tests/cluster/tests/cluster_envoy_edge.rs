// SPDX-License-Identifier: Apache-2.0
//! Plain Envoys as the mesh's edge (manifests/envoy-edge.yaml beside this folder says what they stand for), in a STRICT mesh. A file of its own:
//! STRICT holds for everybody.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use anyhow::{Result, ensure};
use std::time::Duration;
use tiphys_cluster_tests::pod::Answer;
use tiphys_cluster_tests::{Cluster, Mesh, manifests};
use tiphys_harness::credentials::ServerCertificate;

/// How long a change may take to reach every proxy, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(30);

const MANIFEST: &str = include_str!("../manifests/envoy-edge.yaml");
const CONTROL: &str = "control.envoy-edge.svc.cluster.local";

const STRICT: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
";

/// Takes the mesh back to what it was, also when the test fails.
struct Strict<'a>(&'a Cluster);

impl Drop for Strict<'_> {
    fn drop(&mut self) {
        let arguments = ["--namespace=istio-system", "delete", "peerauthentication", "default", "--ignore-not-found"];
        if let Err(error) = self.0.kubectl(&arguments) {
            println!("{error:#}");
        }
    }
}

fn header<'a>(seen: &'a serde_json::Value, name: &str) -> &'a str {
    seen["headers"][name].as_str().unwrap_or_default()
}

#[test]
fn plain_envoys_serve_https_before_a_strict_mesh() -> Result<()> {
    let Some(cluster) = Cluster::of_test("plain_envoys_serve_https_before_a_strict_mesh")? else { return Ok(()) };
    let mesh = Mesh::shared(&cluster)?;
    let edge = cluster.namespace("envoy-edge", &[("istio-injection", "enabled")])?;
    let applications = cluster.namespace("envoy-applications", &[("istio-injection", "enabled")])?;
    let outside = cluster.namespace("envoy-outside", &[])?;
    cluster.apply(STRICT)?;
    let _restore = Strict(&cluster);
    let (www, control) = (ServerCertificate::new("www.example.com")?, ServerCertificate::new(CONTROL)?);
    edge.apply(&www.secret("envoy-edge", "edge"))?;
    edge.apply(&control.secret("envoy-edge", "control"))?;
    edge.kubectl(&["create", "configmap", "control-ca", &format!("--from-literal=ca.pem={}", control.ca)])?;
    edge.apply(MANIFEST)?;
    applications.apply(&manifests::echo("app", 1))?;
    outside.apply(&manifests::echo("client", 1))?;
    outside.rollout("client")?;
    applications.rollout("app")?;
    for deployment in ["control", "edge"] {
        edge.rollout(deployment).map_err(|error| error.context(mesh.account()))?;
    }

    let address = edge.load_balancer("edge")?;
    let client = outside.pod("client")?;
    client.exec(&["sh", "-c", "printf '%s' \"$1\" > /tmp/ca.pem", "sh", &www.ca])?;
    let resolve = format!("www.example.com:443:{address}");
    let arguments = ["--cacert", "/tmp/ca.pem", "--resolve", &resolve];
    let answer = cluster.eventually("HTTPS at the edge", PATIENCE, || {
        let answer = client.get("https://www.example.com/", &arguments)?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(answer)
    })?;
    let seen: serde_json::Value = serde_json::from_str(&answer.body)?;
    let peer = header(&seen, "x-forwarded-client-cert");
    ensure!(peer.contains("URI=spiffe://cluster.local/ns/envoy-edge/sa/edge"), "{answer:?}");
    ensure!(answer.body.contains("app.envoy-applications.svc.cluster.local"), "the host is rewritten: {answer:?}");

    // What is in the mesh refuses who is not: the application, and the edge's discovery behind its sidecar.
    let refused = |url: &str| -> Result<Answer> { client.get(url, &["--insecure", "--max-time", "5"]) };
    for url in ["http://app.envoy-applications/".to_owned(), format!("https://{CONTROL}:18000/v3/discovery:clusters")] {
        let answer = refused(&url)?;
        ensure!(answer.status == 0, "{url}: {answer:?}");
    }
    for pod in edge.pods("")? {
        ensure!(pod.ready() == (2, 2), "{}", edge.account());
    }
    Ok(())
}
