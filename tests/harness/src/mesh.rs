// SPDX-License-Identifier: Apache-2.0
//! A mesh that runs: control plane, an agent with its Envoy for each workload, an echo service for each application.
//!
//! The way it starts: the sample is copied into a run folder; the addresses it will use are checked; the control plane starts and
//! writes a token for each service account; each agent starts with its token and the root certificate, gets a certificate, starts
//! Envoy; when every Envoy says that it is ready, so is the mesh. What was started ends with the [`Mesh`].

use crate::client::{self, Request, Response};
use crate::folder::RunFolder;
use crate::net::{ControlPlanePorts, Net, ProxyPorts, check_free};
use crate::plan::{self, Identity, Role, Workload};
use crate::process::{Paused, Process};
use crate::programs::{self, Programs};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::process::Command;

/// How long the parts of a mesh may take to become ready; generous, as many start at once on few cores.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a part gets to stop in good order.
const FAREWELL: Duration = Duration::from_secs(3);

const CONTROL_PLANE: &str = "tiphys";

/// A mesh that runs.
#[derive(Debug)]
pub struct Mesh {
    net: Net,
    folder: RunFolder,
    programs: Programs,
    workloads: Vec<Workload>,
    processes: BTreeMap<String, Process>,
}

impl Mesh {
    /// Starts the mesh of the YAML in `sample` and waits until it is ready.
    ///
    /// # Errors
    /// When a program is missing, an address is in use, or a part fails; the error quotes the part's log.
    pub async fn start(sample: &Path, workloads: Vec<Workload>, net: Net) -> Result<Mesh> {
        let folder = RunFolder::new("tiphys-")?;
        folder.copy_sample(sample, &net)?;
        folder.write_bookinfo_credentials()?;
        let programs = Programs::find()?;
        let mut mesh = Mesh { net, folder, programs, workloads, processes: BTreeMap::new() };
        check_free(&mesh.addresses()).await?;
        symlink(&mesh.programs.echo, mesh.folder.path().join("echo"))?;
        for workload in mesh.workloads.clone() {
            mesh.start_app(&workload)?;
        }
        mesh.start_control_plane().await?;
        for workload in mesh.workloads.clone() {
            mesh.start_proxy(&workload)?;
        }
        mesh.wait_for_proxies().await?;
        Ok(mesh)
    }

    /// Starts the mesh of `samples/bookinfo` with only the workloads whose names begin so, on a network of its own.
    ///
    /// # Errors
    /// As [`Mesh::start`].
    pub async fn bookinfo(only: &[&str]) -> Result<Mesh> {
        let mut workloads = plan::bookinfo();
        workloads.retain(|workload| only.iter().any(|name| workload.name.starts_with(name)));
        Mesh::start(&programs::sample("bookinfo"), workloads, Net::free()?).await
    }

    /// Where the control plane listens.
    pub fn control_plane(&self) -> ControlPlanePorts {
        self.net.control_plane()
    }

    /// The addresses of this mesh.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// The folder of this run.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// What runs.
    pub fn workloads(&self) -> &[Workload] {
        &self.workloads
    }

    /// The ports of a workload's agent and Envoy.
    pub fn proxy_ports(&self, workload: &Workload) -> ProxyPorts {
        self.net.proxy(workload.host)
    }

    /// Fails when a part has ended.
    ///
    /// # Errors
    /// Names the part and quotes its log.
    pub fn check(&mut self) -> Result<()> {
        self.processes.values_mut().try_for_each(Process::check)
    }

    /// Calls from outside to the gateway.
    ///
    /// # Panics
    /// When the plan has no gateway.
    pub fn gateway(&self) -> Caller {
        let gateway = self.workloads.iter().find(|workload| matches!(workload.role, Role::Gateway(_)));
        let host = gateway.map_or_else(|| panic!("the plan has no gateway"), |workload| workload.host);
        Caller { ip: self.net.ip(host) }
    }

    /// Calls as this workload's application makes them: through its own sidecar.
    ///
    /// # Panics
    /// When the plan has no such workload.
    pub fn sidecar(&self, workload: &str) -> Caller {
        Caller { ip: self.net.ip(self.workload(workload).host + 100) }
    }

    /// Calls straight to a workload's address, past every rule of the caller's side.
    ///
    /// # Panics
    /// When the plan has no such workload.
    pub fn direct(&self, workload: &str) -> Caller {
        Caller { ip: self.net.ip(self.workload(workload).host) }
    }

