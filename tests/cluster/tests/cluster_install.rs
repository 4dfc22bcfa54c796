// SPDX-License-Identifier: Apache-2.0
//! Every command of docs/install.md, in its order, on a cluster without a mesh. A file of its own: no other test runs beside it.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::{Duration, Instant};
use tiphys_cluster_tests::command::feed;
use tiphys_cluster_tests::{Afterwards, Cluster, Mesh, Page, manifests, mesh};

/// How long a mesh may take from `helm install` to ready, with the images on the node.
const INSTALLED: Duration = Duration::from_secs(20);
/// What goes on while nobody looks may take this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The application in the namespace `default` that the page has injected.
struct Application<'a>(&'a Cluster);

impl Application<'_> {
    fn start(cluster: &Cluster) -> Result<Application<'_>> {
        feed(&mut cluster.kubectl_command(&["apply", "--filename=-"]), &manifests::echo("app", 1))?;
        Ok(Application(cluster))
    }

    /// Its pod, once that is ready; not the one before, which may still be on its way out.
    fn pod(&self) -> Result<Value> {
        self.0.kubectl(&["rollout", "status", "deployment/app", "--timeout=120s"])?;
        self.0.eventually("one pod that stays", PATIENCE, || {
            let pods = self.0.json(&["get", "pods", "--selector=app=app"])?;
            let pods = pods["items"].as_array().context("items")?.iter();
            let stays: Vec<_> = pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect();
            ensure!(stays.len() == 1, "{} pods", stays.len());
            Ok(stays[0].clone())
        })
    }

    fn stop(self) -> Result<()> {
        self.0.kubectl(&["delete", "deployment,service,serviceaccount", "app", "--ignore-not-found"]).map(drop)
    }
}

/// Takes away whatever a test that failed has left.
fn clean(cluster: &Cluster) -> Result<()> {
    Application(cluster).stop()?;
    cluster.kubectl(&["label", "namespace", "default", "istio-injection-", "istio.io/rev-"])?;
    cluster.kubectl(&["delete", "namespace", "istio-ingress", "--ignore-not-found"])?;
    cluster.helm(&["uninstall", "istiod-canary", "--namespace=istio-system", "--ignore-not-found"])?;
    Mesh::remove(cluster)
}

/// The revision whose sidecar a pod has.
fn revision(pod: &Value) -> Option<&str> {
    let names = |list: &str| pod["spec"][list].as_array().cloned().unwrap_or_default();
    let mut all = names("containers").into_iter().chain(names("initContainers"));
    all.any(|container| container["name"] == "istio-proxy").then_some(())?;
    pod["metadata"]["annotations"]["istio.io/rev"].as_str()
}

/// Pods of a Deployment that are ready, and the image of the first container.
fn deployed(cluster: &Cluster, namespace: &str, name: &str) -> Result<(u64, String)> {
    let object = cluster.json(&["--namespace", namespace, "get", "deployment", name])?;
    let image = object["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
    Ok((object["status"]["readyReplicas"].as_u64().unwrap_or_default(), image.to_owned()))
}

fn least_replicas(cluster: &Cluster) -> Result<Value> {
    let scaler = cluster.json(&["--namespace=istio-system", "get", "horizontalpodautoscaler", "istiod"])?;
    Ok(scaler["spec"]["minReplicas"].clone())
}

/// Waits until validation refuses what nobody could check, which the control plane makes it do once it answers.
fn validation_holds(cluster: &Cluster) -> Result<()> {
    let get = ["get", "validatingwebhookconfiguration", "istio-validator-istio-system", "istiod-default-validator"];
    cluster.eventually("webhooks are as the control plane makes them", PATIENCE, || {
        for configuration in cluster.json(&get)?["items"].as_array().context("items")? {
            let webhook = &configuration["webhooks"][0];
            ensure!(webhook["failurePolicy"] == "Fail" && webhook["clientConfig"]["caBundle"].is_string(), "{webhook}");
        }
        Ok(())
    })
}

/// Installing, the first steps and two gateways.
fn install(cluster: &Cluster, page: &mut Page, application: &Application<'_>) -> Result<()> {
    let started = Instant::now();
    page.run("A mesh")?;
    let took = started.elapsed();
    println!("helm install of base and istiod to ready: {:.1} s", took.as_secs_f64());
    ensure!(took < INSTALLED, "installed after {took:?}");
    validation_holds(cluster)?;

    page.run("A mesh")?;
    ensure!(revision(&application.pod()?) == Some("default"), "the pod has no sidecar");
    page.run("A mesh")?;
    page.run("A gateway")?;
    page.run("A gateway")?;
    for gateway in ["ingress", "egress"] {
        let (ready, image) = deployed(cluster, "istio-ingress", gateway)?;
        ensure!((ready, image.as_str()) == (1, "auto"), "{gateway}: {ready} of {image}");
    }
    let versions = || mesh::versions(cluster, "app.kubernetes.io/part-of=istio");
    let before = versions()?;
    Mesh::shared(cluster)?.install(&[])?;
    cluster.helm_install("ingress", "gateway", "istio-ingress", &[])?;
    cluster.helm_install("egress", "gateway", "istio-ingress", &["--set=service.type=ClusterIP"])?;
    ensure!(before.len() > 25 && before == versions()?, "applied again: {:?}\nbefore: {before:?}", versions()?);
    let services = cluster.json(&["--namespace=istio-ingress", "get", "services"])?;
    let kinds: Vec<_> = services["items"].as_array().context("items")?.iter().map(|one| &one["spec"]["type"]).collect();
    ensure!(kinds == ["ClusterIP", "LoadBalancer"], "{kinds:?}");
    Ok(())
}

#[test]
fn every_command_of_the_page_works() -> Result<()> {
    let Some(cluster) = Cluster::of_test("every_command_of_the_page_works")? else { return Ok(()) };
    // A run before this one may have left a mesh.
    clean(&cluster)?;
    let _clean = Afterwards::new(&cluster, clean);
    let mut page = Page::read(&cluster, "docs/install.md")?;
    let before = cluster.objects()?;
    let application = Application::start(&cluster)?;
    install(&cluster, &mut page, &application)?;

    let rendered = page.run("Values")?;
    ensure!(rendered.contains("mode: REGISTRY_ONLY"), "{rendered}");
    page.run("A revision beside another")?;
    ensure!(revision(&application.pod()?) == Some("canary"), "the pod is of another revision");
    page.run("Rendering instead of installing")?;
    validation_holds(&cluster)?;

    page.run("Upgrading, going back, removing")?;
    ensure!(least_replicas(&cluster)? == 1, "rolled back");
    let history = cluster.helm(&["history", "istiod", "--namespace=istio-system"])?;
    ensure!(history.contains("Rollback to"), "{history}");
    page.run("Upgrading, going back, removing")?;
    ensure!(revision(&application.pod()?).is_none(), "the pod still has a sidecar");
    page.run("Upgrading, going back, removing")?;
    page.finish()?;
    application.stop()?;
    cluster.eventually("nothing is left", PATIENCE, || {
        let now = cluster.objects()?;
        let left: Vec<_> = now.difference(&before).collect();
        ensure!(left.is_empty(), "left behind: {left:#?}");
        Ok(())
    })
}
