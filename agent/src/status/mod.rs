// SPDX-License-Identifier: Apache-2.0
//! What the agent answers over HTTP on `statusPort` (15020): readiness, metrics, the application's probes, and the commands to
//! drain and to quit.
//!
//! | path | answer |
//! |---|---|
//! | `GET /healthz/ready` | 200 when Envoy is live and has configuration, else 503 with the reason |
//! | `GET /stats/prometheus`, `/metrics` | the agent's metrics, then Envoy's and the application's |
//! | `GET /app-health/...`, `/app-lifecycle/...` | the application's own probes and hooks |
//! | `GET /debug/plaintext` | connections of the last hour without mutual TLS, as JSON; `?minutes=` for less |
//! | `GET /debug/ndsz` | the names of the mesh that the DNS proxy knows; from loopback only |
//! | `POST /quitquitquit` | ends agent and Envoy at once; from loopback only |
//! | `POST /drain` | drains Envoy, which goes on until the agent is told to end; from loopback only |

mod merge;
mod page;
mod probe_http;
mod probes;
mod ready;

pub use merge::Scraping;
pub use probes::Probes;
pub use ready::Readiness;

use crate::connections::Connections;
use crate::dns::Dns;
use crate::identity::SecretStore;
use crate::metrics::Metrics;
use crate::settings::Settings;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use page::{Page, page};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// What a caller on loopback may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// End now.
    Quit,
    /// Drain, and stay.
    Drain,
}

/// Answers requests.
pub struct StatusServer {
    scraping: Scraping,
    probes: Probes,
    readiness: Arc<Readiness>,
    dns: Option<Arc<Dns>>,
    connections: Option<Arc<Connections>>,
    orders: mpsc::Sender<Order>,
}

/// How many minutes are told of.
const MINUTES: u32 = 60;

impl StatusServer {
    /// A server that passes orders on to `orders`.
    ///
    /// # Errors
    /// Names what of the application's probes and metrics is not understood.
    pub fn new(
        settings: &Arc<Settings>,
        store: Arc<SecretStore>,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
        dns: Option<Arc<Dns>>,
        orders: mpsc::Sender<Order>,
    ) -> Result<Arc<Self>, String> {
        let scraping = Scraping::new(settings.clone(), store, metrics)?;
        let (probes, connections) = (Probes::new(settings)?, Connections::new(settings));
        Ok(Arc::new(Self { scraping, probes, readiness, dns, connections, orders }))
    }

    /// Listens where the settings say.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn listen(settings: &Settings) -> Result<TcpListener, String> {
        let address = SocketAddr::new(settings.ports.listen, settings.config().status_port);
        TcpListener::bind(address).await.map_err(|e| format!("status port {address}: {e}"))
    }

    /// Serves for as long as it is polled.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        if let Some(connections) = &self.connections {
            tokio::spawn(connections.clone().run());
        }
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "status port");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let server = self.clone();
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request| server.clone().answer(request, peer.ip()));
                let served = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(10))
                    .max_buf_size(16 * 1024)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                if let Err(error) = served {
                    tracing::debug!(%error, "connection on the status port");
                }
            });
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: IpAddr) -> Result<Response<Page>, Infallible> {
        Ok(match (request.method(), request.uri().path()) {
            (&Method::GET, "/healthz/ready") => match self.readiness.check().await {
                Ok(()) => page(StatusCode::OK, String::new()),
                Err(reason) => page(StatusCode::SERVICE_UNAVAILABLE, reason),
            },
            (&Method::GET, "/stats/prometheus" | "/metrics") => {
                self.scraping.answer(request.uri(), request.headers(), peer).await
            }
            (&Method::POST, "/quitquitquit") => self.order(Order::Quit, peer),
            (&Method::POST, "/drain") => self.order(Order::Drain, peer),
            (&Method::GET, "/debug/ndsz") => self.names(peer),
            (&Method::GET, "/debug/plaintext") => self.plaintext(request.uri().query(), peer).await,
            (_, "/quitquitquit" | "/drain") => page(StatusCode::METHOD_NOT_ALLOWED, "use POST".into()),
            (_, path) if path.starts_with("/app-health/") || path.starts_with("/app-lifecycle/") => {
                self.probes.answer(request.into_parts().0).await
            }
            _ => page(StatusCode::NOT_FOUND, "not found".into()),
        })
    }

    fn names(&self, peer: IpAddr) -> Response<Page> {
        if !peer.to_canonical().is_loopback() {
            return page(StatusCode::FORBIDDEN, "only from this machine".into());
        }
        match self.dns.as_ref().and_then(|dns| dns.table()) {
            Some(table) => page(StatusCode::OK, table.to_json()),
            None => page(StatusCode::NOT_FOUND, "{}".into()),
        }
    }

    /// Whoever may scrape metrics may ask: the control plane does, which is elsewhere.
    async fn plaintext(&self, query: Option<&str>, peer: IpAddr) -> Response<Page> {
        if self.scraping.refuses(peer) {
            return page(StatusCode::FORBIDDEN, "only from this machine".into());
        }
        let Some(connections) = &self.connections else {
            return page(StatusCode::NOT_FOUND, "only sidecars count connections".into());
        };
        let asked = query.into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("minutes="));
        let Ok(minutes) = asked.map_or(Ok(MINUTES), str::parse) else {
            return page(StatusCode::BAD_REQUEST, "minutes: a number from 1 to 60".into());
        };
        match connections.taken(minutes).await {
            Ok(taken) => page(StatusCode::OK, serde_json::to_string(&taken).unwrap_or_default()),
            Err(error) => page(StatusCode::SERVICE_UNAVAILABLE, error),
        }
    }

    fn order(&self, order: Order, peer: IpAddr) -> Response<Page> {
        if !peer.to_canonical().is_loopback() {
            return page(StatusCode::FORBIDDEN, "only from this machine".into());
        }
        // A second order while the first is being taken changes nothing.
        let _ = self.orders.try_send(order);
        page(StatusCode::OK, "OK".into())
    }
}
