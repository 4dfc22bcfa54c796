// SPDX-License-Identifier: Apache-2.0
//! Connections to the control plane: HTTP/2 over TLS (or plaintext where the settings say so), and one-shot gRPC calls over them.
//!
//! Roots, token and provisioned certificate are read from their files at each connection, so that whatever rotates them is heeded
//! without a restart. A bearer token that is there and has not expired goes along; without one, the workload's own certificate is
//! the credential. A token never goes over plaintext.

use crate::identity::WorkloadCertificate;
use crate::settings::Endpoint;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request};
use http_body::Body;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Time for name look-up, connection and handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an idle connection is probed, and how long the answer may take.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// How much of a stream may be under way unread: enough for the speed of a cluster's network, little enough for a small agent.
const WINDOW: u32 = 256 * 1024;
/// Answers of one-shot calls are small.
const MAX_ANSWER: usize = 1024 * 1024;
/// Where systems keep the roots of public authorities.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What went wrong on the way to the control plane.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// A file cannot be read or used.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no connection.
    #[error("{address}: {problem}")]
    Connect {
        /// The endpoint.
        address: String,
        /// Why.
        problem: String,
    },
    /// The exchange failed.
    #[error("{0}")]
    Exchange(String),
    /// The control plane answered with an error.
    #[error("gRPC status {code}: {message}")]
    Status {
        /// The gRPC status code.
        code: i32,
        /// Its message.
        message: String,
    },
}

/// What the agent shows to the control plane.
#[derive(Default)]
pub struct Credential {
    token: Option<String>,
    /// Chain and key in PEM.
    certificate: Option<(String, String)>,
}

impl Credential {
    /// The credential for an endpoint, from its files and the workload's own certificate.
    ///
    /// # Errors
    /// When a provisioned certificate cannot be read.
    pub fn read(endpoint: &Endpoint, own: Option<&WorkloadCertificate>) -> Result<Self, UpstreamError> {
        if endpoint.plaintext {
            return Ok(Self::default());
        }
        let token = read_token(&endpoint.token);
        let certificate = match &endpoint.certificate {
            Some(files) => Some((read(&files.chain)?, read(&files.key)?)),
            None if token.is_none() => own.filter(|c| !c.expired()).map(|c| (c.chain.clone(), c.key.clone())),
            None => None,
        };
        Ok(Self { token, certificate })
    }

    /// The headers of a call: those of the settings, and the token.
    ///
    /// # Errors
    /// When a header of the settings is none.
    pub fn headers(&self, endpoint: &Endpoint) -> Result<HeaderMap, UpstreamError> {
        let mut headers = grpc_headers();
        for (name, value) in &endpoint.headers {
            let bad = |e: String| UpstreamError::Exchange(format!("header {name}: {e}"));
            let value = HeaderValue::from_str(value).map_err(|e| bad(e.to_string()))?;
            let name = http::HeaderName::from_bytes(name.as_bytes()).map_err(|e| bad(e.to_string()))?;
            headers.insert(name, value);
        }
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| UpstreamError::Exchange("the token has characters that no header can have".into()))?;
            value.set_sensitive(true);
            headers.insert(http::header::AUTHORIZATION, value);
        }
        Ok(headers)
    }
}

/// The headers of any gRPC call.
pub fn grpc_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
    headers.insert(http::header::USER_AGENT, HeaderValue::from_static("tiphys-agent"));
    headers
}

fn read(path: &Path) -> Result<String, UpstreamError> {
    let failed = |e: std::io::Error| UpstreamError::File { path: path.display().to_string(), problem: e.to_string() };
    std::fs::read_to_string(path).map_err(failed)
}

/// The token in a file, unless it says itself that it has expired.
fn read_token(path: &Path) -> Option<String> {
    let token = std::fs::read_to_string(path).ok()?.trim().to_string();
    if token.is_empty() {
        return None;
    }
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Option<serde_json::Value> = claims.and_then(|json| serde_json::from_slice(&json).ok());
    let expiry = claims.and_then(|c| c.get("exp")?.as_u64());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    match expiry {
        Some(expiry) if expiry <= now => None,
        _ => Some(token),
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Connects to an endpoint, for requests with bodies of type `B`. A task drives the connection until it is dropped or ends.
///
/// # Errors
/// When the files, the connection or the handshake are not in order.
pub async fn connect<B>(endpoint: &Endpoint, credential: &Credential) -> Result<SendRequest<B>, UpstreamError>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let failed = |problem: String| UpstreamError::Connect { address: endpoint.address.clone(), problem };
    let connecting = async {
        let tcp = TcpStream::connect(&endpoint.address).await.map_err(|e| failed(e.to_string()))?;
        tcp.set_nodelay(true).map_err(|e| failed(e.to_string()))?;
        let io: Box<dyn Io> = if endpoint.plaintext {
            Box::new(tcp)
        } else {
            let config = tls(endpoint, credential)?;
            let name = server_name(endpoint)?;
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            Box::new(connector.connect(name, tcp).await.map_err(|e| failed(format!("TLS: {e}")))?)
        };
        let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE.0)
            .keep_alive_timeout(KEEPALIVE.1)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(64 * 1024)
            .handshake(TokioIo::new(io))
            .await;
        let (sender, connection) = handshake.map_err(|e| failed(format!("HTTP/2: {e}")))?;
        let address = endpoint.address.clone();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(address, %error, "connection ended");
            }
        });
        Ok(sender)
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(failed(format!("no connection within {CONNECT_TIMEOUT:?}"))),
    }
}

