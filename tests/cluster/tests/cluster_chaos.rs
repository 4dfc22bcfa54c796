// SPDX-License-Identifier: Apache-2.0
//! What happens to pods that run when what governs them is gone: nothing. Each test has traffic between two injected pods all the time, and
//! in the end a change of configuration and a new pod, by which it sees that everything works again. A file of its own, and one test after
//! the other: each hurts the whole cluster. `TIPHYS_CHAOS_SECONDS=300` makes each go on for as long.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use anyhow::{Context, Result, ensure};
use base64::Engine;
use rcgen::{CertificateParams, Issuer, KeyPair};
use serde_json::json;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tiphys_cluster_tests::process::{Process, metric, page};
use tiphys_cluster_tests::{Cluster, Load, Mesh, Namespace, Pod, manifests, mesh};

/// How long a change may take on a cluster that works again; a container that was killed often waits before it is started anew.
const RECOVERED: Duration = Duration::from_secs(150);
/// How long what goes on beside may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long something is gone.
fn outage(short: u64) -> Duration {
    let long = std::env::var("TIPHYS_CHAOS_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(long.unwrap_or(short))
}

/// A server and a client of it, with traffic between them.
struct World {
    mesh: Mesh,
    namespace: Namespace,
    client: Pod,
    load: Load,
    started: Instant,
    _alone: MutexGuard<'static, ()>,
}

impl World {
    fn start(test: &str, name: &str) -> Result<Option<World>> {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(cluster) = Cluster::of_test(test)? else { return Ok(None) };
        let mesh = Mesh::shared(&cluster)?;
        let namespace = cluster.namespace(name, &[("istio-injection", "enabled")])?;
        for app in ["server", "client"] {
            namespace.apply(&manifests::echo(app, 1))?;
        }
        for app in ["server", "client"] {
            namespace.rollout(app).map_err(|error| error.context(mesh.account()))?;
        }
        let client = namespace.pod("client")?;
        // After what the test before did, the cluster's DNS may be late.
        cluster.eventually("the server answers", RECOVERED, || {
            let answer = client.get("http://server/", &[])?;
            ensure!(answer.status == 200, "{answer:?}");
            Ok(())
        })?;
        let world = World {
            load: Load::start(&client, &["http://server/"])?,
            mesh,
            namespace,
            client,
            started: Instant::now(),
            _alone: alone,
        };
        world.changed("before")?;
        Ok(Some(world))
    }

    fn cluster(&self) -> &Cluster {
        self.mesh.cluster()
    }

    /// Changes the route, and waits until the client has it.
    fn changed(&self, value: &str) -> Result<()> {
        let service = format!(
            "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: server}}
spec:
  hosts: [server]
  http:
  - headers: {{response: {{set: {{x-chaos: {value}}}}}}}
    route: [{{destination: {{host: server}}}}]
"
        );
        self.cluster().eventually("a change is taken", RECOVERED, || self.namespace.apply(&service))?;
        self.cluster().eventually("a change arrives", RECOVERED, || {
            let answer = self.client.get("http://server/", &["--dump-header", "/dev/stderr"])?;
            ensure!(answer.status == 200 && answer.body.contains(&format!("x-chaos: {value}")), "{answer:?}");
            Ok(())
        })
    }

    /// The control plane's pod.
    fn control_plane(&self) -> Result<Pod> {
        let system = Namespace::existing(self.cluster(), mesh::SYSTEM);
        let pods = system.pods("app=istiod")?;
        pods.into_iter().next().context("the control plane has a pod")
    }

    /// Everything works again: says how long that took since `healed`, and that no request failed since the beginning.
    fn recovered(self, what: &str, healed: Instant) -> Result<()> {
        self.changed("after")?;
        println!("{what}: after that a change arrives within {:.1} s", healed.elapsed().as_secs_f64());
        self.namespace.kubectl(&["scale", "deployment/server", "--replicas=2"])?;
        self.cluster().eventually("a new pod is ready", RECOVERED, || {
            let ready = self.namespace.pods("app=server")?.iter().filter(|pod| pod.ready() == (2, 2)).count();
            ensure!(ready == 2, "{ready} pods are ready:\n{}", self.namespace.account());
            Ok(())
        })?;
        println!("{what}: after that a new pod is ready within {:.1} s", healed.elapsed().as_secs_f64());
        let outcome = self.load.stop()?;
        let what = format!("{what}, in {:.0} s", self.started.elapsed().as_secs_f64());
        outcome.all_answered(&what).with_context(|| self.namespace.account()).with_context(|| self.mesh.account())
    }
}

/// Starts a component again, also when the test fails.
struct Stopped<'a>(&'a Cluster, &'static str);

impl<'a> Stopped<'a> {
    fn now(cluster: &'a Cluster, component: &'static str) -> Result<Self> {
        cluster.stop(component)?;
        Ok(Self(cluster, component))
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.start(self.1) {
            println!("{error:#}");
        }
    }
}

#[test]
fn the_api_server_is_gone() -> Result<()> {
    let Some(world) = World::start("the_api_server_is_gone", "chaos-api-server")? else { return Ok(()) };
    let (cluster, control_plane) = (world.cluster().clone(), world.control_plane()?);
    let outage = outage(120);
    let stopped = Stopped::now(&cluster, "kube-apiserver")?;
    let until = Instant::now() + outage;
    let mut away: f64 = 0.0;
    while Instant::now() < until {
        std::thread::sleep(Duration::from_secs(1));
        let (status, _) = page(&control_plane, 8080, "/ready")?;
        ensure!(status == 200, "the control plane serves what it knows, and is ready: {status}");
        away = away.max(metric(&page(&control_plane, 15014, "/metrics")?.1, "tiphys_kube_away_seconds"));
    }
    ensure!(away > 5.0, "tiphys_kube_away_seconds tells: {away}");
    drop(stopped);
    let healed = Instant::now();
    begin_anew(&cluster, &["kube-controller-manager", "kube-scheduler"])?;
    world.recovered(&format!("API server gone for {} s", outage.as_secs()), healed)
}

/// Whoever makes and places pods ends when it cannot renew its lease, and is started anew. None is elected here, so that they would go on, and wait
/// for up to a minute each before they watch again (the backoff of client-go).
fn begin_anew(cluster: &Cluster, components: &[&'static str]) -> Result<()> {
    let stopped = components.iter().map(|component| Stopped::now(cluster, component)).collect::<Result<Vec<_>>>()?;
    // As long as the node may take to see to it.
    std::thread::sleep(Duration::from_secs(1));
    drop(stopped);
    Ok(())
}

#[test]
fn etcd_is_restarted() -> Result<()> {
    let Some(world) = World::start("etcd_is_restarted", "chaos-etcd")? else { return Ok(()) };
    let cluster = world.cluster().clone();
    let stopped = Stopped::now(&cluster, "etcd")?;
    std::thread::sleep(outage(5));
    drop(stopped);
    let healed = Instant::now();
    world.recovered("etcd restarted", healed)
}

#[test]
fn the_control_plane_is_killed_over_and_over() -> Result<()> {
    let test = "the_control_plane_is_killed_over_and_over";
    let Some(world) = World::start(test, "chaos-control-plane")? else { return Ok(()) };
    let (until, mut killed) = (Instant::now() + outage(60), 0);
    while Instant::now() < until {
        let process = Process::of(&world.control_plane()?, "discovery", "tiphys");
        killed += u32::from(process.and_then(Process::kill).is_ok());
        std::thread::sleep(Duration::from_secs(5));
    }
    let healed = Instant::now();
    let system = Namespace::existing(world.cluster(), mesh::SYSTEM);
    world.cluster().eventually("the control plane is ready", RECOVERED, || {
        ensure!(world.control_plane()?.is_ready(), "not ready");
        Ok(())
    })?;
    let restarted = healed.elapsed();
    ensure!(killed > 0, "it was never there to be killed");
    let pods = system.pods("app=istiod")?;
    ensure!(pods.len() == 1, "{} pods", pods.len());
    let what = format!(
        "control plane killed {killed} times, ready {:.1} s later (the kubelet waits longer with each time)",
        restarted.as_secs_f64()
    );
    world.recovered(&what, healed)
}

/// A root that signed nothing, as a caBundle has it.
fn stranger() -> Result<String> {
    let root = rcgen::generate_simple_self_signed(vec!["stranger.example.com".to_owned()])?;
    Ok(base64::engine::general_purpose::STANDARD.encode(root.cert.pem()))
}

#[test]
fn webhooks_are_not_trusted_and_not_there() -> Result<()> {
    let test = "webhooks_are_not_trusted_and_not_there";
    let Some(world) = World::start(test, "chaos-webhooks")? else { return Ok(()) };
    let cluster = world.cluster().clone();
    let name = "istio-sidecar-injector";
    let bundle = || -> Result<String> {
        let object = cluster.json(&["get", "mutatingwebhookconfiguration", name])?;
        Ok(object["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned())
    };
    let right = bundle()?;
    // As if its certificate were another's: who starts pods notices within a moment that nobody is left in.
    let stranger = stranger()?;
    let webhooks = cluster.json(&["get", "mutatingwebhookconfiguration", name])?;
    let count = webhooks["webhooks"].as_array().context("webhooks")?.len();
    let operations = (0..count).map(|index| {
        format!(r#"{{"op":"replace","path":"/webhooks/{index}/clientConfig/caBundle","value":"{stranger}"}}"#)
    });
    let patch = format!("[{}]", operations.collect::<Vec<_>>().join(","));
    // Not as somebody who has a caBundle of his own there on purpose, which would be left alone.
    let ours = "--field-manager=tiphys-webhooks";
    let arguments = ["patch", "mutatingwebhookconfiguration", name, ours, "--type=json", "--patch", &patch];
    let distrust = || cluster.kubectl(&arguments);
    distrust()?;
    let wrong = Instant::now();
    cluster.eventually("the roots are right again", PATIENCE, || {
        ensure!(bundle()? == right, "they are not");
        Ok(())
    })?;
    println!("wrong roots of webhooks are mended within {:.1} s", wrong.elapsed().as_secs_f64());
    // And with nobody there to mend them.
    let scale = |replicas: u8| {
        let replicas = format!("--replicas={replicas}");
        cluster.kubectl(&["--namespace", mesh::SYSTEM, "scale", "deployment/istiod", &replicas])
    };
    scale(0)?;
    let up = scopeguard(|| drop(scale(1)));
    cluster.eventually("the control plane is gone", PATIENCE, || {
        let system = Namespace::existing(&cluster, mesh::SYSTEM);
        ensure!(system.json(&["get", "pods", "--selector=app=istiod"])?["items"].as_array().is_some_and(Vec::is_empty));
        Ok(())
    })?;
    distrust()?;
    let refused = world.namespace.refused(
        "{apiVersion: v1, kind: Pod, metadata: {name: new}, spec: {containers: [{name: a, image: tiphys-test/echo:1}]}}",
    )?;
    ensure!(refused.contains("sidecar-injector.istio.io"), "a pod is never let through without its sidecar: {refused}");
    std::thread::sleep(outage(10));
    drop(up);
    let healed = Instant::now();
    world.recovered("webhooks not trusted, and the control plane gone", healed)
}

/// What a certificate of the control plane is put into, for it to serve by: one that the mesh's own root signed, for this long from now on.
fn serving_certificate(system: &Namespace, life: Duration) -> Result<String> {
    let root = system.json(&["get", "secret", "istio-ca-secret"])?;
    let part = |name: &str| -> Result<String> {
        let text = root["data"][name].as_str().with_context(|| format!("istio-ca-secret has no {name}"))?;
        Ok(String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text)?)?)
    };
    let issuer = Issuer::from_ca_cert_pem(&part("ca-cert.pem")?, KeyPair::from_pem(&part("ca-key.pem")?)?)?;
    let mut certificate = CertificateParams::new(vec![format!("istiod.{}.svc", mesh::SYSTEM)])?;
    let now = OffsetDateTime::now_utc();
    (certificate.not_before, certificate.not_after) = (now - Duration::from_secs(60), now + life);
    let key = KeyPair::generate()?;
    let pem = certificate.signed_by(&key, &issuer)?.pem();
    Ok(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "istiod-tls"},
        "stringData": {"tls.crt": pem, "tls.key": key.serialize_pem()}
    })
    .to_string())
}

