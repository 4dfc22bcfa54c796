// SPDX-License-Identifier: Apache-2.0
//! Statuses of the Gateway API's objects: right, written once, by one replica, and by another when that is gone.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::time::{Duration, Instant};
use tiphys_cluster_tests::audit::{self, Request};
use tiphys_cluster_tests::process::Process;
use tiphys_cluster_tests::{Cluster, Mesh, Namespace, gateway_api, manifests, mesh};

/// How long a status may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it may take until another replica leads when the one that led was killed: a lease is good for 30 s.
const TAKEN_OVER: Duration = Duration::from_secs(60);

const OBJECTS: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: istio
  addresses: [{type: Hostname, value: edge}]
  listeners:
  - {name: http, port: 80, protocol: HTTP, hostname: '*.example.com'}
  - name: https
    port: 443
    protocol: HTTPS
    tls: {certificateRefs: [{name: not-there}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: good}
spec:
  parentRefs: [{name: edge, sectionName: http}]
  hostnames: [good.example.com]
  rules: [{backendRefs: [{name: edge, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: no-backend}
spec:
  parentRefs: [{name: edge, sectionName: http}]
  hostnames: [no-backend.example.com]
  rules: [{backendRefs: [{name: not-there, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: no-listener}
spec:
  parentRefs: [{name: edge, sectionName: not-there}]
  rules: [{backendRefs: [{name: edge, port: 80}]}]
";

/// A condition as (status, reason), when it is of the object's generation of now.
fn condition(object: &Value, path: &str, kind: &str) -> Result<(String, String)> {
    let list =
        object.pointer(path).and_then(Value::as_array).with_context(|| format!("{path}: {}", object["status"]))?;
    let found =
        list.iter().find(|condition| condition["type"] == kind).with_context(|| format!("no {kind}: {list:?}"))?;
    ensure!(found["observedGeneration"] == object["metadata"]["generation"], "{found}");
    ensure!(found["lastTransitionTime"].is_string(), "{found}");
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Ok((text("status"), text("reason")))
}

/// Waits until a condition says this.
fn says(namespace: &Namespace, object: &str, (path, kind): (&str, &str), expected: (&str, &str)) -> Result<Value> {
    namespace.cluster().eventually(&format!("{kind} of {object}"), PATIENCE, || {
        let found = namespace.json(&["get", object])?;
        let (status, reason) = condition(&found, path, kind)?;
        ensure!((status.as_str(), reason.as_str()) == expected, "{status} {reason}");
        Ok(found)
    })
}

/// Writes of statuses of this namespace's objects so far.
fn writes(namespace: &Namespace) -> Result<Vec<Request>> {
    let all = audit::requests(namespace.cluster())?.into_iter();
    let of_status = |request: &Request| request.verb == "patch" && request.resource.ends_with("/status");
    Ok(all.filter(|request| of_status(request) && request.namespace == namespace.name()).collect())
}

/// Waits until nothing was written for some seconds, and gives how many writes there were.
fn settled(namespace: &Namespace) -> Result<usize> {
    let started = Instant::now();
    let mut count = writes(namespace)?.len();
    loop {
        std::thread::sleep(Duration::from_secs(3));
        let now = writes(namespace)?.len();
        if now == count {
            return Ok(count);
        }
        ensure!(started.elapsed() < PATIENCE, "statuses are written over and over: {:?}", writes(namespace)?);
        count = now;
    }
}

fn conditions_are_right(namespace: &Namespace) -> Result<()> {
    let gateway = "gateways.gateway.networking.k8s.io/edge";
    let (of_gateway, of_parent) = ("/status/conditions", "/status/parents/0/conditions");
    says(namespace, gateway, (of_gateway, "Accepted"), ("True", "ListenersNotValid"))?;
    says(namespace, gateway, ("/status/listeners/0/conditions", "Programmed"), ("True", "Programmed"))?;
    says(namespace, gateway, ("/status/listeners/1/conditions", "ResolvedRefs"), ("False", "InvalidCertificateRef"))?;
    let told = says(namespace, gateway, ("/status/listeners/0/conditions", "Accepted"), ("True", "Accepted"))?;
    ensure!(told["status"]["listeners"][0]["attachedRoutes"] == 2, "{}", told["status"]);
    for (route, kind, expected) in [
        ("good", "Accepted", ("True", "Accepted")),
        ("good", "ResolvedRefs", ("True", "ResolvedRefs")),
        ("no-backend", "ResolvedRefs", ("False", "BackendNotFound")),
        ("no-listener", "Accepted", ("False", "NoMatchingParent")),
    ] {
        says(namespace, &format!("httproute/{route}"), (of_parent, kind), expected)?;
    }
    Ok(())
}

/// Changes the route, so that its status has to be written anew, and gives the pod that wrote it.
fn writer_of_a_change(namespace: &Namespace, hostname: &str) -> Result<String> {
    let before = writes(namespace)?.len();
    let patch = format!(r#"{{"spec":{{"hostnames":["{hostname}.example.com"]}}}}"#);
    let since = |object: &Value| object.pointer("/status/parents/0/conditions/0/lastTransitionTime").cloned();
    let former = since(&namespace.json(&["get", "httproute/good"])?);
    namespace.kubectl(&["patch", "httproute/good", "--type=merge", "--patch", &patch])?;
    let told = says(namespace, "httproute/good", ("/status/parents/0/conditions", "Accepted"), ("True", "Accepted"))?;
    ensure!(since(&told) == former, "a condition that says the same keeps its time");
    namespace.cluster().eventually("the write is in the audit log", PATIENCE, || {
        let new = writes(namespace)?.split_off(before);
        match new.as_slice() {
            [one] => Ok(one.pod.clone()),
            several => bail!("one write, not {several:?}"),
        }
    })
}

/// The pod that the lock says leads.
fn leader(cluster: &Cluster) -> Result<String> {
    let lease = ["--namespace", mesh::SYSTEM, "get", "lease", "istio-gateway-status-leader-default"];
    let lease = cluster.json(&lease)?;
    let holder = lease["spec"]["holderIdentity"].as_str().filter(|holder| !holder.is_empty());
    holder.map(str::to_owned).context("nobody holds the lock")
}

/// One replica again, also when the test fails.
struct Replicas<'a>(&'a Cluster);

impl Replicas<'_> {
    fn scale(&self, replicas: u8) -> Result<()> {
        let scale = ["--namespace", mesh::SYSTEM, "scale", "deployment/istiod", &format!("--replicas={replicas}")];
        self.0.kubectl(&scale)?;
        let rollout = ["--namespace", mesh::SYSTEM, "rollout", "status", "deployment/istiod", "--timeout=120s"];
        self.0.kubectl(&rollout).map(drop)
    }
}

impl Drop for Replicas<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.scale(1) {
            println!("{error:#}");
        }
    }
}

#[test]
fn statuses_are_right_and_one_replica_writes_them_once() -> Result<()> {
    let Some(cluster) = Cluster::of_test("statuses_are_right_and_one_replica_writes_them_once")? else { return Ok(()) };
    gateway_api::install(&cluster)?;
    let mesh = Mesh::shared(&cluster)?;
    cluster.apply(
        "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: istio}
spec: {controllerName: istio.io/gateway-controller}
",
    )?;
    let namespace = cluster.namespace("status", &[])?;
    namespace.apply(&manifests::echo("edge", 1))?;
    let started = Instant::now();
    namespace.apply(OBJECTS)?;
    conditions_are_right(&namespace).map_err(|error| error.context(mesh.account()))?;
    println!("statuses are right {:.1} s after their objects were made", started.elapsed().as_secs_f64());
    let written = settled(&namespace)?;
    println!("{written} writes for the statuses of 4 objects that were made at once");
    ensure!(written <= 12, "{:?}", writes(&namespace)?);

    // What changes no status writes none.
    namespace.kubectl(&["annotate", "httproute", "--all", "example.com/touched=yes"])?;
    namespace.kubectl(&["label", "service", "edge", "touched=yes"])?;
    namespace.kubectl(&["scale", "deployment/edge", "--replicas=2"])?;
    let replicas = Replicas(&cluster);
    replicas.scale(2)?;
    namespace.rollout("edge")?;
    ensure!(settled(&namespace)? == written, "{:?}", writes(&namespace)?.split_off(written));
    let first = leader(&cluster)?;
    for hostname in ["one", "two"] {
        let writer = writer_of_a_change(&namespace, hostname)?;
        ensure!(writer == first, "{writer} writes, and {first} leads");
    }
    // Killed, it cannot give the lock back.
    let killed = Instant::now();
    let system = Namespace::existing(&cluster, mesh::SYSTEM);
    let pod = system.pods("app=istiod")?.into_iter().find(|pod| pod.name() == first).context("the pod that leads")?;
    Process::of(&pod, "discovery", "tiphys")?.kill()?;
    cluster.kubectl(&["--namespace", mesh::SYSTEM, "delete", "pod", &first, "--grace-period=0", "--force"])?;
    let second = cluster.eventually("another replica leads", TAKEN_OVER, || {
        let second = leader(&cluster)?;
        ensure!(second != first, "{first} still has the lock");
        Ok(second)
    })?;
    let writer = writer_of_a_change(&namespace, "four")?;
    println!("another replica writes statuses {:.1} s after the first was killed", killed.elapsed().as_secs_f64());
    ensure!(writer == second, "{writer} writes, and {second} leads");
    // Stopped, it does.
    let stopped = Instant::now();
    cluster.kubectl(&["--namespace", mesh::SYSTEM, "delete", "pod", &second, "--wait=false"])?;
    cluster.eventually("the lock is given back", TAKEN_OVER, || {
        ensure!(leader(&cluster)? != second, "{second} still has the lock");
        Ok(())
    })?;
    println!("another replica leads {:.1} s after the second was stopped", stopped.elapsed().as_secs_f64());
    Ok(())
}
