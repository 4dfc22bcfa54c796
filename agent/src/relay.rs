// SPDX-License-Identifier: Apache-2.0
//! Envoy's configuration stream, passed on to the control plane.
//!
//! Envoy speaks HTTP/2 on a Unix socket. For each of its streams of the aggregated discovery service (delta or state of the world)
//! there is one connection to the control plane; what either side sends is passed on as it comes, without decoding (also extension
//! configurations, ECDS). Where the agent answers DNS queries, [`crate::names`] shares the stream. HTTP/2's flow control holds on both sides: when one does not read, the other is not read from.
//!
//! When the control plane cannot be reached, Envoy's stream is held while the agent tries again, with a growing time between tries
//! and jitter. When a running stream ends, so does Envoy's; Envoy opens another one and tells in it which versions it holds.

use crate::dns::Dns;
use crate::identity::{SecretStore, backoff};
use crate::metrics::Metrics;
use crate::names::{Requests, Subscription, Tap};
use crate::settings::Endpoint;
use crate::uds;
use crate::upstream::{self, Credential, UpstreamError};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::UnixListener;

/// The methods that are passed on.
const METHODS: [&str; 2] = [
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
];
/// First and longest wait between tries to reach the control plane.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How much of a stream may be under way unread.
const WINDOW: u32 = 256 * 1024;

const UNIMPLEMENTED: u8 = 12;
const UNAVAILABLE: u8 = 14;

/// Passes streams on.
pub struct Relay {
    endpoint: Endpoint,
    store: Arc<SecretStore>,
    metrics: Arc<Metrics>,
    dns: Option<Arc<Dns>>,
}

type RelayBody = Either<Tracked, Empty<Bytes>>;

impl Relay {
    /// A relay to the control plane at `endpoint`; `dns` gets the names of the mesh.
    pub fn new(endpoint: Endpoint, store: Arc<SecretStore>, metrics: Arc<Metrics>, dns: Option<Arc<Dns>>) -> Arc<Self> {
        Arc::new(Self { endpoint, store, metrics, dns })
    }

    /// Serves on a socket for as long as it is polled.
    pub async fn serve(self: Arc<Self>, listener: UnixListener) {
        loop {
            match uds::accept(&listener).await {
                Ok(stream) => {
                    let relay = self.clone();
                    tokio::spawn(async move {
                        let service = hyper::service::service_fn(move |request| relay.clone().pass(request));
                        let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .timer(TokioTimer::new())
                            .initial_stream_window_size(WINDOW)
                            .initial_connection_window_size(WINDOW)
                            .max_send_buf_size(64 * 1024)
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                        if let Err(error) = served {
                            tracing::debug!(%error, "Envoy's connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::error!(%error, "socket for configuration");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn pass(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<RelayBody>, Infallible> {
        let path = request.uri().path().to_string();
        if !METHODS.contains(&path.as_str()) {
            return Ok(refusal(UNIMPLEMENTED, &format!("{path} is not relayed")));
        }
        let (mut sender, credential) = self.connect().await;
        let (tap, body) = match &self.dns {
            Some(dns) => {
                let (subscription, body) = Subscription::new(request.into_body(), path == METHODS[0], dns.clone());
                (Some(Tap::new(subscription)), body)
            }
            None => (None, Requests::plain(request.into_body())),
        };
        let exchange = async {
            let request = self.upstream_request(&path, &credential, body)?;
            sender.send_request(request).await.map_err(|e| UpstreamError::Exchange(e.to_string()))
        };
        match exchange.await {
            Ok(response) => {
                tracing::info!(address = self.endpoint.address, "configuration stream opened");
                let metrics = self.metrics.clone();
                Ok(response.map(|body| Either::Left(Tracked::new(body, metrics, tap))))
            }
            Err(error) => {
                self.metrics.connection_terminations.add();
                tracing::warn!(address = self.endpoint.address, %error, "configuration stream failed");
                Ok(refusal(UNAVAILABLE, "the control plane ended the stream"))
            }
        }
    }

    /// A connection, however long it takes. Envoy ends the wait by closing its stream.
    async fn connect(&self) -> (hyper::client::conn::http2::SendRequest<Requests>, Credential) {
        let mut failures = 0;
        loop {
            match self.try_connect().await {
                Ok(connected) => return connected,
                Err(error) => {
                    self.metrics.connection_failures.add();
                    failures += 1;
                    let wait = backoff(failures, BACKOFF);
                    tracing::warn!(%error, ?wait, "cannot reach the control plane");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn try_connect(
        &self,
    ) -> Result<(hyper::client::conn::http2::SendRequest<Requests>, Credential), UpstreamError> {
        let credential = Credential::read(&self.endpoint, self.store.current().as_deref())?;
        Ok((upstream::connect(&self.endpoint, &credential).await?, credential))
    }

    fn upstream_request(
        &self,
        path: &str,
        credential: &Credential,
        body: Requests,
    ) -> Result<Request<Requests>, UpstreamError> {
        let scheme = if self.endpoint.plaintext { "http" } else { "https" };
        let mut request = Request::post(format!("{scheme}://{}{path}", self.endpoint.address))
            .body(body)
            .map_err(|e| UpstreamError::Exchange(e.to_string()))?;
        *request.headers_mut() = credential.headers(&self.endpoint)?;
        Ok(request)
    }
}

/// A gRPC answer without messages.
fn refusal(code: u8, message: &str) -> Response<RelayBody> {
    let mut response = Response::new(Either::Right(Empty::new()));
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(u16::from(code)));
    if let Ok(message) = HeaderValue::from_str(message) {
        headers.insert("grpc-message", message);
    }
    response
}

/// The control plane's side of a stream: passes all frames but those that the agent itself asked for, and notes who ended it.
pub struct Tracked {
    inner: Incoming,
    metrics: Arc<Metrics>,
    tap: Option<Tap>,
    ended: bool,
}

impl Tracked {
    fn new(inner: Incoming, metrics: Arc<Metrics>, tap: Option<Tap>) -> Self {
        metrics.streams.fetch_add(1, Relaxed);
        Self { inner, metrics, tap, ended: false }
    }

    /// The next frame, past the tap.
    fn poll_sorted(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(tap) = &mut self.tap else { return Pin::new(&mut self.inner).poll_frame(cx) };
        loop {
            if let Some(piece) = tap.take_passed() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => tap.push(data),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return Poll::Ready(other),
            }
        }
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = self.poll_sorted(cx);
        match &polled {
            Poll::Ready(None) => self.ended = true,
            Poll::Ready(Some(Err(error))) => {
                self.ended = true;
                tracing::info!(%error, "the control plane's connection broke");
            }
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => self.ended = true,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.tap.is_some() { SizeHint::default() } else { self.inner.size_hint() }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.metrics.streams.fetch_sub(1, Relaxed);
        let by = if self.ended {
            self.metrics.connection_terminations.add();
            "control plane"
        } else {
            self.metrics.envoy_terminations.add();
            "Envoy"
        };
        tracing::info!(by, "configuration stream ended");
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