#[test]
fn the_webhook_certificate_expires() -> Result<()> {
    let Some(world) = World::start("the_webhook_certificate_expires", "chaos-certificate")? else { return Ok(()) };
    let cluster = world.cluster().clone();
    let system = Namespace::existing(&cluster, mesh::SYSTEM);
    // Whoever issues it forgets about it then.
    let life = Duration::from_secs(20);
    let expired = Instant::now() + life;
    system.apply(&serving_certificate(&system, life)?)?;
    let _own = scopeguard(|| {
        let gone = system.kubectl(&["delete", "secret", "istiod-tls", "--ignore-not-found"]);
        if let Err(error) = gone.and_then(|_| system.restart("istiod")) {
            println!("{error:#}");
        }
    });
    system.restart("istiod")?;
    std::thread::sleep(expired.saturating_duration_since(Instant::now()) + Duration::from_secs(1));
    // A connection from before would do for longer.
    Process::of(&world.control_plane()?, "discovery", "tiphys")?.kill()?;
    cluster.eventually("pods are refused because of the certificate", PATIENCE, || {
        let pod = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "new"}, "spec": {"containers": [{"name": "a", "image": "tiphys-test/echo:1"}]}}"#;
        let refused = world.namespace.refused(pod)?;
        ensure!(refused.contains("certificate has expired"), "{refused}");
        Ok(())
    })?;
    cluster.eventually("the control plane says so", PATIENCE, || {
        let log = world.control_plane()?.logs("discovery")?;
        ensure!(log.contains("the serving certificate has expired"), "{log}");
        Ok(())
    })?;
    std::thread::sleep(outage(5));
    system.apply(&serving_certificate(&system, Duration::from_secs(3600))?)?;
    // The kubelet looks at what is mounted once a minute, and when the pod changes.
    let pod = format!("pod/{}", world.control_plane()?.name());
    system.kubectl(&["annotate", &pod, "--overwrite", "tiphys.test/look=now"])?;
    let healed = Instant::now();
    world.recovered("webhook certificate expired, and replaced", healed)
}

/// Does something in the end, also when the test fails.
fn scopeguard<F: FnMut()>(action: F) -> impl Drop {
    struct Guard<F: FnMut()>(F);
    impl<F: FnMut()> Drop for Guard<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Guard(action)
}
