// SPDX-License-Identifier: Apache-2.0
//! What a user does first: install by Helm, have a namespace injected, restart its pods, turn on STRICT.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use tiphys_cluster_tests::pod::Answer;
use tiphys_cluster_tests::{Cluster, Mesh, Namespace, Pod, manifests};

/// How long a change of configuration may take to reach every sidecar, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(30);

/// A namespace `name` with the application `server` and the client `client`, both injected and ready.
fn injected(mesh: &Mesh, name: &str) -> Result<Namespace> {
    let namespace = mesh.cluster().namespace(name, &[("istio-injection", "enabled")])?;
    namespace.apply(&manifests::echo("server", 1))?;
    namespace.apply(&manifests::echo("client", 1))?;
    for app in ["server", "client"] {
        namespace.rollout(app).map_err(|error| error.context(mesh.account()))?;
    }
    Ok(namespace)
}

/// What the server saw of its client's certificate; `None` for plaintext.
fn client_certificate(answer: &Answer) -> Option<String> {
    let seen: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
    Some(seen["headers"]["x-forwarded-client-cert"].as_str()?.to_owned())
}

/// Waits until a request is answered as it should be.
fn eventually(from: &Pod, url: &str, what: &str, right: impl Fn(&Answer) -> bool) -> Result<Answer> {
    from.cluster().eventually(what, PATIENCE, || {
        let answer = from.get(url, &[])?;
        ensure!(right(&answer), "{url}: {answer:?}");
        Ok(answer)
    })
}

#[test]
fn a_labelled_namespace_gets_sidecars_and_mutual_tls() -> Result<()> {
    let Some(cluster) = Cluster::of_test("a_labelled_namespace_gets_sidecars_and_mutual_tls")? else { return Ok(()) };
    let mesh = Mesh::shared(&cluster)?;
    let namespace = cluster.namespace("labelled", &[])?;
    for app in ["server", "client"] {
        namespace.apply(&manifests::echo(app, 1))?;
    }
    for app in ["server", "client"] {
        namespace.rollout(app)?;
    }
    // Before: no sidecar, plaintext.
    ensure!(namespace.pod("server")?.ready() == (1, 1));
    let answer =
        eventually(&namespace.pod("client")?, "http://server.labelled/", "no mesh", |answer| answer.status == 200)?;
    ensure!(client_certificate(&answer).is_none(), "{answer:?}");
    // Labels alone change no pod that runs; restarted ones have a sidecar.
    namespace.kubectl(&["label", "namespace", "labelled", "istio-injection=enabled"])?;
    let started = Instant::now();
    for app in ["server", "client"] {
        namespace.kubectl(&["rollout", "restart", &format!("deployment/{app}")])?;
    }
    for app in ["server", "client"] {
        namespace.rollout(app).map_err(|error| error.context(mesh.account()))?;
    }
    println!("two pods restarted with sidecars, ready after {:.1} s", started.elapsed().as_secs_f64());
    for app in ["server", "client"] {
        let pod = namespace.pod(app)?;
        ensure!(pod.ready() == (2, 2), "{app}: {:?}", pod.ready());
    }
    // After: the client's identity is in its certificate.
    let answer = eventually(&namespace.pod("client")?, "http://server.labelled/", "mutual TLS", |answer| {
        answer.status == 200 && client_certificate(answer).is_some()
    })?;
    let certificate = client_certificate(&answer).unwrap_or_default();
    ensure!(certificate.contains("URI=spiffe://cluster.local/ns/labelled/sa/client"), "{certificate}");
    Ok(())
}

#[test]
fn strict_refuses_who_has_no_sidecar() -> Result<()> {
    let Some(cluster) = Cluster::of_test("strict_refuses_who_has_no_sidecar")? else { return Ok(()) };
    let mesh = Mesh::shared(&cluster)?;
    let namespace = injected(&mesh, "strict")?;
    let outside = cluster.namespace("strict-outside", &[])?;
    outside.apply(&manifests::echo("client", 1))?;
    outside.rollout("client")?;
    let (inside, outside) = (namespace.pod("client")?, outside.pod("client")?);
    let url = "http://server.strict/";
    eventually(&outside, url, "PERMISSIVE takes plaintext", |answer| answer.status == 200)?;
    namespace.apply(manifests::STRICT)?;
    eventually(&outside, url, "STRICT refuses plaintext", |answer| answer.status == 0)?;
    let answer = eventually(&inside, url, "STRICT takes mutual TLS", |answer| answer.status == 200)?;
    ensure!(client_certificate(&answer).is_some(), "{answer:?}");
    // The kubelet has no sidecar, and still finds the pods ready.
    std::thread::sleep(Duration::from_secs(3));
    for app in ["server", "client"] {
        ensure!(namespace.pod(app)?.ready() == (2, 2), "{}", namespace.account());
    }
    namespace.kubectl(&["delete", "peerauthentication", "default"])?;
    eventually(&outside, url, "PERMISSIVE takes plaintext again", |answer| answer.status == 200).map(drop)
}

#[test]
fn an_authorization_policy_knows_principals() -> Result<()> {
    let Some(cluster) = Cluster::of_test("an_authorization_policy_knows_principals")? else { return Ok(()) };
    let mesh = Mesh::shared(&cluster)?;
    let namespace = injected(&mesh, "principals")?;
    namespace.apply(&manifests::echo("other", 1))?;
    namespace.rollout("other")?;
    namespace.apply(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: server}
spec:
  selector: {matchLabels: {app: server}}
  action: ALLOW
  rules:
  - from: [{source: {principals: [cluster.local/ns/principals/sa/client]}}]
",
    )?;
    let url = "http://server.principals/";
    eventually(&namespace.pod("other")?, url, "another principal is refused", |answer| answer.status == 403)?;
    eventually(&namespace.pod("client")?, url, "the principal is allowed", |answer| answer.status == 200).map(drop)
}
