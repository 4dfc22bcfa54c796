// SPDX-License-Identifier: Apache-2.0
//! Endpoints of every service. They change more often than anything else, so they are kept by service: a change makes again only those of
//! the services that it touches.

mod entries;
mod slices;

use crate::services::ServiceTable;
use crate::workloads::Workloads;
use crate::{LowerContext, Services, Store, Workload};
use std::collections::BTreeSet;
use std::sync::Arc;
use tiphys_api::{Key, Kind, Spec};
use tiphys_model::{
    Endpoint, Fingerprint, Health, Host, Labels, Marked, Registry, Service, ServiceEndpoints, Shards, Str, labels_match,
};

/// A service by host and namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// Its host.
    pub host: Host,
    /// Namespace of the object that declared it.
    pub namespace: Str,
}

impl ServiceKey {
    /// The key of a service.
    pub fn of(service: &Service) -> Self {
        Self { host: service.host.clone(), namespace: service.namespace.clone() }
    }
}

/// The endpoints of all services.
#[derive(Debug, Default)]
pub struct Endpoints {
    by_service: Shards<ServiceKey, Marked<ServiceEndpoints>>,
    /// The services of each address, sorted.
    by_address: Shards<Str, Vec<ServiceKey>>,
    /// The sum of the fingerprints of all entries, so that a change costs as much as what changed.
    fingerprint: Fingerprint,
    changed: BTreeSet<ServiceKey>,
    previous: Fingerprint,
}

impl Endpoints {
    /// Stands for all endpoints.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The services whose endpoints are others than in the table that this one took the place of.
    pub fn changed(&self) -> &BTreeSet<ServiceKey> {
        &self.changed
    }

    /// The fingerprint of the table that this one took the place of.
    pub fn previous(&self) -> Fingerprint {
        self.previous
    }

    /// The services that have an endpoint of an address.
    pub fn of_address(&self, address: &str) -> &[ServiceKey] {
        self.by_address.get(address).map_or(&[], Vec::as_slice)
    }

    /// Sets the endpoints of a service, or removes them.
    fn put(&mut self, key: &ServiceKey, after: Option<Marked<ServiceEndpoints>>) {
        let before = match &after {
            Some(after) => self.by_service.insert(key.clone(), after.clone()),
            None => self.by_service.remove(key),
        };
        let sum = |sum: u128, change: fn(u128, u128) -> u128, of: &Option<Marked<ServiceEndpoints>>| {
            of.as_ref().map_or(sum, |of| change(sum, Fingerprint::of(&(key, of)).0))
        };
        let without = sum(self.fingerprint.0, u128::wrapping_sub, &before);
        self.fingerprint = Fingerprint(sum(without, u128::wrapping_add, &after));
        let addresses = |of: &Option<Marked<ServiceEndpoints>>| -> BTreeSet<Str> {
            of.iter().flat_map(|of| &of.endpoints).flat_map(|endpoint| &endpoint.addresses).cloned().collect()
        };
        let (before, after) = (addresses(&before), addresses(&after));
        for gone in before.difference(&after) {
            let Some(mut services) = self.by_address.remove(gone) else { continue };
            services.retain(|service| service != key);
            if !services.is_empty() {
                self.by_address.insert(gone.clone(), services);
            }
        }
        for new in after.difference(&before) {
            let mut services = self.by_address.get(new).cloned().unwrap_or_default();
            if let Err(place) = services.binary_search(key) {
                services.insert(place, key.clone());
            }
            self.by_address.insert(new.clone(), services);
        }
    }

    /// The endpoints of a service.
    pub fn of(&self, service: &Service) -> Option<&Marked<ServiceEndpoints>> {
        self.by_service.get(&ServiceKey::of(service))
    }

    /// All of them, in the order of their services.
    pub fn sorted(&self) -> Vec<(&ServiceKey, &Marked<ServiceEndpoints>)> {
        self.by_service.sorted()
    }
}

/// What endpoints are made of.
pub(crate) struct EndpointInputs<'a> {
    pub store: &'a Store,
    pub services: &'a ServiceTable,
    pub workloads: &'a Workloads,
    pub cx: &'a LowerContext<'a>,
}

