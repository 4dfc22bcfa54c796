// SPDX-License-Identifier: Apache-2.0
//! The one writer: it takes changes in and makes snapshots.

use crate::credentials::{self, NamedCredential};
use crate::endpoints::{EndpointInputs, EndpointTable, touched};
use crate::gateway::{self, AddressInputs, GatewayApi};
use crate::lower::Table;
use crate::references::References;
use crate::security::{self, Rollout, Security};
use crate::selection::Selection;
use crate::services::ServiceTable;
use crate::wanted::{WantedInputs, WantedTable};
use crate::workloads::WorkloadTable;
use crate::{DestinationRules, EnvoyFilters, LowerContext, Settings, Snapshot, Store, istio, lower_mesh, unsupported};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tiphys_api::mesh::MeshConfig;
use tiphys_api::{Key, Kind, Object, Problem};
use tiphys_model::{
    AuthorizationPolicy, DestinationRule, EnvoyFilter, Gateway, Marked, Mesh, PeerAuthentication,
    RequestAuthentication, Sidecar, TelemetryPolicy, VirtualService,
};

/// Takes objects in and makes snapshots of the mesh.
pub struct Compiler {
    settings: Settings,
    mesh: Marked<Mesh>,
    mesh_changed: bool,
    store: Store,
    services: ServiceTable,
    workloads: WorkloadTable,
    endpoints: EndpointTable,
    sidecars: Table<Sidecar>,
    virtual_services: Table<VirtualService>,
    gateways: Table<Gateway>,
    gateway_api: Arc<GatewayApi>,
    telemetry: Table<TelemetryPolicy>,
    destination_rules: Table<DestinationRule>,
    merged_rules: Arc<DestinationRules>,
    credentials: Table<NamedCredential>,
    wanted: WantedTable,
    statuses: Arc<BTreeMap<Key, Value>>,
    config_maps: Table<NamedCredential>,
    peers: Table<PeerAuthentication>,
    requests: Table<RequestAuthentication>,
    authorization: Table<AuthorizationPolicy>,
    rollout: Rollout,
    /// A step of it was passed.
    rollout_moved: bool,
    filters: Table<EnvoyFilter>,
    envoy_filters: Arc<EnvoyFilters>,
    /// What is named and not there.
    references: Vec<(Key, Problem)>,
    current: Option<Arc<Snapshot>>,
}

impl Compiler {
    /// A compiler without objects.
    pub fn new(config: &MeshConfig, settings: Settings) -> Self {
        let mut store = Store::default();
        store.select(Selection::new(config, settings.text("REVISION", "")));
        Self {
            mesh: Marked::new(lower_mesh(config, &settings)),
            settings,
            mesh_changed: true,
            store,
            services: ServiceTable::default(),
            workloads: WorkloadTable::default(),
            endpoints: EndpointTable::default(),
            sidecars: Table::new(Kind::Sidecar, istio::sidecar::lower),
            virtual_services: Table::new(Kind::VirtualService, istio::virtual_service::lower),
            gateways: Table::new(Kind::IstioGateway, istio::gateway::lower),
            gateway_api: Arc::default(),
            telemetry: Table::new(Kind::Telemetry, crate::telemetry::lower),
            destination_rules: Table::new(Kind::DestinationRule, istio::destination_rule::lower),
            merged_rules: Arc::default(),
            credentials: Table::new(Kind::Secret, credentials::lower),
            wanted: WantedTable::default(),
            statuses: Arc::default(),
            config_maps: Table::new(Kind::ConfigMap, credentials::lower_config_map),
            peers: Table::new(Kind::PeerAuthentication, security::lower_peer),
            requests: Table::new(Kind::RequestAuthentication, security::lower_request),
            authorization: Table::new(Kind::AuthorizationPolicy, security::lower_authorization),
            rollout: Rollout::new(false),
            rollout_moved: false,
            filters: Table::new(Kind::EnvoyFilter, istio::envoy_filter::lower),
            envoy_filters: Arc::default(),
            references: Vec::new(),
            current: None,
        }
    }

    /// Has changes of mutual TLS made in steps ([`Rollout`]); whoever asks for it has to say when a step is passed.
    #[must_use]
    pub fn with_ordered_mutual_tls(mut self) -> Self {
        self.rollout = Rollout::new(true);
        self
    }

    /// How far a change of mutual TLS is, as of the last snapshot.
    pub fn rollout(&self) -> &Rollout {
        &self.rollout
    }

    /// A change of mutual TLS, for what others have to say of it ([`Rollout::resume`], [`Rollout::promise`]).
    pub fn rollout_mut(&mut self) -> &mut Rollout {
        &mut self.rollout
    }