    /// The workload of this name, or the first whose name begins with it and a dash.
    ///
    /// # Panics
    /// When the plan has no such workload.
    pub fn workload(&self, name: &str) -> &Workload {
        let by_name = |w: &&Workload| w.name == name || w.name.strip_prefix(name).is_some_and(|v| v.starts_with('-'));
        self.workloads.iter().find(by_name).unwrap_or_else(|| panic!("the plan has no workload {name}"))
    }

    /// The text that the control plane's monitoring port answers on `path`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn monitoring(&self, path: &str) -> Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.net.control_plane().monitoring));
        Ok(client::send(&Request::get(address, "localhost", path)).await?.body)
    }

    /// The sum of a metric of the control plane over the series that carry all of `labels` (`type="lds"`).
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let text = self.monitoring("/metrics").await?;
        Ok(series(&text, name, labels).sum())
    }

    /// The text that the administration of a workload's Envoy answers on `path`.
    ///
    /// # Errors
    /// When there is no answer.
    ///
    /// # Panics
    /// When the plan has no such workload.
    pub async fn envoy(&self, workload: &str, path: &str) -> Result<String> {
        let port = self.net.proxy(self.workload(workload).host).admin;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(client::send(&Request::get(address, "localhost", path)).await?.body)
    }

    /// The counters and gauges of a workload's Envoy whose names match `filter`, a regular expression.
    ///
    /// # Errors
    /// When there is no answer.
    ///
    /// # Panics
    /// When the plan has no such workload.
    pub async fn envoy_stats(&self, workload: &str, filter: &str) -> Result<BTreeMap<String, u64>> {
        let text = self.envoy(workload, &format!("/stats?filter={filter}")).await?;
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        Ok(lines.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// Ends the control plane at once, as a crash would.
    pub async fn kill_control_plane(&mut self) {
        if let Some(mut process) = self.processes.remove(CONTROL_PLANE) {
            process.kill().await;
        }
    }

    /// Stops a workload's agent where it stands, until what comes back is dropped: its Envoy goes on with what it has.
    ///
    /// # Errors
    /// When it does not run.
    ///
    /// # Panics
    /// When the plan has no such workload.
    pub fn pause_proxy(&self, workload: &str) -> Result<Paused> {
        let name = proxy_name(self.workload(workload));
        Ok(self.processes.get(&name).with_context(|| format!("{name} does not run"))?.pause())
    }

    /// Ends a workload's application at once.
    pub async fn kill_app(&mut self, workload: &str) {
        let name = app_name(self.workload(workload));
        if let Some(mut process) = self.processes.remove(&name) {
            process.kill().await;
        }
    }

    /// Starts the control plane and waits until it is ready.
    ///
    /// # Errors
    /// When it fails or does not become ready in time.
    pub async fn start_control_plane(&mut self) -> Result<()> {
        let ports = self.net.control_plane();
        let at = |port| format!("127.0.0.1:{port}");
        let run = self.folder.path();
        let mut command = Command::new(&self.programs.tiphys);
        command.arg("serve").arg("--configDir").arg(self.folder.config());
        command.arg("--grpcAddr").arg(at(ports.grpc)).arg("--secureGRPCAddr").arg(at(ports.secure_grpc));
        command.arg("--httpAddr").arg(at(ports.http)).arg("--monitoringAddr").arg(at(ports.monitoring));
        command.arg("--httpsAddr").arg("").arg("--ca-dir").arg(run.join("ca"));
        command.arg("--dev-token-issuer").arg(run.join("tokens"));
        if let Some(levels) = std::env::var_os("TIPHYS_LOG") {
            command.arg("--log_output_level").arg(levels);
        }
        let folder = run.join(CONTROL_PLANE);
        let process = Process::start(CONTROL_PLANE, &mut command, &folder, &self.folder.log(CONTROL_PLANE))?;
        self.processes.insert(CONTROL_PLANE.to_owned(), process);
        let ready = Request::get(SocketAddr::from((Ipv4Addr::LOCALHOST, ports.http)), "localhost", "/ready");
        self.wait_ready(CONTROL_PLANE, &ready).await
    }

    /// Starts the application of a workload.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_app(&mut self, workload: &Workload) -> Result<()> {
        let Some(app) = &workload.app else { return Ok(()) };
        let ip = self.net.ip(workload.host);
        let mut command = Command::new(&self.programs.echo);
        command.args(["serve", "--name", &app.service, "--version", &app.version]);
        if let Some(port) = app.http {
            command.args(["--http", &format!("{ip}:{port}")]);
        }
        if let Some((port, _)) = &app.https {
            command.args(["--https", &format!("{ip}:{port}")]);
            command.arg("--cert").arg(self.folder.certificates("secure.pem"));
            command.arg("--key").arg(self.folder.certificates("secure.key"));
        }
        if let Some(port) = app.tcp {
            command.args(["--tcp", &format!("{ip}:{port}")]);
        }
        if matches!(workload.role, Role::Sidecar(_)) {
            command.args(["--sidecar", &self.net.ip(workload.host + 100).to_string()]);
        }
        let name = app_name(workload);
        let folder = self.folder.path().join("apps").join(&workload.name);
        let process = Process::start(&name, &mut command, &folder, &self.folder.log(&name))?;
        self.processes.insert(name, process);
        Ok(())
    }

    /// Starts the agent of a workload, which starts its Envoy.
    fn start_proxy(&mut self, workload: &Workload) -> Result<()> {
        let Some(identity) = workload.identity() else { return Ok(()) };
        let folder = self.folder.path().join("proxies").join(&workload.name);
        self.lay_credentials(workload, identity, &folder)?;
        let mut command = Command::new(&self.programs.agent);
        let role = if matches!(workload.role, Role::Gateway(_)) { "router" } else { "sidecar" };
        command.args(["proxy", role]).envs(self.proxy_environment(workload, identity)?);
        let name = proxy_name(workload);
        let process = Process::start(&name, &mut command, &folder, &self.folder.log(&name))?;
        self.processes.insert(name, process);
        Ok(())
    }

    /// Puts token and root certificate where the agent looks for them, below its working folder. They are links: the control plane
    /// replaces the token before it ends.
    fn lay_credentials(&self, workload: &Workload, identity: &Identity, folder: &Path) -> Result<()> {
        let run = self.folder.path();
        let token = run.join("tokens").join(&workload.namespace).join(&identity.account).join("token");
        let links = [("tokens/istio-token", token), ("istio/root-cert.pem", run.join("ca/root-cert.pem"))];
        for (place, target) in links {
            if !target.is_file() {
                bail!("the control plane has not written {}", target.display());
            }
            let place = folder.join("var/run/secrets").join(place);
            fs::create_dir_all(place.parent().context("a path without a folder")?)?;
            if !place.is_symlink() {
                symlink(target, place)?;
            }
        }
        Ok(())
    }

    /// The environment that Istio's injection gives to a proxy, as far as it is about what this proxy is.
    fn proxy_environment(&self, workload: &Workload, identity: &Identity) -> Result<Vec<(&'static str, String)>> {
        let ports = self.net.proxy(workload.host);
        let secure = format!("127.0.0.1:{}", self.net.control_plane().secure_grpc);
        let proxy_config = serde_json::json!({
            "discoveryAddress": secure,
            "binaryPath": self.programs.envoy,
            "proxyAdminPort": ports.admin,
            "statusPort": ports.status,
            "concurrency": 1,
            "drainDuration": "2s",
            "terminationDrainDuration": "1s",
        });
        Ok(vec![
            ("POD_NAME", workload.name.clone()),
            ("POD_NAMESPACE", workload.namespace.clone()),
            ("INSTANCE_IP", self.net.ip(workload.host).to_string()),
            ("SERVICE_ACCOUNT", identity.account.clone()),
            ("TRUST_DOMAIN", "cluster.local".to_owned()),
            ("CA_ADDR", secure),
            ("PROXY_CONFIG", proxy_config.to_string()),
            ("ENVOY_PROMETHEUS_PORT", ports.prometheus.to_string()),
            ("ENVOY_STATUS_PORT", ports.health.to_string()),
            ("ISTIO_META_CLUSTER_ID", "Kubernetes".to_owned()),
            ("ISTIO_META_INTERCEPTION_MODE", "NONE".to_owned()),
            ("ISTIO_METAJSON_LABELS", serde_json::to_string(&identity.labels)?),
        ])
    }

    async fn wait_for_proxies(&mut self) -> Result<()> {
        for workload in self.workloads.clone() {
            if workload.identity().is_some() {
                let status = SocketAddr::from((Ipv4Addr::LOCALHOST, self.net.proxy(workload.host).status));
                let ready = Request::get(status, "localhost", "/healthz/ready");
                self.wait_ready(&proxy_name(&workload), &ready).await?;
            }
            let app = workload.app.iter().flat_map(|app| [app.http, app.tcp]).flatten();
            for port in app {
                let address = SocketAddr::new(self.net.ip(workload.host), port);
                self.wait(&app_name(&workload), async || TcpStream::connect(address).await.is_ok()).await?;
            }
        }
        Ok(())
    }

    async fn wait_ready(&mut self, name: &str, ready: &Request) -> Result<()> {
        self.wait(name, async || client::send(ready).await.is_ok_and(|answer| answer.status.is_success())).await
    }

    /// Waits until `ready` says so, as long as `name` runs.
    async fn wait(&mut self, name: &str, ready: impl AsyncFn() -> bool) -> Result<()> {
        let began = Instant::now();
        while !ready().await {
            self.check()?;
            if began.elapsed() > PATIENCE {
                let words = self.processes.get(name).map(Process::last_words).unwrap_or_default();
                bail!("{name} is not ready after {PATIENCE:?}; {words}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Every address that the mesh will listen on, with who will.
    fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let ports = self.net.control_plane();
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut all: Vec<_> = [ports.grpc, ports.secure_grpc, ports.http, ports.monitoring]
            .map(|port| ("the control plane".to_owned(), local(port)))
            .into();
        for workload in &self.workloads {
            let ip = self.net.ip(workload.host);
            let app =
                workload.app.iter().flat_map(|app| [app.http, app.https.as_ref().map(|(port, _)| *port), app.tcp]);
            all.extend(app.flatten().map(|port| (app_name(workload), SocketAddr::new(ip, port))));
            let of_proxy: Vec<_> = match workload.role {
                Role::Outside => Vec::new(),
                Role::Gateway(_) => [8080, 8443, 11112].map(|port| SocketAddr::new(ip, port)).into(),
                Role::Sidecar(_) => {
                    vec![SocketAddr::new(ip, 9080), SocketAddr::new(self.net.ip(workload.host + 100), 9080)]
                }
            };
            all.extend(of_proxy.into_iter().map(|address| (proxy_name(workload), address)));
            if workload.identity().is_some() {
                let ports = self.net.proxy(workload.host);
                let own = [ports.admin, ports.status, ports.prometheus, ports.health];
                all.extend(own.map(|port| (proxy_name(workload), local(port))));
            }
        }
        all
    }

    /// Stops everything that was started, all at once; each part gets time to say goodbye.
    pub async fn stop(mut self) {
        let mut stopping = tokio::task::JoinSet::new();
        for (_, process) in std::mem::take(&mut self.processes) {
            stopping.spawn(process.stop(FAREWELL));
        }
        stopping.join_all().await;
    }
}

/// The values of the series of `name` in `text` (the Prometheus format) that carry all of `labels`.
fn series<'a>(text: &'a str, name: &'a str, labels: &'a [&str]) -> impl Iterator<Item = f64> + 'a {
    text.lines().filter_map(move |line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, rest) = series.split_once('{').unwrap_or((series, ""));
        (found == name && labels.iter().all(|label| rest.contains(label))).then(|| value.parse().ok())?
    })
}

/// Name of the process of a workload's application.
pub fn app_name(workload: &Workload) -> String {
    format!("{}-app", workload.name)
}

/// Name of the process of a workload's agent and Envoy.
pub fn proxy_name(workload: &Workload) -> String {
    format!("{}-proxy", workload.name)
}

/// Where calls go to: the gateway, a sidecar on its application's side, or a workload's address.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    ip: IpAddr,
}

impl Caller {
    /// A GET request for `url`, sent to this address at the URL's port, whatever its host is.
    ///
    /// # Panics
    /// When `url` is not of the form http://HOST[:PORT]/PATH.
    pub fn request(&self, url: &str) -> Request {
        let uri: http::Uri = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
        let authority = uri.authority().unwrap_or_else(|| panic!("{url} has no host"));
        let connect = SocketAddr::new(self.ip, authority.port_u16().unwrap_or(80));
        Request::get(connect, authority.as_str(), uri.path_and_query().map_or("/", |path| path.as_str()))
    }

    /// The answer to a GET request for `url`.
    ///
    /// # Errors
    /// When there is none.
    pub async fn get(&self, url: &str) -> Result<Response> {
        client::send(&self.request(url)).await
    }

    /// The address.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }
}
