// SPDX-License-Identifier: Apache-2.0
//! Every command of docs/migrate-from-istio.md, in its order, under load. A file of its own: there must be no other mesh.
//!
//! A Tiphys of the default revision stands for istiod, whose image is not there. Its root is one that istiod made.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, PKCS_RSA_SHA256};
use serde_json::json;
use std::time::Duration;
use tiphys_cluster_tests::command::feed;
use tiphys_cluster_tests::mesh::{IMAGES, SYSTEM};
use tiphys_cluster_tests::{Afterwards, Cluster, Load, Mesh, Namespace, Page, manifests};

const PATIENCE: Duration = Duration::from_secs(60);

const GATEWAY: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: ingress, namespace: istio-ingress}
spec:
  selector: {istio: ingress}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [app.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app, namespace: istio-ingress}
spec:
  hosts: [app.example.com]
  gateways: [ingress]
  http: [{route: [{destination: {host: app.default.svc.cluster.local}}]}]
";

/// Makes a root as istiod keeps its own: RSA, the key in the form of PKCS #1. Gives its certificate.
fn istiods_root(cluster: &Cluster) -> Result<String> {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "cluster.local");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key)?.pem();
    // PKCS #8 has 26 bytes before an RSA key of 2048 bits.
    let text = STANDARD.encode(&key.serialized_der()[26..]);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    let key = format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n", lines.join("\n"));
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "istio.io/ca-root",
        "metadata": {"name": "istio-ca-secret", "namespace": SYSTEM},
        "stringData": {
            "ca-cert.pem": certificate, "ca-key.pem": key, "cert-chain.pem": "", "key.pem": "", "root-cert.pem": "",
        },
    });
    cluster.apply(&secret.to_string())?;
    Ok(certificate)
}

/// What stands for an Istio that is to be replaced: control plane, gateway, an application.
fn istio(cluster: &Cluster) -> Result<()> {
    cluster.helm_install("istio-base", "base", SYSTEM, &[])?;
    let root = istiods_root(cluster)?;
    cluster.helm_install(
        "istiod",
        "istiod",
        SYSTEM,
        &[IMAGES, &["--set=meshConfig.accessLogFile=/dev/stdout"]].concat(),
    )?;
    cluster.helm_install("ingress", "gateway", "istio-ingress", &["--set", "service.type=ClusterIP"])?;
    cluster.apply(GATEWAY)?;
    cluster.kubectl(&["label", "namespace", "default", "istio-injection=enabled"])?;
    feed(&mut cluster.kubectl_command(&["apply", "--filename=-"]), &manifests::echo("app", 1))?;
    cluster.kubectl(&["rollout", "status", "deployment/app", "--timeout=120s"])?;
    let bundle = cluster.json(&["get", "configmap", "istio-ca-root-cert"])?;
    let known = bundle["data"]["root-cert.pem"].as_str().unwrap_or_default();
    ensure!(known.trim() == root.trim(), "the root is another: {known}");
    Ok(())
}

/// The revision that the application's pod is of.
fn revision(cluster: &Cluster) -> Result<String> {
    cluster.eventually("one pod that stays", PATIENCE, || {
        let pods = cluster.json(&["get", "pods", "--selector=app=app"])?;
        let pods = pods["items"].as_array().context("items")?.iter();
        let stays: Vec<_> = pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect();
        ensure!(stays.len() == 1, "{} pods", stays.len());
        let revision = stays[0]["metadata"]["annotations"]["istio.io/rev"].as_str();
        Ok(revision.context("the pod has no sidecar")?.to_owned())
    })
}

/// Takes away whatever the test makes, and whatever mesh is there.
fn clean(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["delete", "deployment,service,serviceaccount", "app", "--ignore-not-found"])?;
    cluster.kubectl(&["label", "namespace", "default", "istio-injection-", "istio.io/rev-"])?;
    // A namespace goes at once when its pods are gone, and takes half a minute when they are still going.
    cluster.helm(&["uninstall", "ingress", "--namespace=istio-ingress", "--ignore-not-found", "--wait"])?;
    cluster.kubectl(&["wait", "pods", "--all", "--namespace=istio-ingress", "--for=delete", "--timeout=30s"])?;
    cluster.kubectl(&["delete", "namespace", "istio-ingress", "--ignore-not-found"])?;
    cluster.helm(&["uninstall", "istiod-tiphys", "--namespace", SYSTEM, "--ignore-not-found"])?;
    cluster.kubectl(&["delete", "mutatingwebhookconfiguration", "--selector=istio.io/tag=default"])?;
    Mesh::remove(cluster)
}

/// A client that is not migrated, and what it sends.
fn load(client: &Namespace) -> Result<[Load; 2]> {
    let pod = client.pod("client")?;
    let gateway = ["--header", "Host: app.example.com", "http://ingress.istio-ingress/"];
    client.cluster().eventually("the application answers", PATIENCE, || {
        for arguments in [&["http://app.default/"][..], &gateway] {
            let answer = pod.get(arguments.last().context("a URL")?, &arguments[..arguments.len() - 1])?;
            ensure!(answer.status == 200, "{answer:?}");
        }
        Ok(())
    })?;
    Ok([Load::start(&pod, &["http://app.default/"])?, Load::start(&pod, &gateway)?])
}

#[test]
fn every_command_of_the_page_works_under_load() -> Result<()> {
    let Some(cluster) = Cluster::of_test("every_command_of_the_page_works_under_load")? else { return Ok(()) };
    clean(&cluster)?;
    let _clean = Afterwards::new(&cluster, clean);
    istio(&cluster)?;
    let client = cluster.namespace("migrate-client", &[("istio-injection", "enabled")])?;
    client.apply(&manifests::echo("client", 1))?;
    client.rollout("client")?;
    let load = load(&client)?;

    let mut page = Page::read(&cluster, "docs/migrate-from-istio.md")?;
    page.run("What to know before")?;
    page.run("What to know before")?;
    page.run("In place")?;
    page.run("In place")?;
    page.run("In place")?;
    ensure!(revision(&cluster)? == "default");
    page.run("By revision")?;
    let listed = page.run("By revision")?;
    ensure!(listed.contains("tiphys") && revision(&cluster)? == "tiphys", "{listed}");
    page.run("By revision")?;
    ensure!(revision(&cluster)? == "default");
    page.run("By revision")?;
    page.run("By revision")?;
    page.finish()?;
    ensure!(revision(&cluster)? == "tiphys");
    for load in load {
        load.stop()?.all_answered("the whole migration")?;
    }

    // From now on the tag is what a new namespace means by istio-injection=enabled.
    let namespace = cluster.namespace("migrate-new", &[("istio-injection", "enabled")])?;
    namespace.apply(&manifests::echo("client", 1))?;
    cluster.eventually("its pod is of the new revision", PATIENCE, || {
        let pod = namespace.pod("client")?;
        ensure!(pod.annotation("istio.io/rev") == Some("tiphys"), "{:?}", pod.object()["metadata"]);
        Ok(())
    })
}