    /// The proxies have taken the present step of a change of mutual TLS: the next snapshot makes the next one.
    pub fn pass_rollout(&mut self) {
        self.rollout.pass();
        self.rollout_moved = true;
    }

    /// Puts another mesh configuration in force.
    pub fn set_mesh(&mut self, config: &MeshConfig) {
        let mesh = Marked::new(lower_mesh(config, &self.settings));
        self.mesh_changed |= mesh != self.mesh;
        self.mesh = mesh;
        self.store.select(Selection::new(config, self.settings.text("REVISION", "")));
    }

    /// Puts an object in force, or takes it out. Nothing is computed before the next [`Compiler::snapshot`].
    pub fn apply(&mut self, key: Key, object: Option<Arc<Object>>) {
        self.store.apply(key, object);
    }

    fn security(&mut self) -> Security {
        let peers = self.peers.sorted().clone();
        self.rollout.want(&peers);
        Security {
            peers,
            told: self.rollout.told().clone(),
            outdated: self.rollout.outdated(),
            requests: self.requests.sorted().clone(),
            authorization: self.authorization.sorted().clone(),
        }
    }

    /// The Secrets and ConfigMaps that gateways use, as of the last snapshot.
    pub fn wanted(&self) -> &BTreeSet<Key> {
        self.wanted.keys()
    }

    /// What the statuses of objects should say as of the last snapshot, without times. The same map comes back while nothing of it changed.
    pub fn statuses(&self) -> &Arc<BTreeMap<Key, Value>> {
        &self.statuses
    }

    /// The objects in force.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The mesh as it is now. The same snapshot comes back when nothing that matters changed.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        let changed = self.store.take_changed();
        let mut all = std::mem::take(&mut self.mesh_changed) || self.current.is_none();
        let moved = std::mem::take(&mut self.rollout_moved);
        if let (Some(current), false, true) = (&self.current, all || moved, changed.is_empty()) {
            return current.clone();
        }
        // Annotations of namespaces and labels of nodes are inherited by what lives in them.
        all |= changed.iter().any(|key| matches!(key.kind, Kind::Namespace | Kind::Node));
        let cx = LowerContext { mesh: &self.mesh };

        let mut touched_services = touched(&changed, &[], &self.store, self.services.current(), &self.services);
        let mut named = self.services.update(&self.store, &changed, &cx, all);
        let mut differs = named;
        let workloads = self.workloads.update(&self.store, &changed, &cx, all);
        differs |= !workloads.is_empty();
        touched_services.extend(touched(&changed, &workloads, &self.store, self.services.current(), &self.services));
        let inputs = EndpointInputs {
            store: &self.store,
            services: &self.services,
            workloads: self.workloads.current(),
            cx: &cx,
        };
        let mut reach = self.endpoints.update(&inputs, &touched_services, all);
        differs |= reach;
        differs |= self.sidecars.update(&self.store, &changed, &cx, all);
        named |= self.virtual_services.update(&self.store, &changed, &cx, all);
        let mut uses = self.gateways.update(&self.store, &changed, &cx, all);
        named |= uses;
        differs |= named;
        let mut policies = false;
        if all || GatewayApi::reads(&changed) {
            let built = GatewayApi::build(&self.store, &self.mesh, self.services.current());
            differs |= !built.same(&self.gateway_api);
            policies |= built.rules != self.gateway_api.rules;
            uses |= built.wanted != self.gateway_api.wanted;
            self.gateway_api = Arc::new(built);
            reach = true;
        }
        differs |= self.telemetry.update(&self.store, &changed, &cx, all);
        let rules = self.destination_rules.update(&self.store, &changed, &cx, all) | policies;
        if rules || all {
            let own = |one: &DestinationRule| (one.creation, one.name.clone(), one.namespace.clone());
            let both = gateway::in_order(self.destination_rules.sorted(), &self.gateway_api.rules, own);
            self.merged_rules = Arc::new(DestinationRules::build(&both, &self.mesh));
        }
        uses |= rules | all | workloads.iter().any(|one| self.wanted.is_news(&one.namespace, &one.labels));
        differs |= uses;
        differs |= self.credentials.update(&self.store, &changed, &cx, all);
        differs |= self.config_maps.update(&self.store, &changed, &cx, all);
        differs |= self.peers.update(&self.store, &changed, &cx, all);
        differs |= self.requests.update(&self.store, &changed, &cx, all);
        let authorization = self.authorization.update(&self.store, &changed, &cx, all);
        differs |= authorization;
        if named || rules || authorization || all {
            self.references = self.references();
        }
        if self.filters.update(&self.store, &changed, &cx, all) {
            self.envoy_filters = EnvoyFilters::new(self.filters.sorted());
            differs = true;
        }
        if reach {
            self.tell_statuses();
        }
        if uses {
            self.want();
        }
        let security = self.security();
        let before = self.current.as_ref().map(|current| current.security.fingerprint());
        differs |= before != Some(security.fingerprint());
        differs |= all;