fn server_name(endpoint: &Endpoint) -> Result<ServerName<'static>, UpstreamError> {
    let host = endpoint.address.rsplit_once(':').map_or(endpoint.address.as_str(), |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = match &endpoint.server_name {
        Some(name) => name.as_str(),
        // A forwarded port: the certificate has the name of the Service.
        None if host == "localhost" => "istiod.istio-system.svc",
        None => host,
    };
    ServerName::try_from(name.to_string())
        .map_err(|e| UpstreamError::Connect { address: endpoint.address.clone(), problem: format!("{name:?}: {e}") })
}

fn tls(endpoint: &Endpoint, credential: &Credential) -> Result<ClientConfig, UpstreamError> {
    let wrong = |problem: String| UpstreamError::Exchange(format!("TLS: {problem}"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| wrong(e.to_string()))?
        .with_root_certificates(roots(endpoint)?);
    let mut config = match &credential.certificate {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
            let chain = chain.map_err(|e| wrong(format!("client certificate: {e}")))?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| wrong(format!("client key: {e}")))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| wrong(format!("client certificate: {e}")))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    // Connections are few and far between; sessions kept would cost memory only.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn roots(endpoint: &Endpoint) -> Result<RootCertStore, UpstreamError> {
    let path = match &endpoint.roots {
        Some(path) => path.clone(),
        None => {
            let told = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
            let usual = || SYSTEM_ROOTS.iter().map(std::path::PathBuf::from).find(|p| p.is_file());
            told.or_else(usual)
                .ok_or_else(|| UpstreamError::Exchange("TLS: this system has no root certificates".into()))?
        }
    };
    let wrong = |problem: String| UpstreamError::File { path: path.display().to_string(), problem };
    let pem = read(&path)?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|e| wrong(format!("no PEM: {e}")))?;
        let added = store.add(certificate);
        // Public bundles have a few that are not usable; our own must be.
        if let (Err(error), Some(_)) = (added, &endpoint.roots) {
            return Err(wrong(format!("root certificate: {error}")));
        }
    }
    if store.is_empty() {
        return Err(wrong("has no certificate in PEM".into()));
    }
    Ok(store)
}

/// A gRPC call with one message each way, over a connection of its own.
///
/// # Errors
/// [`UpstreamError::Status`] when the control plane refuses.
pub async fn unary(
    endpoint: &Endpoint,
    credential: &Credential,
    path: &str,
    message: &[u8],
) -> Result<Bytes, UpstreamError> {
    let mut sender = connect::<Full<Bytes>>(endpoint, credential).await?;
    let scheme = if endpoint.plaintext { "http" } else { "https" };
    let target = format!("{scheme}://{}{path}", endpoint.address);
    call(&mut sender, &target, credential.headers(endpoint)?, message).await
}

/// A gRPC call with one message each way. `target` is the method's URI.
///
/// # Errors
/// [`UpstreamError::Status`] when the server refuses, another when it does not answer as gRPC says.
pub async fn call(
    sender: &mut SendRequest<Full<Bytes>>,
    target: &str,
    headers: HeaderMap,
    message: &[u8],
) -> Result<Bytes, UpstreamError> {
    let broken = |e: String| UpstreamError::Exchange(format!("{target}: {e}"));
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).map_err(|e| broken(e.to_string()))?);
    frame.put_slice(message);
    let mut request = Request::post(target).body(Full::new(frame.freeze())).map_err(|e| broken(e.to_string()))?;
    *request.headers_mut() = headers;
    let response = sender.send_request(request).await.map_err(|e| broken(e.to_string()))?;
    if response.status() != http::StatusCode::OK {
        return Err(broken(format!("HTTP status {}", response.status())));
    }
    status(response.headers()).unwrap_or(Ok(()))?;
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|e| broken(e.to_string()))?;
    let none = HeaderMap::new();
    status(body.trailers().unwrap_or(&none)).unwrap_or(Ok(()))?;
    let bytes = body.to_bytes();
    match bytes.get(..5) {
        Some([0, a, b, c, d]) if bytes.len() - 5 == u32::from_be_bytes([*a, *b, *c, *d]) as usize => {
            Ok(bytes.slice(5..))
        }
        Some([1, ..]) => Err(broken("the answer is compressed, which was not asked for".into())),
        _ => Err(broken("the answer is no single gRPC message".into())),
    }
}

/// The gRPC status in headers or trailers, if they have one.
fn status(headers: &HeaderMap) -> Option<Result<(), UpstreamError>> {
    let code = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    if code == 0 {
        return Some(Ok(()));
    }
    let message = headers.get("grpc-message").and_then(|m| m.to_str().ok()).unwrap_or_default();
    Some(Err(UpstreamError::Status { code, message: percent_decode(message) }))
}

/// gRPC writes messages with percent signs for what headers cannot hold.
fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match code.and_then(|c| u8::from_str_radix(c, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_statuses() {
        assert_eq!(percent_decode("a%20b%zz%e2%82%ac%"), "a b%zz€%");
    }

    #[test]
    fn tokens_that_have_expired_are_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let token = |exp: u64| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{exp}}}")));
        assert_eq!(read_token(&path), None);
        for (content, shown) in [("", false), ("opaque\n", true), (&token(5), false), (&token(1 << 40), true)] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(read_token(&path).is_some(), shown, "{content}");
        }
    }
}
