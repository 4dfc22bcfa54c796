// SPDX-License-Identifier: Apache-2.0
//! What capture needs beside packet filters, by the kernel's rtnetlink: TPROXY's routing table, which leads marked packets to
//! loopback; with IPv6 the address `::6`, from which Envoy connects to the application.

use super::config::CaptureConfig;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::net::{IpAddr, Ipv6Addr};

/// The kernel gives the loopback interface the first number of each network namespace.
const LOOPBACK_INDEX: u32 = 1;

/// Adds what is not there yet.
///
/// # Errors
/// Says what the kernel refused.
pub(super) fn add(config: &CaptureConfig) -> Result<(), String> {
    if config.ipv6 {
        request("address ::6", RouteNetlinkMessage::NewAddress(passthrough_address()))?;
    }
    if !config.tproxy || config.inbound_include.is_empty() {
        return Ok(());
    }
    let number = |text: &str| text.parse::<u32>().map_err(|_| format!("{text:?} is no number"));
    let (table, mark) = (number(&config.tproxy_table)?, number(&config.tproxy_mark)?);
    let families: &[AddressFamily] =
        if config.ipv6 { &[AddressFamily::Inet, AddressFamily::Inet6] } else { &[AddressFamily::Inet] };
    for &family in families {
        request("routing rule for TPROXY", RouteNetlinkMessage::NewRule(rule(family, table, mark)))?;
        request("route for TPROXY", RouteNetlinkMessage::NewRoute(route(family, table)))?;
    }
    Ok(())
}

/// `ip -6 addr add ::6/128 dev lo`
fn passthrough_address() -> AddressMessage {
    let address = IpAddr::V6(Ipv6Addr::from(6));
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.prefix_len = 128;
    message.header.scope = AddressScope::Universe;
    message.header.index = LOOPBACK_INDEX;
    message.attributes = vec![AddressAttribute::Address(address), AddressAttribute::Local(address)];
    message
}

/// `ip rule add fwmark MARK lookup TABLE`
fn rule(family: AddressFamily, table: u32, mark: u32) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family;
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![RuleAttribute::Table(table), RuleAttribute::FwMark(mark)];
    message
}

/// `ip route add local default dev lo table TABLE`
fn route(family: AddressFamily, table: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Host;
    message.header.kind = RouteType::Local;
    message.attributes = vec![RouteAttribute::Table(table), RouteAttribute::Oif(LOOPBACK_INDEX)];
    message
}

/// Asks the kernel; that a thing is there already is no error.
fn request(what: &str, message: RouteNetlinkMessage) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{what}: {e}");
    let socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
    let mut packet = NetlinkMessage::from(message);
    packet.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).map_err(failed)?;
    let (answer, _) = socket.recv_from_full().map_err(failed)?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(|e| format!("{what}: {e}"))?;
    match answer.payload {
        NetlinkPayload::Error(error) => match error.code {
            None => Ok(()),
            Some(_) if error.to_io().kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            Some(_) => Err(failed(error.to_io())),
        },
        other => Err(format!("{what}: the kernel answered {other:?}")),
    }
}
