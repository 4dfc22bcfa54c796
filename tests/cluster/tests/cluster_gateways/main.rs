// SPDX-License-Identifier: Apache-2.0
//! The gateway chart twice in one umbrella chart (tests/cluster/charts/edge), with what routes through both, and who may pass.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

mod access;
mod revoked;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};
use tiphys_cluster_tests::cluster::checkout;
use tiphys_cluster_tests::pod::Answer;
use tiphys_cluster_tests::{Afterwards, Cluster, Mesh, Namespace, Pod, gateway_api, manifests, mesh};
use tiphys_harness::credentials::ServerCertificate;

/// How long a change may take to reach every proxy, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(30);

const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api}
spec:
  parentRefs: [{name: ingress, namespace: edge}]
  hostnames: [api.example.com]
  rules:
  - backendRefs: [{name: app, port: 80}]
";

/// Builds the umbrella chart in a folder of its own, since Helm writes into it, and installs it.
fn install(edge: &Namespace) -> Result<()> {
    let root = tempfile::tempdir()?;
    symlink(checkout().join("charts").canonicalize()?, root.path().join("charts"))?;
    let chart = root.path().join("tests/cluster/charts/edge");
    let source = checkout().join("tests/cluster/charts/edge");
    for folder in ["", "templates"] {
        fs::create_dir_all(chart.join(folder))?;
        for file in fs::read_dir(source.join(folder))? {
            let file = file?.path();
            let name = file.file_name().context("a name")?;
            if file.is_file() {
                fs::copy(&file, chart.join(folder).join(name))?;
            }
        }
    }
    let chart = chart.to_string_lossy();
    edge.cluster().helm(&["dependency", "build", "--skip-refresh", &chart])?;
    let arguments = ["upgrade", "--install", "edge", &chart, "--namespace", edge.name(), "--wait", "--timeout=120s"];
    edge.cluster().helm(&[&arguments[..], mesh::IMAGES].concat()).map(drop).with_context(|| edge.account())
}

/// What the application saw of a header.
fn seen(answer: &Answer, header: &str) -> Option<String> {
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    Some(body["headers"][header].as_str()?.to_owned())
}

/// A user outside of the mesh, before the load balancer.
struct User {
    pod: Pod,
    address: String,
}

impl User {
    fn get(&self, url: &str, ca: &str, arguments: &[&str]) -> Result<Answer> {
        let host = url.split('/').nth(2).context("a host")?;
        let resolve = |port: &str| format!("{host}:{port}:{}", self.address);
        let script = "printf '%s' \"$1\" > /tmp/ca.pem";
        self.pod.exec(&["sh", "-c", script, "sh", ca])?;
        let (plain, secure) = (resolve("80"), resolve("443"));
        let own = ["--resolve", &plain, "--resolve", &secure, "--cacert", "/tmp/ca.pem"];
        self.pod.get(url, &[&own, arguments].concat())
    }

    fn eventually(&self, what: &str, url: &str, ca: &str) -> Result<Answer> {
        self.pod.cluster().eventually(what, PATIENCE, || {
            let answer = self.get(url, ca, &[])?;
            ensure!(answer.status == 200, "{url}: {answer:?}");
            Ok(answer)
        })
    }
}

fn credential(edge: &Namespace) -> Result<ServerCertificate> {
    let certificate = ServerCertificate::new("app.example.com")?;
    edge.apply(&certificate.secret(edge.name(), "app"))?;
    Ok(certificate)
}

#[test]
fn one_umbrella_chart_has_ingress_and_egress() -> Result<()> {
    let Some(cluster) = Cluster::of_test("one_umbrella_chart_has_ingress_and_egress")? else { return Ok(()) };
    gateway_api::install(&cluster)?;
    let shared = Mesh::shared(&cluster)?;
    let edge = cluster.namespace("edge", &[])?;
    let applications = cluster.namespace("edge-applications", &[("istio-injection", "enabled")])?;
    let outside = cluster.namespace("edge-outside", &[])?;
    for (namespace, app) in
        [(&applications, "app"), (&applications, "client"), (&outside, "server"), (&outside, "client")]
    {
        namespace.apply(&manifests::echo(app, 1))?;
    }
    // Gateways reach the application by mutual TLS, and so does everybody else.
    applications.apply(manifests::STRICT)?;
    applications.apply(ROUTE)?;
    let certificate = credential(&edge)?;
    let started = Instant::now();
    install(&edge).map_err(|error| error.context(shared.account()))?;
    println!("two gateways are ready {:.1} s after helm install", started.elapsed().as_secs_f64());
    for (namespace, app) in
        [(&applications, "app"), (&applications, "client"), (&outside, "server"), (&outside, "client")]
    {
        namespace.rollout(app)?;
    }

    let user = User { pod: outside.pod("client")?, address: edge.load_balancer("edge-ingress")? };
    let answer = user.eventually("HTTP", "http://app.example.com/", &certificate.ca)?;
    let client = seen(&answer, "x-forwarded-client-cert").unwrap_or_default();
    ensure!(client.contains("URI=spiffe://cluster.local/ns/edge/sa/edge-ingress"), "{answer:?}");
    user.eventually("HTTPS", "https://app.example.com/", &certificate.ca)?;
    user.eventually("an HTTPRoute", "http://api.example.com/", &certificate.ca)?;
    lines(&user, &certificate.ca)?;
    programmed(&edge)?;

    // A certificate that is renewed is served anew.
    let renewed = credential(&edge)?;
    user.eventually("the renewed certificate", "https://app.example.com/", &renewed.ca)?;
    let answer = user.get("https://app.example.com/", &certificate.ca, &[])?;
    ensure!(answer.status == 0, "the former certificate: {answer:?}");

    revoked::checked(&edge, &user).with_context(|| edge.account())?;

    // Outwards: the sidecar sends it to the gateway, which says so to the partner.
    let client = applications.pod("client")?;
    let answer = cluster.eventually("the egress gateway", PATIENCE, || {
        let answer = client.get("http://192.0.2.1/", &["--header", "Host: partner.example.com"])?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(answer)
    })?;
    ensure!(seen(&answer, "x-by").as_deref() == Some("egress"), "{answer:?}");

    let _default = Afterwards::new(&cluster, |cluster| Mesh::shared(cluster)?.install(&[]));
    access::checked(&shared, &edge, &applications, &user).map_err(|error| error.context(shared.account()))
}

/// A line of text over TLS comes back: the gateway ends the TLS and goes on with TCP.
fn lines(user: &User, ca: &str) -> Result<()> {
    let to = format!("{}:11112", user.address);
    let send = ["echo-service", "send", "--ca", "/tmp/ca.pem", "--server-name", "app.example.com", &to, "hello"];
    user.pod.cluster().eventually("TLS on 11112", PATIENCE, || {
        user.get("http://app.example.com/", ca, &[])?;
        let answer = user.pod.exec(&send)?;
        ensure!(answer.contains("hello"), "{answer}");
        Ok(())
    })
}

/// The Gateway of the Gateway API is served by the proxies before which its Service is.
fn programmed(edge: &Namespace) -> Result<()> {
    edge.cluster().eventually("the Gateway says that it is programmed", PATIENCE, || {
        let gateway = edge.json(&["get", "gateways.gateway.networking.k8s.io", "ingress"])?;
        let conditions = gateway["status"]["conditions"].as_array().context("conditions")?;
        let programmed = conditions.iter().any(|one| one["type"] == "Programmed" && one["status"] == "True");
        ensure!(programmed && gateway["status"]["addresses"][0]["value"].is_string(), "{}", gateway["status"]);
        Ok(())
    })
}
