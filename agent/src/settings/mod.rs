// SPDX-License-Identifier: Apache-2.0
//! Everything that the agent is told: command line, environment, files of the pod, `ProxyConfig`; read once, at start.

mod environment;
mod identity;

pub use environment::Environment;
pub use identity::{CertificateFiles, Endpoint, IdentitySettings, KeyAlgorithm};

use crate::cli::ProxyArgs;
use crate::dns::DnsSettings;
use crate::net;
use crate::proxy_config::{self, Layer, Merged, ProxyConfig};
use environment::read_pod_info;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the service account token lies.
pub const TOKEN: &str = "./var/run/secrets/tokens/istio-token";
/// Where the root certificates for the control plane lie.
pub const ROOT_CERT: &str = "./var/run/secrets/istio/root-cert.pem";
/// The folder of the socket on which Envoy asks for its certificate.
pub const WORKLOAD_SOCKET_DIR: &str = "./var/run/secrets/workload-spiffe-uds";
/// Certificates that the platform mounts.
pub const WORKLOAD_CREDENTIALS: &str = "./var/run/secrets/workload-spiffe-credentials";

/// Addresses and ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Where probes and metrics are answered, by the agent and by Envoy (TIPHYS_LISTEN_ADDRESS; default: all addresses).
    pub listen: IpAddr,
    /// Where Envoy's admin interface listens (TIPHYS_ADMIN_ADDRESS; default: loopback).
    pub admin: IpAddr,
    /// Envoy's readiness listener (ENVOY_STATUS_PORT).
    pub envoy_status: u16,
    /// Envoy's metrics listener (ENVOY_PROMETHEUS_PORT).
    pub prometheus: u16,
}

/// Settings of the proxy command.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The flags.
    pub args: ProxyArgs,
    /// The environment.
    pub env: Environment,
    /// `ProxyConfig`.
    pub proxy: Merged,
    /// Name of the pod or workload.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
    /// DNS suffix.
    pub domain: String,
    /// Addresses, the workload's own first.
    pub addresses: Vec<IpAddr>,
    /// Labels of the pod.
    pub pod_labels: Option<BTreeMap<String, String>>,
    /// Annotations of the pod.
    pub pod_annotations: BTreeMap<String, String>,
    /// How the certificate is got.
    pub identity: IdentitySettings,
    /// The control plane.
    pub discovery: Endpoint,
    /// Ports.
    pub ports: Ports,
    /// Name of the socket for certificates; another than `socket` must be there already.
    pub workload_socket: String,
    /// Delta protocol (ISTIO_DELTA_XDS).
    pub delta: bool,
    /// DISABLE_ENVOY
    pub disable_envoy: bool,
    /// EXIT_ON_ZERO_ACTIVE_CONNECTIONS
    pub exit_on_zero_active_connections: bool,
    /// MINIMUM_DRAIN_DURATION
    pub minimum_drain: Duration,
    /// The DNS proxy, where it is wanted.
    pub dns: Option<DnsSettings>,
    /// What is set and has no effect.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Gathers the settings; files are read from the working directory.
    ///
    /// # Errors
    /// Names the setting that cannot be understood.
    pub fn gather(args: ProxyArgs, env: Environment) -> Result<Self, String> {
        let pod_labels = read_pod_info("./etc/istio/pod/labels")?;
        let pod_annotations = read_pod_info("./etc/istio/pod/annotations")?.unwrap_or_default();
        let mut proxy = read_proxy_config(&args, &env, &pod_annotations)?;
        let mut warnings = std::mem::take(&mut proxy.warnings);
        warnings.extend(args.unknown.iter().map(|f| format!("flag --{f} is not known and has no effect")));
        warnings.extend(refused(&args, &env));
        let namespace = env.text("POD_NAMESPACE", "");
        let service_account = env.text("SERVICE_ACCOUNT", "default");
        let addresses = addresses(&env, &pod_annotations)?;
        let identity = identity::identity(&env, &proxy.config, (&namespace, &service_account))?;
        let discovery = identity::discovery(&env, &proxy.config)?;
        let v6 = addresses.iter().all(IpAddr::is_ipv6);
        let ports = ports(&env, v6)?;
        let domain = match args.domain.as_str() {
            "" => format!("{namespace}.svc.cluster.local"),
            given => given.to_string(),
        };
        let workload_socket = env.text("WORKLOAD_IDENTITY_SOCKET_FILE", "socket");
        if workload_socket.contains('/') {
            return Err(format!(
                "WORKLOAD_IDENTITY_SOCKET_FILE: {workload_socket:?} must be a file name without a folder"
            ));
        }
        let dns = DnsSettings::gather(&env, &args.kind, &namespace, &domain)?;
        Ok(Self {
            dns,
            name: env.text("POD_NAME", ""),
            namespace,
            service_account,
            domain,
            addresses,
            pod_labels,
            pod_annotations,
            identity,
            discovery,
            ports,
            workload_socket,
            delta: env.flag("ISTIO_DELTA_XDS", true)?,
            disable_envoy: env.flag("DISABLE_ENVOY", false)?,
            exit_on_zero_active_connections: env.flag("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", false)?,
            minimum_drain: env.duration("MINIMUM_DRAIN_DURATION", Duration::from_secs(5))?,
            warnings,
            proxy,
            args,
            env,
        })
    }

    /// `ProxyConfig`.
    pub fn config(&self) -> &ProxyConfig {
        &self.proxy.config
    }

    /// The socket on which Envoy asks for its certificate.
    pub fn workload_socket_path(&self) -> PathBuf {
        Path::new(WORKLOAD_SOCKET_DIR).join(&self.workload_socket)
    }

    /// The socket on which Envoy asks for its configuration.
    pub fn xds_socket_path(&self) -> PathBuf {
        Path::new(&self.config().config_path).join("XDS")
    }

    /// `address:port` of Envoy's admin interface.
    pub fn admin_address(&self) -> String {
        std::net::SocketAddr::new(self.ports.admin, self.config().proxy_admin_port).to_string()
    }

    /// Envoy's binary.
    pub fn envoy_binary(&self) -> &str {
        self.env.get("ENVOY_BINARY").unwrap_or(&self.config().binary_path)
    }
}

