// SPDX-License-Identifier: Apache-2.0
//! The control plane's own serving certificate, and TLS for its listeners.
//!
//! [`ServerIdentity`] has a key in memory only and a certificate from the authority, of which it takes another one at half its life and
//! when the authority gets another bundle; or a certificate and key that it is given. rustls asks it at each handshake, so connections that
//! exist are not touched.

use crate::authenticate::Peer;
use crate::bundle::{certificates, parse};
use crate::{Authority, CaError, TrustBundle};
use arc_swap::ArcSwap;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData, SanType, SubjectPublicKeyInfo};
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
    /// The names of istiod's Service in a namespace, with those of a revision's Service beside it, those of its remote Service, and that
    /// which older proxies ask for.
    pub fn istiod(namespace: &str, revision: &str) -> Self {
        let mut dns = vec![format!("istiod.{namespace}.svc"), format!("istiod.{namespace}")];
        if !revision.is_empty() && revision != "default" {
            dns.push(format!("istiod-{revision}.{namespace}.svc"));
            dns.push(format!("istiod-{revision}.{namespace}"));
        }
        dns.push(format!("istiod-remote.{namespace}.svc"));
        dns.push(format!("istio-pilot.{namespace}.svc"));
        Self { dns, addresses: Vec::new() }
    }

    /// Adds names of an operator's own (ISTIOD_CUSTOM_HOST).
    #[must_use]
    pub fn with_hosts<'a>(mut self, hosts: impl IntoIterator<Item = &'a str>) -> Self {
        for host in hosts {
            if !self.dns.iter().any(|known| known == host) {
                self.dns.push(host.into());
            }
        }
        self
    }

    /// A new private key and a signing request for these names, both in PEM, for a signer elsewhere.
    ///
    /// # Errors
    /// When a name is not valid.
    pub fn request(&self) -> Result<(String, String), CaError> {
        let failed = |e: rcgen::Error| CaError::Signing(format!("request for the serving certificate: {e}"));
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = self.alternative_names()?;
        let csr = params.serialize_request(&key).and_then(|request| request.pem()).map_err(failed)?;
        Ok((key.serialize_pem(), csr))
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
    /// From when on nobody accepts it.
    expires_at: OffsetDateTime,
}

/// The serving certificate.
pub struct ServerIdentity {
    /// Who issues it, and the names that it has; none when it is given.
    issued: Option<(Arc<Authority>, ServerNames)>,
    current: ArcSwap<Held>,
}

impl std::fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerIdentity").field("names", &self.issued.as_ref().map(|i| &i.1)).finish_non_exhaustive()
    }
}

impl ServerIdentity {
    /// Makes a key and has it certified.
    ///
    /// # Errors
    /// When a name is not valid or the authority cannot sign.
    pub fn new(authority: Arc<Authority>, names: ServerNames) -> Result<Arc<Self>, CaError> {
        let held = make(&authority, &names)?;
        Ok(Arc::new(Self { issued: Some((authority, names)), current: ArcSwap::from_pointee(held) }))
    }

    /// Shows a certificate that is given: chain, leaf first, and private key in PEM.
    ///
    /// # Errors
    /// When they cannot be used together.
    pub fn given(chain: &str, key: &str) -> Result<Arc<Self>, CaError> {
        Ok(Arc::new(Self { issued: None, current: ArcSwap::from_pointee(read(chain, key)?) }))
    }

    /// Shows another certificate that is given from now on.
    ///
    /// # Errors
    /// When chain and key cannot be used together; the former certificate stays.
    pub fn replace(&self, chain: &str, key: &str) -> Result<(), CaError> {
        self.current.store(Arc::new(read(chain, key)?));
        Ok(())
    }

    /// When another certificate should take the place of this one: at half its life.
    pub fn renew_at(&self) -> OffsetDateTime {
        self.current.load().renew_at
    }

    /// When nobody accepts this one any more.
    pub fn expires_at(&self) -> OffsetDateTime {
        self.current.load().expires_at
    }

    /// Takes another certificate with another key now. A certificate that is given stays.
    ///
    /// # Errors
    /// When the authority cannot sign; the former certificate stays.
    pub fn rotate(&self) -> Result<(), CaError> {
        if let Some((authority, names)) = &self.issued {
            self.current.store(Arc::new(make(authority, names)?));
        }
        Ok(())
    }

    /// Rotates for as long as it is polled: at half the life of the certificate, and when the authority's bundle changes. Nothing is to be done
    /// for a certificate that is given.
    pub async fn run(self: Arc<Self>) {
        let Some((authority, _)) = &self.issued else { return std::future::pending().await };
        let mut changes = authority.subscribe();
        changes.mark_unchanged();
        loop {
            let left = self.renew_at() - OffsetDateTime::now_utc();
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
    Ok(Held { certified: Arc::new(CertifiedKey::new(chain, signer)), renew_at, expires_at: issued.not_after })
}

/// A certificate that is given.
fn read(chain: &str, key: &str) -> Result<Held, CaError> {
    let place = "serving certificate";
    let chain = certificates(chain, place)?;
    let validity = parse(&chain[0], place)?.validity().clone();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|e| CaError::file("private key of the serving certificate", format!("cannot be read as PEM: {e}")))?;
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
        .map_err(|e| CaError::file("private key of the serving certificate", format!("cannot be used: {e}")))?;
    let certified = CertifiedKey::new(chain, signer);
    certified.keys_match().map_err(|e| CaError::file(place, format!("does not belong to its private key: {e}")))?;
    let (from, until) = (validity.not_before.to_datetime(), validity.not_after.to_datetime());
    Ok(Held { certified: Arc::new(certified), renew_at: from + (until - from) / 2, expires_at: until })
}

/// TLS for the secure gRPC port: HTTP/2, TLS 1.2 and 1.3, a client certificate taken when there is one.
///
/// Client certificates are verified in the handshake against these roots; make another configuration when there are others.
///
/// # Errors
/// When the roots cannot be trust anchors.
pub fn server_config(identity: Arc<ServerIdentity>, roots: &TrustBundle) -> Result<Arc<ServerConfig>, CaError> {
    let verifier = roots.client_verifier(true)?;
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
