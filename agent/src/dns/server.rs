// SPDX-License-Identifier: Apache-2.0
//! Listening for queries.

use super::answer::Query;
use super::settings::DnsSettings;
use super::table::Table;
use super::upstream::{Protocol, read_tcp, write_tcp};
use crate::metrics::Metrics;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

/// Queries that may be under way at once; further ones wait in the sockets.
const MAX_QUERIES: usize = 1024;
/// Longer queries over UDP are none.
const MAX_UDP_QUERY: usize = 4096;
/// How long a connection may say nothing.
const IDLE: Duration = Duration::from_secs(10);
const MAX_TCP: usize = 65535;

/// The DNS proxy.
pub struct Dns {
    settings: DnsSettings,
    metrics: Arc<Metrics>,
    table: Mutex<Option<Arc<Table>>>,
    room: Arc<Semaphore>,
}

impl Dns {
    /// A proxy that knows no names yet.
    pub fn new(settings: DnsSettings, metrics: Arc<Metrics>) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(MAX_QUERIES));
        Arc::new(Self { settings, metrics, table: Mutex::default(), room })
    }

    /// From now on these are the names.
    pub fn update(&self, table: Table) {
        tracing::debug!(hosts = table.len(), "names of the mesh");
        *self.table.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(table));
    }

    /// The names, once they are there.
    pub fn table(&self) -> Option<Arc<Table>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Listens, and serves from then on.
    ///
    /// # Errors
    /// When a port is taken.
    pub async fn start(self: &Arc<Self>) -> Result<(), String> {
        for &address in &self.settings.listen {
            let failed = |e: std::io::Error| format!("DNS proxy on {address}: {e}");
            let udp = UdpSocket::bind(address).await.map_err(failed)?;
            let tcp = TcpListener::bind(address).await.map_err(failed)?;
            tokio::spawn(self.clone().serve_udp(Arc::new(udp)));
            tokio::spawn(self.clone().serve_tcp(tcp));
        }
        tracing::info!(listen = ?self.settings.listen, servers = ?self.settings.upstream.servers, "DNS proxy");
        Ok(())
    }

    async fn serve_udp(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; MAX_UDP_QUERY];
        loop {
            let (length, from) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    // Among others, that a client had gone when its answer came.
                    tracing::debug!(%error, "DNS over UDP");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                }
            };
            let Ok(permit) = self.room.clone().acquire_owned().await else { return };
            let Some(query) = Query::read(&buffer[..length]) else { continue };
            self.metrics.dns_requests.add();
            // The many that are known are answered at once, without a task of their own.
            if let Some(answer) = self.known(&query, usize::from(query.max_udp())) {
                self.send(&socket, &answer, from).await;
                continue;
            }
            let (dns, socket, bytes) = (self.clone(), socket.clone(), buffer[..length].to_vec());
            tokio::spawn(async move {
                let answer = dns.forward(&query, &bytes, Protocol::Udp).await;
                dns.send(&socket, &answer, from).await;
                drop(permit);
            });
        }
    }

    async fn send(&self, socket: &UdpSocket, answer: &[u8], to: SocketAddr) {
        if let Err(error) = socket.send_to(answer, to).await {
            tracing::debug!(%error, %to, "DNS answer");
        }
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "DNS over TCP");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let Ok(permit) = self.room.clone().acquire_owned().await else { return };
            let dns = self.clone();
            tokio::spawn(async move {
                if let Err(error) = dns.converse(stream).await {
                    tracing::debug!(%error, "DNS over TCP");
                }
                drop(permit);
            });
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let Ok(read) = tokio::time::timeout(IDLE, read_tcp(&mut stream)).await else { return Ok(()) };
            let Some(bytes) = read? else { return Ok(()) };
            let Some(query) = Query::read(&bytes) else { return Ok(()) };
            self.metrics.dns_requests.add();
            let answer = match self.known(&query, MAX_TCP) {
                Some(answer) => answer,
                None => self.forward(&query, &bytes, Protocol::Tcp).await,
            };
            write_tcp(&mut stream, &answer).await?;
        }
    }

    /// The answer for a name of the mesh, or the failure while names are not there yet.
    fn known(&self, query: &Query, limit: usize) -> Option<Vec<u8>> {
        let Some(table) = self.table() else {
            return (!self.settings.respond_before_sync).then(|| query.failure());
        };
        if !query.wants_addresses() {
            return None;
        }
        let found = table.find(&query.name, &self.settings.place)?;
        Some(query.answer(&found, limit))
    }

    async fn forward(&self, query: &Query, bytes: &[u8], protocol: Protocol) -> Vec<u8> {
        self.metrics.dns_upstream_requests.add();
        match self.settings.upstream.ask(bytes, protocol, query.max_udp()).await {
            Some(answer) => answer,
            None => {
                self.metrics.dns_upstream_failures.add();
                query.failure()
            }
        }
    }
}
