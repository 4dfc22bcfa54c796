// SPDX-License-Identifier: Apache-2.0
//! The hosts that an egress listener lets through.

use crate::Snapshot;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tiphys_model::{EgressHost, Host, HostNamespace, MESH_GATEWAY, Marked, Registry, Service, Str, VirtualService};

#[derive(Default)]
struct Hosts {
    exact: BTreeSet<Host>,
    wildcards: Vec<Host>,
    excluded: Vec<Host>,
}

impl Hosts {
    fn excludes(&self, host: &Host) -> bool {
        self.excluded.iter().any(|excluded| host.subset_of(excluded))
    }

    fn imports(&self, host: &Host) -> bool {
        self.exact.contains(host) || self.wildcards.iter().any(|imported| host.subset_of(imported))
    }

    /// A VirtualService's host counts when it could stand for an imported one, in either direction.
    fn imports_route(&self, host: &Host) -> bool {
        self.exact.contains(host)
            || self.wildcards.iter().any(|imported| host.matches(imported))
            || host.is_wildcard() && self.exact.iter().any(|imported| host.matches(imported))
    }
}

/// The hosts of one egress listener by namespace.
pub(super) struct HostSet {
    own: Str,
    named: BTreeMap<Str, Hosts>,
    any: Option<Hosts>,
}

impl HostSet {
    /// `*/*`, as proxies of a namespace see it.
    pub fn everything(own: &str) -> Self {
        Self {
            own: own.into(),
            named: BTreeMap::new(),
            any: Some(Hosts { wildcards: vec![Host::new("*")], ..Hosts::default() }),
        }
    }

    /// The hosts of a Sidecar's egress listener, as proxies of a namespace see it.
    pub fn new(hosts: &[EgressHost], own: &str) -> Self {
        let mut set = Self { own: own.into(), named: BTreeMap::new(), any: None };
        for host in hosts {
            let list = match &host.namespace {
                HostNamespace::Any => set.any.get_or_insert_default(),
                HostNamespace::Own => set.named.entry(own.into()).or_default(),
                HostNamespace::Named(name) => set.named.entry(name.clone()).or_default(),
            };
            if host.excluded {
                list.excluded.push(host.host.clone());
            } else if host.host.is_wildcard() {
                list.wildcards.push(host.host.clone());
            } else {
                list.exact.insert(host.host.clone());
            }
        }
        set
    }

    fn lists(&self, namespace: &str) -> impl Iterator<Item = &Hosts> {
        self.named.get(namespace).into_iter().chain(&self.any)
    }

    /// The services let through; with a port, cut to it. Of services of one host in several namespaces that of the own namespace
    /// stays, else the first, but a Kubernetes Service wins over a ServiceEntry.
    pub fn services(&self, visible: &[Marked<Service>], port: Option<u32>) -> Vec<Marked<Service>> {
        let mut imported: Vec<Marked<Service>> = Vec::new();
        let mut owner: HashMap<Host, (Str, Registry)> = HashMap::new();
        for service in visible {
            if self.lists(&service.namespace).any(|hosts| hosts.excludes(&service.host))
                || !self.lists(&service.namespace).any(|hosts| hosts.imports(&service.host))
            {
                continue;
            }
            let Some(service) = at_port(service, port) else { continue };
            let candidate = (service.namespace.clone(), service.registry);
            owner
                .entry(service.host.clone())
                .and_modify(|known| {
                    let wins = known.1 == Registry::External && candidate.1 == Registry::Kubernetes;
                    if candidate.0 == self.own || wins && known.0 != self.own {
                        *known = candidate.clone();
                    }
                })
                .or_insert(candidate);
            imported.push(service);
        }
        imported
            .retain(|service| owner.get(&service.host).is_some_and(|(namespace, _)| *namespace == service.namespace));
        imported
    }

    /// The VirtualServices of gateway `mesh` that apply: private ones first, then those exported by name, then the public ones.
    pub fn virtual_services(&self, snapshot: &Snapshot, namespace: &str) -> Vec<Marked<VirtualService>> {
        let default = &snapshot.mesh.default_virtual_service_export;
        let mut ranked: [Vec<Marked<VirtualService>>; 3] = Default::default();
        for virtual_service in snapshot.virtual_services.iter() {
            let of_mesh = virtual_service.gateways.iter().any(|gateway| &**gateway == MESH_GATEWAY);
            let owner = &virtual_service.namespace;
            if !of_mesh || !virtual_service.export_to.allows(owner, namespace, default) {
                continue;
            }
            let selected = virtual_service.hosts.iter().any(|host| {
                self.lists(owner).any(|hosts| hosts.imports_route(host))
                    && !self.lists(owner).any(|hosts| hosts.excludes(host))
            });
            if !selected {
                continue;
            }
            // A namespace that cannot exist sees what everybody sees.
            let public = virtual_service.export_to.allows(owner, "\0", default);
            let rank = if public { 2 } else { usize::from(**owner != *namespace) };
            ranked[rank].push(virtual_service.clone());
        }
        ranked.into_iter().flatten().collect()
    }
}

/// A service cut to one port; none when it does not have it.
pub(super) fn at_port(service: &Marked<Service>, port: Option<u32>) -> Option<Marked<Service>> {
    let Some(number) = port else { return Some(service.clone()) };
    let port = service.port(number)?;
    if service.ports.len() == 1 {
        return Some(service.clone());
    }
    let mut cut = (**service).clone();
    cut.ports = vec![port.clone()];
    Some(Marked::new(cut))
}
