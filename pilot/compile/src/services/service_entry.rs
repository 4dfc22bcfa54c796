// SPDX-License-Identifier: Apache-2.0
//! Hosts of ServiceEntries: one service for each host and address.

use super::{TRAFFIC_DISTRIBUTION, traffic_distribution};
use crate::lower::{labels, strs};
use tiphys_api::istio::networking::service_entry::{self, Location, ServiceEntry};
use tiphys_api::{Object, Spec};
use tiphys_model::{Host, Port, Protocol, Registry, Resolution, Service, Str, TargetPort, UNSPECIFIED, Visibility};

/// The services that a ServiceEntry declares.
pub fn lower(object: &Object, inherited_distribution: Option<&str>) -> Vec<Service> {
    let Spec::ServiceEntry(entry) = &object.spec else { return Vec::new() };
    let mut services = Vec::new();
    for host in &entry.hosts {
        let addresses: Vec<Str> = entry.addresses.iter().filter_map(|address| plain_address(address)).collect();
        if addresses.is_empty() {
            let auto = auto_addresses(object, host);
            services.push(service(object, entry, host, UNSPECIFIED.into(), auto));
        }
        for address in addresses {
            services.push(service(object, entry, host, address, Vec::new()));
        }
    }
    let annotation = object.meta.annotations.get(TRAFFIC_DISTRIBUTION);
    let distribution = traffic_distribution("", annotation, inherited_distribution);
    for service in &mut services {
        service.traffic_distribution = distribution.clone();
    }
    services
}

fn service(object: &Object, entry: &ServiceEntry, host: &str, address: Str, auto_addresses: Vec<Str>) -> Service {
    Service {
        host: Host::new(host),
        namespace: object.meta.namespace.as_str().into(),
        name: host.into(),
        object_name: object.meta.name.as_str().into(),
        registry: Registry::External,
        ports: entry.ports.iter().map(port).collect(),
        addresses: vec![address],
        auto_addresses,
        resolution: resolution(&entry.resolution),
        mesh_external: entry.location != Location::MeshInternal,
        export_to: Visibility::from_list(&entry.export_to),
        labels: labels(&object.meta.labels),
        selector: entry.workload_selector.as_ref().map(|selector| labels(&selector.labels)).unwrap_or_default(),
        creation: object.meta.creation,
        subject_alt_names: strs(&entry.subject_alt_names),
        external_name: None,
        publish_not_ready: false,
        node_local: false,
        traffic_distribution: None,
        kind: Str::default(),
        external_addresses: Vec::new(),
    }
}

fn port(port: &service_entry::ServicePort) -> Port {
    Port {
        name: port.name.as_str().into(),
        number: port.number,
        protocol: Protocol::of_port("", port.number, &port.name, Some(&port.protocol)),
        target: if port.target_port > 0 { TargetPort::Number(port.target_port) } else { TargetPort::Same },
    }
}

fn resolution(resolution: &service_entry::Resolution) -> Resolution {
    match resolution {
        service_entry::Resolution::Static => Resolution::ClientSide,
        service_entry::Resolution::Dns => Resolution::Dns,
        service_entry::Resolution::DnsRoundRobin => Resolution::DnsRoundRobin,
        service_entry::Resolution::DynamicDns => Resolution::DynamicDns,
        _ => Resolution::Passthrough,
    }
}

/// An address without the prefix length of a single host; none when it is neither an address nor a prefix.
fn plain_address(text: &str) -> Option<Str> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Some(text.into());
    }
    let prefix: ipnet::IpNet = text.parse().ok()?;
    match prefix.prefix_len() == prefix.max_prefix_len() {
        true => Some(prefix.addr().to_string().into()),
        false => Some(text.into()),
    }
}

/// Addresses that were allocated for a host, as the ServiceEntry's status lists them.
fn auto_addresses(object: &Object, host: &str) -> Vec<Str> {
    let listed = object.status.as_ref().and_then(|status| status.get("addresses")).and_then(|list| list.as_array());
    let of_host = |entry: &&serde_json::Value| entry.get("host").and_then(|h| h.as_str()).is_none_or(|h| h == host);
    listed
        .into_iter()
        .flatten()
        .filter(of_host)
        .filter_map(|entry| entry.get("value").and_then(|value| value.as_str()))
        .map(Str::from)
        .collect()
}
