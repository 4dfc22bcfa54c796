// SPDX-License-Identifier: Apache-2.0
//! The picture of the mesh at one moment.

use crate::credentials::NamedCredential;
use crate::gateway::GatewayApi;
use crate::security::Security;
use crate::{
    DestinationRules, Endpoints, EnvoyFilters, Scope, Scopes, ServiceTarget, Services, Workloads, service_targets,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use tiphys_api::{Key, Problem};
use tiphys_model::{Credential, Gateway, Marked, Mesh, ProxyNode, Sidecar, Str, TelemetryPolicy, VirtualService};

/// An immutable picture of the mesh. Tables that did not change since the snapshot before are the same by pointer.
pub struct Snapshot {
    /// Counts up with each snapshot that differs from the one before.
    pub generation: u64,
    /// Mesh-wide configuration.
    pub mesh: Marked<Mesh>,
    /// All services.
    pub services: Arc<Services>,
    /// Endpoints by service.
    pub endpoints: Arc<Endpoints>,
    /// Pods and WorkloadEntries.
    pub workloads: Arc<Workloads>,
    /// Sidecar objects in the order of precedence.
    pub sidecars: Marked<Vec<Marked<Sidecar>>>,
    /// VirtualServices, and routes of the Gateway API in their form, in the order of precedence.
    pub virtual_services: Marked<Vec<Marked<VirtualService>>>,
    /// Gateways of both APIs in the order of precedence.
    pub gateways: Marked<Vec<Marked<Gateway>>>,
    /// DestinationRules, merged and ready to be looked up.
    pub destination_rules: Arc<DestinationRules>,
    /// Credentials of gateways, by what Secrets hold.
    pub credentials: Marked<Vec<Marked<NamedCredential>>>,
    /// Authorities in ConfigMaps.
    pub config_maps: Marked<Vec<Marked<NamedCredential>>>,
    /// Telemetry resources in the order of precedence.
    pub telemetry: Marked<Vec<Marked<TelemetryPolicy>>>,
    /// Patches of what proxies get.
    pub envoy_filters: Arc<EnvoyFilters>,
    /// Security policies.
    pub security: Arc<Security>,
    /// The Gateway API as it was lowered, with the statuses of its objects.
    pub gateway_api: Arc<GatewayApi>,
    /// What was left out of objects, or replaced by a fail-safe form.
    pub warnings: Arc<BTreeMap<Key, Vec<Problem>>>,
    pub(crate) scopes: Arc<Scopes>,
}

impl Snapshot {
    /// What a proxy sees.
    pub fn scope(&self, proxy: &ProxyNode) -> Arc<Scope> {
        self.scopes.of(self, proxy)
    }

    /// What all proxies see. Two snapshots share it if no proxy sees others, endpoints and policies aside.
    pub fn scopes(&self) -> &Arc<Scopes> {
        &self.scopes
    }

    /// The service ports that a proxy's workload serves.
    pub fn targets(&self, proxy: &ProxyNode) -> Vec<ServiceTarget> {
        service_targets(
            &crate::targets::TargetInputs {
                services: &self.services,
                workloads: &self.workloads,
                endpoints: &self.endpoints,
            },
            proxy,
        )
    }

    /// The credential of a Secret.
    pub fn credential(&self, namespace: &str, name: &str) -> Option<&Credential> {
        let found = self.credentials.iter().find(|c| &*c.namespace == namespace && &*c.name == name)?;
        Some(&found.credential)
    }

    /// The authorities in a ConfigMap.
    pub fn config_map_authorities(&self, namespace: &str, name: &str) -> Option<&Credential> {
        let found = self.config_maps.iter().find(|c| &*c.namespace == namespace && &*c.name == name)?;
        Some(&found.credential)
    }

    /// Namespaces that have services, sorted.
    pub fn namespaces(&self) -> Vec<Str> {
        let mut names: Vec<Str> = self.services.all.iter().map(|service| service.namespace.clone()).collect();
        names.sort();
        names.dedup();
        names
    }
}
