// SPDX-License-Identifier: Apache-2.0
//! Filter chains: what they match, and where their connections go.

use super::address::cidr;
use super::{Class, Environment};
use crate::filter::connection_manager::{self, Manager};
use crate::filter::network::{self, NetworkStack};
use crate::filter::prepared::SecurityFilters;
use crate::filter::tcp_proxy::TcpTarget;
use crate::route::InboundRouteInput;
use crate::tls::{self, Termination};
use std::collections::BTreeSet;
use tiphys_model::{Protocol, Str};
use tiphys_proto::envoy::config::core::v3::Metadata;
use tiphys_proto::envoy::config::listener::v3::{FilterChain, FilterChainMatch};
use tiphys_proto::google::protobuf::{Struct, Value, value::Kind};
use tiphys_proto::uint32;

/// The ALPN names of TLS between Istio's proxies.
pub const MESH_ALPN: [&str; 5] = ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// Those of them that stand for HTTP.
pub const MESH_HTTP_ALPN: [&str; 3] = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// Those of them that stand for what the client's side could not tell.
pub const MESH_TCP_ALPN: [&str; 2] = ["istio-peer-exchange", "istio"];
/// Transport that the TLS inspector found.
pub const TLS: &str = "tls";
/// Transport that it found not to be TLS.
pub const PLAIN: &str = "raw_buffer";

/// What a filter chain matches; what is empty matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ChainMatch {
    /// Port that was dialled.
    pub port: Option<u32>,
    /// Addresses that were dialled.
    pub cidrs: Vec<Str>,
    /// Server names of the TLS handshake; `*` stands for all.
    pub server_names: Vec<Str>,
    /// Application protocols of the handshake, or as sniffed.
    pub alpn: Vec<Str>,
    /// `tls`, `raw_buffer` or empty.
    pub transport: Str,
}

impl ChainMatch {
    /// Whether every connection matches.
    pub fn is_all(&self) -> bool {
        self.port.is_none()
            && (self.server_names.is_empty() || self.has_any_name())
            && self.alpn.is_empty()
            && self.transport.is_empty()
            && self.cidrs.is_empty()
    }

    fn has_any_name(&self) -> bool {
        self.server_names.iter().any(|name| &**name == "*")
    }

    /// Whether Envoy would take both for the same match and refuse the listener.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let names = |m: &Self| m.server_names.iter().filter(|name| &***name != "*").cloned().collect::<BTreeSet<_>>();
        let ranges = |m: &Self| m.cidrs.iter().filter_map(|text| network_of(text)).collect::<BTreeSet<_>>();
        self.port == other.port
            && self.transport == other.transport
            && self.alpn == other.alpn
            && names(self) == names(other)
            && ranges(self) == ranges(other)
    }

    /// The match as a message; none when everything matches.
    pub fn build(&self) -> Option<FilterChainMatch> {
        if self.is_all() {
            return None;
        }
        let sorted = |list: &[Str]| {
            let mut list: Vec<String> = list.iter().map(ToString::to_string).collect();
            list.sort();
            list
        };
        let ranges = sorted(&self.cidrs);
        Some(FilterChainMatch {
            destination_port: self.port.and_then(uint32),
            prefix_ranges: ranges
                .iter()
                .filter_map(|text| cidr(text))
                .filter(|r| r.address_prefix != "0.0.0.0")
                .collect(),
            server_names: if self.has_any_name() { Vec::new() } else { sorted(&self.server_names) },
            application_protocols: self.alpn.iter().map(ToString::to_string).collect(),
            transport_protocol: self.transport.to_string(),
            ..FilterChainMatch::default()
        })
    }
}

/// The network of an address with a prefix length, host bits cleared; none for all addresses and for what is not an address.
fn network_of(text: &str) -> Option<String> {
    let range = cidr(text)?;
    let length = range.prefix_len.map_or(0, |length| length.value);
    let masked: std::net::IpAddr = match range.address_prefix.parse().ok()? {
        std::net::IpAddr::V4(ip) => {
            let keep = u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
            std::net::Ipv4Addr::from_bits(ip.to_bits() & keep).into()
        }
        std::net::IpAddr::V6(ip) => {
            let keep = u128::MAX.checked_shl(128_u32.saturating_sub(length)).unwrap_or(0);
            std::net::Ipv6Addr::from_bits(ip.to_bits() & keep).into()
        }
    };
    (range.address_prefix != "0.0.0.0").then(|| format!("{masked}/{length}"))
}

/// Where the routes of a connection manager come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteSource {
    /// A route configuration of this name, by RDS.
    Named(Str),
    /// A route configuration inside the listener.
    Inbound(InboundRouteInput),
}

