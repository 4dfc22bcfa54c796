// SPDX-License-Identifier: Apache-2.0
//! TLS of the secure port: which certificate is shown, and connections whose handshake is done.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use rustls::SupportedProtocolVersion;
use rustls::server::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tiphys_ca::{Authority, ServerIdentity, TlsConnection, server_config};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;

use crate::cli::TransportArgs;

/// A client that does not finish its handshake in this time is let go.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes and accepted connections that wait for the server.
const WAITING: usize = 256;

/// The TLS configuration in force: another one takes its place when the authority gets other roots.
pub type Current = Arc<ArcSwap<ServerConfig>>;

/// The configuration that the flags ask for, with the authority's roots of this moment.
///
/// # Errors
/// When a file cannot be used.
pub fn configure(
    args: &TransportArgs,
    authority: &Authority,
    identity: &Arc<ServerIdentity>,
) -> anyhow::Result<Arc<ServerConfig>> {
    let own = own(args)?;
    if own.is_none() && args.tls_min_version == "1.2" {
        return Ok(server_config(identity.clone())?);
    }
    let verifier = authority.trust().client_verifier(true)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions: &[&SupportedProtocolVersion] = match args.tls_min_version.as_str() {
        "1.3" => &[&rustls::version::TLS13],
        _ => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(verifier);
    let mut config = match own {
        Some((chain, key)) => {
            builder.with_single_cert(chain, key).context("--tlsCertFile and --tlsKeyFile do not belong together")?
        }
        None => builder.with_cert_resolver(identity.clone()),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// Certificate chain and private key of the flags' files.
pub type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The files of the flags, where they are given.
///
/// # Errors
/// When a file cannot be used.
pub fn own(args: &TransportArgs) -> anyhow::Result<Option<Own>> {
    Ok(match (&args.tls_cert_file, &args.tls_key_file) {
        (Some(cert), Some(key)) => Some((certificates(cert)?, private_key(key)?)),
        _ => None,
    })
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = fs::read(path).with_context(|| path.display().to_string())?;
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().with_context(|| path.display().to_string())?;
    if found.is_empty() {
        bail!("{}: holds no certificate in PEM", path.display());
    }
    Ok(found)
}

fn private_key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let pem = fs::read(path).with_context(|| path.display().to_string())?;
    PrivateKeyDer::from_pem_slice(&pem).with_context(|| format!("{}: holds no private key in PEM", path.display()))
}

/// Makes the configuration anew whenever the authority gets other roots.
pub async fn follow(current: Current, args: TransportArgs, authority: Arc<Authority>, identity: Arc<ServerIdentity>) {
    let mut changes = authority.subscribe();
    changes.mark_unchanged();
    while changes.changed().await.is_ok() {
        match configure(&args, &authority, &identity) {
            Ok(config) => current.store(config),
            Err(error) => tracing::error!(target: "security", "the former TLS configuration stays in force: {error:#}"),
        }
    }
}

/// Accepts connections and does their handshakes, each for itself, so that a slow one holds up no other. Ends when the stream is dropped.
pub fn incoming(
    listener: TcpListener,
    current: Current,
) -> (impl Future<Output = ()>, impl Stream<Item = io::Result<TlsConnection>>) {
    let (done, connections) = mpsc::channel(WAITING);
    let accept = async move {
        let handshakes = tokio_util::task::TaskTracker::new();
        loop {
            let tcp = tokio::select! {
                () = done.closed() => return,
                accepted = listener.accept() => match accepted {
                    Ok((tcp, _)) => tcp,
                    Err(error) => {
                        // Out of file descriptors, say: waiting is all that helps.
                        tracing::warn!(target: "security", %error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            let acceptor = TlsAcceptor::from(current.load_full());
            let done = done.clone();
            handshakes.spawn(async move {
                let peer = tcp.peer_addr().map(|a| a.to_string()).unwrap_or_default();
                // Without this small responses wait for the client's acknowledgements.
                let _ = tcp.set_nodelay(true);
                match tokio::time::timeout(HANDSHAKE, acceptor.accept(tcp)).await {
                    Ok(Ok(stream)) => drop(done.send(Ok(TlsConnection::new(stream))).await),
                    Ok(Err(error)) => tracing::info!(target: "security", "TLS handshake with {peer} failed: {error}"),
                    Err(_) => tracing::info!(target: "security", "TLS handshake with {peer} took too long"),
                }
            });
        }
    };
    (accept, ReceiverStream::new(connections))
}
