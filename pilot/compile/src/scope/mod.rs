// SPDX-License-Identifier: Apache-2.0
//! Scopes: what the proxies of a namespace, or those that a Sidecar object selects, see of the mesh.

mod hosts;
mod merge;

use crate::Snapshot;
use hosts::HostSet;
use merge::Merged;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use tiphys_model::{
    CaptureMode, Fingerprint, Host, Marked, OutboundMode, Port, ProxyNode, ProxyType, Service, Sidecar, SidecarEgress,
    Str, VirtualService, labels_match,
};

/// One egress listener of a scope.
#[derive(Clone, Debug)]
pub struct EgressListener {
    /// What the Sidecar object says of it; none for the catch-all listener that a scope without a Sidecar has.
    pub declared: Option<SidecarEgress>,
    /// The services that it lets through, cut to the listener's port where it has one.
    pub services: Vec<Marked<Service>>,
    /// The VirtualServices of gateway `mesh` that apply, in the order of precedence.
    pub virtual_services: Vec<Marked<VirtualService>>,
}

impl EgressListener {
    /// The port that it is limited to.
    pub fn port(&self) -> Option<&Port> {
        self.declared.as_ref()?.port.as_ref()
    }
}

/// What one group of proxies sees.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Namespace of the proxies.
    pub namespace: Str,
    /// The Sidecar object that applies.
    pub sidecar: Option<Marked<Sidecar>>,
    /// Its egress listeners; at least one for a sidecar.
    pub egress: Vec<EgressListener>,
    /// All services of the egress listeners: one for each host.
    pub services: Vec<Marked<Service>>,
    /// Calls to unknown hosts.
    pub outbound_mode: OutboundMode,
    by_host: HashMap<Host, usize>,
    fingerprint: Fingerprint,
    services_fingerprint: Fingerprint,
    balances: Balances,
    binds_addresses: bool,
}

/// How some service of a scope chooses endpoints by where its clients are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balances {
    /// By a traffic distribution.
    pub distributed: bool,
    /// To the client's node alone.
    pub node_local: bool,
}

impl Scope {
    /// The service of a host.
    pub fn service(&self, host: &Host) -> Option<&Marked<Service>> {
        self.by_host.get(host).map(|index| &self.services[*index])
    }

    /// Stands for all that the scope holds.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Stands for the services alone, which routes do not change.
    pub fn services_fingerprint(&self) -> Fingerprint {
        self.services_fingerprint
    }

    /// How some service chooses endpoints by where its clients are.
    pub fn balances(&self) -> Balances {
        self.balances
    }

    /// Whether listeners are bound to the proxy's own addresses, or leave its own address out.
    pub fn binds_addresses(&self) -> bool {
        self.binds_addresses
    }

    /// The egress listener that answers for a port, or for a Unix path when the port is 0.
    pub fn egress_for(&self, port: u32, bind: &str) -> Option<&EgressListener> {
        self.egress.iter().find(|listener| match listener.port() {
            None => true,
            Some(own) if own.number == 0 => port == 0 && listener.declared.as_ref().is_some_and(|d| &*d.bind == bind),
            Some(own) => own.number == port,
        })
    }

    fn build(snapshot: &Snapshot, namespace: &str, sidecar: Option<Marked<Sidecar>>, kind: ProxyType) -> Self {
        let visible = snapshot.services.visible_from(namespace, &snapshot.mesh);
        let egress = if kind == ProxyType::Sidecar {
            listeners(snapshot, namespace, sidecar.as_ref(), &visible)
        } else {
            // A gateway sees all that its namespace sees; its routes come by the gateway's name.
            vec![EgressListener { declared: None, services: visible, virtual_services: Vec::new() }]
        };
        let mut merged = Merged::default();
        for listener in &egress {
            for service in &listener.services {
                merged.add(service.clone());
            }
            if kind == ProxyType::Sidecar {
                add_destinations(snapshot, namespace, listener, &mut merged);
            }
        }
        let services = merged.into_services();
        let by_host = services.iter().enumerate().map(|(index, service)| (service.host.clone(), index)).collect();
        let outbound_mode =
            sidecar.as_ref().and_then(|sidecar| sidecar.outbound_mode).unwrap_or(snapshot.mesh.outbound_mode);
        let services_fingerprint = Fingerprint::of(&services);
        let balances = Balances {
            distributed: services.iter().any(|service| service.traffic_distribution.is_some()),
            node_local: services.iter().any(|service| service.node_local),
        };
        let binds_addresses = sidecar.as_deref().is_some_and(binds_addresses)
            || kind == ProxyType::Sidecar && services.iter().any(|service| dials_pods(service));
        let listeners: Vec<_> = egress.iter().map(|e| (&e.declared, &e.services, &e.virtual_services)).collect();
        let fingerprint = Fingerprint::of(&(namespace, &sidecar, listeners, &services, outbound_mode));
        Self {
            namespace: namespace.into(),
            sidecar,
            egress,
            services,
            outbound_mode,
            by_host,
            fingerprint,
            services_fingerprint,
            balances,
            binds_addresses,
        }
    }
}

