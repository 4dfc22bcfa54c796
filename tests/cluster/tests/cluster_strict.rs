// SPDX-License-Identifier: Apache-2.0
//! STRICT for the whole mesh, by a PeerAuthentication in the root namespace. A file of its own: no other test runs beside it.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use tiphys_cluster_tests::{Cluster, Mesh, manifests};

/// How long a change of configuration may take to reach every sidecar, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(30);

const MESH_WIDE: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
";

/// Takes plaintext for one port and one workload, in spite of the mesh.
const EXCEPTIONS: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: by-port}
spec:
  selector: {matchLabels: {app: by-port}}
  mtls: {mode: STRICT}
  portLevelMtls: {9000: {mode: PERMISSIVE}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: by-workload}
spec:
  selector: {matchLabels: {app: by-workload}}
  mtls: {mode: PERMISSIVE}
";

/// Takes the mesh back to what it was, also when the test fails.
struct MeshWide<'a>(&'a Cluster);

impl Drop for MeshWide<'_> {
    fn drop(&mut self) {
        let arguments = ["--namespace=istio-system", "delete", "peerauthentication", "default", "--ignore-not-found"];
        if let Err(error) = self.0.kubectl(&arguments) {
            println!("{error:#}");
        }
    }
}

#[test]
fn strict_for_the_mesh_has_exceptions_by_workload_and_port() -> Result<()> {
    let Some(cluster) = Cluster::of_test("strict_for_the_mesh_has_exceptions_by_workload_and_port")? else {
        return Ok(());
    };
    let mesh = Mesh::shared(&cluster)?;
    let (inside, outside) = ("strict-mesh", "strict-mesh-outside");
    let inside = cluster.namespace(inside, &[("istio-injection", "enabled")])?;
    let outside = cluster.namespace(outside, &[])?;
    for app in ["server", "by-port", "by-workload", "client"] {
        inside.apply(&manifests::echo(app, 1))?;
    }
    outside.apply(&manifests::echo("client", 1))?;
    outside.rollout("client")?;
    for app in ["server", "by-port", "by-workload", "client"] {
        inside.rollout(app).map_err(|error| error.context(mesh.account()))?;
    }
    let (stranger, member) = (outside.pod("client")?, inside.pod("client")?);
    let http = |app: &str| format!("http://{app}.strict-mesh/");
    for app in ["server", "by-port", "by-workload"] {
        cluster.eventually(&format!("{app} takes plaintext before STRICT"), PATIENCE, || {
            let answer = stranger.get(&http(app), &[])?;
            ensure!(answer.status == 200, "{answer:?}");
            Ok(())
        })?;
    }

    inside.apply(EXCEPTIONS)?;
    let _restore = MeshWide(&cluster);
    cluster.apply(MESH_WIDE)?;
    let started = Instant::now();
    for app in ["server", "by-port"] {
        cluster.eventually(&format!("{app} refuses plaintext"), PATIENCE, || {
            let answer = stranger.get(&http(app), &[])?;
            ensure!(answer.status == 0, "{answer:?}");
            Ok(())
        })?;
    }
    println!("STRICT holds {:.1} s after it was applied", started.elapsed().as_secs_f64());
    let answer = stranger.get(&http("by-workload"), &[])?;
    ensure!(answer.status == 200, "the excepted workload: {answer:?}");
    // A line that comes back: the port takes plaintext, and the one of another workload does not. The client must not hang up at once:
    // a connection that ends while Envoy still looks for its protocol is dropped.
    let line = |app: &str| {
        let script = format!("(echo hello; sleep 2) | timeout 5 nc {app}.strict-mesh 9000 || true");
        stranger.exec(&["sh", "-c", &script])
    };
    ensure!(line("by-port")?.contains("hello"), "port 9000 of by-port should take plaintext");
    ensure!(!line("server")?.contains("hello"), "port 9000 of server should refuse plaintext");
    for app in ["server", "by-port", "by-workload"] {
        let answer = member.get(&http(app), &[])?;
        ensure!(answer.status == 200, "with a sidecar, {app}: {answer:?}");
    }
    // The kubelet has no certificate, and goes on to find them ready.
    std::thread::sleep(Duration::from_secs(3));
    for pod in inside.pods("")? {
        ensure!(pod.ready() == (2, 2), "{}", inside.account());
    }
    Ok(())
}
