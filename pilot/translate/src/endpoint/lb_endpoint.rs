// SPDX-License-Identifier: Apache-2.0
//! One endpoint as Envoy takes it, with the metadata by which transport sockets are matched and telemetry tells the destination.

use crate::value::{fields_of, text};
use std::collections::BTreeMap;
use tiphys_model::{Endpoint, Health, Str};
use tiphys_proto::envoy::config::core::v3::{
    Address, HealthStatus, Metadata, Pipe, SocketAddress, address, socket_address,
};
use tiphys_proto::envoy::config::endpoint::v3::{Endpoint as EnvoyEndpoint, LbEndpoint, endpoint, lb_endpoint};
use tiphys_proto::uint32;

/// Metadata that transport socket matches look at.
const SOCKET_MATCH: &str = "envoy.transport_socket_match";
/// Label of a workload that is being drained.
const DRAINING: &str = "istio.io/draining";

/// An endpoint; `mtls` when clients are to use mutual TLS of the mesh with it.
pub(super) fn lb_endpoint(endpoint: &Endpoint, mtls: bool, dual_stack: bool) -> LbEndpoint {
    let mut metadata = BTreeMap::new();
    if mtls && !endpoint.tls_mode.is_empty() && &*endpoint.tls_mode != "disabled" {
        metadata.insert(SOCKET_MATCH.to_owned(), fields_of([("tlsMode", text(&*endpoint.tls_mode))]));
    }
    metadata.insert("istio".to_owned(), fields_of([("workload", text(endpoint.telemetry_key()))]));
    let more = if dual_stack { endpoint.addresses.get(1..).unwrap_or_default() } else { &[] };
    let envoy = EnvoyEndpoint {
        address: Some(address(endpoint.address(), endpoint.port)),
        additional_addresses: more
            .iter()
            .map(|more: &Str| endpoint::AdditionalAddress { address: Some(address(more, endpoint.port)) })
            .collect(),
        ..EnvoyEndpoint::default()
    };
    let status = match health(endpoint) {
        Health::Unknown => HealthStatus::Unknown,
        Health::Healthy => HealthStatus::Healthy,
        Health::Unhealthy => HealthStatus::Unhealthy,
        Health::Draining | Health::Terminating => HealthStatus::Draining,
    };
    LbEndpoint {
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(envoy)),
        health_status: status.into(),
        load_balancing_weight: uint32(endpoint.weight.max(1)),
        metadata: Some(Metadata { filter_metadata: metadata, ..Metadata::default() }),
    }
}

/// The health of an endpoint: a label may say that its workload is drained.
pub(super) fn health(endpoint: &Endpoint) -> Health {
    match endpoint.health {
        Health::Unknown | Health::Healthy | Health::Unhealthy if !endpoint.label(DRAINING).is_empty() => {
            Health::Draining
        }
        health => health,
    }
}

/// Whether an endpoint is marked for mutual TLS of the mesh.
pub(super) fn takes_mtls(endpoint: &LbEndpoint) -> bool {
    endpoint.metadata.as_ref().is_some_and(|metadata| metadata.filter_metadata.contains_key(SOCKET_MATCH))
}

/// An address and port; port 0 is that of a Unix socket.
pub fn address(host: &str, port: u32) -> Address {
    let address = if port == 0 {
        let path = host.strip_prefix("unix://").unwrap_or(host);
        address::Address::Pipe(Pipe { path: path.into(), ..Pipe::default() })
    } else {
        address::Address::SocketAddress(SocketAddress {
            address: host.into(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(port)),
            ..SocketAddress::default()
        })
    };
    Address { address: Some(address) }
}
