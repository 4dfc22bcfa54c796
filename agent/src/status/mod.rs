// SPDX-License-Identifier: Apache-2.0
//! What the agent answers over HTTP on `statusPort` (15020): readiness, metrics, and the commands to drain and to quit.
//!
//! | path | answer |
//! |---|---|
//! | `GET /healthz/ready` | 200 when Envoy is live and has configuration, else 503 with the reason |
//! | `GET /stats/prometheus`, `/metrics` | the agent's metrics, then Envoy's |
//! | `POST /quitquitquit` | ends agent and Envoy at once; from loopback only |
//! | `POST /drain` | drains Envoy, which goes on until the agent is told to end; from loopback only |

mod ready;

pub use ready::Readiness;

use crate::identity::SecretStore;
use crate::metrics::Metrics;
use crate::net;
use crate::settings::Settings;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const SCRAPE_TIMEOUT: Duration = Duration::from_secs(3);

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
    settings: Arc<Settings>,
    store: Arc<SecretStore>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    orders: mpsc::Sender<Order>,
}

impl StatusServer {
    /// A server that passes orders on to `orders`.
    pub fn new(
        settings: Arc<Settings>,
        store: Arc<SecretStore>,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
        orders: mpsc::Sender<Order>,
    ) -> Arc<Self> {
        Arc::new(Self { settings, store, metrics, readiness, orders })
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
        let query = request.uri().query();
        Ok(match (request.method(), request.uri().path()) {
            (&Method::GET, "/healthz/ready") => match self.readiness.check().await {
                Ok(()) => page(StatusCode::OK, String::new()),
                Err(reason) => page(StatusCode::SERVICE_UNAVAILABLE, reason),
            },
            (&Method::GET, "/stats/prometheus" | "/metrics") => self.metrics(query).await,
            (&Method::POST, "/quitquitquit") => self.order(Order::Quit, peer),
            (&Method::POST, "/drain") => self.order(Order::Drain, peer),
            (_, "/quitquitquit" | "/drain") => page(StatusCode::METHOD_NOT_ALLOWED, "use POST".into()),
            (_, path) if path.starts_with("/app-health/") || path.starts_with("/app-lifecycle/") => {
                page(StatusCode::NOT_FOUND, "probes of the application are not rewritten by this agent".into())
            }
            _ => page(StatusCode::NOT_FOUND, "not found".into()),
        })
    }

    fn order(&self, order: Order, peer: IpAddr) -> Response<Page> {
        if !peer.to_canonical().is_loopback() {
            return page(StatusCode::FORBIDDEN, "only from this machine".into());
        }
        // A second order while the first is being taken changes nothing.
        let _ = self.orders.try_send(order);
        page(StatusCode::OK, "OK".into())
    }

    async fn metrics(&self, query: Option<&str>) -> Response<Page> {
        let own = self.metrics.text(&self.store);
        let path = format!("/stats/prometheus{}{}", if query.is_some() { "?" } else { "" }, query.unwrap_or_default());
        let address = self.settings.admin_address();
        let scrape = tokio::time::timeout(SCRAPE_TIMEOUT, net::send(Method::GET, &address, &path)).await;
        let envoy = match scrape {
            Ok(Ok(response)) if response.status() == StatusCode::OK => Some(response.into_body()),
            Ok(Ok(response)) => {
                tracing::warn!(status = %response.status(), "Envoy's metrics");
                None
            }
            Ok(Err(error)) => {
                tracing::debug!(error, "Envoy's metrics");
                None
            }
            Err(_) => None,
        };
        let mut response = Response::new(Page { first: Some(own.into()), rest: envoy });
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
        response
    }
}

fn page(status: StatusCode, text: String) -> Response<Page> {
    let mut response = Response::new(Page { first: Some(text.into()), rest: None });
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Text of our own, and after it what Envoy answers, as it comes.
pub struct Page {
    first: Option<Bytes>,
    rest: Option<Incoming>,
}

impl Body for Page {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(first) = self.first.take().filter(|f| !f.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.as_ref().is_none_or(Bytes::is_empty) && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }
}
