// SPDX-License-Identifier: Apache-2.0
//! `virtualOutbound`: takes all redirected outbound connections and hands each to the listener of the address that was dialled;
//! what no listener takes stays here.

use super::address::{additional, address};
use super::chain::{self, Frame};
use super::outbound::{catch_all, connections_per_event};
use super::{Body, Chain, ChainMatch, Class, Environment, TcpBody};
use crate::filter::access_log::{self, Subject};
use crate::filter::tcp_proxy::TcpTarget;
use tiphys_model::{InterceptionMode, Marked, Protocol, Str};
use tiphys_proto::boolean;
use tiphys_proto::envoy::config::core::v3::TrafficDirection;
use tiphys_proto::envoy::config::listener::v3::{FilterChain, Listener};

/// Name of the listener.
pub const NAME: &str = "virtualOutbound";

/// The virtual outbound listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualOutboundInput {
    /// What the proxy depends on.
    pub environment: Marked<Environment>,
    /// Where connections go that no listener takes; none = they are refused.
    pub catch_all: Option<Str>,
}

/// The listener.
pub fn listener(input: &VirtualOutboundInput) -> Listener {
    let environment = &*input.environment;
    let port = environment.outbound_port;
    let frame = Frame { environment, security: None, class: Class::SidecarOutbound, stat_prefix: "", port };
    let bare = TcpBody { bare: true, ..TcpBody::to(Protocol::Tcp, TcpTarget::cluster("BlackHoleCluster")) };
    // Who dials this very port would be sent round in circles.
    let loopback = Chain {
        name: "virtualOutbound-blackhole".into(),
        ..Chain::new(ChainMatch { port: Some(port), ..ChainMatch::default() }, Body::Tcp(bare))
    };
    let rest = Chain {
        name: "virtualOutbound-catchall-tcp".into(),
        ..Chain::new(ChainMatch::default(), Body::Tcp(catch_all(input.catch_all.as_deref(), environment)))
    };
    let build = |one| FilterChain { transport_socket_connect_timeout: None, ..chain::build(one, &frame) };
    let binds = environment.binds(environment.families.wildcards());
    let logs = environment.listener_logs(Class::SidecarOutbound);
    Listener {
        name: NAME.into(),
        address: Some(address(&binds[0], port)),
        additional_addresses: additional(&binds, port),
        transparent: (environment.interception == InterceptionMode::Tproxy).then(|| boolean(true)).flatten(),
        use_original_dst: boolean(true),
        filter_chains: vec![build(&loopback), build(&rest)],
        traffic_direction: TrafficDirection::Outbound.into(),
        max_connections_to_accept_per_socket_event: connections_per_event(true, environment),
        access_log: access_log::build(logs, Subject::Listener),
        ..Listener::default()
    }
}
