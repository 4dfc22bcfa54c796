// SPDX-License-Identifier: Apache-2.0
//! Revisions: one alone, without the default one and without a tag; then two, and a tag that moves from one to the other under load. A file
//! of its own: there must be no other mesh.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::{Duration, Instant};
use tiphys_cluster_tests::mesh::{IMAGES, SYSTEM};
use tiphys_cluster_tests::{Afterwards, Cluster, Load, Mesh, Namespace, Page, Pod, gateway_api, manifests};

/// How long a change may take to reach every proxy, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(30);

/// Less than a lock that nobody gave back takes to run out, which is 30 s.
const HANDED_OVER: Duration = Duration::from_secs(10);

const OLD: &str = "asm-1-22";
const NEW: &str = "asm-1-23";

/// A Gateway of each kind, which names no revision, and a route through each.
const GATEWAYS: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: ingress}
spec:
  selector: {istio: ingress}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [istio.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: server}
spec:
  hosts: [istio.example.com]
  gateways: [ingress]
  http: [{route: [{destination: {host: server}}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: api}
spec:
  gatewayClassName: istio
  addresses: [{type: Hostname, value: ingress.revisions.svc.cluster.local}]
  listeners: [{name: http, port: 80, protocol: HTTP, hostname: api.example.com}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: server}
spec:
  parentRefs: [{name: api}]
  hostnames: [api.example.com]
  rules: [{backendRefs: [{name: server, port: 80}]}]
";

fn install(cluster: &Cluster, revision: &str) -> Result<()> {
    let own = format!("revision={revision}");
    let arguments = [IMAGES, &["--set", &own]].concat();
    cluster.helm_install(&format!("istiod-{revision}"), "istiod", SYSTEM, &arguments)
}

/// Makes `prod` a name of a revision, or of another one than before.
fn tag(cluster: &Cluster, revision: &str) -> Result<()> {
    let chart = tiphys_cluster_tests::cluster::checkout().join("charts/istiod");
    let (chart, own) = (chart.to_string_lossy(), format!("revision={revision}"));
    let tag = ["--set", &own, "--set", "revisionTags={prod}"];
    let only = ["--show-only=templates/revision-tags-mwc.yaml", "--show-only=templates/revision-tags-svc.yaml"];
    let arguments = [&["template", "istiod", &chart, "--namespace", SYSTEM], &tag[..], &only].concat();
    cluster.apply(&cluster.helm(&arguments)?)
}

/// The revisions that the pods of an application are of, and that all of them have a sidecar.
fn revision(namespace: &Namespace, app: &str) -> Result<String> {
    let pods = namespace.pods(&format!("app={app}"))?;
    let mut revisions = Vec::new();
    for pod in &pods {
        ensure!(pod.ready() == (2, 2), "{}: {:?}", pod.name(), pod.ready());
        revisions.push(pod.annotation("istio.io/rev").context("no revision")?.to_owned());
    }
    revisions.dedup();
    Ok(revisions.join(", "))
}

/// Takes away what this test installs, and whatever mesh is there, also when it fails.
fn clean(cluster: &Cluster) -> Result<()> {
    for revision in [OLD, NEW] {
        let release = format!("istiod-{revision}");
        cluster.helm(&["uninstall", &release, "--namespace", SYSTEM, "--ignore-not-found"])?;
    }
    let tags = ["delete", "mutatingwebhookconfiguration", "--selector=istio.io/tag=prod"];
    cluster.kubectl(&tags)?;
    Mesh::remove(cluster)
}

fn answers(from: &Pod, host: &str, address: &str) -> Result<()> {
    let header = format!("Host: {host}");
    from.cluster().eventually(host, PATIENCE, || {
        let answer = from.get(&format!("http://{address}/"), &["--header", &header])?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    })
}

#[test]
fn a_revision_stands_alone_and_hands_over_to_another() -> Result<()> {
    let Some(cluster) = Cluster::of_test("a_revision_stands_alone_and_hands_over_to_another")? else { return Ok(()) };
    gateway_api::install(&cluster)?;
    clean(&cluster)?;
    let _clean = Afterwards::new(&cluster, clean);
    cluster.helm_install("istio-base", "base", SYSTEM, &[])?;
    install(&cluster, OLD)?;

    // Alone, and the default of nobody.
    let namespace = cluster.namespace("revisions", &[("istio.io/rev", OLD)])?;
    namespace.apply(&manifests::echo("server", 2))?;
    namespace.apply(&manifests::echo("client", 1))?;
    namespace.apply(GATEWAYS)?;
    cluster.helm_install("ingress", "gateway", namespace.name(), &["--set", "service.type=ClusterIP"])?;
    for app in ["server", "client"] {
        namespace.rollout(app)?;
        ensure!(revision(&namespace, app)? == OLD, "{app}: {}", revision(&namespace, app)?);
    }
    let client = namespace.pod("client")?;
    for host in ["istio.example.com", "api.example.com"] {
        answers(&client, host, "ingress.revisions")?;
    }
    let conditions = ["get", "gateways.gateway.networking.k8s.io", "api"];
    cluster.eventually("the Gateway's status is written", PATIENCE, || {
        let status = namespace.json(&conditions)?["status"].clone();
        let conditions = status["conditions"].as_array().context("conditions")?;
        ensure!(conditions.iter().any(|one| one["type"] == "Programmed" && one["status"] == "True"), "{status}");
        Ok(())
    })?;

    // Another beside it; the namespace asks for a tag from now on, which moves.
    install(&cluster, NEW)?;
    tag(&cluster, OLD)?;
    namespace.kubectl(&["label", "namespace", namespace.name(), "--overwrite", "istio.io/rev=prod"])?;
    let load = Load::start(&client, &["http://server.revisions/"])?;
    let through = Load::start(&client, &["--header", "Host: istio.example.com", "http://ingress.revisions/"])?;
    namespace.restart("server")?;
    ensure!(revision(&namespace, "server")? == OLD);
    tag(&cluster, NEW)?;
    for deployment in ["server", "ingress"] {
        namespace.restart(deployment)?;
    }
    cluster.eventually("servers are of the other revision", PATIENCE, || {
        ensure!(revision(&namespace, "server")? == NEW, "{}", revision(&namespace, "server")?);
        Ok(())
    })?;
    load.stop()?.all_answered("servers restarted for a tag and once more when it moved")?;
    through.stop()?.all_answered("the same through the gateway, which was restarted too")?;
    // Between both: the client is of the former revision, and may stay when that one goes.
    ensure!(revision(&namespace, "client")? == OLD);
    answers(&client, "istio.example.com", "ingress.revisions")?;
    removed(&cluster)?;
    answers(&client, "istio.example.com", "ingress.revisions")
}

/// The pod that holds the lock that all revisions share.
fn holder(cluster: &Cluster) -> Result<String> {
    let lock = ["--namespace", SYSTEM, "get", "configmap", "istio-namespace-controller-election"];
    let lock = cluster.json(&lock)?;
    let record = lock["metadata"]["annotations"]["control-plane.alpha.kubernetes.io/leader"].as_str();
    let record: Value = serde_json::from_str(record.context("a lock has a record")?)?;
    Ok(record["holderIdentity"].as_str().unwrap_or_default().to_owned())
}

/// The revision that holds the lock is removed as docs/operations.md says: the other one goes on at once.
fn removed(cluster: &Cluster) -> Result<()> {
    let held = |revision: &str| {
        let holder = holder(cluster)?;
        ensure!(holder.starts_with(&format!("istiod-{revision}-")), "the lock is of {holder:?}");
        Ok(())
    };
    held(OLD)?;
    let mut page = Page::section(cluster, "docs/operations.md", "Removing a revision")?;
    page.run("Removing a revision")?;
    page.finish()?;
    let removed = Instant::now();
    cluster.eventually("the other revision has the lock", HANDED_OVER, || held(NEW))?;
    println!("a revision is removed, and another has its lock {:.1} s later", removed.elapsed().as_secs_f64());
    Ok(())
}