impl EndpointInputs<'_> {
    /// Labels of an endpoint: those of its workload and where it runs, so that subsets and failover can go by both.
    pub fn endpoint_labels(&self, workload: &Workload) -> Labels {
        let mut labels = workload.labels.clone();
        let mut add = |key: &str, value: &Str| {
            if !value.is_empty() {
                labels.insert(key.into(), value.clone());
            }
        };
        add("topology.kubernetes.io/region", &workload.locality.region);
        add("topology.kubernetes.io/zone", &workload.locality.zone);
        add("topology.istio.io/subzone", &workload.locality.subzone);
        add("topology.istio.io/cluster", &self.cx.mesh.cluster);
        add("topology.istio.io/network", &workload.network);
        add("kubernetes.io/hostname", &workload.node);
        labels
    }

    /// An endpoint of a workload, without address, port and port name.
    pub fn endpoint(&self, workload: &Workload) -> Endpoint {
        let tls_mode = match workload.labels.get(tiphys_model::name::TLS_MODE) {
            Some(mode) => mode.clone(),
            None if !workload.pod && !workload.service_account.is_empty() => "istio".into(),
            None => "disabled".into(),
        };
        Endpoint {
            labels: self.endpoint_labels(workload),
            locality: workload.locality.clone(),
            weight: workload.weight,
            identity: workload.identity.clone(),
            network: workload.network.clone(),
            cluster: self.cx.mesh.cluster.clone(),
            tls_mode,
            workload: workload.name.clone(),
            namespace: workload.namespace.clone(),
            hostname: workload.hostname.clone(),
            subdomain: workload.subdomain.clone(),
            node: workload.node.clone(),
            // A Pod that is not ready is no workload; of others nobody tells.
            health: if workload.pod { Health::Healthy } else { Health::Unknown },
            ..Endpoint::default()
        }
    }

    fn of_service(&self, service: &Service) -> ServiceEndpoints {
        let mut endpoints = match service.registry {
            Registry::Kubernetes => slices::of_service(self, service),
            Registry::External => entries::of_service(self, service),
        };
        endpoints.sort_by(|a, b| {
            (&a.port_name, a.service_port, &a.addresses, a.port).cmp(&(
                &b.port_name,
                b.service_port,
                &b.addresses,
                b.port,
            ))
        });
        ServiceEndpoints { endpoints }
    }
}

/// The endpoints as they are now, and how they follow changes.
#[derive(Default)]
pub(crate) struct EndpointTable {
    current: Arc<Endpoints>,
}

impl EndpointTable {
    /// Makes the endpoints of the touched services again, or of all; returns whether any differ.
    pub fn update(&mut self, inputs: &EndpointInputs<'_>, touched: &BTreeSet<ServiceKey>, all: bool) -> bool {
        let services = inputs.services.current();
        let mut wanted: BTreeSet<ServiceKey> = match all {
            true => services.all.iter().map(|service| ServiceKey::of(service)).collect(),
            false => touched.clone(),
        };
        if all {
            wanted.extend(self.current.sorted().into_iter().map(|(key, _)| key.clone()));
        }
        let (by_service, by_address) = (self.current.by_service.clone(), self.current.by_address.clone());
        let fingerprint = self.current.fingerprint;
        let mut next = Endpoints { by_service, by_address, fingerprint, ..Endpoints::default() };
        for key in wanted {
            let before = self.current.by_service.get(&key);
            let service = services.get(&key.host, &key.namespace);
            let after = service.map(|service| inputs.of_service(service)).filter(|found| !found.endpoints.is_empty());
            let after = after.map(Marked::new);
            // Equal content keeps its pointer.
            if before != after.as_ref() {
                next.put(&key, after);
                next.changed.insert(key);
            }
        }
        let differs = !next.changed.is_empty();
        if differs {
            next.previous = self.current.fingerprint;
            self.current = Arc::new(next);
        }
        differs
    }

    pub fn current(&self) -> &Arc<Endpoints> {
        &self.current
    }
}

/// The services whose endpoints a set of changes can touch. `services` are those before or after the change: both are to be asked.
pub(crate) fn touched(
    changed: &BTreeSet<Key>,
    workloads: &[Marked<Workload>],
    store: &Store,
    services: &Services,
    table: &ServiceTable,
) -> BTreeSet<ServiceKey> {
    let mut touched = BTreeSet::new();
    for key in changed {
        match key.kind {
            Kind::Service | Kind::ServiceEntry => {
                touched.extend(table.of_object(key).iter().map(|service| ServiceKey::of(service)));
            }
            Kind::EndpointSlice => {
                let name = store
                    .get(key.kind, &key.namespace, &key.name)
                    .and_then(|slice| slice.meta.labels.get(slices::SERVICE_NAME).cloned());
                match name {
                    Some(name) => touch_named(&key.namespace, &name, services, &mut touched),
                    // A deleted slice no longer tells its service: those of its namespace are looked through.
                    None => touched.extend(services.of_namespace(&key.namespace).map(|s| ServiceKey::of(s))),
                }
            }
            _ => {}
        }
    }
    for workload in workloads {
        for service in services.of_namespace(&workload.namespace) {
            let selects = !service.selector.is_empty() && labels_match(&service.selector, &workload.labels);
            if selects || service.registry == Registry::Kubernetes && service.selector.is_empty() {
                touched.insert(ServiceKey::of(service));
            }
        }
    }
    touched
}

fn touch_named(namespace: &str, name: &str, services: &Services, touched: &mut BTreeSet<ServiceKey>) {
    let named = services.of_namespace(namespace).filter(|s| s.registry == Registry::Kubernetes && &*s.name == name);
    touched.extend(named.map(|service| ServiceKey::of(service)));
}

/// The ServiceEntry that declared a service.
fn declared_by<'a>(
    store: &'a Store,
    service: &Service,
) -> Option<&'a tiphys_api::istio::networking::service_entry::ServiceEntry> {
    match &store.get(Kind::ServiceEntry, &service.namespace, &service.object_name)?.spec {
        Spec::ServiceEntry(entry) => Some(entry),
        _ => None,
    }
}
