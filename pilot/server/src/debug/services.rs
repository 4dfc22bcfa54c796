// SPDX-License-Identifier: Apache-2.0
//! Pages about services and endpoints, with the field names that istiod's have.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Map, Value, json as value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tiphys_model::{Endpoint, Health, Port, Protocol, Registry, Resolution, Service, TargetPort, Visibility};

use super::{Access, json};
use crate::http::Shown;

fn registry(service: &Service) -> &'static str {
    match service.registry {
        Registry::Kubernetes => "Kubernetes",
        Registry::External => "External",
    }
}

/// istiod's numbers of ways to find endpoints.
fn resolution(resolution: Resolution) -> u8 {
    match resolution {
        Resolution::ClientSide => 0,
        Resolution::Dns => 1,
        Resolution::Passthrough => 2,
        Resolution::DnsRoundRobin => 3,
        Resolution::Alias => 4,
        Resolution::DynamicDns => 5,
    }
}

/// Null where nothing was said, else a set as Go writes one.
fn export_to(visibility: &Visibility) -> Value {
    let set = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), value!({}))).collect::<Map<_, _>>().into();
    match visibility {
        Visibility::Unset => Value::Null,
        Visibility::Public => set(&["*"]),
        Visibility::Private => set(&["."]),
        Visibility::None => set(&["~"]),
        Visibility::Namespaces(names) => set(&names.iter().map(|name| &**name).collect::<Vec<_>>()),
    }
}

fn nonempty<T: serde::Serialize>(empty: bool, it: &T) -> Value {
    if empty { Value::Null } else { serde_json::to_value(it).unwrap_or_default() }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "HTTP",
        Protocol::Http2 => "HTTP2",
        Protocol::Grpc => "GRPC",
        Protocol::GrpcWeb => "GRPC-Web",
        Protocol::Https => "HTTPS",
        Protocol::Tls => "TLS",
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Mongo => "Mongo",
        Protocol::Redis => "Redis",
        Protocol::MySql => "MySQL",
        Protocol::Hbone => "HBONE",
        Protocol::Unsupported => "UnsupportedProtocol",
    }
}

fn port(port: &Port) -> Value {
    value!({"name": &*port.name, "port": port.number, "protocol": protocol(port.protocol)})
}

fn service(service: &Service, cluster: &str) -> Value {
    let created = OffsetDateTime::from_unix_timestamp(service.creation).ok().and_then(|at| at.format(&Rfc3339).ok());
    let by_cluster = |addresses: &[tiphys_model::Str]| {
        if addresses.is_empty() { Value::Null } else { value!({cluster: addresses}) }
    };
    value!({
        "Attributes": {
            "ServiceRegistry": registry(service),
            "Name": &*service.name,
            "Namespace": &*service.namespace,
            "Labels": nonempty(service.labels.is_empty(), &service.labels),
            "ExportTo": export_to(&service.export_to),
            "LabelSelectors": nonempty(service.selector.is_empty(), &service.selector),
            "ClusterExternalAddresses": {"Addresses": by_cluster(&service.external_addresses)},
            "Type": &*service.kind,
            "ExternalName": service.external_name.as_deref().unwrap_or_default(),
            "NodeLocal": service.node_local,
            "ObjectName": if service.registry == Registry::External { &*service.object_name } else { "" },
            "PublishNotReadyAddresses": service.publish_not_ready,
        },
        "ports": service.ports.iter().map(port).collect::<Vec<_>>(),
        "creationTime": created,
        "hostname": service.host.to_string(),
        "clusterVIPs": {"Addresses": by_cluster(&service.addresses)},
        "defaultAddress": service.address(),
        "Resolution": resolution(service.resolution),
        "MeshExternal": service.mesh_external,
    })
}

pub(super) async fn registryz(State(shown): State<Shown>, RawQuery(query): RawQuery) -> Response {
    let snapshot = shown.views.snapshot();
    let services =
        snapshot.iter().flat_map(|s| s.services.all.iter()).map(|s| service(s, &shown.cluster)).collect::<Vec<_>>();
    json(query.as_deref(), &services)
}

fn endpoint(endpoint: &Endpoint) -> Value {
    let health = match endpoint.health {
        Health::Unknown | Health::Healthy => 1,
        Health::Unhealthy => 2,
        Health::Draining => 3,
        Health::Terminating => 4,
    };
    value!({
        "Labels": endpoint.labels,
        "Addresses": endpoint.addresses,
        "ServicePortName": &*endpoint.port_name,
        "LegacyClusterPortKey": endpoint.service_port,
        "ServiceAccount": &*endpoint.identity,
        "Network": &*endpoint.network,
        "Locality": {"Label": endpoint.locality.to_string(), "ClusterID": &*endpoint.cluster},
        "EndpointPort": endpoint.port,
        "LbWeight": endpoint.weight,
        "TLSMode": &*endpoint.tls_mode,
        "Namespace": &*endpoint.namespace,
        "WorkloadName": &*endpoint.workload,
        "HostName": &*endpoint.hostname,
        "SubDomain": &*endpoint.subdomain,
        "HealthStatus": health,
        "NodeName": &*endpoint.node,
    })
}

pub(super) async fn endpointz(State(shown): State<Shown>, RawQuery(query): RawQuery) -> Response {
    let Some(snapshot) = shown.views.snapshot() else { return json(query.as_deref(), &value!({})) };
    let mut hosts: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for (key, endpoints) in snapshot.endpoints.sorted() {
        let from = snapshot.services.get(&key.host, &key.namespace).map_or("External", |service| registry(service));
        let shard = format!("{from}/{}", shown.cluster);
        let list: Vec<Value> = endpoints.endpoints.iter().map(endpoint).collect();
        hosts
            .entry(key.host.to_string())
            .or_default()
            .insert(key.namespace.to_string(), value!({"Shards": {shard: list}}));
    }
    json(query.as_deref(), &hosts)
}

pub(super) async fn instancesz(
    State(shown): State<Shown>,
    Extension(access): Extension<Access>,
    RawQuery(query): RawQuery,
) -> Response {
    let mut instances: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    if let Some(snapshot) = shown.views.snapshot() {
        for client in shown.views.clients().into_iter().filter(|client| access.sees(&client.node.namespace)) {
            let targets = snapshot.targets(&client.node);
            let list = targets.iter().map(|target| {
                let number = match &target.port.target {
                    TargetPort::Same => value!(target.port.number),
                    TargetPort::Number(number) => value!(number),
                    TargetPort::Named(name) => value!(&**name),
                };
                let mut shown_port = port(&target.port);
                shown_port["TargetPort"] = number;
                value!({"Service": service(&target.service, &shown.cluster), "Port": shown_port})
            });
            instances.insert(client.node.id.to_string(), list.collect());
        }
    }
    json(query.as_deref(), &instances)
}

pub(super) async fn clusterz(State(shown): State<Shown>, RawQuery(query): RawQuery) -> Response {
    let status = if shown.published.borrow().ready { "synced" } else { "syncing" };
    json(query.as_deref(), &value!([{"id": &*shown.cluster, "secretName": "", "syncStatus": status}]))
}

/// There is one network, so there are no gateways between networks: istiod answers null then.
pub(super) async fn networkz(RawQuery(query): RawQuery) -> Response {
    json(query.as_deref(), &Value::Null)
}