/// Whether a Sidecar object makes listeners that are bound to an address of the proxy, or send to it.
fn binds_addresses(sidecar: &Sidecar) -> bool {
    let of_proxy = |endpoint: &str| endpoint.starts_with("0.0.0.0:") || endpoint.starts_with("[::]:");
    sidecar.ingress.iter().any(|listener| {
        listener.capture == CaptureMode::None || listener.bind.is_empty() || of_proxy(&listener.default_endpoint)
    }) || sidecar.egress.iter().any(|listener| listener.capture == CaptureMode::None)
}

/// Whether each endpoint of a service has a listener: those of its own are left out by its own address.
fn dials_pods(service: &Service) -> bool {
    service.is_headless() && service.ports.iter().any(|port| !port.protocol.is_http())
}

/// The egress listeners of a Sidecar object, or the one that stands for everything visible.
fn listeners(
    snapshot: &Snapshot,
    namespace: &str,
    sidecar: Option<&Marked<Sidecar>>,
    visible: &[Marked<Service>],
) -> Vec<EgressListener> {
    let declared = sidecar.map(|sidecar| sidecar.egress.as_slice()).unwrap_or_default();
    if declared.is_empty() {
        let hosts = HostSet::everything(namespace);
        return vec![EgressListener {
            declared: None,
            services: hosts.services(visible, None),
            virtual_services: hosts.virtual_services(snapshot, namespace),
        }];
    }
    declared
        .iter()
        .map(|egress| {
            let hosts = HostSet::new(&egress.hosts, namespace);
            let port = egress.port.as_ref().filter(|port| port.number != 0 && !egress.http_proxy);
            EgressListener {
                services: hosts.services(visible, port.map(|port| port.number)),
                virtual_services: hosts.virtual_services(snapshot, namespace),
                declared: Some(egress.clone()),
            }
        })
        .collect()
}

/// Services that only a VirtualService's routes name are seen too: those of the own namespace first, else of the first namespace.
fn add_destinations(snapshot: &Snapshot, namespace: &str, listener: &EgressListener, merged: &mut Merged) {
    let limit = listener.declared.as_ref().filter(|d| !d.http_proxy).and_then(|d| d.port.as_ref()).map(|p| p.number);
    for virtual_service in &listener.virtual_services {
        for destination in &virtual_service.destinations {
            let default = &snapshot.mesh.default_service_export;
            let found = snapshot.services.get(destination, namespace).or_else(|| {
                snapshot
                    .services
                    .of_host(destination)
                    .find(|service| service.export_to.allows(&service.namespace, namespace, default))
            });
            if let Some(service) = found.and_then(|service| hosts::at_port(service, limit)) {
                merged.add(service);
            }
        }
    }
}

/// The scopes of one snapshot, made when they are first asked for.
#[derive(Default)]
pub struct Scopes {
    made: Mutex<BTreeMap<ScopeKey, Arc<Scope>>>,
}

type ScopeKey = (Str, Option<(Str, Str)>, bool);

impl Scopes {
    /// The scope of a proxy.
    pub fn of(&self, snapshot: &Snapshot, proxy: &ProxyNode) -> Arc<Scope> {
        let sidecar = match proxy.kind {
            ProxyType::Sidecar => sidecar_of(snapshot, proxy),
            _ => None,
        };
        let object = sidecar.as_ref().map(|sidecar| (sidecar.namespace.clone(), sidecar.name.clone()));
        let key = (proxy.namespace.clone(), object, proxy.kind == ProxyType::Sidecar);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.entry(key)
            .or_insert_with(|| Arc::new(Scope::build(snapshot, &proxy.namespace, sidecar, proxy.kind)))
            .clone()
    }
}

/// The Sidecar object of a proxy: the oldest of its namespace that selects it, else the namespace's own, else the mesh's.
fn sidecar_of(snapshot: &Snapshot, proxy: &ProxyNode) -> Option<Marked<Sidecar>> {
    let of = |namespace: &str, selecting: bool| {
        snapshot.sidecars.iter().find(|sidecar| {
            &*sidecar.namespace == namespace
                && match &sidecar.selector {
                    Some(selector) => selecting && labels_match(selector, &proxy.labels),
                    None => !selecting,
                }
        })
    };
    of(&proxy.namespace, true)
        .or_else(|| of(&proxy.namespace, false))
        .or_else(|| of(&snapshot.mesh.root_namespace, false))
        .cloned()
}
