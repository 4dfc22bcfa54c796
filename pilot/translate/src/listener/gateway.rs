// SPDX-License-Identifier: Apache-2.0
//! Listeners of a gateway.

use super::address::{additional, address, listener_name};
use super::chain::{self, Chain, Frame};
use super::outbound::{connections_per_event, exact_balance};
use super::{Class, Environment};
use crate::filter::access_log::{self, Subject};
use crate::filter::prepared::SecurityFilters;
use crate::filter::{proxy_protocol, tls_inspector};
use tiphys_model::{Marked, Str};
use tiphys_proto::envoy::config::core::v3::TrafficDirection;
use tiphys_proto::envoy::config::listener::v3::Listener;
use tiphys_proto::uint32;

/// A listener of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GatewayInput {
    /// What the proxy depends on.
    pub environment: Marked<Environment>,
    /// Policies of the gateway.
    pub security: Marked<SecurityFilters>,
    /// Addresses.
    pub binds: Vec<Str>,
    /// Port.
    pub port: u32,
    /// Filter chains.
    pub chains: Vec<Chain>,
}

/// The listener.
pub fn listener(input: &GatewayInput) -> Listener {
    let environment: &Environment = &input.environment;
    let bind = input.binds.first().map_or("", |bind| bind);
    let name = listener_name(bind, input.port);
    let stat_prefix = format!("outbound_{name};");
    let security = Some(&*input.security);
    let frame = Frame { environment, security, class: Class::Gateway, stat_prefix: &stat_prefix, port: input.port };
    let mut listener_filters = Vec::new();
    if environment.config.topology.proxy_protocol {
        listener_filters.push(proxy_protocol::build());
    }
    if input.chains.iter().any(|chain| !chain.matches.server_names.is_empty() || chain.tls.is_some()) {
        listener_filters.push(tls_inspector::build());
    }
    Listener {
        address: Some(address(bind, input.port)),
        additional_addresses: additional(&input.binds, input.port),
        name,
        filter_chains: input.chains.iter().map(|one| chain::build(one, &frame)).collect(),
        listener_filters,
        traffic_direction: TrafficDirection::Outbound.into(),
        max_connections_to_accept_per_socket_event: connections_per_event(true, environment),
        connection_balance_config: environment.outbound_exact_balance.then(exact_balance),
        per_connection_buffer_limit_bytes: environment.config.connection.buffer_limit.and_then(uint32),
        access_log: access_log::build(environment.listener_logs(Class::Gateway), Subject::Listener),
        ..Listener::default()
    }
}
