// SPDX-License-Identifier: Apache-2.0
//! The cluster works as any Kubernetes does, without a mesh: what fails here need not be looked for in the mesh.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use anyhow::{Result, ensure};
use std::process::Command;
use std::time::Duration;
use tiphys_cluster_tests::{Cluster, command, manifests};

#[test]
fn pods_and_services_reach_each_other() -> Result<()> {
    let Some(cluster) = Cluster::of_test("pods_and_services_reach_each_other")? else { return Ok(()) };
    let namespace = cluster.namespace("itself", &[])?;
    namespace.apply(&manifests::echo("a", 2))?;
    namespace.apply(&manifests::echo("b", 1))?;
    namespace.rollout("a")?;
    namespace.rollout("b")?;
    let (pods, b) = (namespace.pods("app=a")?, namespace.pod("b")?);
    ensure!(pods.len() == 2 && pods.iter().all(|pod| pod.ready() == (1, 1)), "{pods:?}");
    // By the cluster's DNS and the Service's address; by the pod's own; the way back to itself through its Service.
    for (from, url) in [
        (&b, "http://a.itself/".to_owned()),
        (&b, "http://a.itself.svc.cluster.local/".to_owned()),
        (&b, format!("http://{}:8080/", pods[1].ip()?)),
        (&b, "http://b/".to_owned()),
    ] {
        // kube-proxy may be behind the pods by a moment.
        cluster.eventually(&url, Duration::from_secs(10), || {
            let answer = from.get(&url, &[])?;
            ensure!(answer.status == 200, "{answer:?}");
            Ok(())
        })?;
    }
    ensure!(b.get("http://nobody.itself/", &[])?.status == 0);
    // What kubectl brings from the node.
    ensure!(b.exec(&["cat", "/etc/resolv.conf"])?.contains("itself.svc.cluster.local"));
    ensure!(b.logs("b").is_ok());
    Ok(())
}

#[test]
fn a_load_balancer_is_reached_from_outside() -> Result<()> {
    let Some(cluster) = Cluster::of_test("a_load_balancer_is_reached_from_outside")? else { return Ok(()) };
    let namespace = cluster.namespace("outside", &[])?;
    namespace.apply(&manifests::echo("a", 1))?;
    namespace.apply(&manifests::service("a", "LoadBalancer"))?;
    namespace.rollout("a")?;
    let address = namespace.load_balancer("a")?;
    let cluster_ip =
        namespace.json(&["get", "service", "a"])?["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
    for host in [address.clone(), cluster_ip, format!("{}:8080", namespace.pod("a")?.ip()?)] {
        cluster.eventually(&host, Duration::from_secs(10), || {
            command::finish(Command::new("curl").args([
                "--fail",
                "--silent",
                "--max-time",
                "5",
                &format!("http://{host}/"),
            ]))
        })?;
    }
    // The address is given back with the type.
    namespace.kubectl(&["patch", "service", "a", "--patch", r#"{"spec": {"type": "ClusterIP"}}"#])?;
    cluster.eventually("the address goes", Duration::from_secs(10), || {
        let status = &namespace.json(&["get", "service", "a"])?["status"]["loadBalancer"];
        ensure!(status["ingress"].is_null(), "{status}");
        Ok(())
    })
}

#[test]
fn helm_installs_and_removes() -> Result<()> {
    let Some(cluster) = Cluster::of_test("helm_installs_and_removes")? else { return Ok(()) };
    let namespace = cluster.namespace("helmed", &[])?;
    let chart = tempfile::tempdir()?;
    std::fs::create_dir(chart.path().join("templates"))?;
    std::fs::write(
        chart.path().join("Chart.yaml"),
        "{apiVersion: v2, name: one, version: 1.0.0, kubeVersion: '>=1.36.0'}",
    )?;
    let template =
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: {{ .Release.Name }}}, data: {a: {{ .Values.a }}}}";
    std::fs::write(chart.path().join("templates/one.yaml"), template)?;
    let path = chart.path().to_string_lossy().into_owned();
    cluster.helm(&["install", "it", &path, "--namespace", namespace.name(), "--set", "a=b"])?;
    ensure!(namespace.json(&["get", "configmap", "it"])?["data"]["a"] == "b");
    cluster.helm(&["uninstall", "it", "--namespace", namespace.name()])?;
    ensure!(namespace.kubectl(&["get", "configmap", "it", "--ignore-not-found"])?.is_empty());
    Ok(())
}
