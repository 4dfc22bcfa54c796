// SPDX-License-Identifier: Apache-2.0
//! Services of both registries: Kubernetes Services and the hosts of ServiceEntries.

mod kubernetes;
mod service_entry;

use crate::{LowerContext, Store};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tiphys_api::{Key, Kind, Object, Problem};
use tiphys_model::{ClusterName, Fingerprint, Host, Marked, Mesh, ProviderService, Registry, Resolution, Service, Str};

/// The services of the mesh, the oldest first.
#[derive(Debug, Default)]
pub struct Services {
    /// In the order of creation, then by name and namespace.
    pub all: Vec<Marked<Service>>,
    by_host: HashMap<Host, BTreeMap<Str, usize>>,
    by_namespace: HashMap<Str, Vec<usize>>,
    selecting: HashMap<Str, Vec<usize>>,
    fingerprint: Fingerprint,
}

impl Services {
    /// Stands for all services.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn build(mut all: Vec<Marked<Service>>) -> Self {
        all.sort_by(|a, b| (a.creation, &a.name, &a.namespace).cmp(&(b.creation, &b.name, &b.namespace)));
        let mut services = Self { fingerprint: Fingerprint::of(&all), all, ..Self::default() };
        for (index, service) in services.all.iter().enumerate() {
            services.by_namespace.entry(service.namespace.clone()).or_default().push(index);
            if !service.selector.is_empty() {
                services.selecting.entry(service.namespace.clone()).or_default().push(index);
            }
            let namespaces = services.by_host.entry(service.host.clone()).or_default();
            // The oldest wins, but a Kubernetes Service wins over a ServiceEntry: nobody can squat on its name.
            let taken = namespaces.get(&service.namespace).map(|i| services.all[*i].registry);
            if taken.is_none() || taken == Some(Registry::External) && service.registry == Registry::Kubernetes {
                namespaces.insert(service.namespace.clone(), index);
            }
        }
        services
    }

    /// The services of a host by namespace.
    pub fn of_host(&self, host: &Host) -> impl Iterator<Item = &Marked<Service>> {
        self.by_host.get(host).into_iter().flat_map(BTreeMap::values).map(|index| &self.all[*index])
    }

    /// The service of a host that a namespace declared.
    pub fn get(&self, host: &Host, namespace: &str) -> Option<&Marked<Service>> {
        self.by_host.get(host)?.get(namespace).map(|index| &self.all[*index])
    }

    /// Host and cluster of a service that a provider names; none when there is no such service, or when it is not plain which is meant.
    pub fn cluster_of(&self, wanted: &ProviderService) -> Option<(Str, Str)> {
        let service = match wanted.service.split_once('/') {
            Some((namespace, host)) => self.get(&Host::new(host), namespace)?,
            None => {
                let host = Host::new(&wanted.service);
                let mut found = self.of_host(&host);
                let first = found.next()?;
                if found.any(|other| other.namespace != first.namespace) {
                    return None;
                }
                first
            }
        };
        let host = service.host.as_str();
        Some((host.into(), ClusterName::Outbound { port: wanted.port, subset: "", host }.to_str()))
    }

    /// The services that a namespace declared.
    pub fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = &Marked<Service>> {
        self.by_namespace.get(namespace).into_iter().flatten().map(|index| &self.all[*index])
    }

    /// The services of a namespace that select their workloads by labels.
    pub fn selecting(&self, namespace: &str) -> impl Iterator<Item = &Marked<Service>> {
        self.selecting.get(namespace).into_iter().flatten().map(|index| &self.all[*index])
    }

    /// The services that a namespace sees: first those that are exported to it by name, then the public ones.
    pub fn visible_from(&self, namespace: &str, mesh: &Mesh) -> Vec<Marked<Service>> {
        let default = &mesh.default_service_export;
        let (mut named, mut public) = (Vec::new(), Vec::new());
        for service in &self.all {
            if is_public(service, default) {
                public.push(service.clone());
            } else if service.export_to.allows(&service.namespace, namespace, default) {
                named.push(service.clone());
            }
        }
        named.append(&mut public);
        named
    }
}

