// SPDX-License-Identifier: Apache-2.0
//! Pod: a workload instance.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};

use crate::value::IntOrString;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// What is wanted.
    pub spec: PodSpec,
    /// What runs.
    pub status: PodStatus,
}

/// What a pod is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The node it runs on.
    pub node_name: String,
    /// The identity it runs as; empty means `default`.
    pub service_account_name: String,
    /// Its hostname; empty means its name.
    pub hostname: String,
    /// The headless service that gives it a DNS name.
    pub subdomain: String,
    /// It uses the node's network.
    pub host_network: bool,
    /// What runs in it.
    pub containers: Vec<Container>,
    /// What runs before, or beside when it always restarts.
    pub init_containers: Vec<Container>,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "ContainerFields", into = "ContainerFields")]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Its ports.
    pub ports: Vec<ContainerPort>,
    /// `Always` makes an init container a sidecar.
    pub restart_policy: Option<String>,
    /// How the kubelet asks for its state: startup, liveness, readiness. There are many pods: none of the mesh's own containers.
    pub probes: Box<[Probe]>,
}

/// A container as it is written.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerFields {
    name: String,
    image: String,
    ports: Vec<ContainerPort>,
    restart_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    startup_probe: Option<Probe>,
    #[serde(skip_serializing_if = "Option::is_none")]
    liveness_probe: Option<Probe>,
    #[serde(skip_serializing_if = "Option::is_none")]
    readiness_probe: Option<Probe>,
}

impl From<ContainerFields> for Container {
    fn from(fields: ContainerFields) -> Self {
        let ContainerFields { name, image, ports, restart_policy, startup_probe, liveness_probe, readiness_probe } =
            fields;
        let own = matches!(name.as_str(), "istio-proxy" | "istio-init");
        let probes = [startup_probe, liveness_probe, readiness_probe].into_iter().flatten();
        let probes = probes.filter(|probe| !own && *probe != Probe::Other).collect();
        Self { name, image, ports, restart_policy, probes }
    }
}

impl From<Container> for ContainerFields {
    fn from(container: Container) -> Self {
        let Container { name, image, ports, restart_policy, probes } = container;
        // Which of them is which is not kept.
        let mut probes = probes.into_iter();
        let (startup_probe, liveness_probe, readiness_probe) = (probes.next(), probes.next(), probes.next());
        Self { name, image, ports, restart_policy, startup_probe, liveness_probe, readiness_probe }
    }
}

/// How the kubelet asks a container for its state, as far as it matters to a mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "ProbeFields", into = "ProbeFields")]
pub enum Probe {
    /// By an HTTP request to a port.
    Http(IntOrString),
    /// By a connection to a port.
    Tcp(IntOrString),
    /// By gRPC's health protocol on a port.
    Grpc(IntOrString),
    /// By a command, or to another host than the pod.
    Other,
}

/// A probe as it is written.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ProbeFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    http_get: Option<ProbePort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_socket: Option<ProbePort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc: Option<ProbePort>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct ProbePort {
    port: IntOrString,
    #[serde(skip_serializing_if = "String::is_empty")]
    host: String,
}

impl From<ProbeFields> for Probe {
    fn from(fields: ProbeFields) -> Self {
        let own = |port: &ProbePort| port.host.is_empty();
        match fields {
            ProbeFields { http_get: Some(to), .. } if own(&to) => Self::Http(to.port),
            ProbeFields { tcp_socket: Some(to), .. } if own(&to) => Self::Tcp(to.port),
            ProbeFields { grpc: Some(to), .. } => Self::Grpc(to.port),
            _ => Self::Other,
        }
    }
}

impl From<Probe> for ProbeFields {
    fn from(probe: Probe) -> Self {
        let to = |port| Some(ProbePort { port, host: String::new() });
        match probe {
            Probe::Http(port) => Self { http_get: to(port), ..Self::default() },
            Probe::Tcp(port) => Self { tcp_socket: to(port), ..Self::default() },
            Probe::Grpc(port) => Self { grpc: to(port), ..Self::default() },
            Probe::Other => Self::default(),
        }
    }
}

/// A port of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// Its name.
    pub name: String,
    /// Its number.
    pub container_port: i32,
    /// `TCP`, `UDP` or `SCTP`; empty means TCP.
    pub protocol: String,
}

/// What runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    #[serde(deserialize_with = "word")]
    pub phase: Cow<'static, str>,
    /// Its first address.
    #[serde(rename = "podIP")]
    pub pod_ip: String,
    /// Its addresses, one an IP family.
    #[serde(rename = "podIPs")]
    pub pod_ips: Vec<PodIp>,
    /// The node's address.
    #[serde(rename = "hostIP")]
    pub host_ip: String,
    /// Its state.
    pub conditions: Vec<PodCondition>,
}

/// An address of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodIp {
    /// The address.
    pub ip: String,
}

/// A part of a pod's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodCondition {
    /// `Ready` is of interest.
    #[serde(rename = "type", deserialize_with = "word")]
    pub condition_type: Cow<'static, str>,
    /// `True`, `False` or `Unknown`.
    #[serde(deserialize_with = "word")]
    pub status: Cow<'static, str>,
}

/// A word of a state. There are many pods: those that Kubernetes knows take no memory.
fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'static, str>, D::Error> {
    const KNOWN: [&str; 8] = ["Running", "Ready", "True", "False", "Unknown", "Pending", "Succeeded", "Failed"];
    let text = String::deserialize(deserializer)?;
    Ok(match KNOWN.into_iter().find(|known| *known == text) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(text),
    })
}

impl Pod {
    /// True when the pod's condition `Ready` is `True`.
    pub fn is_ready(&self) -> bool {
        self.status.conditions.iter().any(|condition| condition.condition_type == "Ready" && condition.status == "True")
    }

    /// All addresses, the first one first; empty while there is none.
    pub fn ips(&self) -> Vec<&str> {
        if self.status.pod_ips.is_empty() {
            return Some(self.status.pod_ip.as_str()).filter(|ip| !ip.is_empty()).into_iter().collect();
        }
        self.status.pod_ips.iter().map(|ip| ip.ip.as_str()).collect()
    }
}
