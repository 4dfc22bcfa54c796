// SPDX-License-Identifier: Apache-2.0
//! What the mesh costs on a cluster: memory, images, and the time that pods take to become ready. The figures are printed; what is promised of
//! release builds is held for these (`PROFILE=release`). `TIPHYS_FIGURES_PODS=100` starts as many pods at once, `TIPHYS_FIGURES_FLOOR=1` also pods
//! that have two small containers in place of the mesh's. A file of its own, so that nothing else is measured.

use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tiphys_cluster_tests::process::{Memory, Process};
use tiphys_cluster_tests::startup::{self, Step};
use tiphys_cluster_tests::{Cluster, Mesh, Namespace, manifests, mesh};

const PATIENCE: Duration = Duration::from_secs(300);
const MIB: u64 = 1 << 20;

fn is_release() -> bool {
    std::env::var("PROFILE").is_ok_and(|profile| profile == "release")
}

fn text(memory: Memory) -> String {
    format!("{:.1} MiB resident, {:.1} MiB of that its own", mib(memory.resident), mib(memory.private))
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}

/// What Kubernetes alone takes for containers like the mesh's: one that ends at once, and one that the application waits for, with its probes.
const TWO_MORE: &str = "
      initContainers:
      - {name: init, image: IMAGE, command: ['true']}
      - name: proxy
        image: IMAGE
        args: [serve, --name=proxy, '--http=[::]:15021']
        restartPolicy: Always
        startupProbe: {httpGet: {path: /, port: 15021}, periodSeconds: 1, timeoutSeconds: 3, failureThreshold: 600}
        readinessProbe: {httpGet: {path: /, port: 15021}, periodSeconds: 15, timeoutSeconds: 3}
      containers:
";

/// How pods became ready.
struct Growth {
    took: Duration,
    /// Time of processors for each pod.
    work: Option<Duration>,
    steps: Vec<Step>,
}

impl Growth {
    /// Scales from nothing until all pods are ready, and back, so that those of others have the processors for themselves.
    fn measure(namespace: &Namespace, pods: u32) -> Result<Growth> {
        let cluster = namespace.cluster();
        empty(namespace)?;
        let (work, began, started) = (startup::processor_time(cluster), OffsetDateTime::now_utc(), Instant::now());
        namespace.kubectl(&["scale", "deployment/app", &format!("--replicas={pods}")])?;
        let wait = ["rollout", "status", "deployment/app", "--timeout=300s"];
        namespace.kubectl(&wait).with_context(|| namespace.account())?;
        let took = started.elapsed();
        let work = work.zip(startup::processor_time(cluster)).map(|(before, after)| (after - before) / pods);
        let steps = startup::steps(cluster, namespace.name(), began)?;
        empty(namespace)?;
        Ok(Growth { took, work, steps })
    }

    fn print(&self, how: &str, without: &Growth) {
        let times = self.took.as_secs_f64() / without.took.as_secs_f64();
        print!("  {how}: {:.1} s, {times:.2} times", self.took.as_secs_f64());
        if let Some((work, least)) = self.work.zip(without.work) {
            let more = work.as_secs_f64() / least.as_secs_f64();
            print!("; {} ms of processors a pod, {more:.2} times", work.as_millis());
        }
        let steps: Vec<_> =
            self.steps.iter().map(|step| format!("{} {:.1} s", step.name, step.median.as_secs_f64())).collect();
        println!("; half have started: {}", steps.join(", "));
    }
}

fn empty(namespace: &Namespace) -> Result<()> {
    namespace.kubectl(&["scale", "deployment/app", "--replicas=0"])?;
    namespace.cluster().eventually("no pod is left", PATIENCE, || {
        let left = namespace.json(&["get", "pods"])?;
        ensure!(left["items"].as_array().is_some_and(Vec::is_empty), "some are");
        Ok(())
    })
}

#[test]
fn figures() -> Result<()> {
    let Some(cluster) = Cluster::of_test("figures")? else { return Ok(()) };
    let mesh = Mesh::shared(&cluster)?;
    let nodes = cluster.json(&["get", "nodes"])?;
    for image in nodes["items"][0]["status"]["images"].as_array().context("images")? {
        let names: &[_] = image["names"].as_array().map_or(&[], Vec::as_slice);
        let name =
            names.iter().filter_map(|name| name.as_str()).find(|name| name.contains("/tiphys") && !name.contains('@'));
        if let (Some(name), Some(size)) = (name, image["sizeBytes"].as_u64()) {
            println!("image {name}: {:.1} MiB", mib(size));
        }
    }
    // What sidecars reserve by default would not fit on a small machine.
    let labels = "labels: {app: app, version: v1}";
    let small = "annotations: {sidecar.istio.io/proxyCPU: 5m, sidecar.istio.io/proxyMemory: 20Mi}";
    let app = manifests::echo("app", 1).replace(labels, &format!("{labels}, {small}"));
    ensure!(app.contains(small), "{app}");
    let inside = cluster.namespace("figures-inside", &[("istio-injection", "enabled")])?;
    let outside = cluster.namespace("figures-outside", &[])?;
    for namespace in [&inside, &outside] {
        namespace.apply(&app)?;
        namespace.rollout("app").with_context(|| mesh.account())?;
    }
    std::thread::sleep(Duration::from_secs(2));
    let system = Namespace::existing(&cluster, mesh::SYSTEM);
    let control_plane = Process::of(&system.pod("istiod")?, "discovery", "tiphys")?.memory()?;
    println!("control plane, with some proxies: {}", text(control_plane));
    let agent = Process::of(&inside.pod("app")?, "istio-proxy", "pilot-agent")?.memory()?;
    println!("agent: {}", text(agent));
    let envoy = Process::of(&inside.pod("app")?, "istio-proxy", "envoy")?.memory()?;
    println!("Envoy: {}", text(envoy));

    let pods = std::env::var("TIPHYS_FIGURES_PODS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    empty(&inside)?;
    println!("{pods} pods at once are ready");
    let without = Growth::measure(&outside, pods)?;
    without.print("without injection", &without);
    if std::env::var_os("TIPHYS_FIGURES_FLOOR").is_some() {
        let with_more = cluster.namespace("figures-more", &[])?;
        let more = TWO_MORE.replace("IMAGE", manifests::ECHO_IMAGE);
        with_more.apply(&manifests::echo("app", 0).replace("\n      containers:\n", &more))?;
        Growth::measure(&with_more, pods)?.print("with two small containers in place of the mesh's", &without);
    }
    Growth::measure(&inside, pods)?.print("with injection", &without);
    if is_release() {
        ensure!(control_plane.resident < 40 * MIB, "control plane: {}", text(control_plane));
        ensure!(agent.resident < 15 * MIB && agent.private < 4 * MIB, "agent: {}", text(agent));
    }
    Ok(())
}
