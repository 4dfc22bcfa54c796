// SPDX-License-Identifier: Apache-2.0
//! Listeners before the workload of a sidecar: `virtualInbound`, which takes all redirected inbound connections, and listeners on
//! ports of their own.

use super::address::{additional, address};
use super::chain::{self, Chain, Frame};
use super::outbound::{connections_per_event, exact_balance};
use super::{Class, Environment};
use crate::filter::access_log::{self, Subject};
use crate::filter::prepared::SecurityFilters;
use crate::filter::{http_inspector, original_dst, original_src, tls_inspector};
use std::collections::BTreeMap;
use tiphys_model::{InterceptionMode, Marked, Str};
use tiphys_proto::envoy::config::core::v3::TrafficDirection;
use tiphys_proto::envoy::config::listener::v3::{
    Listener, ListenerFilter, ListenerFilterChainMatchPredicate,
    listener_filter_chain_match_predicate::{MatchSet, Rule},
};
use tiphys_proto::envoy::r#type::v3::Int32Range;
use tiphys_proto::{boolean, duration};

/// Name of the listener of redirected connections.
pub const VIRTUAL: &str = "virtualInbound";

/// A listener before the workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InboundInput {
    /// What the proxy depends on.
    pub environment: Marked<Environment>,
    /// Policies of the workload.
    pub security: Marked<SecurityFilters>,
    /// Its name.
    pub name: Str,
    /// Addresses.
    pub binds: Vec<Str>,
    /// Port.
    pub port: u32,
    /// It is a listener on a port of its own; else it takes redirected connections.
    pub own_port: bool,
    /// Filter chains.
    pub chains: Vec<Chain>,
}

/// The listener.
pub fn listener(input: &InboundInput) -> Listener {
    let environment = &*input.environment;
    let security = Some(&*input.security);
    let frame = Frame { environment, security, class: Class::SidecarInbound, stat_prefix: "", port: input.port };
    let tproxy = environment.interception == InterceptionMode::Tproxy;
    Listener {
        name: input.name.to_string(),
        address: Some(address(input.binds.first().map_or("", |bind| bind), input.port)),
        additional_addresses: additional(&input.binds, input.port),
        filter_chains: input.chains.iter().map(|one| chain::build(one, &frame)).collect(),
        listener_filters: listener_filters(input),
        listener_filters_timeout: duration(environment.detection_timeout),
        continue_on_listener_filters_timeout: true,
        transparent: (!input.own_port && tproxy).then(|| boolean(true)).flatten(),
        traffic_direction: TrafficDirection::Inbound.into(),
        max_connections_to_accept_per_socket_event: connections_per_event(true, environment),
        connection_balance_config: environment.inbound_exact_balance.then(exact_balance),
        access_log: access_log::build(environment.listener_logs(Class::SidecarInbound), Subject::Listener),
        ..Listener::default()
    }
}

/// Which inspectors a port needs.
#[derive(Clone, Copy, Default)]
struct Inspected {
    tls: bool,
    http: bool,
}

fn listener_filters(input: &InboundInput) -> Vec<ListenerFilter> {
    let mut filters = Vec::new();
    if !input.own_port {
        filters.push(original_dst::build());
        if input.environment.interception == InterceptionMode::Tproxy {
            filters.push(original_src::build());
        }
    }
    // Port 0 stands for all ports that no chain names.
    let mut ports: BTreeMap<u32, Inspected> = BTreeMap::new();
    for chain in &input.chains {
        let inspected = ports.entry(chain.matches.port.unwrap_or(0)).or_default();
        inspected.tls |= &*chain.matches.transport == chain::TLS;
        inspected.http |= chain.matches.alpn.iter().any(|name| matches!(&**name, "http/1.1" | "h2c"));
    }
    if ports.values().any(|port| port.tls) {
        let everywhere = ports.get(&0).is_some_and(|port| port.tls);
        let different = ports.iter().filter(|(number, port)| **number != 0 && port.tls != everywhere);
        let predicate = port_predicate(different.map(|(number, _)| *number));
        let filter_disabled = if everywhere { predicate } else { predicate.map(negated) };
        filters.push(ListenerFilter { filter_disabled, ..tls_inspector::build() });
    }
    // After the TLS inspector, whose finding spares its work.
    if ports.values().any(|port| port.http) {
        let without = ports.iter().filter(|(_, port)| !port.http).map(|(number, _)| *number);
        filters.push(ListenerFilter { filter_disabled: port_predicate(without), ..http_inspector::build() });
    }
    filters
}

fn predicate(rule: Rule) -> ListenerFilterChainMatchPredicate {
    ListenerFilterChainMatchPredicate { rule: Some(rule) }
}

fn negated(inner: ListenerFilterChainMatchPredicate) -> ListenerFilterChainMatchPredicate {
    predicate(Rule::NotMatch(Box::new(inner)))
}

/// Matches connections to any of the ports; none when there are none.
fn port_predicate(ports: impl Iterator<Item = u32>) -> Option<ListenerFilterChainMatchPredicate> {
    let range = |port: u32| {
        let start = i32::try_from(port).unwrap_or(i32::MAX - 1);
        predicate(Rule::DestinationPortRange(Int32Range { start, end: start + 1 }))
    };
    let mut rules: Vec<_> = ports.map(range).collect();
    if rules.len() > 1 {
        return Some(predicate(Rule::OrMatch(MatchSet { rules })));
    }
    rules.pop()
}
