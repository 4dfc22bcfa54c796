// SPDX-License-Identifier: Apache-2.0
//! Addresses that listeners are bound to, and the names that follow from them.

use tiphys_model::Str;
use tiphys_proto::envoy::config::core::v3::{
    Address, CidrRange, Pipe, SocketAddress, address, socket_address::PortSpecifier,
};
use tiphys_proto::envoy::config::listener::v3::AdditionalAddress;

/// How the path of a Unix socket starts when it stands for an address.
const UNIX: &str = "unix://";

/// An IP address and port; port 0 stands for the path of a Unix socket.
pub(crate) fn address(bind: &str, port: u32) -> Address {
    let address = if port == 0 {
        address::Address::Pipe(Pipe { path: bind.strip_prefix(UNIX).unwrap_or(bind).into(), ..Pipe::default() })
    } else {
        address::Address::SocketAddress(SocketAddress {
            address: bind.into(),
            port_specifier: Some(PortSpecifier::PortValue(port)),
            ..SocketAddress::default()
        })
    };
    Address { address: Some(address) }
}

/// The further addresses of a listener.
pub(crate) fn additional(binds: &[Str], port: u32) -> Vec<AdditionalAddress> {
    let further = binds.iter().skip(1).filter(|bind| !bind.is_empty());
    further
        .map(|bind| AdditionalAddress { address: Some(address(bind, port)), ..AdditionalAddress::default() })
        .collect()
}

/// Name of a listener, after its first address.
pub(crate) fn listener_name(bind: &str, port: u32) -> String {
    format!("{bind}_{port}")
}

/// A range from `ADDRESS/LENGTH` or an address alone.
pub(crate) fn cidr(text: &str) -> Option<CidrRange> {
    let (prefix, length) = match text.split_once('/') {
        Some((prefix, length)) => (prefix, length.parse().ok()?),
        None => (text, if text.contains(':') { 128 } else { 32 }),
    };
    prefix.parse::<std::net::IpAddr>().ok()?;
    Some(CidrRange { address_prefix: prefix.into(), prefix_len: tiphys_proto::uint32(length) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(cidr("10.0.0.0/8").unwrap().prefix_len.unwrap().value, 8);
        assert_eq!(cidr("10.0.0.1").unwrap().prefix_len.unwrap().value, 32);
        assert_eq!(cidr("fd00::1").unwrap().prefix_len.unwrap().value, 128);
        assert!(cidr("a.com").is_none());
    }

    #[test]
    fn sockets_have_no_port() {
        let Some(address::Address::Pipe(pipe)) = address("unix:///tmp/x", 0).address else { panic!("not a pipe") };
        assert_eq!(pipe.path, "/tmp/x");
    }
}
