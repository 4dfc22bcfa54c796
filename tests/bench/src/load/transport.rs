// SPDX-License-Identifier: Apache-2.0
//! One HTTP/2 connection with one gRPC stream for each sidecar, as Envoy has it.

use super::{Mode, Settings, Shared};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use h2::{RecvStream, SendStream};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// The two directions of a stream.
pub struct Stream {
    pub send: SendStream<Bytes>,
    pub receive: RecvStream,
}

/// Connects a sidecar and opens its stream; `first` is its first request, without which some servers do not answer.
pub async fn open(shared: &Shared, first: Bytes) -> Result<Stream> {
    let tcp = TcpStream::connect(shared.settings.addr).await.context("cannot connect")?;
    tcp.set_nodelay(true)?;
    match &shared.tls {
        None => handshake(tcp, &shared.settings, first).await,
        Some(connector) => {
            let name = ServerName::try_from(shared.settings.server_name.clone())?;
            handshake(connector.connect(name, tcp).await.context("TLS handshake")?, &shared.settings, first).await
        }
    }
}

async fn handshake<T>(io: T, settings: &Settings, first: Bytes) -> Result<Stream>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Envoy's windows; its frames are of the default size.
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(16 << 20).initial_connection_window_size(24 << 20);
    let (mut client, connection) = builder.handshake::<T, Bytes>(io).await?;
    tokio::spawn(async move {
        // Its error shows on the stream too.
        let _ = connection.await;
    });
    let method = match settings.mode {
        Mode::Delta => "DeltaAggregatedResources",
        Mode::Sotw => "StreamAggregatedResources",
    };
    let scheme = if settings.tls { "https" } else { "http" };
    let service = "envoy.service.discovery.v3.AggregatedDiscoveryService";
    let request = http::Request::post(format!("{scheme}://{}/{service}/{method}", settings.addr))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    client = client.ready().await?;
    let (response, mut send) = client.send_request(request, false)?;
    send.send_data(first, false)?;
    let response = response.await?;
    ensure!(response.status() == 200, "HTTP status {}", response.status());
    if let Some(status) = response.headers().get("grpc-status") {
        anyhow::bail!("gRPC status {status:?} {:?}", response.headers().get("grpc-message"));
    }
    Ok(Stream { send, receive: response.into_body() })
}

/// TLS with the roots, and the client certificate if there is one.
pub fn tls(settings: &Settings) -> Result<tokio_rustls::TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    let ca = settings.ca.as_ref().context("--tls needs --ca")?;
    for certificate in CertificateDer::pem_file_iter(ca).with_context(|| format!("cannot read {}", ca.display()))? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match (&settings.cert, &settings.key) {
        (Some(cert), Some(key)) => {
            let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config).into())
}
