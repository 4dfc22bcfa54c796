// SPDX-License-Identifier: Apache-2.0
//! What a preflight says.

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Connections that work now would be refused.
    Breaks,
    /// Something to look at: a client that may never call, a port that STRICT would not protect.
    Warning,
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Connections were taken without mutual TLS.
    PlaintextTaken,
    /// Clients have no sidecar.
    NoSidecar,
    /// Clients use the node's network.
    HostNetwork,
    /// A sidecar is there, but does not work with the control plane.
    NotReady,
    /// The proxy is older than mutual TLS by itself.
    TooOld,
    /// Clients are not told that a workload takes mutual TLS.
    NotMarked,
    /// Clients leave the way to the server out of the capture.
    OutboundExcluded,
    /// A DestinationRule has clients call without the mesh's certificates.
    DestinationRule,
    /// Mutual TLS by itself is off in the mesh.
    AutoMtlsOff,
    /// Some endpoints of a headless service take no mutual TLS, so none is called with it.
    HeadlessMixed,
    /// The kubelet's probes come in as plain text.
    ProbesNotRewritten,
    /// Endpoints of a ServiceEntry have no identity.
    NoIdentity,
    /// Clients outside of the cluster call without a gateway.
    Exposed,
    /// Ports are left out of the capture, and are not protected.
    InboundExcluded,
}

impl Reason {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PlaintextTaken => "plaintext-taken",
            Self::NoSidecar => "no-sidecar",
            Self::HostNetwork => "host-network",
            Self::NotReady => "not-ready",
            Self::TooOld => "too-old",
            Self::NotMarked => "not-marked",
            Self::OutboundExcluded => "outbound-excluded",
            Self::DestinationRule => "destination-rule",
            Self::AutoMtlsOff => "auto-mtls-off",
            Self::HeadlessMixed => "headless-mixed",
            Self::ProbesNotRewritten => "probes-not-rewritten",
            Self::NoIdentity => "no-identity",
            Self::Exposed => "exposed",
            Self::InboundExcluded => "inbound-excluded",
        }
    }
}

/// Who would refuse.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    /// Namespaces.
    pub namespaces: Vec<String>,
    /// Workloads (Deployment, StatefulSet ...), where there is one namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<String>,
    /// Services by which they are called, `HOST:PORT`; at most a few, `count` has them all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Ports of the workload.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u32>,
    /// Number of services.
    pub count: usize,
}

/// Who would be refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Client {
    /// Namespaces; none for those outside of the cluster, and where nobody knows.
    pub namespaces: Vec<String>,
    /// Workloads, where there is one namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<String>,
    /// Number of pods.
    pub pods: usize,
    /// Who it is when it is no workload.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub who: String,
}

/// One thing that would break, or that is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Why.
    pub reason: Reason,
    /// Who would be refused.
    pub client: Client,
    /// By whom.
    pub server: Server,
    /// What is the matter, in a sentence.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

/// How much is known of connections that were taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Statistics {
    /// Pods of the servers whose agents said which connections they took.
    pub reporting: usize,
    /// Pods of the servers of which that is not known.
    pub silent: usize,
    /// Minutes that the one looks back that knows least.
    pub minutes: u32,
}

/// What a preflight says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What was asked.
    pub asked: String,
    /// Workloads of which some port would become STRICT.
    pub strict: usize,
    /// Workloads that are STRICT already.
    pub already: usize,
    /// Only clients of one namespace were looked at, because who asked may not see others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub limited: bool,
    /// How much is known of connections that were taken.
    pub statistics: Statistics,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether something would break.
    pub fn breaks(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Breaks)
    }
}
