// SPDX-License-Identifier: Apache-2.0
//! HTTP probes: the kubelet's request, sent on to the application. As from the kubelet, certificates are not verified, redirects to the
//! same host are followed, and others count as success.

use super::probes::{HttpGet, Target, connect};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpStream;

/// As much of the answer as the kubelet reads.
const MAX_BODY: usize = 10 * 1024;
const MAX_REDIRECTS: usize = 10;

/// One place that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    tls: bool,
    port: u16,
    path: String,
}

/// Sends the probe and gives the application's status and the beginning of its body.
pub(super) async fn get(target: &Target, probe: &HttpGet, request: &Parts) -> Result<(StatusCode, String), String> {
    let path = if probe.path.starts_with('/') { probe.path.clone() } else { format!("/{}", probe.path) };
    let mut place = Place { tls: probe.scheme.eq_ignore_ascii_case("https"), port: probe.port, path };
    let headers = headers(target, probe.port, request);
    for _ in 0..=MAX_REDIRECTS {
        let response = send(target, &place, headers.clone()).await?;
        let status = response.status();
        if !status.is_redirection() {
            return Ok((status, beginning(response.into_body()).await));
        }
        match redirect(target.address, &place, &response) {
            Some(next) => place = next,
            // Without its place a redirect is no valid answer to pass on.
            None => return Ok((StatusCode::OK, String::new())),
        }
    }
    Err(format!("more than {MAX_REDIRECTS} redirects"))
}

/// The kubelet's headers; where they name the agent's port the application sees its own.
fn headers(target: &Target, port: u16, request: &Parts) -> HeaderMap {
    let mut headers = request.headers.clone();
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::UPGRADE, header::TE] {
        headers.remove(name);
    }
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let own = host.and_then(|h| h.strip_suffix(&format!(":{}", target.status_port)));
    let host = match (own, host) {
        (Some(name), _) => format!("{name}:{port}"),
        (None, Some(host)) => host.to_string(),
        (None, None) => SocketAddr::new(target.address, port).to_string(),
    };
    if let Ok(host) = HeaderValue::from_str(&host) {
        headers.insert(header::HOST, host);
    }
    headers
}

/// Where a redirect leads, when it is to the same host.
fn redirect(address: IpAddr, from: &Place, response: &Response<Incoming>) -> Option<Place> {
    let location: Uri = response.headers().get(header::LOCATION)?.to_str().ok()?.parse().ok()?;
    let mut next = from.clone();
    if let Some(host) = location.host() {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.parse() != Ok(address) {
            return None;
        }
        next.tls = location.scheme_str() == Some("https");
        next.port = location.port_u16().unwrap_or(if next.tls { 443 } else { 80 });
    }
    next.path = location.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_string();
    Some(next)
}

async fn send(target: &Target, place: &Place, headers: HeaderMap) -> Result<Response<Incoming>, String> {
    let at = SocketAddr::new(target.address, place.port);
    let failed = |e: String| format!("{at}{}: {e}", place.path);
    let stream = connect(target.address, place.port).await.map_err(|e| failed(e.to_string()))?;
    let scheme = if place.tls { "https" } else { "http" };
    let mut request = Request::get(format!("{scheme}://{at}{}", place.path))
        .body(Empty::<Bytes>::new())
        .map_err(|e| failed(e.to_string()))?;
    *request.headers_mut() = headers;
    if !place.tls {
        return http1(TokioIo::new(stream), request).await.map_err(failed);
    }
    let tls = handshake(target, stream).await.map_err(failed)?;
    if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
        return http1(TokioIo::new(tls), request).await.map_err(failed);
    }
    request.headers_mut().remove(header::HOST);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
        .await
        .map_err(|e| failed(e.to_string()))?;
    tokio::spawn(async move { drop(connection.await) });
    sender.send_request(request).await.map_err(|e| failed(e.to_string()))
}

async fn http1<T>(io: TokioIo<T>, mut request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, String>
where
    TokioIo<T>: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    *request.uri_mut() = path.parse().map_err(|e| format!("{path:?}: {e}"))?;
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    let builder = hyper::client::conn::http1::Builder::new();
    let (mut sender, connection) = builder.handshake(io).await.map_err(|e| e.to_string())?;
    // The task ends with the connection; its error shows in the exchange below.
    tokio::spawn(async move { drop(connection.await) });
    sender.send_request(request).await.map_err(|e| e.to_string())
}

async fn handshake(target: &Target, stream: TcpStream) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        .with_no_client_auth();
    config.alpn_protocols = if target.http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { Vec::new() };
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::from(target.address), stream).await.map_err(|e| format!("TLS: {e}"))
}

async fn beginning(mut body: Incoming) -> String {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        bytes.extend(frame.into_data().unwrap_or_default());
        if bytes.len() >= MAX_BODY {
            break;
        }
    }
    bytes.truncate(MAX_BODY);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Any certificate will do, as for the kubelet: a probe shows that the application is there, and tells it no secret.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
