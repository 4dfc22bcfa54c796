// SPDX-License-Identifier: Apache-2.0
//! TLS of the secure port: which certificate is shown, and connections whose handshake is done.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::server::ServerConfig;
use tiphys_ca::{ServerIdentity, TlsConnection, TrustBundle, server_config};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
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

/// The configuration that the flags ask for, with the roots of this moment.
///
/// # Errors
/// When the roots cannot be trust anchors.
pub fn configure(
    args: &TransportArgs,
    roots: &TrustBundle,
    identity: &Arc<ServerIdentity>,
) -> anyhow::Result<Arc<ServerConfig>> {
    if args.tls_min_version != "1.3" {
        return Ok(server_config(identity.clone(), roots)?);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(roots.client_verifier(true)?)
        .with_cert_resolver(identity.clone());
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// Makes the configuration anew whenever there are other roots.
pub async fn follow(
    current: Current,
    args: TransportArgs,
    mut roots: watch::Receiver<Arc<TrustBundle>>,
    identity: Arc<ServerIdentity>,
) {
    while roots.changed().await.is_ok() {
        let trust = roots.borrow_and_update().clone();
        match configure(&args, &trust, &identity) {
            Ok(config) => current.store(config),
            Err(error) => tracing::error!(target: "security", "the former TLS configuration stays in force: {error:#}"),
        }
    }
    // Roots that never change again.
    std::future::pending().await
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
