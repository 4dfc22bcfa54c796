// SPDX-License-Identifier: Apache-2.0
//! Addresses to listen on, written as Go writes them: `:15010`, `127.0.0.1:0`, `localhost:8080`; empty = off.

use std::fmt;
use std::io;
use std::str::FromStr;

use tokio::net::{TcpListener, TcpSocket, ToSocketAddrs, lookup_host};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Address(Option<(String, u16)>);

/// Text that is no address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is no address: write HOST:PORT or :PORT, or nothing to turn it off")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let error = || AddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let port = if port.is_empty() { 0 } else { port.parse().map_err(|_| error())? };
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        match bracketed {
            None if host.contains([':', '[', ']', '/', ' ']) => Err(error()),
            _ => Ok(Self(Some((bracketed.unwrap_or(host).to_owned(), port)))),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => Ok(()),
            Some((host, port)) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Some((host, port)) => write!(f, "{host}:{port}"),
        }
    }
}

impl Address {
    /// Whether nothing is to listen.
    pub fn is_off(&self) -> bool {
        self.0.is_none()
    }

    /// Listens; `None` when off. No host means all addresses of both families, or of IPv4 where there is no IPv6.
    ///
    /// # Errors
    /// When the address cannot be had; the error names it.
    pub async fn listen(&self) -> io::Result<Option<TcpListener>> {
        let Some((host, port)) = &self.0 else { return Ok(None) };
        let listener = match host.as_str() {
            "" => match bind(("::", *port)).await {
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => bind(("0.0.0.0", *port)).await,
                other => other,
            },
            host => bind((host, *port)).await,
        };
        listener.map(Some).map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {self}: {e}")))
    }
}

/// How many connections may wait to be accepted. After a restart all proxies come at once; with the 128 that is usual the kernel
/// drops many of them, and they come back only after a second or more. (The kernel takes its own limit if that is lower.)
const WAITING: u32 = 4096;

async fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    let mut addresses: Vec<_> = lookup_host(address).await?.collect();
    // As Go listens: whoever comes to localhost comes to 127.0.0.1, in a pod without IPv6 too.
    addresses.sort_by_key(|address| !address.is_ipv4());
    for address in addresses {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(WAITING)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for text in ["", ":15010", "127.0.0.1:0", "localhost:8080", "[::1]:9"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("127.0.0.1:".parse::<Address>().unwrap().to_string(), "127.0.0.1:0");
        for text in ["15010", "::1:80", "host:http", "/run/socket:1", "[::1:80"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_is_its_ipv4_address_first() {
        let listener = "localhost:0".parse::<Address>().unwrap().listen().await.unwrap().unwrap();
        assert_eq!(listener.local_addr().unwrap().ip().to_string(), "127.0.0.1");
    }

    #[tokio::test]
    async fn listens_and_names_what_is_taken() {
        assert!(Address::default().listen().await.unwrap().is_none());
        let first = "127.0.0.1:0".parse::<Address>().unwrap().listen().await.unwrap().unwrap();
        let taken = first.local_addr().unwrap().to_string();
        let error = taken.parse::<Address>().unwrap().listen().await.unwrap_err();
        assert!(error.to_string().contains(&taken), "{error}");
    }
}
