// SPDX-License-Identifier: Apache-2.0
//! What every listener of a proxy depends on, beside what it serves.

use crate::filter::tracing::ServiceTags;
use std::time::Duration;
use tiphys_model::{
    CertificateFiles, InterceptionMode, ListenerSettings, Marked, ProxyConfig, ProxyType, Reporting, Str, Telemetry,
};

/// Which side a listener is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Before the workload of a sidecar.
    SidecarInbound,
    /// Behind the workload of a sidecar.
    SidecarOutbound,
    /// At a gateway.
    Gateway,
}

/// The IP families of a proxy; they decide which addresses stand for "any" and "this host".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Families {
    /// IPv4 alone.
    #[default]
    V4,
    /// IPv6 alone.
    V6,
    /// Both.
    Dual,
}

impl Families {
    /// From which families a proxy has addresses of.
    pub fn of(v4: bool, v6: bool) -> Self {
        match (v4, v6) {
            (true, true) => Self::Dual,
            (false, true) => Self::V6,
            _ => Self::V4,
        }
    }

    /// The addresses that stand for all of the host's.
    pub fn wildcards(self) -> &'static [&'static str] {
        match self {
            Self::V4 => &["0.0.0.0"],
            Self::V6 => &["::"],
            Self::Dual => &["0.0.0.0", "::"],
        }
    }

    /// The addresses of the host for itself.
    pub fn loopbacks(self) -> &'static [&'static str] {
        match self {
            Self::V4 => &["127.0.0.1"],
            Self::V6 => &["::1"],
            Self::Dual => &["127.0.0.1", "::1"],
        }
    }
}

/// What every listener of a proxy depends on. Replicas of a workload have equal ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Environment {
    /// What the proxy is for.
    pub kind: ProxyType,
    /// Its IP families.
    pub families: Families,
    /// Its Envoy has the filters of Istio's own build.
    pub istio_filters: bool,
    /// How traffic reaches it.
    pub interception: InterceptionMode,
    /// Settings of the mesh.
    pub settings: Marked<ListenerSettings>,
    /// Its own configuration.
    pub config: Marked<ProxyConfig>,
    /// What it reports.
    pub telemetry: Marked<Telemetry>,
    /// What its spans say of its workload; empty when it makes none.
    pub tags: ServiceTags,
    /// Name under which it reports spans.
    pub service_name: Str,
    /// It accepts HTTP/1.0, beside what the mesh says.
    pub http10: bool,
    /// Connections without traffic are closed after this time.
    pub idle_timeout: Option<Duration>,
    /// Inbound connections are spread evenly over its threads.
    pub inbound_exact_balance: bool,
    /// Outbound connections are spread evenly over its threads.
    pub outbound_exact_balance: bool,
    /// Its own certificate as files, in place of those from the mesh's authority.
    pub certificate: CertificateFiles,
    /// It has a socket from which it gets the secrets of credential names.
    pub credential_socket: bool,
    /// It has a socket from which it gets certificates of files.
    pub file_socket: bool,
    /// Time for protocol sniffing; zero = no limit.
    pub detection_timeout: Duration,
    /// Port to which outbound traffic is redirected.
    pub outbound_port: u32,
    /// Port to which inbound traffic is redirected.
    pub inbound_port: u32,
}

impl Environment {
    /// What it reports on a side.
    pub fn reporting(&self, class: Class) -> &Reporting {
        match class {
            Class::SidecarInbound => &self.telemetry.server,
            Class::SidecarOutbound | Class::Gateway => &self.telemetry.client,
        }
    }

    /// Addresses that a listener is bound to; those of the second family only in a dual stack mesh.
    pub fn binds(&self, addresses: &[&str]) -> Vec<Str> {
        let count = if self.settings.dual_stack { addresses.len() } else { 1 };
        addresses.iter().take(count).map(|address| (*address).into()).collect()
    }

    /// Logs of a listener itself.
    pub fn listener_logs(&self, class: Class) -> &[tiphys_model::AccessLog] {
        if self.telemetry.listener_logs { &self.reporting(class).logs } else { &[] }
    }

    /// Whether HTTP/1.0 is accepted.
    pub fn accepts_http10(&self) -> bool {
        self.http10 || self.settings.http10
    }

    /// ALPN names by which the HTTP inspector tells plain HTTP.
    pub fn plain_http(&self) -> Vec<Str> {
        let names: &[&str] = if self.settings.http10 { &["http/1.0", "http/1.1", "h2c"] } else { &["http/1.1", "h2c"] };
        names.iter().map(|name| (*name).into()).collect()
    }
}
