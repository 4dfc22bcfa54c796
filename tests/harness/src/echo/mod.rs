// SPDX-License-Identifier: Apache-2.0
//! A service that tells what reached it. It stands for every application of the demo and the tests: HTTP/1 and h2c on one port
//! ([`http`]), lines of text over TCP or TLS ([`lines`]), and calls to other services through its own sidecar.

pub mod http;
pub mod lines;
pub mod tls;

use anyhow::{Context, Result};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What one echo service serves, and as whom.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The service's name, as its answers say it.
    pub name: String,
    /// Its version, as its answers say it.
    pub version: String,
    /// HTTP/1 and h2c.
    pub http: Vec<SocketAddr>,
    /// HTTP over TLS, with the service's own certificate.
    pub https: Vec<SocketAddr>,
    /// Lines of text.
    pub tcp: Vec<SocketAddr>,
    /// PEM files of the certificate chain and its key, for `https`.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Where its sidecar listens for what the service sends: calls go to this address at the port of their URL.
    pub sidecar: Option<IpAddr>,
}

/// What the connections of one service share.
#[derive(Debug)]
pub struct Service {
    config: Config,
    /// How often each request id was seen, to fail the first few attempts of it.
    attempts: Mutex<BTreeMap<String, u32>>,
}

/// Binds every address of `config` and serves until the process ends.
///
/// # Errors
/// When an address cannot be bound or the certificate cannot be read.
pub async fn serve(config: Config) -> Result<()> {
    let acceptor = match &config.certificate {
        Some((chain, key)) => Some(tls::acceptor(chain, key)?),
        None => None,
    };
    let mut listeners = Vec::new();
    for (mode, addresses) in [(Mode::Http, &config.http), (Mode::Https, &config.https), (Mode::Lines, &config.tcp)] {
        for address in addresses {
            let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
            listeners.push((mode, listener));
        }
    }
    let service = Arc::new(Service { config, attempts: Mutex::default() });
    let mut tasks = JoinSet::new();
    for (mode, listener) in listeners {
        let acceptor = acceptor.clone().filter(|_| mode == Mode::Https);
        tasks.spawn(accept(service.clone(), mode, listener, acceptor));
    }
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// The ends of a connection.
#[derive(Clone, Copy)]
struct Ends {
    /// The service's.
    address: SocketAddr,
    /// Who connected.
    peer: IpAddr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Http,
    Https,
    Lines,
}

async fn accept(service: Arc<Service>, mode: Mode, listener: TcpListener, acceptor: Option<TlsAcceptor>) {
    loop {
        // An error here is about a connection that is gone already, or about too many: the next one may do better.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (service, acceptor) = (service.clone(), acceptor.clone());
        tokio::spawn(async move {
            // What breaks a connection is its client's business: the client sees it.
            let _ = connection(service, mode, stream, acceptor).await;
        });
    }
}

async fn connection(service: Arc<Service>, mode: Mode, stream: TcpStream, acceptor: Option<TlsAcceptor>) -> Result<()> {
    stream.set_nodelay(true)?;
    let ends = Ends { address: stream.local_addr()?, peer: stream.peer_addr()?.ip() };
    match (mode, acceptor) {
        (Mode::Lines, _) => lines::serve(&service.config, stream).await,
        (_, Some(acceptor)) => serve_http(service, ends, acceptor.accept(stream).await?).await,
        (_, None) => serve_http(service, ends, stream).await,
    }
}

async fn serve_http<S>(service: Arc<Service>, ends: Ends, stream: S) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = hyper::service::service_fn(move |request| {
        let service = service.clone();
        async move { http::answer(&service, ends, request).await }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    server.serve_connection(TokioIo::new(stream), answer).await.map_err(|error| anyhow::anyhow!(error))
}
