// SPDX-License-Identifier: Apache-2.0
//! Changes of mutual TLS between DISABLE and STRICT, in one write each, while workloads call each other.

use anyhow::{Context, Result, ensure};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tiphys_harness::client::{self, Request};
use tiphys_harness::echo::lines;
use tiphys_harness::{Load, Mesh, eventually};
use tokio::task::JoinHandle;

const URL: &str = "http://reviews-v1:9080/?show=version";

const PAGE: &str = "http://bookinfo.example:8080/?show=service";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Calls of `call` that go on until they are stopped, one after the other.
struct Calls {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(usize, String)>,
}

impl Calls {
    fn start<F: Future<Output = Result<()>> + Send>(call: impl Fn() -> F + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, began) = (stop.clone(), Instant::now());
        let task = tokio::spawn(async move {
            let (mut answered, mut failures) = (0, String::new());
            while !stopped.load(Ordering::Relaxed) {
                let answer = tokio::time::timeout(PATIENCE, call()).await;
                match answer.context("no answer").flatten() {
                    Ok(()) => answered += 1,
                    Err(error) => {
                        let _ = writeln!(failures, "after {:.2} s: {error:#}", began.elapsed().as_secs_f64());
                    }
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            (answered, failures)
        });
        Self { stop, task }
    }

    async fn assert_clean(self, at_least: usize) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let (answered, failures) = self.task.await?;
        ensure!(failures.is_empty(), "{failures}");
        ensure!(answered >= at_least, "only {answered} were answered");
        Ok(())
    }
}

/// Requests on connections that stay open and on new ones, through sidecar and gateway, and lines over TCP.
struct Traffic {
    loads: Vec<Load>,
    calls: Vec<Calls>,
}

impl Traffic {
    fn start(mesh: &Mesh) -> Self {
        let inside = mesh.sidecar("productpage").request(URL);
        let outside = mesh.gateway().request(PAGE);
        let fresh: Request = inside.clone();
        let lines_at = SocketAddr::new(mesh.sidecar("productpage").ip(), 11112);
        Self {
            loads: vec![Load::start(&inside, 4, 100), Load::start(&outside, 2, 100)],
            calls: vec![
                Calls::start(move || {
                    let fresh = fresh.clone();
                    async move {
                        let answer = client::send(&fresh).await?;
                        ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
                        Ok(())
                    }
                }),
                Calls::start(move || async move {
                    let answer = lines::send(lines_at, None, "good day").await?;
                    ensure!(answer == "hello from details v1\ndetails good day\n", "{answer}");
                    Ok(())
                }),
            ],
        }
    }

    async fn assert_clean(self) -> Result<()> {
        for load in self.loads {
            load.stop().await.assert_clean(200);
        }
        for calls in self.calls {
            calls.assert_clean(50).await?;
        }
        Ok(())
    }
}

async fn rollouts(mesh: &Mesh, outcome: &str) -> Result<f64> {
    mesh.metric("tiphys_mtls_rollouts_total", &[&format!("outcome=\"{outcome}\"")]).await
}

/// Whether reviews takes a request in plain text.
async fn takes_plain_text(mesh: &Mesh) -> bool {
    let direct = mesh.direct("reviews-v1").request("http://reviews-v1:9080/?show=version");
    client::send(&direct).await.is_ok_and(|answer| answer.status == 200)
}

/// Whether reviews knows by mutual TLS who calls.
async fn knows_caller(mesh: &Mesh) -> Result<bool> {
    let answer = mesh.sidecar("productpage").get("http://reviews-v1:9080/?show=caller").await?;
    Ok(answer.body.trim() == "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage")
}

async fn start() -> Result<Mesh> {
    let mesh = Mesh::bookinfo(&["istio-ingressgateway", "productpage", "reviews-v1", "details", "ratings"]).await?;
    // A client that asks for details' lines; no second try hides a failure.
    let egress = "      captureMode: NONE\n      hosts: [\"./*\"]\n";
    let text = std::fs::read_to_string(mesh.folder().config().join("sidecars.yaml"))?;
    let address = mesh.sidecar("productpage").ip();
    let lines = format!(
        "{egress}    - port: {{number: 11112, protocol: TCP, name: tcp}}\n      bind: {address}\n      captureMode: NONE\n      hosts: [\"./tcp-echo.bookinfo.svc.cluster.local\"]\n"
    );
    mesh.folder().write("sidecars.yaml", &text.replacen(egress, &lines, 1))?;
    let route = |host: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {host}, namespace: bookinfo}}\nspec:\n  hosts: [{host}]\n  \
             http:\n    - retries: {{attempts: 0}}\n      route:\n        - destination: {{host: {host}}}\n"
        )
    };
    mesh.folder().write("reviews.yaml", &route("reviews-v1"))?;
    let to = SocketAddr::new(address, 11112);
    eventually(true, async || Ok(lines::send(to, None, "good day").await.is_ok())).await?;
    eventually(200, async || Ok(mesh.sidecar("productpage").get(URL).await?.status.as_u16())).await?;
    eventually(200, async || Ok(mesh.gateway().get(PAGE).await?.status.as_u16())).await?;
    Ok(mesh)
}

#[tokio::test(flavor = "multi_thread")]
async fn disable_to_strict_and_back_fails_no_request() -> Result<()> {
    let mesh = start().await?;
    ensure!(!takes_plain_text(&mesh).await, "it is STRICT");
    let traffic = Traffic::start(&mesh);
    let (mut made, mut from) = (0.0, "STRICT");
    for to in ["DISABLE", "STRICT", "DISABLE", "STRICT"] {
        let started = Instant::now();
        mesh.folder().edit("security.yaml", &format!("mode: {from}"), &format!("mode: {to}"))?;
        made += 1.0;
        eventually(made, async || rollouts(&mesh, "complete").await).await?;
        println!("{from} to {to}: {:.2} s", started.elapsed().as_secs_f64());
        eventually(to == "DISABLE", async || Ok(takes_plain_text(&mesh).await)).await?;
        eventually(to == "STRICT", async || knows_caller(&mesh).await).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        from = to;
    }
    traffic.assert_clean().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_proxy_is_named_and_does_not_hold_a_change_for_ever() -> Result<()> {
    let mesh = start().await?;
    let traffic = Traffic::start(&mesh);
    let stuck = mesh.pause_proxy("ratings")?;
    mesh.folder().edit("security.yaml", "mode: STRICT", "mode: DISABLE")?;
    let started = Instant::now();
    eventually(1.0, async || mesh.metric("tiphys_mtls_rollout_waiting", &[]).await).await?;
    let page = mesh.monitoring("/debug/mtls_rolloutz").await?;
    ensure!(page.contains("ratings-v1.bookinfo") && page.contains("has not acknowledged"), "{page}");
    let log = mesh.folder().log("tiphys");
    let named = |line: &str| line.contains("goes on without") && line.contains("ratings-v1.bookinfo");
    eventually(true, async || Ok(std::fs::read_to_string(&log)?.lines().any(named))).await?;
    eventually(1.0, async || rollouts(&mesh, "passed_over").await).await?;
    println!("made after {:.1} s, though a proxy is stuck", started.elapsed().as_secs_f64());
    ensure!(takes_plain_text(&mesh).await, "DISABLE is in force");
    drop(stuck);
    traffic.assert_clean().await
}