/// Settings that pilot-agent knows and that have no effect here, by name.
fn refused(args: &ProxyArgs, env: &Environment) -> Vec<String> {
    let mut warnings = Vec::new();
    if args.sts_port.as_deref().is_some_and(|p| !p.is_empty() && p != "0") {
        warnings.push("--stsPort: no security token service is offered".to_string());
    }
    if args.template_file.as_deref().is_some_and(|f| !f.is_empty()) {
        warnings.push("--templateFile: templates of the bootstrap are not supported; use customConfigFile or ISTIO_BOOTSTRAP_OVERRIDE".into());
    }
    let on = |name: &str| env.get(name).is_some_and(|v| !matches!(v, "0" | "false" | "False" | "FALSE"));
    for (name, what) in [
        ("PROXY_CONFIG_XDS_AGENT", "ProxyConfig is not taken from the control plane"),
        ("PEER_METADATA_DISCOVERY", "upstream Envoy has no metadata discovery"),
        ("ENVOY_SECURE_METRICS_PORT", "no metrics over mTLS are offered"),
        ("ENVOY_SECURE_MERGED_METRICS_PORT", "no metrics over mTLS are offered"),
        ("ISTIO_META_ENABLE_SELF_DISCOVERY", "no local_cluster is written"),
        ("GRPC_XDS_BOOTSTRAP", "no bootstrap for proxyless gRPC is written"),
    ] {
        if on(name) {
            warnings.push(format!("{name}: {what}"));
        }
    }
    if env.get("CA_PROVIDER").is_some_and(|p| p != "Citadel") {
        warnings.push("CA_PROVIDER: only Citadel (Istio's certificate service) is supported, and used".into());
    }
    warnings
}

