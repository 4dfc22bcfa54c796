// SPDX-License-Identifier: Apache-2.0
//! Addresses of this machine, and small HTTP requests to neighbours on loopback.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_sys::{Socket, SocketAddr as NetlinkAddress, protocols::NETLINK_ROUTE};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tokio::net::TcpStream;

/// The addresses that peers can reach: no loopback, no link-local ones. Sorted, IPv4 first.
pub fn machine_addresses() -> Vec<IpAddr> {
    let v4 = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let mut found: BTreeSet<IpAddr> = ipv4_of(&v4).map(IpAddr::V4).collect();
    found.extend(ipv6_of(&v6).map(IpAddr::V6));
    found.into_iter().collect()
}

/// The addresses of some interfaces, by the kernel's rtnetlink. Interfaces that are not there have none.
///
/// # Errors
/// When the kernel does not answer.
pub fn addresses_of(interfaces: &[&str]) -> Result<BTreeSet<IpAddr>, String> {
    let failed = |e: std::io::Error| format!("addresses of interfaces: {e}");
    let socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
    let any = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).map_err(|e| failed(e.into()))?;
    let indexes: BTreeSet<u32> = interfaces.iter().filter_map(|name| name_to_index(&any, name).ok()).collect();
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetAddress(AddressMessage::default()));
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send_to(&bytes, &NetlinkAddress::new(0, 0), 0).map_err(failed)?;
    let mut found = BTreeSet::new();
    loop {
        let (answer, _) = socket.recv_from_full().map_err(failed)?;
        let mut rest = &answer[..];
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(|e| e.to_string())?;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(error) => return Err(failed(error.to_io())),
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address))
                    if indexes.contains(&address.header.index) =>
                {
                    found.extend(address.attributes.iter().filter_map(|attribute| match attribute {
                        AddressAttribute::Address(ip) | AddressAttribute::Local(ip) => Some(*ip),
                        _ => None,
                    }));
                }
                _ => {}
            }
            // Messages begin at multiples of four.
            let length = (message.header.length as usize).next_multiple_of(4).max(16);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// Local addresses of the kernel's routing trie: a line `|-- ADDRESS` followed by `/32 host LOCAL`.
fn ipv4_of(trie: &str) -> impl Iterator<Item = Ipv4Addr> + '_ {
    let lines = trie.lines().zip(trie.lines().skip(1));
    lines
        .filter(|(_, next)| next.contains("/32 host LOCAL"))
        .filter_map(|(line, _)| line.trim().strip_prefix("|-- ")?.trim().parse().ok())
        .filter(|a: &Ipv4Addr| !a.is_loopback() && !a.is_link_local() && !a.is_unspecified())
}

/// Lines of 32 hexadecimal digits, index, prefix length, scope (00: global), flags, interface.
fn ipv6_of(table: &str) -> impl Iterator<Item = Ipv6Addr> + '_ {
    table.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        let scope = fields.nth(2)?;
        (scope == "00").then_some(Ipv6Addr::from(address))
    })
}

/// An answer of a neighbour.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Larger answers are refused, except where the body is streamed.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// Sends a request without a body and reads the whole answer.
///
/// # Errors
/// When there is no answer in the time given, or it is not HTTP.
pub async fn request(method: Method, address: &str, path: &str, within: Duration) -> Result<Answer, String> {
    request_with_body(method, address, path, Bytes::new(), within).await
}

/// Sends a request and reads the whole answer.
///
/// # Errors
/// When there is no answer in the time given, or it is not HTTP.
pub async fn request_with_body(
    method: Method,
    address: &str,
    path: &str,
    body: Bytes,
    within: Duration,
) -> Result<Answer, String> {
    let whole = async {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|e| format!("{path:?}: {e}"))?;
        let response = exchange(address, request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(|e| e.to_string())?;
        Ok(Answer { status, body: body.to_bytes() })
    };
    tokio::time::timeout(within, whole).await.unwrap_or_else(|_| Err(format!("no answer within {within:?}")))
}

/// Sends a GET with headers; the answer's body is left to be read.
///
/// # Errors
/// When the connection or the exchange fails.
pub async fn get(
    address: &str,
    path: &str,
    headers: HeaderMap,
) -> Result<http::Response<hyper::body::Incoming>, String> {
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.uri_mut() = path.parse().map_err(|e| format!("{path:?}: {e}"))?;
    *request.headers_mut() = headers;
    exchange(address, request).await
}

/// One request on a connection of its own.
async fn exchange(
    address: &str,
    mut request: Request<Full<Bytes>>,
) -> Result<http::Response<hyper::body::Incoming>, String> {
    let stream = TcpStream::connect(address).await.map_err(|e| format!("{address}: {e}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(16 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| e.to_string())?;
    // The task ends with the connection; its error shows in the exchange below.
    tokio::spawn(async move { drop(connection.await) });
    let host = address.parse().map_err(|_| format!("{address:?} cannot be a host"))?;
    request.headers_mut().insert(http::header::HOST, host);
    sender.send_request(request).await.map_err(|e| format!("{address}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_an_interface() {
        let found = addresses_of(&["lo", "none-such"]).unwrap();
        assert!(found.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)), "{found:?}");
        assert!(addresses_of(&[]).unwrap().is_empty());
    }

    #[test]
    fn local_addresses_of_the_kernel() {
        let trie = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.3.0\n        /24 link UNICAST\n     |-- 10.0.3.7\n        \
                    /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 169.254.1.1\n        /32 host LOCAL\n";
        assert_eq!(ipv4_of(trie).collect::<Vec<_>>(), [Ipv4Addr::new(10, 0, 3, 7)]);
        let table = "fe80000000000000505400fffe000001 02 40 20 80 eth0\nfd000000000000000000000000000007 02 40 00 80 eth0\n\
                     00000000000000000000000000000001 01 80 10 80 lo\n";
        assert_eq!(ipv6_of(table).collect::<Vec<_>>(), ["fd00::7".parse::<Ipv6Addr>().unwrap()]);
    }
}
