// SPDX-License-Identifier: Apache-2.0
//! Sidecars whose traffic the agent's istio-iptables captures (REDIRECT and TPROXY), as Kubernetes pods have them: two hosts in network
//! namespaces.

use anyhow::{Context, Result};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;
use tiphys_harness::eventually;
use tiphys_harness::folder::RunFolder;
use tiphys_harness::netns::{Host, Network};
use tiphys_harness::process::Process;
use tiphys_harness::programs::Programs;
use tokio::process::Command;

const MESH: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: a, namespace: default}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: b, namespace: default}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: a, namespace: default}
spec: {address: 10.211.0.2, labels: {app: a}, serviceAccount: a}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: b, namespace: default}
spec: {address: 10.211.0.3, labels: {app: b}, serviceAccount: b}
---
apiVersion: v1
kind: Service
metadata: {name: b, namespace: default}
spec:
  clusterIP: 10.96.0.2
  selector: {app: b}
  ports:
    - {name: http, port: 80, targetPort: 8080}
    - {name: tcp, port: 9000, targetPort: 8090}
";

const STRICT: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
";

/// What runs on the hosts, and where.
struct Captured {
    mode: &'static str,
    folder: RunFolder,
    programs: Programs,
    processes: Vec<Process>,
}

impl Captured {
    fn start(&mut self, name: &str, command: std::process::Command) -> Result<()> {
        let folder = self.folder.path().join(name);
        let process = Process::start(name, &mut Command::from(command), &folder, &self.folder.log(name))?;
        self.processes.push(process);
        Ok(())
    }

    fn start_control_plane(&mut self, world: &Host) -> Result<()> {
        let mut command = world.command(self.programs.tiphys.to_str().context("a path in UTF-8")?);
        let at = |port| format!("{}:{port}", world.ip());
        command.arg("serve").arg("--configDir").arg(self.folder.config());
        command.args(["--grpcAddr", "", "--httpsAddr", "", "--monitoringAddr", ""]);
        command.args(["--secureGRPCAddr", &at(15012), "--httpAddr", &at(15080)]);
        command.arg("--ca-dir").arg(self.folder.path().join("ca"));
        command.arg("--dev-token-issuer").arg(self.folder.path().join("tokens"));
        self.start("tiphys", command)
    }

    /// An agent with Envoy on `host`, in the group whose traffic is not captured.
    fn start_proxy(&mut self, name: &str, host: &Host, world: &Host) -> Result<()> {
        let folder = self.folder.path().join(name);
        for (place, target) in [
            ("tokens/istio-token", self.folder.path().join("tokens/default").join(name).join("token")),
            ("istio/root-cert.pem", self.folder.path().join("ca/root-cert.pem")),
        ] {
            let place: PathBuf = folder.join("var/run/secrets").join(place);
            fs::create_dir_all(place.parent().context("a folder")?)?;
            symlink(target, place)?;
        }
        let mut command = host.sidecar_command(self.programs.agent.to_str().context("a path in UTF-8")?);
        let proxy_config = json!({
            "discoveryAddress": format!("{}:15012", world.ip()),
            "binaryPath": self.programs.envoy,
            "concurrency": 1,
        });
        command.args(["proxy", "sidecar"]).envs([
            ("POD_NAME", name),
            ("POD_NAMESPACE", "default"),
            ("INSTANCE_IP", &host.ip().to_string()),
            ("SERVICE_ACCOUNT", name),
            ("ISTIOD_SAN", "istiod.istio-system.svc"),
            ("PROXY_CONFIG", &proxy_config.to_string()),
            ("ISTIO_META_CLUSTER_ID", "Kubernetes"),
            ("ISTIO_META_INTERCEPTION_MODE", self.mode),
            ("ISTIO_METAJSON_LABELS", &json!({"app": name}).to_string()),
        ]);
        self.start(name, command)
    }

    fn start_echo(&mut self, name: &str, host: &Host) -> Result<()> {
        let mut command = host.command(self.programs.echo.to_str().context("a path in UTF-8")?);
        let at = |port| format!("{}:{port}", host.ip());
        command.args(["serve", "--name", name, "--http", &at(8080), "--tcp", &at(8090)]);
        self.start(&format!("{name}-app"), command)
    }
}