fn read_proxy_config(
    args: &ProxyArgs,
    env: &Environment,
    annotations: &BTreeMap<String, String>,
) -> Result<Merged, String> {
    let path = args.mesh_config.as_deref().unwrap_or("./etc/istio/config/mesh");
    let mesh = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(_) if args.mesh_config.is_none() => String::new(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(format!("--meshConfig {path}: {e}")),
    };
    let mut layers = Vec::new();
    layers.push(Layer { place: path, text: &mesh, mesh: true });
    layers.push(Layer { place: "PROXY_CONFIG", text: env.get("PROXY_CONFIG").unwrap_or(""), mesh: false });
    if let Some(text) = annotations.get("proxy.istio.io/config") {
        layers.push(Layer { place: "annotation proxy.istio.io/config", text, mesh: false });
    }
    let mut flags = serde_json::Map::new();
    if let Some(n) = args.concurrency.filter(|n| *n != 0) {
        flags.insert("concurrency".into(), n.into());
    }
    if let Some(address) = annotations.get("sidecar.istio.io/discoveryAddress") {
        flags.insert("discoveryAddress".into(), address.as_str().into());
    }
    if let Some(port) = annotations.get("status.sidecar.istio.io/port") {
        let port: u16 =
            port.parse().map_err(|_| format!("annotation status.sidecar.istio.io/port: {port:?} is no port"))?;
        flags.insert("statusPort".into(), port.into());
    }
    let limit: u32 = env.number("ISTIO_CPU_LIMIT", 0)?;
    let cpu_limit = if limit > 0 { format!("concurrency: {limit}") } else { String::new() };
    // Below all that is explicit.
    layers.insert(0, Layer { place: "ISTIO_CPU_LIMIT", text: &cpu_limit, mesh: false });
    let drain: u32 = env.number("TERMINATION_DRAIN_DURATION_SECONDS", 0)?;
    let drain = if drain > 0 { format!("terminationDrainDuration: {drain}s") } else { String::new() };
    layers.insert(0, Layer { place: "TERMINATION_DRAIN_DURATION_SECONDS", text: &drain, mesh: false });
    let flags = serde_json::Value::Object(flags).to_string();
    layers.push(Layer { place: "flags and annotations", text: &flags, mesh: false });
    let cluster = args.service_cluster.as_ref().map(|c| serde_json::json!({ "serviceCluster": c }).to_string());
    if let Some(text) = &cluster {
        layers.insert(1, Layer { place: "--serviceCluster", text, mesh: false });
    }
    proxy_config::merge(&layers)
}

/// The workload's address first, then those of the machine; a workload on a loopback address shares the machine with others, so
/// that the machine's addresses are not its own. Nor are those of interfaces that are left alone.
fn addresses(env: &Environment, annotations: &BTreeMap<String, String>) -> Result<Vec<IpAddr>, String> {
    let own = match env.get("INSTANCE_IP") {
        None => None,
        Some(text) => Some(text.parse::<IpAddr>().map_err(|_| format!("INSTANCE_IP: {text:?} is no address"))?),
    };
    if let Some(own) = own
        && own.is_loopback()
    {
        return Ok(vec![own]);
    }
    let mut all: Vec<IpAddr> = own.into_iter().collect();
    let left_alone = match annotations.get("traffic.sidecar.istio.io/excludeInterfaces") {
        Some(names) => net::addresses_of(&names.split(',').map(str::trim).collect::<Vec<_>>())?,
        None => BTreeSet::new(),
    };
    let further = net::machine_addresses().into_iter().filter(|a| Some(*a) != own && !left_alone.contains(a));
    all.extend(further);
    if all.is_empty() {
        all = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    }
    Ok(all)
}

fn ports(env: &Environment, v6: bool) -> Result<Ports, String> {
    let address = |name: &str, v4: Ipv4Addr, other: Ipv6Addr| match env.get(name) {
        None if v6 => Ok(IpAddr::V6(other)),
        None => Ok(IpAddr::V4(v4)),
        Some(text) => text.parse().map_err(|_| format!("{name}: {text:?} is no address")),
    };
    Ok(Ports {
        listen: address("TIPHYS_LISTEN_ADDRESS", Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED)?,
        admin: address("TIPHYS_ADMIN_ADDRESS", Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST)?,
        envoy_status: env.number("ENVOY_STATUS_PORT", 15021)?,
        prometheus: env.number("ENVOY_PROMETHEUS_PORT", 15090)?,
    })
}

#[cfg(test)]
mod tests;
