// SPDX-License-Identifier: Apache-2.0
//! TLS of the webhooks' port. The API server shows no certificate: what it asks is public knowledge, and what it is answered binds only it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::server::ServerConfig;
use tiphys_ca::ServerIdentity;
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::cli::TransportArgs;
use crate::tls::{self, Current};

/// Reviews that are under way when the control plane stops have this long.
const DRAIN: Duration = Duration::from_secs(3);

/// Shows the serving certificate, which renews itself.
///
/// # Errors
/// When the versions of TLS cannot be served.
pub fn acceptor(args: &TransportArgs, identity: &Arc<ServerIdentity>) -> anyhow::Result<Current> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = if args.tls_min_version == "1.3" {
        &[&rustls::version::TLS13][..]
    } else {
        &[&rustls::version::TLS13, &rustls::version::TLS12][..]
    };
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)?.with_no_client_auth();
    let mut config = builder.with_cert_resolver(identity.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(ArcSwap::new(Arc::new(config))))
}

/// Serves until told to stop, then lets what is under way come to its end.
pub async fn serve(listener: TcpListener, acceptor: Current, router: Router, stop: CancellationToken) {
    let (accept, connections) = tls::incoming(listener, acceptor);
    let under_way = GracefulShutdown::new();
    let serving = async {
        let mut connections = std::pin::pin!(connections);
        while let Some(connection) = connections.next().await {
            let Ok(connection) = connection else { continue };
            let server = auto::Builder::new(TokioExecutor::new());
            let service = TowerToHyperService::new(router.clone());
            let connection = server.serve_connection(TokioIo::new(connection), service).into_owned();
            let connection = under_way.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(target: "webhook", "a connection ended: {error}");
                }
            });
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = accept => {}
        () = serving => {}
    }
    // Those that do not end in time are cut.
    let _ = tokio::time::timeout(DRAIN, under_way.shutdown()).await;
}
