// SPDX-License-Identifier: Apache-2.0
//! The name table (NDS): which host has which addresses, for agents that answer DNS queries themselves (ISTIO_META_DNS_CAPTURE).
//!
//! The agent makes the short names of Kubernetes services from name and namespace. Pods of a headless service that have a host name of
//! their own (a StatefulSet's) get an entry each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use tiphys_model::{Health, Host, Registry, Str};
use tiphys_proto::istio::networking::nds::v1::NameTable;
use tiphys_proto::istio::networking::nds::v1::name_table::NameInfo;

/// What a name table is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NameTableInput {
    /// The services that the proxy sees, in their order; several may have one host.
    pub services: Vec<Named>,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Named {
    /// Its host.
    pub host: Host,
    /// Name of the Kubernetes Service.
    pub name: Str,
    /// Its namespace.
    pub namespace: Str,
    /// Where it was declared.
    pub registry: Registry,
    /// Its addresses as the proxy dials them; ranges are left out. Empty for a headless service.
    pub addresses: Vec<Str>,
    /// The pods of a headless service.
    pub pods: Vec<Pod>,
}

/// A pod of a headless service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    /// Its addresses.
    pub addresses: Vec<Str>,
    /// Its own host name.
    pub hostname: Str,
    /// Its subdomain: the name of the service that names it.
    pub subdomain: Str,
    /// Whether it answers, or is told of all the same (publishNotReadyAddresses).
    pub told: bool,
}

impl Pod {
    /// Whether a pod of this health is told of.
    pub fn is_told(health: Health, publish_not_ready: bool) -> bool {
        publish_not_ready || matches!(health, Health::Healthy | Health::Unknown)
    }
}

/// The name table.
pub fn name_table(input: &NameTableInput) -> NameTable {
    let mut table: BTreeMap<String, NameInfo> = BTreeMap::new();
    for service in &input.services {
        let mut ips: Vec<String> = service.addresses.iter().filter(|a| is_ip(a)).map(ToString::to_string).collect();
        for pod in pods(service) {
            let own: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
            if let Some((host, info)) = of_pod(service, pod) {
                let known = table.entry(host).or_insert(info);
                known.ips.extend(own.iter().cloned());
            }
            ips.extend(own);
        }
        if !ips.is_empty() {
            add(&mut table, service, ips);
        }
    }
    NameTable { table }
}

fn is_ip(address: &str) -> bool {
    address.parse::<IpAddr>().is_ok()
}

/// Those that are told of, each address once: a pod is listed for each port.
fn pods(service: &Named) -> Vec<&Pod> {
    let mut seen = Vec::new();
    let told =
        service.pods.iter().filter(|p| p.told && !p.addresses.is_empty() && p.addresses.iter().all(|a| is_ip(a)));
    told.filter(|pod| {
        let new = !seen.contains(&&pod.addresses[0]);
        seen.push(&pod.addresses[0]);
        new
    })
    .collect()
}

/// `HOSTNAME.SUBDOMAIN.NAMESPACE.svc.DOMAIN`, as Kubernetes names the pod.
fn of_pod(service: &Named, pod: &Pod) -> Option<(String, NameInfo)> {
    if pod.subdomain.is_empty() {
        return None;
    }
    let (_, domain) = service.host.as_str().split_once('.')?;
    let shortname = format!("{}.{}", pod.hostname, pod.subdomain);
    let host = format!("{shortname}.{domain}");
    let namespace = service.namespace.to_string();
    Some((host, NameInfo { registry: registry(service.registry), shortname, namespace, ..NameInfo::default() }))
}

/// A Kubernetes Service goes before a ServiceEntry of its host; the addresses of ServiceEntries come together.
fn add(table: &mut BTreeMap<String, NameInfo>, service: &Named, ips: Vec<String>) {
    let kubernetes = service.registry == Registry::Kubernetes;
    // Hosts of a set of clusters have no short names: they would be those of the service in this cluster.
    let short = kubernetes && !service.host.as_str().ends_with(".clusterset.local");
    let info = NameInfo {
        ips,
        registry: registry(service.registry),
        shortname: if short { service.name.to_string() } else { String::new() },
        namespace: if short { service.namespace.to_string() } else { String::new() },
        ..NameInfo::default()
    };
    match table.get_mut(service.host.as_str()) {
        None => drop(table.insert(service.host.to_string(), info)),
        Some(known) if known.registry == registry(Registry::Kubernetes) => {}
        Some(known) if kubernetes => *known = info,
        Some(known) => {
            let new: Vec<String> = info.ips.into_iter().filter(|ip| !known.ips.contains(ip)).collect();
            known.ips.extend(new);
        }
    }
}

fn registry(registry: Registry) -> String {
    match registry {
        Registry::Kubernetes => "Kubernetes".into(),
        Registry::External => "External".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(host: &str, registry: Registry, addresses: &[&str]) -> Named {
        Named {
            host: Host::new(host),
            name: host.split('.').next().unwrap_or_default().into(),
            namespace: "ns".into(),
            registry,
            addresses: addresses.iter().map(|a| Str::from(*a)).collect(),
            pods: Vec::new(),
        }
    }

    fn pod(address: &str, hostname: &str, told: bool) -> Pod {
        let subdomain = if hostname.is_empty() { "" } else { "db" };
        Pod { addresses: vec![address.into()], hostname: hostname.into(), subdomain: subdomain.into(), told }
    }

    #[test]
    fn services_and_entries_of_one_host() {
        let services = vec![
            named("a.ns.svc.cluster.local", Registry::Kubernetes, &["10.0.0.1"]),
            named("x.com", Registry::External, &["1.1.1.1", "2.0.0.0/8"]),
            named("x.com", Registry::External, &["1.1.1.2", "1.1.1.1"]),
            named("b.ns.svc.cluster.local", Registry::External, &["9.9.9.9"]),
            named("b.ns.svc.cluster.local", Registry::Kubernetes, &["10.0.0.2"]),
            named("none.com", Registry::External, &[]),
        ];
        let table = name_table(&NameTableInput { services }).table;
        assert_eq!(table.len(), 3);
        let a = &table["a.ns.svc.cluster.local"];
        assert_eq!((a.registry.as_str(), a.shortname.as_str(), a.namespace.as_str()), ("Kubernetes", "a", "ns"));
        assert_eq!(table["x.com"].ips, ["1.1.1.1", "1.1.1.2"]);
        assert_eq!(table["x.com"].shortname, "");
        assert_eq!(table["b.ns.svc.cluster.local"].ips, ["10.0.0.2"]);
    }

    #[test]
    fn pods_of_a_headless_service() {
        let mut db = named("db.ns.svc.cluster.local", Registry::Kubernetes, &[]);
        db.pods = vec![
            pod("10.1.0.1", "db-0", true),
            pod("10.1.0.1", "db-0", true),
            pod("10.1.0.2", "", true),
            pod("10.1.0.3", "db-2", false),
        ];
        let table = name_table(&NameTableInput { services: vec![db] }).table;
        assert_eq!(table["db.ns.svc.cluster.local"].ips, ["10.1.0.1", "10.1.0.2"]);
        let own = &table["db-0.db.ns.svc.cluster.local"];
        assert_eq!((own.ips.as_slice(), own.shortname.as_str()), (&["10.1.0.1".to_string()][..], "db-0.db"));
        assert_eq!(table.len(), 2);
    }
}
