// SPDX-License-Identifier: Apache-2.0
//! What a proxy reports, after all that speaks for it was merged: the resources for the mesh, for its namespace and for its workload,
//! later ones over earlier ones; the default providers of the mesh; and its older settings where nothing else speaks.

use super::{logging, metrics, tracing};
use crate::Snapshot;
use tiphys_model::{
    ProviderKind, ProviderService, ProxyConfig, ProxyNode, Reporting, Side, Str, Telemetry, TelemetryPolicy,
    TelemetrySettings,
};

/// What one proxy's telemetry is merged from.
pub(super) struct Sources<'a> {
    /// The mesh.
    pub snapshot: &'a Snapshot,
    /// What MeshConfig says.
    pub settings: &'a TelemetrySettings,
    /// The resources that are for the proxy, wider ones first.
    pub levels: Vec<&'a TelemetryPolicy>,
    /// The proxy's own configuration.
    pub config: &'a ProxyConfig,
}

impl<'a> Sources<'a> {
    /// A provider by its name, which is not held to its case.
    pub fn provider(&self, name: &str) -> Option<(&'a Str, &'a ProviderKind)> {
        let found = self.settings.providers.iter().find(|provider| provider.name.eq_ignore_ascii_case(name))?;
        Some((&found.name, &found.kind))
    }

    /// Host and cluster of a service that a provider names; none when there is no such service, or when it is not plain which is meant.
    pub fn cluster(&self, wanted: &ProviderService) -> Option<(Str, Str)> {
        self.snapshot.services.cluster_of(wanted)
    }
}

/// What a proxy of a configuration reports.
pub fn effective(snapshot: &Snapshot, proxy: &ProxyNode, config: &ProxyConfig) -> Telemetry {
    let settings = &snapshot.mesh.telemetry;
    let sources = Sources { snapshot, settings, levels: levels(snapshot, proxy), config };
    let side = |side: Side| Reporting {
        logs: logging::merge(&sources, side),
        tracing: tracing::merge(&sources, side),
        metrics: metrics::merge(&sources, side),
    };
    Telemetry { client: side(Side::Client), server: side(Side::Server), listener_logs: settings.listener_logs }
}

/// The resources that are for a proxy: the mesh's, its namespace's, and those that select it.
fn levels<'a>(snapshot: &'a Snapshot, proxy: &ProxyNode) -> Vec<&'a TelemetryPolicy> {
    let all = || snapshot.telemetry.iter().map(|policy| &**policy);
    let wide = |namespace: &str| all().find(|policy| *policy.namespace == *namespace && policy.is_namespace_wide());
    let root = &snapshot.mesh.root_namespace;
    let mut levels: Vec<&TelemetryPolicy> = wide(root).into_iter().collect();
    if proxy.namespace != *root {
        levels.extend(wide(&proxy.namespace));
    }
    let selects = |policy: &&TelemetryPolicy| {
        policy.namespace == proxy.namespace && !policy.is_namespace_wide() && policy.target.covers(&proxy.labels, true)
    };
    levels.extend(all().filter(selects));
    levels
}
