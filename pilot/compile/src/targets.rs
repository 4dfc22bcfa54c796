// SPDX-License-Identifier: Apache-2.0
//! The service ports that a proxy's own workload serves: what its inbound listener is made from.

use crate::{Endpoints, Services, Workload, Workloads};
use tiphys_api::Kind;
use tiphys_model::{Marked, Port, ProxyNode, Registry, Service, TargetPort, labels_match};

/// One port of a service that a workload serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceTarget {
    /// The service.
    pub service: Marked<Service>,
    /// The service's port.
    pub port: Port,
    /// The port of the workload that answers for it.
    pub target_port: u32,
}

/// Where targets are looked up.
pub struct TargetInputs<'a> {
    /// All services.
    pub services: &'a Services,
    /// All workloads.
    pub workloads: &'a Workloads,
    /// All endpoints.
    pub endpoints: &'a Endpoints,
}

/// The service ports that a proxy's workload serves, in the order of the services.
pub fn service_targets(inputs: &TargetInputs<'_>, proxy: &ProxyNode) -> Vec<ServiceTarget> {
    let address = proxy.address().to_string();
    let mut services: Vec<&Marked<Service>> = inputs.services.selecting(&proxy.namespace).collect();
    for key in inputs.endpoints.of_address(&address).iter().filter(|key| key.namespace == proxy.namespace) {
        let listed = inputs.services.get(&key.host, &key.namespace).filter(|service| service.selector.is_empty());
        services.extend(listed);
    }
    services.sort_by(|a, b| (a.creation, &a.name, &a.namespace).cmp(&(b.creation, &b.name, &b.namespace)));
    let mut targets = Vec::new();
    for service in services {
        match service.registry {
            Registry::Kubernetes => of_kubernetes(inputs, proxy, service, &address, &mut targets),
            Registry::External => of_entry(inputs, proxy, service, &address, &mut targets),
        }
    }
    targets
}

/// The workload of a proxy: the Pod of its name, else what has its address, which others may have had before.
fn workload_of<'a>(inputs: &TargetInputs<'a>, proxy: &ProxyNode, address: &str) -> Option<&'a Marked<Workload>> {
    let name = proxy.id.strip_suffix(&*proxy.namespace).and_then(|id| id.strip_suffix('.'));
    let pod = name.and_then(|name| inputs.workloads.get(Kind::Pod, &proxy.namespace, name));
    pod.or_else(|| inputs.workloads.of_address(address))
}

fn push(service: &Marked<Service>, port: &Port, target_port: u32, targets: &mut Vec<ServiceTarget>) {
    let target = ServiceTarget { service: service.clone(), port: port.clone(), target_port };
    if !targets.contains(&target) {
        targets.push(target);
    }
}

fn of_kubernetes(
    inputs: &TargetInputs<'_>,
    proxy: &ProxyNode,
    service: &Marked<Service>,
    address: &str,
    targets: &mut Vec<ServiceTarget>,
) {
    if service.selector.is_empty() {
        return by_address(inputs, service, address, targets);
    }
    // The labels that the API server knows win over those that the proxy states.
    let known = workload_of(inputs, proxy, address);
    let labels = known.map_or(&proxy.labels, |workload| &workload.labels);
    if !labels_match(&service.selector, labels) {
        return;
    }
    for port in &service.ports {
        let number = match &port.target {
            TargetPort::Same => Some(port.number),
            TargetPort::Number(number) => Some(*number),
            TargetPort::Named(name) => known.and_then(|workload| workload.port(name)),
        };
        if let Some(number) = number {
            push(service, port, number, targets);
        }
    }
}

fn of_entry(
    inputs: &TargetInputs<'_>,
    proxy: &ProxyNode,
    service: &Marked<Service>,
    address: &str,
    targets: &mut Vec<ServiceTarget>,
) {
    let known = workload_of(inputs, proxy, address);
    if !service.selector.is_empty() {
        let labels = known.map_or(&proxy.labels, |workload| &workload.labels);
        if !labels_match(&service.selector, labels) {
            return;
        }
    }
    by_address(inputs, service, address, targets);
}

fn by_address(inputs: &TargetInputs<'_>, service: &Marked<Service>, address: &str, targets: &mut Vec<ServiceTarget>) {
    let Some(endpoints) = inputs.endpoints.of(service) else { return };
    for port in &service.ports {
        for endpoint in endpoints.of_port(port).filter(|e| e.addresses.iter().any(|a| &**a == address)) {
            push(service, port, endpoint.port, targets);
        }
    }
}
