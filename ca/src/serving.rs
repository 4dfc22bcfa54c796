// SPDX-License-Identifier: Apache-2.0
//! The control plane's own serving certificate, and TLS for its listeners.
//!
//! [`ServerIdentity`] has a key in memory only and a certificate from the authority. It takes another one at half its life and
//! when the authority gets another bundle; rustls asks it at each handshake, so connections that exist are not touched.

use crate::authenticate::Peer;
use crate::{Authority, CaError};
use arc_swap::ArcSwap;
use rcgen::{KeyPair, PublicKeyData, SanType, SubjectPublicKeyInfo};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// Under which names the control plane can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerNames {
    /// DNS names.
    pub dns: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
}

impl ServerNames {
    /// The names of istiod's Service in a namespace, with those of a revision's Service beside it.
    pub fn istiod(namespace: &str, revision: &str) -> Self {
        let mut services = vec!["istiod".to_string()];
        if !revision.is_empty() && revision != "default" {
            services.push(format!("istiod-{revision}"));
        }
        let mut dns: Vec<String> = Vec::new();
        for service in &services {
            dns.push(format!("{service}.{namespace}.svc"));
            dns.push(format!("{service}.{namespace}"));
        }
        if namespace == "istio-system" {
            // Names that older proxies ask for.
            dns.push("istio-pilot.istio-system.svc".into());
        }
        Self { dns, addresses: Vec::new() }
    }

    /// Adds `localhost` and the loopback addresses, for a control plane on the same machine as its proxies.
    #[must_use]
    pub fn with_loopback(mut self) -> Self {
        self.dns.push("localhost".into());
        self.addresses.extend([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        self
    }

    fn alternative_names(&self) -> Result<Vec<SanType>, CaError> {
        let mut names = Vec::new();
        for dns in &self.dns {
            let name = dns.as_str().try_into();
            names.push(SanType::DnsName(name.map_err(|e| CaError::Settings(format!("server name {dns:?}: {e}")))?));
        }
        names.extend(self.addresses.iter().map(|a| SanType::IpAddress(*a)));
        Ok(names)
    }
}

struct Held {
    certified: Arc<CertifiedKey>,
    /// When to take another one.
    renew_at: OffsetDateTime,
}

/// The serving certificate.
pub struct ServerIdentity {
    authority: Arc<Authority>,
    names: ServerNames,
    current: ArcSwap<Held>,
}

impl std::fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerIdentity").field("names", &self.names).finish_non_exhaustive()
    }
}

impl ServerIdentity {
    /// Makes a key and has it certified.
    ///
    /// # Errors
    /// When a name is not valid or the authority cannot sign.
    pub fn new(authority: Arc<Authority>, names: ServerNames) -> Result<Arc<Self>, CaError> {
        let held = make(&authority, &names)?;
        Ok(Arc::new(Self { authority, names, current: ArcSwap::from_pointee(held) }))
    }

    /// Takes another certificate with another key now.
    ///
    /// # Errors
    /// When the authority cannot sign; the former certificate stays.
    pub fn rotate(&self) -> Result<(), CaError> {
        self.current.store(Arc::new(make(&self.authority, &self.names)?));
        Ok(())
    }

    /// Rotates for as long as it is polled: at half the life of the certificate, and when the authority's bundle changes.
    pub async fn run(self: Arc<Self>) {
        let mut changes = self.authority.subscribe();
        changes.mark_unchanged();
        loop {
            let left = self.current.load().renew_at - OffsetDateTime::now_utc();
            let wait = Duration::try_from(left).unwrap_or(Duration::ZERO);
            let changed = tokio::time::timeout(wait, changes.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                return;
            }
            match self.rotate() {
                Ok(()) => tracing::info!("took another serving certificate"),
                Err(error) => {
                    tracing::error!(%error, "cannot renew the serving certificate; trying again in a minute");
                    tokio::time::sleep(Duration::from_secs(60)).await;
                }
            }
        }
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().certified.clone())
    }
}

fn make(authority: &Authority, names: &ServerNames) -> Result<Held, CaError> {
    let failed = |e: String| CaError::Signing(format!("serving certificate: {e}"));
    let key = KeyPair::generate().map_err(|e| failed(e.to_string()))?;
    let public = SubjectPublicKeyInfo::from_der(&key.subject_public_key_info()).map_err(|e| failed(e.to_string()))?;
    let issued = authority.sign(&public, names.alternative_names()?, None)?;
    let own = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).map_err(|e| failed(e.to_string()))?;
    let mut chain = vec![own];
    chain.extend(issued.bundle.chain().iter().cloned());
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der).map_err(|e| failed(e.to_string()))?;
    let now = OffsetDateTime::now_utc();
    let renew_at = now + (issued.not_after - now) / 2;
    Ok(Held { certified: Arc::new(CertifiedKey::new(chain, signer)), renew_at })
}

/// TLS for the secure gRPC port: HTTP/2, TLS 1.2 and 1.3, a client certificate taken when there is one.
///
/// Client certificates are verified in the handshake against the authority's roots of this moment; make another configuration when
/// the authority tells of another bundle.
///
/// # Errors
/// When the roots cannot be trust anchors.
pub fn server_config(identity: Arc<ServerIdentity>) -> Result<Arc<ServerConfig>, CaError> {
    let verifier = identity.authority.trust().client_verifier(true)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| CaError::Settings(format!("TLS: {e}")))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(identity);
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// A TLS connection that tells tonic's services who its [`Peer`] is.
#[derive(Debug)]
pub struct TlsConnection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
}

impl TlsConnection {
    /// Takes over a connection whose handshake is done.
    pub fn new(stream: TlsStream<TcpStream>) -> Self {
        let (tcp, session) = stream.get_ref();
        let certificates = session.peer_certificates().unwrap_or_default();
        let certificates = Arc::new(certificates.iter().map(|c| c.clone().into_owned()).collect());
        let peer = Peer { address: tcp.peer_addr().ok(), tls: true, certificates };
        Self { stream, peer }
    }

    /// The other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Connected for TlsConnection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for TlsConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[path = "serving_tests.rs"]
mod tests;
