// SPDX-License-Identifier: Apache-2.0
//! Queries whose names are not known here go on to the servers of resolv.conf, as bytes, by the protocol by which they came.

use rand::seq::SliceRandom;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// In a datagram.
    Udp,
    /// On a stream.
    Tcp,
}

/// The servers.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Their addresses.
    pub servers: Vec<SocketAddr>,
    /// How long each may take (DNS_FORWARD_TIMEOUT).
    pub timeout: Duration,
    /// All are asked at once (DNS_FORWARD_PARALLEL).
    pub parallel: bool,
}

impl Upstream {
    /// The first answer of any server. Over UDP, answers are no longer than `max_udp`.
    pub async fn ask(&self, query: &[u8], protocol: Protocol, max_udp: u16) -> Option<Vec<u8>> {
        let mut servers = self.servers.clone();
        servers.shuffle(&mut rand::rng());
        if !self.parallel {
            for server in servers {
                match exchange(server, query, protocol, max_udp, self.timeout).await {
                    Ok(answer) => return Some(answer),
                    Err(error) => tracing::info!(%server, error, "DNS server"),
                }
            }
            return None;
        }
        let mut all = JoinSet::new();
        for server in servers {
            let (query, timeout) = (query.to_vec(), self.timeout);
            all.spawn(async move { exchange(server, &query, protocol, max_udp, timeout).await });
        }
        while let Some(answered) = all.join_next().await {
            match answered.unwrap_or_else(|e| Err(e.to_string())) {
                Ok(answer) => return Some(answer),
                Err(error) => tracing::info!(error, "DNS server"),
            }
        }
        None
    }
}

async fn exchange(
    server: SocketAddr,
    query: &[u8],
    protocol: Protocol,
    max_udp: u16,
    timeout: Duration,
) -> Result<Vec<u8>, String> {
    let exchange = async {
        match protocol {
            Protocol::Udp => by_udp(server, query, max_udp).await,
            Protocol::Tcp => by_tcp(server, query).await,
        }
    };
    match tokio::time::timeout(timeout, exchange).await {
        Ok(answered) => answered.map_err(|e| e.to_string()),
        Err(_) => Err(format!("no answer within {timeout:?}")),
    }
}

/// A socket of its own for each query: its random port, and the query's number, are what an answer is known by.
async fn by_udp(server: SocketAddr, query: &[u8], max: u16) -> std::io::Result<Vec<u8>> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut answer = vec![0; usize::from(max)];
    loop {
        let length = socket.recv(&mut answer).await?;
        // Only what has the query's number, and says that it is an answer.
        if length >= 12 && answer[..2] == query[..2] && answer[2] & 0x80 != 0 {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn by_tcp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_tcp(&mut stream, query).await?;
    match read_tcp(&mut stream).await? {
        Some(answer) => Ok(answer),
        None => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// One message of a stream; nothing at its end.
pub(super) async fn read_tcp(stream: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => length,
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

/// Length and message in one piece: some clients want that.
pub(super) async fn write_tcp(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length =
        u16::try_from(message.len()).map_err(|_| std::io::Error::other("a DNS message of more than 64 KiB"))?;
    let mut whole = Vec::with_capacity(message.len() + 2);
    whole.extend_from_slice(&length.to_be_bytes());
    whole.extend_from_slice(message);
    stream.write_all(&whole).await
}
