// SPDX-License-Identifier: Apache-2.0
//! Kubernetes Services.

use super::{TRAFFIC_DISTRIBUTION, traffic_distribution};
use crate::LowerContext;
use crate::lower::labels;
use tiphys_api::k8s::service::{ServicePort, ServiceSpec, ServiceType};
use tiphys_api::value::IntOrString;
use tiphys_api::{Object, Spec};
use tiphys_model::{Host, Port, Protocol, Registry, Resolution, Service, Str, TargetPort, UNSPECIFIED, Visibility};

const EXPORT_TO: &str = "networking.istio.io/exportTo";
const KUBERNETES_ACCOUNTS: &str = "alpha.istio.io/kubernetes-serviceaccounts";
const CANONICAL_ACCOUNTS: &str = "alpha.istio.io/canonical-serviceaccounts";

/// The service that a Kubernetes Service declares.
pub fn lower(object: &Object, cx: &LowerContext<'_>, inherited_distribution: Option<&str>) -> Option<Service> {
    let Spec::Service(service) = &object.spec else { return None };
    let spec = &service.spec;
    let meta = &object.meta;
    let annotation = |name: &str| meta.annotations.get(name);
    let alias = spec.service_type == ServiceType::ExternalName && !spec.external_name.is_empty();
    let resolution = match spec.cluster_ip.as_str() {
        _ if alias => Resolution::Alias,
        "None" => Resolution::Passthrough,
        _ => Resolution::ClientSide,
    };
    let export_to = annotation(EXPORT_TO).map_or(Visibility::Unset, |list| {
        Visibility::from_list(&list.split(',').map(str::trim).filter(|s| !s.is_empty()).collect::<Vec<_>>())
    });
    let distribution = &spec.traffic_distribution;
    Some(Service {
        host: Host::new(&format!("{}.{}.svc.{}", meta.name, meta.namespace, cx.mesh.domain)),
        namespace: meta.namespace.as_str().into(),
        name: meta.name.as_str().into(),
        object_name: meta.name.as_str().into(),
        registry: Registry::Kubernetes,
        ports: spec.ports.iter().map(port).collect(),
        addresses: addresses(spec),
        auto_addresses: Vec::new(),
        resolution,
        mesh_external: alias,
        export_to,
        labels: labels(&meta.labels),
        selector: labels(&spec.selector),
        creation: meta.creation,
        subject_alt_names: accounts(object, cx),
        external_name: alias.then(|| spec.external_name.as_str().into()),
        publish_not_ready: spec.publish_not_ready_addresses,
        node_local: spec.internal_traffic_policy == "Local",
        traffic_distribution: traffic_distribution(
            distribution,
            annotation(TRAFFIC_DISTRIBUTION),
            inherited_distribution,
        ),
        kind: spec.service_type.as_str().into(),
        external_addresses: external_addresses(service),
    })
}

fn port(port: &ServicePort) -> Port {
    let number = u32::try_from(port.port).unwrap_or_default();
    let target = match &port.target_port {
        None | Some(IntOrString::Int(0)) => TargetPort::Same,
        Some(IntOrString::Int(target)) if *target == i64::from(port.port) => TargetPort::Same,
        Some(IntOrString::Int(target)) => u32::try_from(*target).map_or(TargetPort::Same, TargetPort::Number),
        Some(IntOrString::Name(name)) => TargetPort::Named(name.as_str().into()),
    };
    let protocol = Protocol::of_port(&port.protocol, number, &port.name, port.app_protocol.as_deref());
    Port { name: port.name.as_str().into(), number, protocol, target }
}

fn addresses(spec: &ServiceSpec) -> Vec<Str> {
    match spec.cluster_ip.as_str() {
        "" | "None" => vec![UNSPECIFIED.into()],
        _ if spec.cluster_ips.len() > 1 => crate::lower::strs(&spec.cluster_ips),
        address => vec![address.into()],
    }
}

fn accounts(object: &Object, cx: &LowerContext<'_>) -> Vec<Str> {
    let list = |name: &str| {
        let text = object.meta.annotations.get(name).map_or("", String::as_str);
        text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_string).collect::<Vec<_>>()
    };
    let mut accounts: Vec<Str> = list(CANONICAL_ACCOUNTS).iter().map(|name| name.as_str().into()).collect();
    for account in list(KUBERNETES_ACCOUNTS) {
        let (domain, namespace) = (&cx.mesh.trust_domain, &object.meta.namespace);
        accounts.push(format!("spiffe://{domain}/ns/{namespace}/sa/{account}").into());
    }
    accounts
}

fn external_addresses(service: &tiphys_api::k8s::Service) -> Vec<Str> {
    let ingress = service.status.load_balancer.ingress.iter();
    let balancers = ingress.map(|entry| if entry.ip.is_empty() { &entry.hostname } else { &entry.ip });
    balancers.chain(&service.spec.external_ips).filter(|a| !a.is_empty()).map(|a| Str::from(a.as_str())).collect()
}
