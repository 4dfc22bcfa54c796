// SPDX-License-Identifier: Apache-2.0
//! Clusters that belong to no service.

use super::http_options::{self, HttpOptions};
use super::{Client, connection_pool, metadata_exchange, stat_name};
use crate::sds;
use tiphys_model::{BLACK_HOLE, INBOUND_PASSTHROUGH, Mesh, PASSTHROUGH, TrafficPolicy};
use tiphys_proto::duration;
use tiphys_proto::envoy::config::cluster::v3::Cluster;
use tiphys_proto::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType, LbPolicy};
use tiphys_proto::envoy::config::core::v3::{
    Address, BindConfig, ExtraSourceAddress, Pipe, SocketAddress, address, socket_address,
};
use tiphys_proto::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint,
};

/// Source addresses of what a proxy sends to its own workload: interception lets them through.
const SOURCE_IPV4: &str = "127.0.0.6";
const SOURCE_IPV6: &str = "::6";
/// Socket of an external secret server beside the proxy.
const EXTERNAL_SECRETS_SOCKET: &str = "./var/run/secrets/credential-uds/socket";

/// The cluster that refuses every connection: what has no destination is sent here.
pub fn black_hole(mesh: &Mesh) -> Cluster {
    Cluster {
        name: BLACK_HOLE.into(),
        alt_stat_name: stat_name::delimited(BLACK_HOLE),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        connect_timeout: duration(mesh.connect_timeout),
        lb_policy: LbPolicy::RoundRobin.into(),
        ..Cluster::default()
    }
}

/// The cluster that sends on to the address that the application dialled.
pub fn passthrough(mesh: &Mesh, client: &Client) -> Cluster {
    let mut cluster = Cluster {
        name: PASSTHROUGH.into(),
        alt_stat_name: stat_name::delimited(PASSTHROUGH),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into())),
        lb_policy: LbPolicy::ClusterProvided.into(),
        filters: metadata_exchange(client),
        ..Cluster::default()
    };
    // The mesh's pool caps what is otherwise unbounded; its limits of HTTP connections do not reach here.
    let policy = TrafficPolicy { connection_pool: mesh.traffic.connection_pool.clone(), ..TrafficPolicy::default() };
    connection_pool::apply(&mut cluster, &mut HttpOptions::default(), mesh, Some(&policy));
    cluster.typed_extension_protocol_options = http_options::passthrough(client.preserve_case);
    cluster
}

/// The cluster that sends inbound traffic on to the port that the client dialled.
pub fn inbound_passthrough(mesh: &Mesh, client: &Client) -> Cluster {
    Cluster {
        name: INBOUND_PASSTHROUGH.into(),
        filters: Vec::new(),
        upstream_bind_config: Some(bind_config(client.ipv4, client.ipv6)),
        ..passthrough(mesh, client)
    }
}

/// The cluster of an external secret server that runs beside the proxy.
pub fn external_secrets(mesh: &Mesh) -> Cluster {
    let pipe = Pipe { path: EXTERNAL_SECRETS_SOCKET.into(), ..Pipe::default() };
    let mut http = HttpOptions::default();
    http.set_http2();
    Cluster {
        name: sds::EXTERNAL_CLUSTER.into(),
        alt_stat_name: stat_name::delimited(sds::EXTERNAL_CLUSTER),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        connect_timeout: duration(mesh.connect_timeout),
        load_assignment: Some(single(sds::EXTERNAL_CLUSTER, Address { address: Some(address::Address::Pipe(pipe)) })),
        typed_extension_protocol_options: http.finish(),
        ..Cluster::default()
    }
}

/// The assignment of a cluster with one address.
pub(super) fn single(cluster: &str, address: Address) -> ClusterLoadAssignment {
    let endpoint = Endpoint { address: Some(address), ..Endpoint::default() };
    let endpoint =
        LbEndpoint { host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() };
    ClusterLoadAssignment {
        cluster_name: cluster.into(),
        endpoints: vec![LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..LocalityLbEndpoints::default() }],
        ..ClusterLoadAssignment::default()
    }
}

/// Binds to a source address of each family that the proxy has.
pub(super) fn bind_config(ipv4: bool, ipv6: bool) -> BindConfig {
    let source = |address: &str| SocketAddress {
        address: address.into(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(0)),
        ..SocketAddress::default()
    };
    let second = ExtraSourceAddress { address: Some(source(SOURCE_IPV6)), ..ExtraSourceAddress::default() };
    BindConfig {
        source_address: Some(source(if ipv4 { SOURCE_IPV4 } else { SOURCE_IPV6 })),
        extra_source_addresses: if ipv4 && ipv6 { vec![second] } else { Vec::new() },
        ..BindConfig::default()
    }
}