/// Whether every namespace sees a service.
fn is_public(service: &Service, default: &tiphys_model::Visibility) -> bool {
    // A namespace that cannot exist sees what everybody sees.
    service.export_to.allows(&service.namespace, "\0", default)
}

/// Lowered services by the object that declared them.
#[derive(Default)]
pub(crate) struct ServiceTable {
    by_object: BTreeMap<Key, Vec<Marked<Service>>>,
    current: Arc<Services>,
}

impl ServiceTable {
    /// Lowers what changed; returns whether any service is another than before.
    pub fn update(&mut self, store: &Store, changed: &BTreeSet<Key>, cx: &LowerContext<'_>, all: bool) -> bool {
        let mut differs = false;
        if all {
            let before = std::mem::take(&mut self.by_object);
            for kind in [Kind::Service, Kind::ServiceEntry] {
                for object in store.of_kind(kind) {
                    self.by_object.insert(object.key(), lower(object, store, cx));
                }
            }
            differs = before != self.by_object;
        } else {
            for key in changed.iter().filter(|key| matches!(key.kind, Kind::Service | Kind::ServiceEntry)) {
                let before = self.by_object.remove(key);
                let after = store.get(key.kind, &key.namespace, &key.name).map(|object| lower(object, store, cx));
                differs |= before != after;
                if let Some(services) = after {
                    self.by_object.insert(key.clone(), services);
                }
            }
        }
        if differs {
            self.current = Arc::new(Services::build(self.by_object.values().flatten().cloned().collect()));
        }
        differs
    }

    pub fn current(&self) -> &Arc<Services> {
        &self.current
    }

    /// What of the objects is not served.
    pub fn warnings(&self) -> impl Iterator<Item = (&Key, Problem)> {
        let dynamic = |services: &[Marked<Service>]| services.iter().any(|s| s.resolution == Resolution::DynamicDns);
        let text = "DYNAMIC_DNS is not supported: requests for the hosts are answered with 503; use NONE, or DNS for hosts that are known";
        let unserved = self.by_object.iter().filter(move |(_, services)| dynamic(services));
        unserved.map(move |(key, _)| (key, Problem::warning("spec.resolution", text)))
    }

    /// The services that an object declared.
    pub fn of_object(&self, key: &Key) -> &[Marked<Service>] {
        self.by_object.get(key).map_or(&[], Vec::as_slice)
    }
}

fn lower(object: &Object, store: &Store, cx: &LowerContext<'_>) -> Vec<Marked<Service>> {
    let namespace = store.get(Kind::Namespace, "", &object.meta.namespace).map(|n| &n.meta.annotations);
    let inherited = namespace.and_then(|annotations| annotations.get(TRAFFIC_DISTRIBUTION)).map(String::as_str);
    kubernetes::lower(object, cx, inherited)
        .into_iter()
        .chain(service_entry::lower(object, inherited))
        .map(Marked::new)
        .collect()
}

/// Annotation that says how near endpoints should be, on a Service, a ServiceEntry or a namespace.
pub(crate) const TRAFFIC_DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";

/// The traffic distribution that applies: the object's field, else its annotation, else the namespace's.
fn traffic_distribution(field: &str, annotation: Option<&String>, inherited: Option<&str>) -> Option<Str> {
    let known = |text: &str| match text.to_ascii_lowercase().as_str() {
        "preferclose" | "prefersamezone" => Some(Str::from("PreferSameZone")),
        "prefersamenode" => Some(Str::from("PreferSameNode")),
        _ => None,
    };
    if let Some(distribution) = known(field) {
        return Some(distribution);
    }
    annotation.map(String::as_str).filter(|text| !text.is_empty()).or(inherited).and_then(known)
}
