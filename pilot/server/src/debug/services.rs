// SPDX-License-Identifier: Apache-2.0
//! Pages about services and endpoints, with the field names that istiod's have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json as value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tiphys_api::{Key, Kind, Object};
use tiphys_compile::Snapshot;
use tiphys_model::{Endpoint, Health, Port, Protocol, Registry, Resolution, Service, TargetPort, Visibility};

use super::config::objects;
use super::{Access, json};
use crate::http::Shown;

/// Versions of objects.
pub(super) type Versions = BTreeMap<Key, String>;

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

/// The API server's version of each object that declares services, by kind, namespace and name.
pub(super) fn resource_versions(objects: &[Arc<Object>]) -> Versions {
    let declares = |object: &&Arc<Object>| matches!(object.kind(), Kind::Service | Kind::ServiceEntry);
    let version = |object: &Arc<Object>| (object.key(), object.meta.resource_version.clone());
    objects.iter().filter(declares).map(version).collect()
}

/// Other names of a service: those of ExternalName services that lead to it.
fn aliases(snapshot: &Snapshot, service: &Service) -> Vec<Value> {
    let is_alias = |other: &&tiphys_model::Marked<Service>| {
        other.resolution == Resolution::Alias && other.external_name.as_deref() == Some(service.host.as_str())
    };
    let named = |other: &tiphys_model::Marked<Service>| value!({"Hostname": other.host.to_string(), "Namespace": &*other.namespace});
    snapshot.services.all.iter().filter(is_alias).map(named).collect()
}

/// istiod's numbers of traffic distributions.
fn distribution(service: &Service) -> u8 {
    match service.traffic_distribution.as_deref() {
        Some("PreferClose" | "PreferSameZone") => 1,
        Some("PreferSameNode") => 2,
        _ => 0,
    }
}

/// A service with the field names that istiod's has. What there is none of here (scopes of MeshConfig's serviceEntryVisibility, gateways of
/// other networks, racing of connections) has istiod's word for "none".
pub(super) fn service(shown: &Shown, snapshot: &Snapshot, service: &Service, versions: &Versions) -> Value {
    let cluster = &*shown.cluster;
    let aliases = aliases(snapshot, service);
    let kind = if service.registry == Registry::Kubernetes { Kind::Service } else { Kind::ServiceEntry };
    let key = Key { kind, namespace: service.namespace.to_string(), name: service.object_name.to_string() };
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
            "Visibility": 0,
            "LabelSelectors": nonempty(service.selector.is_empty(), &service.selector),
            "Aliases": nonempty(aliases.is_empty(), &aliases),
            "ClusterExternalAddresses": {"Addresses": by_cluster(&service.external_addresses)},
            "ClusterExternalPorts": null,
            "PassthroughTargetPorts": null,
            "Type": &*service.kind,
            "ExternalName": service.external_name.as_deref().unwrap_or_default(),
            "NodeLocal": service.node_local,
            "TrafficDistribution": distribution(service),
            "ObjectName": if service.registry == Registry::External { &*service.object_name } else { "" },
            "DNSConnectStrategy": 0,
            "PublishNotReadyAddresses": service.publish_not_ready,
        },
        "ports": service.ports.iter().map(port).collect::<Vec<_>>(),
        "creationTime": created,
        "hostname": service.host.to_string(),
        "clusterVIPs": {"Addresses": by_cluster(&service.addresses)},
        "defaultAddress": service.address(),
        "Resolution": resolution(service.resolution),
        "MeshExternal": service.mesh_external,
        "ResourceVersion": versions.get(&key).map(String::as_str).unwrap_or_default(),
    })
}

pub(super) async fn registryz(State(shown): State<Shown>, RawQuery(query): RawQuery) -> Response {
    let versions = match objects(&shown).await {
        Ok(objects) => resource_versions(&objects),
        Err(answer) => return answer.into_response(),
    };
    let Some(snapshot) = shown.views.snapshot() else { return json(query.as_deref(), &value!([])) };
    let services: Vec<Value> = snapshot.services.all.iter().map(|s| service(&shown, &snapshot, s, &versions)).collect();
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
        "SendUnhealthyEndpoints": endpoint.health == Health::Unhealthy,
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
        let accounts: BTreeSet<&str> =
            endpoints.endpoints.iter().map(|e| &*e.identity).filter(|identity| !identity.is_empty()).collect();
        let accounts: Map<String, Value> =
            accounts.into_iter().map(|account| (account.to_owned(), value!({}))).collect();
        hosts
            .entry(key.host.to_string())
            .or_default()
            .insert(key.namespace.to_string(), value!({"Shards": {shard: list}, "ServiceAccounts": accounts}));
    }
    json(query.as_deref(), &hosts)
}

pub(super) async fn instancesz(
    State(shown): State<Shown>,
    Extension(access): Extension<Access>,
    RawQuery(query): RawQuery,
) -> Response {
    let versions = match objects(&shown).await {
        Ok(objects) => resource_versions(&objects),
        Err(answer) => return answer.into_response(),
    };
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
                value!({"Service": service(&shown, &snapshot, &target.service, &versions), "Port": shown_port})
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