        // Their warnings are part of the picture.
        differs |= changed.iter().any(|key| unsupported::has_no_effect(key.kind));

        if let (Some(current), false) = (&self.current, differs) {
            return current.clone();
        }
        let mut snapshot = self.picture(security);
        if let Some(current) = self.current.as_ref().filter(|current| same_scopes(current, &snapshot)) {
            snapshot.scopes = current.scopes.clone();
        }
        let snapshot = Arc::new(snapshot);
        self.current = Some(snapshot.clone());
        snapshot
    }

    /// Makes the statuses anew.
    fn tell_statuses(&mut self) {
        let (services, endpoints) = (self.services.current(), self.endpoints.current());
        let mut statuses = self.gateway_api.statuses.clone();
        statuses.extend(self.gateway_api.gateway_statuses(AddressInputs { store: &self.store, services, endpoints }));
        if *self.statuses != statuses {
            self.statuses = Arc::new(statuses);
        }
    }

    /// Finds anew which Secrets and ConfigMaps are used.
    fn want(&mut self) {
        self.wanted.update(&WantedInputs {
            gateways: self.gateways.sorted(),
            rules: self.destination_rules.sorted(),
            workloads: self.workloads.current(),
            referred: &self.gateway_api.wanted,
        });
    }

    /// The tables as they are now; what did not change is that of the picture before.
    fn picture(&self, security: Security) -> Snapshot {
        Snapshot {
            generation: self.current.as_ref().map_or(1, |current| current.generation + 1),
            mesh: self.mesh.clone(),
            services: self.services.current().clone(),
            endpoints: self.endpoints.current().clone(),
            workloads: self.workloads.current().clone(),
            sidecars: self.sidecars.sorted().clone(),
            virtual_services: gateway::in_order(
                self.virtual_services.sorted(),
                &self.gateway_api.virtual_services,
                |one: &VirtualService| (one.creation, one.name.clone(), one.namespace.clone()),
            ),
            gateways: gateway::in_order(self.gateways.sorted(), &self.gateway_api.gateways, |one: &Gateway| {
                (one.creation, one.name.clone(), one.namespace.clone())
            }),
            telemetry: self.telemetry.sorted().clone(),
            destination_rules: self.merged_rules.clone(),
            credentials: self.credentials.sorted().clone(),
            config_maps: self.config_maps.sorted().clone(),
            security: match &self.current {
                Some(current) if current.security.fingerprint() == security.fingerprint() => current.security.clone(),
                _ => Arc::new(security),
            },
            envoy_filters: self.envoy_filters.clone(),
            gateway_api: self.gateway_api.clone(),
            warnings: Arc::new(self.warnings()),
            scopes: Arc::default(),
        }
    }

    fn references(&self) -> Vec<(Key, Problem)> {
        let looked_through = References {
            store: &self.store,
            mesh: &self.mesh,
            services: self.services.current(),
            virtual_services: self.virtual_services.sorted(),
            rules: self.destination_rules.sorted(),
            merged: &self.merged_rules,
            policies: self.authorization.sorted(),
        };
        looked_through.problems()
    }

    fn warnings(&self) -> BTreeMap<Key, Vec<Problem>> {
        let mut warnings: BTreeMap<Key, Vec<Problem>> = BTreeMap::new();
        let routes = self.virtual_services.warnings().chain(self.gateways.warnings());
        let rules = self.destination_rules.warnings();
        let policies = self.requests.warnings().chain(self.authorization.warnings()).chain(self.credentials.warnings());
        let policies = policies.chain(self.config_maps.warnings());
        let policies = policies.chain(self.telemetry.warnings()).chain(self.filters.warnings());
        for (key, problem) in self.sidecars.warnings().chain(routes).chain(rules).chain(policies) {
            warnings.entry(key).or_default().push(problem.clone());
        }
        for (key, problem) in self.services.warnings() {
            warnings.entry(key.clone()).or_default().push(problem);
        }
        for (key, problems) in &self.gateway_api.warnings {
            warnings.entry(key.clone()).or_default().extend(problems.iter().cloned());
        }
        for (key, problem) in &self.references {
            warnings.entry(key.clone()).or_default().push(problem.clone());
        }
        for (key, problem) in unsupported::problems(&self.store) {
            warnings.entry(key).or_default().push(problem);
        }
        warnings
    }
}

/// Whether proxies see the same in two snapshots, endpoints and policies aside.
fn same_scopes(a: &Snapshot, b: &Snapshot) -> bool {
    a.mesh == b.mesh
        && a.services.fingerprint() == b.services.fingerprint()
        && a.sidecars == b.sidecars
        && a.virtual_services == b.virtual_services
}
