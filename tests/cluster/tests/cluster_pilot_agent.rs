// SPDX-License-Identifier: Apache-2.0
//! Istio's own pilot-agent in the place of the agent, in pods that Tiphys injects.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use anyhow::{Result, ensure};
use serde_json::json;
use std::time::Duration;
use tiphys_cluster_tests::istio::{Istio, MOUNTED};
use tiphys_cluster_tests::{Cluster, Mesh, manifests};

/// How long a change may take to reach every sidecar.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn pilot_agent_serves_a_pod() -> Result<()> {
    let test = "pilot_agent_serves_a_pod";
    let (Some(cluster), Some(istio)) = (Cluster::of_test(test)?, Istio::of_test(test)?) else { return Ok(()) };
    let mesh = Mesh::shared(&cluster)?;
    let namespace = cluster.namespace("pilot-agent", &[("istio-injection", "enabled")])?;
    namespace.apply(manifests::STRICT)?;
    // A user's own container istio-proxy is merged with the one that is injected.
    for (app, delta) in [("ours", None), ("delta", Some("true")), ("world", Some("false"))] {
        namespace.apply(&manifests::echo(app, 1))?;
        if let Some(delta) = delta {
            let environment = json!([
                {"name": "ISTIO_DELTA_XDS", "value": delta},
                {"name": "ISTIO_BOOTSTRAP", "value": format!("{MOUNTED}/envoy_bootstrap.json")},
            ]);
            let container = json!({
                "name": "istio-proxy", "image": "auto", "imagePullPolicy": "IfNotPresent", "command": [format!("{MOUNTED}/pilot-agent")], "env": environment,
            });
            let patch = istio.patch(&container).to_string();
            namespace.kubectl(&["patch", &format!("deployment/{app}"), "--patch", &patch])?;
        }
    }
    for app in ["ours", "delta", "world"] {
        namespace.rollout(app).map_err(|error| error.context(mesh.account()))?;
    }
    for (from, to) in [("ours", "delta"), ("ours", "world"), ("delta", "ours"), ("world", "ours"), ("delta", "world")] {
        let (client, url) = (namespace.pod(from)?, format!("http://{to}.pilot-agent/"));
        cluster.eventually(&format!("{from} calls {to}"), PATIENCE, || {
            let answer = client.get(&url, &[])?;
            let identity = format!("URI=spiffe://cluster.local/ns/pilot-agent/sa/{from}");
            ensure!(answer.status == 200 && answer.body.contains(&identity), "{answer:?}");
            Ok(())
        })?;
    }
    namespace.apply(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ours}
spec:
  hosts: [ours]
  http: [{directResponse: {status: 418}}]
",
    )?;
    for app in ["delta", "world"] {
        let client = namespace.pod(app)?;
        cluster.eventually(&format!("{app} takes a change"), PATIENCE, || {
            let answer = client.get("http://ours.pilot-agent/", &[])?;
            ensure!(answer.status == 418, "{answer:?}");
            Ok(())
        })?;
    }
    Ok(())
}
