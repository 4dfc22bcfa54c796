// SPDX-License-Identifier: Apache-2.0
//! Listeners behind the workload of a sidecar: one for each address and port that it may dial.

use super::address::{additional, address, listener_name};
use super::chain::{self, Chain, Frame, TcpBody};
use super::{Body, ChainMatch, Class, Environment};
use crate::filter::tcp_proxy::TcpTarget;
use crate::filter::{http_inspector, tls_inspector};
use std::time::Duration;
use tiphys_model::{Marked, Protocol, Str};
use tiphys_proto::envoy::config::core::v3::TrafficDirection;
use tiphys_proto::envoy::config::listener::v3::{
    FilterChain, FilterChainMatch, Listener,
    listener::{
        ConnectionBalanceConfig,
        connection_balance_config::{BalanceType, ExactBalance},
    },
};
use tiphys_proto::{boolean, duration, uint32};

/// Name of the chain that takes what no other takes.
const PASSTHROUGH_CHAIN: &str = "PassthroughFilterChain";

/// A listener behind the workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OutboundInput {
    /// What the proxy depends on.
    pub environment: Marked<Environment>,
    /// Addresses, the first being the one that names it; or the path of a Unix socket.
    pub binds: Vec<Str>,
    /// Port; 0 for a Unix socket.
    pub port: u32,
    /// It is a port of the host, not only a target of redirected connections.
    pub bind_to_port: bool,
    /// Filter chains in the order of their making.
    pub chains: Vec<Chain>,
    /// Where connections go that no chain takes; none = they are refused.
    pub catch_all: Option<Str>,
}

/// The listener.
pub fn listener(input: &OutboundInput) -> Listener {
    let environment = &*input.environment;
    let bind = input.binds.first().map_or("", |bind| bind);
    let name = listener_name(bind, input.port);
    let stat_prefix = format!("outbound_{name};");
    let frame = Frame {
        environment,
        security: None,
        class: Class::SidecarOutbound,
        stat_prefix: &stat_prefix,
        port: input.port,
    };
    let (all, some): (Vec<&Chain>, Vec<&Chain>) = input.chains.iter().partition(|chain| chain.matches.is_all());
    let mut filter_chains: Vec<FilterChain> = some.iter().map(|one| chain::build(one, &frame)).collect();
    // Of several chains that take everything the last one stands.
    let mut default_filter_chain = all.last().map(|one| chain::build(one, &frame));
    if filter_chains.is_empty() {
        filter_chains.extend(default_filter_chain.take());
    } else if default_filter_chain.is_none() {
        default_filter_chain = Some(passthrough(input, &frame));
    }
    let sniffs_http = input.chains.iter().any(|chain| !chain.matches.alpn.is_empty());
    let sniffs_tls = input.chains.iter().any(|chain| !chain.matches.server_names.is_empty() || chain.tls.is_some());
    let mut listener_filters = Vec::new();
    if sniffs_tls {
        listener_filters.push(tls_inspector::build());
    }
    if sniffs_http {
        listener_filters.push(http_inspector::build());
    }
    let timeout = if sniffs_http { environment.detection_timeout } else { Duration::ZERO };
    Listener {
        address: Some(address(bind, input.port)),
        additional_addresses: additional(&input.binds, input.port),
        name,
        filter_chains,
        default_filter_chain,
        listener_filters,
        listener_filters_timeout: duration(timeout),
        continue_on_listener_filters_timeout: true,
        traffic_direction: TrafficDirection::Outbound.into(),
        bind_to_port: (!input.bind_to_port).then(|| boolean(false)).flatten(),
        max_connections_to_accept_per_socket_event: connections_per_event(input.bind_to_port, environment),
        connection_balance_config: environment.outbound_exact_balance.then(exact_balance),
        ..Listener::default()
    }
}

/// Only listeners with a socket of their own take connections from the kernel.
pub(crate) fn connections_per_event(
    has_socket: bool,
    environment: &Environment,
) -> Option<tiphys_proto::google::protobuf::UInt32Value> {
    let limit = environment.settings.connections_per_event;
    (has_socket && limit > 0).then(|| uint32(limit)).flatten()
}

/// Connections are spread evenly over the threads.
pub(crate) fn exact_balance() -> ConnectionBalanceConfig {
    ConnectionBalanceConfig { balance_type: Some(BalanceType::ExactBalance(ExactBalance::default())) }
}

/// The chain that takes what no other takes, as the virtual outbound listener would.
fn passthrough(input: &OutboundInput, frame: &Frame<'_>) -> FilterChain {
    let body = Body::Tcp(catch_all(input.catch_all.as_deref(), frame.environment));
    let one = Chain { name: PASSTHROUGH_CHAIN.into(), ..Chain::new(ChainMatch::default(), body) };
    FilterChain {
        filter_chain_match: Some(FilterChainMatch::default()),
        transport_socket_connect_timeout: None,
        ..chain::build(&one, frame)
    }
}

/// Where connections go that no service takes.
pub(crate) fn catch_all(cluster: Option<&str>, environment: &Environment) -> TcpBody {
    let target = TcpTarget::cluster(cluster.unwrap_or("BlackHoleCluster"));
    TcpBody::to(Protocol::Tcp, TcpTarget { idle_timeout: environment.idle_timeout, ..target })
}
