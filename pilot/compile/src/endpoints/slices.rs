// SPDX-License-Identifier: Apache-2.0
//! Endpoints of Kubernetes Services: from EndpointSlices, and from WorkloadEntries that the Service selects.

use super::EndpointInputs;
use std::collections::BTreeSet;
use tiphys_api::k8s::endpoints::{Endpoint as SliceEndpoint, EndpointSlice};
use tiphys_api::{Kind, Spec};
use tiphys_model::{Endpoint, Health, Service, Str, TargetPort, labels_match};

/// Label of an EndpointSlice that names its Service.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";

pub(super) fn of_service(inputs: &EndpointInputs<'_>, service: &Service) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    let mut seen: BTreeSet<(Str, Str)> = BTreeSet::new();
    for object in inputs.store.in_namespace(Kind::EndpointSlice, &service.namespace) {
        let Spec::EndpointSlice(slice) = &object.spec else { continue };
        let of_this = object.meta.labels.get(SERVICE_NAME).is_some_and(|name| **name == *service.name);
        if !of_this || slice.address_type == "FQDN" {
            continue;
        }
        for endpoint in &slice.endpoints {
            of_slice(inputs, service, slice, endpoint, &mut seen, &mut endpoints);
        }
    }
    of_workload_entries(inputs, service, &mut endpoints);
    endpoints
}

fn of_slice(
    inputs: &EndpointInputs<'_>,
    service: &Service,
    slice: &EndpointSlice,
    endpoint: &SliceEndpoint,
    seen: &mut BTreeSet<(Str, Str)>,
    endpoints: &mut Vec<Endpoint>,
) {
    let health = health(endpoint);
    for address in &endpoint.addresses {
        let pod = match &endpoint.target_ref {
            Some(target) if target.kind == "Pod" => {
                let namespace = if target.namespace.is_empty() { &service.namespace } else { &*target.namespace };
                match inputs.workloads.get(Kind::Pod, namespace, &target.name) {
                    // A Pod that is announced but not known yet: its identity is not known either, so it waits.
                    None => continue,
                    pod => pod,
                }
            }
            _ => inputs.workloads.of_address(address).filter(|workload| workload.pod),
        };
        let base = match pod {
            Some(pod) => inputs.endpoint(pod),
            None => Endpoint {
                cluster: inputs.cx.mesh.cluster.clone(),
                tls_mode: "disabled".into(),
                labels: [("topology.istio.io/cluster".into(), inputs.cx.mesh.cluster.clone())].into(),
                ..Endpoint::default()
            },
        };
        for port in &slice.ports {
            let port_name = Str::from(port.name.as_deref().unwrap_or_default());
            if seen.insert((address.as_str().into(), port_name.clone())) {
                endpoints.push(Endpoint {
                    addresses: vec![address.as_str().into()],
                    port: port.port.and_then(|number| u32::try_from(number).ok()).unwrap_or_default(),
                    port_name,
                    health,
                    ..base.clone()
                });
            }
        }
    }
}

/// What a slice says of an endpoint. For Services that publish addresses before they are ready, it says that all are.
fn health(endpoint: &SliceEndpoint) -> Health {
    let conditions = &endpoint.conditions;
    if conditions.ready.unwrap_or(true) {
        Health::Healthy
    } else if conditions.terminating.unwrap_or(false) {
        if conditions.serving.unwrap_or(false) { Health::Draining } else { Health::Terminating }
    } else {
        Health::Unhealthy
    }
}

/// A Service also selects the WorkloadEntries of its namespace, as if they were Pods.
fn of_workload_entries(inputs: &EndpointInputs<'_>, service: &Service, endpoints: &mut Vec<Endpoint>) {
    if service.selector.is_empty() {
        return;
    }
    for workload in inputs.workloads.of_namespace(&service.namespace) {
        let address_is_ip = workload.addresses.first().is_some_and(|a| a.parse::<std::net::IpAddr>().is_ok());
        if workload.pod || !address_is_ip || !labels_match(&service.selector, &workload.labels) {
            continue;
        }
        let base = inputs.endpoint(workload);
        for port in &service.ports {
            // The workload's own word for the port's name wins over the Service's targetPort.
            let target = match &port.target {
                TargetPort::Named(name) => workload.port(name),
                TargetPort::Number(number) => Some(*number),
                TargetPort::Same => None,
            };
            let number = workload.port(&port.name).or(target).unwrap_or(port.number);
            endpoints.push(Endpoint {
                addresses: workload.addresses.clone(),
                port: number,
                port_name: port.name.clone(),
                ..base.clone()
            });
        }
    }
}
