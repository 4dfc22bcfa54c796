// SPDX-License-Identifier: Apache-2.0
//! Route configurations laid out of virtual hosts that are encoded already: when one of a thousand changes, one is encoded and the
//! others are copied.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use tiphys_model::Str;
use tiphys_proto::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use tiphys_proto::{boolean, uint32};

/// The number of the field `virtual_hosts`.
const VIRTUAL_HOSTS: u32 = 2;
/// Bodies of direct responses may have as much as validation lets through.
const MAX_DIRECT_RESPONSE: u32 = 1024 * 1024;

/// A virtual host as it stands in a route configuration: key, length and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedVirtualHost(Bytes);

/// The route configuration around virtual hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteConfigurationInput {
    /// Its name.
    pub name: Str,
    /// A port in a request's host is not looked at. Not so in the one that stands for a listener that is gone.
    pub ignore_port: bool,
    /// Bodies of direct responses may be large.
    pub large_responses: bool,
}

impl RouteConfigurationInput {
    /// The usual one.
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), ignore_port: true, large_responses: true }
    }

    /// One for a listener that nobody knows (any more).
    pub fn empty(name: &str) -> Self {
        Self { name: name.into(), ignore_port: false, large_responses: false }
    }

    /// The message without virtual hosts.
    pub fn message(&self) -> RouteConfiguration {
        RouteConfiguration {
            name: self.name.to_string(),
            validate_clusters: boolean(false),
            ignore_port_in_host_matching: self.ignore_port,
            max_direct_response_body_size_bytes: self.large_responses.then(|| uint32(MAX_DIRECT_RESPONSE)).flatten(),
            ..RouteConfiguration::default()
        }
    }
}

/// Encodes a virtual host for [`splice`].
pub fn encoded(host: &VirtualHost) -> EncodedVirtualHost {
    let length = host.encoded_len();
    let mut bytes = BytesMut::with_capacity(length + 1 + encoded_len_varint(length as u64));
    encode_key(VIRTUAL_HOSTS, WireType::LengthDelimited, &mut bytes);
    encode_varint(length as u64, &mut bytes);
    host.encode_raw(&mut bytes);
    EncodedVirtualHost(bytes.freeze())
}

/// The encoded route configuration of virtual hosts: byte for byte what encoding the whole message gives.
pub fn splice<'a>(
    input: &RouteConfigurationInput,
    hosts: impl Iterator<Item = &'a EncodedVirtualHost> + Clone,
) -> Bytes {
    let head = RouteConfiguration { name: input.name.to_string(), ..RouteConfiguration::default() };
    let tail = RouteConfiguration { name: String::new(), ..input.message() };
    let length = hosts.clone().map(|host| host.0.len()).sum::<usize>() + head.encoded_len() + tail.encoded_len();
    let mut bytes = BytesMut::with_capacity(length);
    head.encode_raw(&mut bytes);
    for host in hosts {
        bytes.put_slice(&host.0);
    }
    // Every other field that is set comes after the virtual hosts.
    tail.encode_raw(&mut bytes);
    bytes.freeze()
}