/// A filter chain of HTTP requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpBody {
    /// Its routes.
    pub routes: RouteSource,
    /// What its port speaks.
    pub protocol: Protocol,
    /// Prefix of its statistics; empty = after the listener.
    pub stat_prefix: Str,
    /// It is the forward proxy of `http_proxy`: absolute URLs are taken.
    pub forward_proxy: bool,
}

/// A filter chain of connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TcpBody {
    /// What its port speaks.
    pub protocol: Protocol,
    /// Where its connections go.
    pub target: TcpTarget,
    /// Peers tell each other who they are.
    pub metadata_exchange: bool,
    /// The chain is no target of traffic but refuses it: no access log, no policies.
    pub bare: bool,
    /// What it carries is policed at its end.
    pub unpoliced: bool,
}

impl TcpBody {
    /// A chain to one cluster.
    pub fn to(protocol: Protocol, target: TcpTarget) -> Self {
        Self { protocol, target, metadata_exchange: false, bare: false, unpoliced: false }
    }
}

/// What becomes of the connections of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// Requests are routed.
    Http(HttpBody),
    /// Bytes are passed on.
    Tcp(TcpBody),
}

/// One filter chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chain {
    /// Its name; may be empty.
    pub name: Str,
    /// What it matches.
    pub matches: ChainMatch,
    /// The object that it comes from, as a path of the Kubernetes API; may be empty.
    pub origin: Str,
    /// TLS that it terminates.
    pub tls: Option<Termination>,
    /// What becomes of its connections.
    pub body: Body,
}

impl Chain {
    /// A chain without a name, without TLS.
    pub fn new(matches: ChainMatch, body: Body) -> Self {
        Self { name: Str::default(), matches, origin: Str::default(), tls: None, body }
    }

    /// Whether it routes requests.
    pub fn is_http(&self) -> bool {
        matches!(self.body, Body::Http(_))
    }
}

/// What the chains of one listener have in common.
pub struct Frame<'a> {
    /// What the proxy depends on.
    pub environment: &'a Environment,
    /// Policies of the workload; none where no policies apply.
    pub security: Option<&'a SecurityFilters>,
    /// The side that the listener is on.
    pub class: Class,
    /// Stat prefix of chains that have none of their own.
    pub stat_prefix: &'a str,
    /// Port of the listener.
    pub port: u32,
}

/// A chain as a message.
pub fn build(chain: &Chain, frame: &Frame<'_>) -> FilterChain {
    let mut filters = Vec::new();
    match &chain.body {
        Body::Http(body) => {
            if frame.class == Class::SidecarInbound && frame.environment.istio_filters {
                filters.push(crate::filter::metadata_exchange::tcp());
            }
            filters.push(connection_manager::build(&Manager { body, frame }));
        }
        Body::Tcp(body) => filters = network::build(&NetworkStack { body, frame }),
    }
    FilterChain {
        name: chain.name.to_string(),
        filter_chain_match: chain.matches.build(),
        filters,
        metadata: origin_metadata(&chain.origin),
        transport_socket: chain.tls.as_ref().map(|tls| tls::transport_socket(tls, frame.environment)),
        transport_socket_connect_timeout: handshake_timeout(frame),
        ..FilterChain::default()
    }
}

/// A client has this time for its TLS handshake, so that slow ones do not pile up. Inbound listeners have their own limit.
fn handshake_timeout(frame: &Frame<'_>) -> Option<tiphys_proto::google::protobuf::Duration> {
    let timeout = frame.environment.settings.handshake_timeout;
    (frame.class != Class::SidecarInbound && !timeout.is_zero()).then(|| tiphys_proto::duration(timeout)).flatten()
}

/// Metadata that names the object which a resource comes from.
pub(crate) fn origin_metadata(origin: &str) -> Option<Metadata> {
    if origin.is_empty() {
        return None;
    }
    let path = Value { kind: Some(Kind::StringValue(origin.into())) };
    let fields = [("config".to_string(), path)].into();
    Some(Metadata { filter_metadata: [("istio".to_string(), Struct { fields })].into(), ..Metadata::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_conflict_by_network_and_names() {
        let of = |cidrs: &[&str], names: &[&str]| ChainMatch {
            cidrs: cidrs.iter().map(|text| (*text).into()).collect(),
            server_names: names.iter().map(|text| (*text).into()).collect(),
            ..ChainMatch::default()
        };
        assert!(of(&["10.0.0.1/8"], &[]).conflicts_with(&of(&["10.9.9.9/8"], &[])));
        assert!(!of(&["10.0.0.0/8"], &[]).conflicts_with(&of(&["10.0.0.0/16"], &[])));
        assert!(of(&[], &["a", "b"]).conflicts_with(&of(&[], &["b", "a"])));
        assert!(of(&[], &["*"]).conflicts_with(&of(&[], &[])));
        assert!(of(&[], &["*"]).is_all() && of(&[], &["*"]).build().is_none());
    }
}
