// SPDX-License-Identifier: Apache-2.0
//! `grpc_server_*`: calls and messages of the gRPC ports, with the names and labels of go-grpc-prometheus, which istiod's dashboards read.
//!
//! A layer around all services counts calls; the bodies that it puts around those of a call count messages as their frames pass by. Nothing
//! is copied.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use prometheus::IntCounter;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::metrics::Metrics;

/// Services, methods and kinds of calls that there are; others are not counted, so that nobody can make up labels.
const METHODS: &[(&str, &str, &str)] = &[
    ("envoy.service.discovery.v3.AggregatedDiscoveryService", "StreamAggregatedResources", "bidi_stream"),
    ("envoy.service.discovery.v3.AggregatedDiscoveryService", "DeltaAggregatedResources", "bidi_stream"),
    ("istio.v1.auth.IstioCertificateService", "CreateCertificate", "unary"),
];

/// Counts calls and messages.
#[derive(Clone)]
pub struct GrpcMetricsLayer(pub Arc<Metrics>);

impl<S> Layer<S> for GrpcMetricsLayer {
    type Service = GrpcMetrics<S>;

    fn layer(&self, inner: S) -> GrpcMetrics<S> {
        GrpcMetrics { inner, metrics: self.0.clone() }
    }
}

/// See [`GrpcMetricsLayer`].
#[derive(Clone)]
pub struct GrpcMetrics<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for GrpcMetrics<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let Some(mut call) = Call::started(&self.metrics, request.uri().path()) else {
            return Box::pin(self.inner.call(request));
        };
        let received = Counted::new(call.counter(&self.metrics.calls.received), Some(self.metrics.clone()));
        let request = request.map(|inner| Body::new(CountedBody { inner, messages: received, call: None }));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            // A call that is refused at once has its status in the headers.
            call.see(response.headers());
            let sent = Counted::new(call.counter(&call.metrics.calls.sent), None);
            Ok(response.map(|inner| Body::new(CountedBody { inner, messages: sent, call: Some(call) })))
        })
    }
}

/// A call that is counted as handled when it is dropped.
struct Call {
    metrics: Arc<Metrics>,
    labels: [&'static str; 3],
    began: Instant,
    /// The client went away when nothing else is seen.
    code: Code,
}

impl Call {
    fn started(metrics: &Arc<Metrics>, path: &str) -> Option<Self> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let (service, method, kind) = METHODS.iter().find(|known| (known.0, known.1) == (service, method))?;
        let labels = [*method, *service, *kind];
        metrics.calls.started.with_label_values(&labels).inc();
        Some(Self { metrics: metrics.clone(), labels, began: Instant::now(), code: Code::Cancelled })
    }

    fn counter(&self, of: &prometheus::IntCounterVec) -> IntCounter {
        of.with_label_values(&self.labels)
    }

    fn see(&mut self, headers: &HeaderMap) {
        if let Some(status) = Status::from_header_map(headers) {
            self.code = status.code();
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let [method, service, kind] = self.labels;
        self.metrics.calls.handled.with_label_values(&[code_name(self.code), method, service, kind]).inc();
        self.metrics.calls.handling.with_label_values(&self.labels).observe(self.began.elapsed().as_secs_f64());
    }
}

/// The names that Go gives to codes.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// Finds messages in the bytes of a body: each has a header of five bytes, the last four being its length.
struct Counted {
    messages: IntCounter,
    /// Told of the length of each message: those that come in.
    largest: Option<Arc<Metrics>>,
    header: [u8; 5],
    /// How much of the header is there.
    filled: usize,
    /// How much of the message is still to come.
    left: usize,
}

impl Counted {
    fn new(messages: IntCounter, largest: Option<Arc<Metrics>>) -> Self {
        Self { messages, largest, header: [0; 5], filled: 0, left: 0 }
    }

    fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let passed = self.left.min(bytes.len());
                self.left -= passed;
                bytes.advance(passed);
                continue;
            }
            let taken = bytes.len().min(5 - self.filled);
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes.advance(taken);
            if self.filled == 5 {
                let [_, length @ ..] = self.header;
                let length = u32::from_be_bytes(length);
                (self.filled, self.left) = (0, length as usize);
                self.messages.inc();
                if let Some(metrics) = &self.largest {
                    metrics.received(i64::from(length));
                }
            }
        }
    }
}

/// A body whose messages are counted, and with it, where it is the response's, the end of the call.
struct CountedBody {
    inner: Body,
    messages: Counted,
    call: Option<Call>,
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            if let Some(data) = frame.data_ref() {
                self.messages.see(data);
            }
            if let (Some(trailers), Some(call)) = (frame.trailers_ref(), &mut self.call) {
                call.see(trailers);
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_in_whatever_pieces_they_come() {
        let metrics = Metrics::new().unwrap();
        let mut body = vec![0, 0, 0, 0, 3, 1, 2, 3];
        body.extend([0, 0, 0, 0, 0]);
        body.extend([0, 0, 0, 1, 0].into_iter().chain([7; 256]));
        for size in [1, 2, 7, 300] {
            let counter = IntCounter::new("a", "a").unwrap();
            let mut counted = Counted::new(counter.clone(), Some(metrics.clone()));
            body.chunks(size).for_each(|piece| counted.see(piece));
            assert_eq!((counter.get(), counted.left, counted.filled), (3, 0, 0), "pieces of {size}");
        }
        assert!(String::from_utf8(metrics.text().unwrap()).unwrap().contains("pilot_xds_recv_max 256"));
    }

    #[test]
    fn only_known_methods_are_counted() {
        let metrics = Metrics::new().unwrap();
        assert!(Call::started(&metrics, "/made.up/Method").is_none());
        let call = Call::started(&metrics, "/istio.v1.auth.IstioCertificateService/CreateCertificate");
        let mut call = call.unwrap();
        let mut trailers = HeaderMap::new();
        Status::unauthenticated("who").add_header(&mut trailers).unwrap();
        call.see(&trailers);
        drop(call);
        let text = String::from_utf8(metrics.text().unwrap()).unwrap();
        let line = "grpc_server_handled_total{grpc_code=\"Unauthenticated\",grpc_method=\"CreateCertificate\",\
                    grpc_service=\"istio.v1.auth.IstioCertificateService\",grpc_type=\"unary\"} 1";
        assert!(text.contains(line), "{text}");
    }
}