fn curl(from: &Host, url: &str, more: &[&str]) -> Result<String> {
    from.output(&[&["curl", "-s", "-m", "5", url], more].concat())
}

/// A mesh of two hosts whose traffic is captured, each with a sidecar that is ready; `b` runs the service.
async fn start(mode: &'static str, world: &Host, a: &Host, b: &Host) -> Result<Captured> {
    let folder = RunFolder::new("tiphys-capture-")?;
    folder.write("mesh.yaml", MESH)?;
    let mut mesh = Captured { mode, folder, programs: Programs::find()?, processes: Vec::new() };
    mesh.start_control_plane(world)?;
    eventually(true, async || {
        Ok(curl(world, &format!("http://{}:15080/ready", world.ip()), &["-w", "%{http_code}"])?.ends_with("200"))
    })
    .await?;
    mesh.start_echo("b", b)?;
    mesh.start_echo("world", world)?;
    for (name, host) in [("a", a), ("b", b)] {
        host.capture(&mesh.programs.agent, mode)?;
        mesh.start_proxy(name, host, world)?;
    }
    for host in [a, b] {
        let ready = ["-o", "/dev/null", "-w", "%{http_code}"];
        let ready = async || curl(host, "http://127.0.0.1:15020/healthz/ready", &ready);
        eventually("200".to_owned(), ready).await.inspect_err(|_| {
            for process in &mesh.processes {
                println!("{}: {}", process.name(), process.last_words());
            }
        })?;
    }
    Ok(mesh)
}

/// What holds in both modes.
async fn check(mesh: &Captured, world: &Host, a: &Host, b: &Host) -> Result<()> {
    // By the service's address, HTTP: b sees who calls. By another of its ports, TCP.
    let caller = "http://10.96.0.2/?show=service,caller";
    let to_b = ["-H", "Host: b"];
    eventually("b spiffe://cluster.local/ns/default/sa/a\n".to_owned(), async || curl(a, caller, &to_b)).await?;
    let echo = mesh.programs.echo.to_str().context("a path in UTF-8")?.to_owned();
    assert_eq!(a.output(&[&echo, "send", "10.96.0.2:9000", "good day"])?, "hello from b v1\nb good day\n");
    // To an address that no service has: passed through.
    assert_eq!(curl(a, &format!("http://{}:8080/?show=service", world.ip()), &[])?, "world\n");

    // PERMISSIVE takes a call without TLS; STRICT does not, and the sidecars' own calls go on.
    let direct = format!("http://{}:8080/?show=service,caller", b.ip());
    assert_eq!(curl(world, &direct, &[])?, "b -\n");
    mesh.folder.write("strict.yaml", STRICT)?;
    eventually(String::new(), async || curl(world, &direct, &[])).await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(curl(a, caller, &to_b)?, "b spiffe://cluster.local/ns/default/sa/a\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn captured_traffic_goes_through_both_sidecars() -> Result<()> {
    let Some(network) = Network::new("captured_traffic_goes_through_both_sidecars")? else { return Ok(()) };
    let (world, a, b) = (network.world(), network.host()?, network.host()?);
    let mesh = start("REDIRECT", &world, &a, &b).await?;
    check(&mesh, &world, &a, &b).await?;
    // The application sees its sidecar.
    let peer = curl(&a, "http://10.96.0.2/?show=peer", &["-H", "Host: b"])?;
    assert_ne!(peer.trim(), a.ip().to_string());
    Ok(())
}

/// The sidecar takes connections without changing their addresses, and the application sees the client's.
#[tokio::test(flavor = "multi_thread")]
async fn transparently_captured_traffic_keeps_its_clients_address() -> Result<()> {
    let Some(network) = Network::new("transparently_captured_traffic_keeps_its_clients_address")? else {
        return Ok(());
    };
    let (world, a, b) = (network.world(), network.host()?, network.host()?);
    let mesh = start("TPROXY", &world, &a, &b).await?;
    check(&mesh, &world, &a, &b).await?;
    let peer = curl(&a, "http://10.96.0.2/?show=peer", &["-H", "Host: b"])?;
    assert_eq!(peer.trim(), a.ip().to_string());
    Ok(())
}
