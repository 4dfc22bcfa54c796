// SPDX-License-Identifier: Apache-2.0
//! DISABLE to STRICT in one apply, while one injected pod calls another.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use anyhow::{Context, Result, ensure};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tiphys_cluster_tests::pod::Pod;
use tiphys_cluster_tests::{Cluster, Mesh, manifests};

const PATIENCE: Duration = Duration::from_secs(30);

fn policy(mode: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default}}
spec: {{mtls: {{mode: {mode}}}}}
"
    )
}

/// Runs `command` in the pod again and again until there is a file /tmp/stop; each line that it prints and that is not `good` is kept.
fn calls(pod: &Pod, good: &'static str, command: &str) -> JoinHandle<Result<(usize, Vec<String>)>> {
    let (pod, script) = (pod.clone(), format!("while [ ! -e /tmp/stop ]; do {command}; sleep 0.05; done 2>&1"));
    thread::spawn(move || {
        let text = pod.exec(&["sh", "-c", &script])?;
        let (answered, failed): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| *line == good);
        Ok((answered.len(), failed.into_iter().map(str::to_owned).collect()))
    })
}

#[test]
fn disable_to_strict_under_load_fails_no_request() -> Result<()> {
    let Some(cluster) = Cluster::of_test("disable_to_strict_under_load_fails_no_request")? else { return Ok(()) };
    let mesh = Mesh::shared(&cluster)?;
    let inside = cluster.namespace("mtls-order", &[("istio-injection", "enabled")])?;
    let outside = cluster.namespace("mtls-order-outside", &[])?;
    inside.apply(&policy("DISABLE"))?;
    for app in ["server", "client"] {
        inside.apply(&manifests::echo(app, 1))?;
    }
    outside.apply(&manifests::echo("client", 1))?;
    outside.rollout("client")?;
    for app in ["server", "client"] {
        inside.rollout(app).map_err(|error| error.context(mesh.account()))?;
    }
    let (stranger, client) = (outside.pod("client")?, inside.pod("client")?);
    let url = "http://server.mtls-order/";
    cluster.eventually("the pods call each other in plain text", PATIENCE, || {
        ensure!(client.get(url, &[])?.status == 200 && stranger.get(url, &[])?.status == 200);
        Ok(())
    })?;

    let curl =
        format!("curl --silent --max-time 5 --output /dev/null --write-out '%{{http_code}}\\n' '{url}?n=[1-20]'");
    // The server speaks first; the client must not hang up before that.
    let line = "sleep 2 | timeout 5 nc server.mtls-order 9000 | head -n 1";
    let greeting = "hello from server v1";
    let load = [("200", curl.as_str()), ("200", &curl), (greeting, line), (greeting, line), (greeting, line)];
    let load = load.map(|(good, command)| calls(&client, good, command));
    thread::sleep(Duration::from_secs(1));
    let started = Instant::now();
    inside.apply(&policy("STRICT"))?;
    let strict = cluster.eventually("plain text is refused", PATIENCE, || {
        let answer = stranger.get(url, &[])?;
        ensure!(answer.status == 0, "{answer:?}");
        Ok(())
    });
    println!("DISABLE to STRICT: plain text is refused after {:.1} s", started.elapsed().as_secs_f64());
    thread::sleep(Duration::from_secs(1));
    client.exec(&["touch", "/tmp/stop"])?;
    for load in load {
        let (answered, failed) = load.join().ok().context("a load ended early")??;
        println!("{answered} answered");
        ensure!(
            failed.is_empty(),
            "{} of {} failed: {:?}\n{}",
            failed.len(),
            failed.len() + answered,
            &failed[..failed.len().min(3)],
            mesh.account()
        );
        ensure!(answered > 1, "only {answered} were answered");
    }
    strict
}
