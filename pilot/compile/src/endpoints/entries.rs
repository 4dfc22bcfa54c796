// SPDX-License-Identifier: Apache-2.0
//! Endpoints of ServiceEntries: those written in it, the workloads that it selects, or its own host when proxies resolve it.

use super::{EndpointInputs, declared_by};
use crate::workloads::{Workload, entry_workload};
use tiphys_model::{Endpoint, Health, Port, Service, Str, TargetPort, labels_match};

const UNIX: &str = "unix://";

pub(super) fn of_service(inputs: &EndpointInputs<'_>, service: &Service) -> Vec<Endpoint> {
    let Some(entry) = declared_by(inputs.store, service) else { return Vec::new() };
    if !service.selector.is_empty() || entry.workload_selector.is_some() {
        return selected(inputs, service);
    }
    if entry.endpoints.is_empty() {
        return if service.is_dns() { own_host(inputs, service) } else { Vec::new() };
    }
    let mut endpoints = Vec::new();
    for (index, written) in entry.endpoints.iter().enumerate() {
        let labels = crate::lower::labels(&written.labels);
        let mut workload = entry_workload(written, labels, &service.namespace, inputs.cx);
        workload.name = format!("{}-{index}", service.object_name).into();
        if workload.addresses.is_empty() {
            workload.addresses = vec![Str::default()];
        }
        push_all_ports(inputs, service, &workload, &mut endpoints);
    }
    endpoints
}

fn selected(inputs: &EndpointInputs<'_>, service: &Service) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for workload in inputs.workloads.of_namespace(&service.namespace) {
        let is_address = |a: &Str| a.starts_with(UNIX) || a.parse::<std::net::IpAddr>().is_ok();
        let usable = service.is_dns() || workload.addresses.iter().all(is_address);
        let ready = workload.ready || !workload.pod;
        if usable && ready && labels_match(&service.selector, &workload.labels) {
            push_all_ports(inputs, service, workload, &mut endpoints);
        }
    }
    endpoints
}

fn push_all_ports(inputs: &EndpointInputs<'_>, service: &Service, workload: &Workload, endpoints: &mut Vec<Endpoint>) {
    let mut base = inputs.endpoint(workload);
    // Only Pods tell whether they are ready.
    base.health = if workload.pod { Health::Healthy } else { Health::Unknown };
    let Some(address) = workload.addresses.first() else { return };
    for port in &service.ports {
        let (address, number) = match address.strip_prefix(UNIX) {
            Some(path) => (Str::from(path), 0),
            None => (address.clone(), target_port(workload, port)),
        };
        endpoints.push(Endpoint {
            addresses: vec![address],
            port: number,
            port_name: port.name.clone(),
            service_port: port.number,
            ..base.clone()
        });
    }
}

/// The workload's own word for the port's name wins over the ServiceEntry's targetPort, which wins over the port's number.
fn target_port(workload: &Workload, port: &Port) -> u32 {
    let own = if workload.pod { None } else { workload.port(&port.name) };
    own.unwrap_or_else(|| declared_port(port))
}

fn declared_port(port: &Port) -> u32 {
    match port.target {
        TargetPort::Number(number) => number,
        _ => port.number,
    }
}

fn own_host(inputs: &EndpointInputs<'_>, service: &Service) -> Vec<Endpoint> {
    let endpoint = |port: &Port| Endpoint {
        addresses: vec![service.host.to_str()],
        port: declared_port(port),
        port_name: port.name.clone(),
        service_port: port.number,
        cluster: inputs.cx.mesh.cluster.clone(),
        tls_mode: "disabled".into(),
        workload: service.object_name.clone(),
        namespace: service.namespace.clone(),
        ..Endpoint::default()
    };
    service.ports.iter().map(endpoint).collect()
}
