// SPDX-License-Identifier: Apache-2.0
//! The gRPC service `envoy.service.discovery.v3.AggregatedDiscoveryService`.
//!
//! Requests go through tonic's decoder. Responses do not go through its encoder, which would copy each of them into a buffer of each
//! client: a stream's body gives the transport the session's shared pieces. The transport asks for the next piece when the client's
//! flow control window has room, and only then is the next response chosen: so a slow client costs nothing and delays nobody.

use crate::gathering::{ConnectionInfo, Pieces};
use crate::hub::Hub;
use crate::session::{Context, Request, Session};
use crate::wire::{Outgoing, Variant};
use crate::{ConfigSource, Peer, Signal, Signals};
use bytes::Bytes;
use http_body::Frame;
use prost::Message;
use std::convert::Infallible;
use std::future::ready;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use tiphys_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use tokio::time::Sleep;
use tokio_stream::Stream;
use tonic::{Status, Streaming};
use tonic_prost::ProstDecoder;

const NAME: &str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const SOTW: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

/// A drain ends streams in this many groups.
const DRAIN_TURNS: u64 = 256;
/// How many requests of one stream are taken before others have their turn.
const REQUESTS_AT_ONCE: usize = 64;

/// Settings of the service and its transport.
#[derive(Clone, Debug)]
pub struct Options {
    /// What each response tells of the server (`control_plane.identifier`); Istio's tools read JSON in it.
    pub control_plane: Arc<str>,
    /// How long a client may take to acknowledge clusters, endpoints or routes before what depends on them is sent anyway.
    pub patience: Duration,
    /// The largest request in bytes. A client that reconnects names all that it holds.
    pub max_request: usize,
    /// How many streams are served at once; more are refused with `RESOURCE_EXHAUSTED`.
    pub max_streams: usize,
    /// How many streams one connection may have.
    pub max_streams_per_connection: u32,
    /// The time between HTTP/2 pings on an idle connection, and how long an answer may take.
    pub keepalive: (Duration, Duration),
    /// The age, give or take a tenth, at which clients are to connect anew, so that replicas share the load; never without it.
    pub max_connection_age: Option<Duration>,
    /// How many streams a second are begun. More wait for up to a second, and are refused then; zero for no limit.
    pub new_streams_per_second: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            control_plane: "tiphys".into(),
            patience: Duration::from_secs(5),
            max_request: 16 << 20,
            max_streams: 100_000,
            max_streams_per_connection: 100_000,
            keepalive: (Duration::from_secs(30), Duration::from_secs(10)),
            max_connection_age: None,
            new_streams_per_second: 0,
        }
    }
}

impl Options {
    /// A tonic server with the transport settings of these options; add the services to it.
    pub fn transport(&self) -> tonic::transport::Server {
        let server = tonic::transport::Server::builder();
        // The connection takes no more streams from then on; those that it has end a little later, each at a time of its own.
        let server = match self.max_connection_age {
            Some(age) => server.max_connection_age(age.mul_f64(0.9)),
            None => server,
        };
        server
            .http2_keepalive_interval(Some(self.keepalive.0))
            .http2_keepalive_timeout(Some(self.keepalive.1))
            .max_concurrent_streams(Some(self.max_streams_per_connection))
            .initial_stream_window_size(Some(1 << 20))
            .initial_connection_window_size(Some(2 << 20))
            .tcp_nodelay(true)
    }
}

/// The discovery service over a [`ConfigSource`], as a layer for [`tonic::transport::Server::layer`].
pub struct AdsService<S>(Arc<Shared<S>>);

struct Shared<S> {
    context: Context<S>,
    options: Options,
    streams: AtomicUsize,
    numbers: AtomicU64,
    pace: Pace,
    signals: Signals,
    /// When streams begin to end, and over how long.
    drain: OnceLock<(Instant, Duration)>,
}

impl<S> Clone for AdsService<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: ConfigSource> AdsService<S> {
    /// A service over a source.
    pub fn new(source: Arc<S>, options: Options) -> Self {
        let context = Context {
            source,
            hub: Arc::new(Hub::default()),
            control_plane: Arc::clone(&options.control_plane),
            patience: options.patience,
        };
        // Streams of this process have other nonces than those of the one before.
        let first = RandomState::new().hash_one(NAME) & 0xffff_ffff_0000_0000;
        let (streams, numbers) = (AtomicUsize::new(0), AtomicU64::new(first));
        let pace = Pace::new(options.new_streams_per_second);
        let (signals, drain) = Default::default();
        Self(Arc::new(Shared { context, options, streams, numbers, pace, signals, drain }))
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        self.0.streams.load(Ordering::Relaxed)
    }

    /// Ends all streams, those that are still to come too, one after the other over this time: clients that all came back at once would hurt
    /// whoever takes them over.
    pub fn drain(&self, over: Duration) {
        self.0.drain.get_or_init(|| (Instant::now(), over));
        self.0.signals.raise();
    }

    fn open<M>(
        &self,
        request: http::Request<tonic::body::Body>,
        variant: Variant,
        counted: Counted<S>,
    ) -> tonic::body::Body
    where
        M: Message + Default + Into<Request> + 'static,
    {
        let shared = &self.0;
        let number = shared.numbers.fetch_add(1, Ordering::Relaxed);
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
        let decoder = ProstDecoder::<M>::default();
        let signal = Arc::new(Signal::default());
        shared.signals.add(&signal);
        tonic::body::Body::new(AdsBody::<S, M> {
            arrivals: Waker::from(Arc::clone(&signal)),
            signal: Arc::clone(&signal),
            turn: (number % DRAIN_TURNS) as u32,
            ends_at: shared.options.max_connection_age.map(|age| Instant::now() + jittered(age)),
            pieces: request.extensions().get::<ConnectionInfo>().map(|connection| connection.pieces.clone()),
            requests: Streaming::new_request(decoder, request.into_body(), None, Some(shared.options.max_request)),
            session: Session::new(shared.context.clone(), variant, peer, signal, number),
            timer: None,
            outgoing: None,
            offered: Instant::now(),
            end: None,
            counted,
        })
    }
}

/// As a layer it answers calls of discovery, and leaves others to what is behind it. A router in between would put two more boxes around each body.
impl<S: ConfigSource, R> tower::Layer<R> for AdsService<S> {
    type Service = AdsOr<S, R>;

    fn layer(&self, rest: R) -> AdsOr<S, R> {
        AdsOr { ads: self.clone(), rest }
    }
}

/// See the layer [`AdsService`].
pub struct AdsOr<S, R> {
    ads: AdsService<S>,
    rest: R,
}

impl<S, R: Clone> Clone for AdsOr<S, R> {
    fn clone(&self) -> Self {
        Self { ads: self.ads.clone(), rest: self.rest.clone() }
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<http::Response<tonic::body::Body>, Infallible>> + Send>>;

impl<S, R> tower::Service<http::Request<tonic::body::Body>> for AdsOr<S, R>
where
    S: ConfigSource,
    R: tower::Service<
            http::Request<tonic::body::Body>,
            Response = http::Response<tonic::body::Body>,
            Error = Infallible,
        >,
    R::Future: Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.rest.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let service = request.uri().path().strip_prefix('/').and_then(|path| path.split_once('/'));
        match service {
            Some((NAME, _)) => self.ads.call(request),
            _ => Box::pin(self.rest.call(request)),
        }
    }
}

impl<S: ConfigSource> tower::Service<http::Request<tonic::body::Body>> for AdsService<S> {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let variant = match request.uri().path() {
            DELTA => Variant::Delta,
            SOTW => Variant::Sotw,
            other => return refused(Status::unimplemented(format!("no method {other}"))),
        };
        let limit = self.0.options.max_streams;
        if self.0.streams.fetch_add(1, Ordering::Relaxed) >= limit {
            self.0.streams.fetch_sub(1, Ordering::Relaxed);
            return refused(Status::resource_exhausted(format!("this server serves {limit} streams at most")));
        }
        // From here on it is counted, also while it waits.
        let counted = Counted(Arc::clone(&self.0));
        let Some(wait) = self.0.pace.slot(Instant::now()) else {
            return refused(Status::unavailable("too many streams begin at once: try again, or connect to another"));
        };
        let service = self.clone();
        Box::pin(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let body = match variant {
                Variant::Delta => service.open::<DeltaDiscoveryRequest>(request, variant, counted),
                Variant::Sotw => service.open::<DiscoveryRequest>(request, variant, counted),
            };
            let mut response = http::Response::new(body);
            let grpc = http::HeaderValue::from_static("application/grpc");
            response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
            Ok(response)
        })
    }
}

fn refused(status: Status) -> Answering {
    Box::pin(ready(Ok(status.into_http())))
}

/// One stream in the number of those that are open.
struct Counted<S: ConfigSource>(Arc<Shared<S>>);

impl<S: ConfigSource> Drop for Counted<S> {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An age, give or take a tenth.
fn jittered(age: Duration) -> Duration {
    // Hashers are seeded anew each time: enough for a spread, without another dependency.
    let share = (RandomState::new().hash_one(0) >> 32) as f64 / f64::from(u32::MAX);
    age.mul_f64(0.9 + share * 0.2)
}

/// Spreads the beginnings of streams.
struct Pace {
    /// Time between two beginnings; zero for none.
    interval: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// Who would wait longer is refused: another replica may have time.
    const LONGEST: Duration = Duration::from_secs(1);

    fn new(per_second: u32) -> Self {
        let interval = if per_second == 0 { Duration::ZERO } else { Duration::from_secs(1) / per_second };
        Self { interval, next: Mutex::new(None) }
    }

    /// How long the stream has to wait; none when that is too long.
    fn slot(&self, now: Instant) -> Option<Duration> {
        if self.interval.is_zero() {
            return Some(Duration::ZERO);
        }
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = next.map_or(now, |next| next.max(now));
        let wait = slot - now;
        if wait > Self::LONGEST {
            return None;
        }
        *next = Some(slot + self.interval);
        Some(wait)
    }
}

/// The response side of one stream; polling it also takes the requests.
struct AdsBody<S: ConfigSource, M> {
    session: Session<S>,
    requests: Streaming<M>,
    signal: Arc<Signal>,
    /// Tells the signal of requests that came in.
    arrivals: Waker,
    /// Which of the turns of a drain is this stream's.
    turn: u32,
    ends_at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    outgoing: Option<Outgoing>,
    /// Where the transport finds the pieces again; none where it encrypts them.
    pieces: Option<Arc<Pieces>>,
    /// When the transport was offered it.
    offered: Instant,
    /// How the stream ended: its status while the trailers are still to be sent.
    end: Option<Option<Status>>,
    counted: Counted<S>,
}

/// No part of it is pinned in place.
impl<S: ConfigSource, M> Unpin for AdsBody<S, M> {}

impl<S: ConfigSource, M: Into<Request>> AdsBody<S, M> {
    /// Takes all that has come in. Gives the status with which the stream ends, if it does.
    fn take(&mut self, cx: &std::task::Context<'_>, now: Instant) -> Option<Status> {
        let raised = self.signal.take(cx);
        if raised.requests
            && let Some(status) = self.take_requests(now)
        {
            return Some(status);
        }
        if raised.view {
            let drain = self.counted.0.drain.get();
            let turn = drain.map(|(start, over)| *start + *over * self.turn / DRAIN_TURNS as u32);
            self.ends_at = [self.ends_at, turn].into_iter().flatten().min();
            self.session.refresh(now);
        }
        self.ends_at.is_some_and(|end| end <= now).then(|| {
            Status::unavailable("this stream is over, by its age or because the control plane stops: connect anew")
        })
    }

    fn take_requests(&mut self, now: Instant) -> Option<Status> {
        for _ in 0..REQUESTS_AT_ONCE {
            match Pin::new(&mut self.requests).poll_next(&mut std::task::Context::from_waker(&self.arrivals)) {
                Poll::Ready(Some(Ok(request))) => {
                    if let Err(status) = self.session.receive(request.into(), now) {
                        return Some(status);
                    }
                }
                Poll::Ready(Some(Err(status))) => return Some(status),
                Poll::Ready(None) => return Some(Status::ok("")),
                Poll::Pending => return None,
            }
        }
        self.arrivals.wake_by_ref();
        None
    }

    /// Sees to being polled again when the session's deadline is over.
    fn wait(&mut self, cx: &mut std::task::Context<'_>, now: Instant) {
        let Some(deadline) = [self.session.deadline(now), self.ends_at].into_iter().flatten().min() else {
            self.timer = None;
            return;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        if timer.deadline() != deadline.into() {
            timer.as_mut().reset(deadline.into());
        }
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

impl<S, M> http_body::Body for AdsBody<S, M>
where
    S: ConfigSource,
    M: Into<Request> + Send + 'static,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            if let Some(piece) = this.outgoing.as_mut().and_then(Iterator::next) {
                if let Some(pieces) = &this.pieces {
                    pieces.give(&piece);
                }
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if this.outgoing.take().is_some() {
                this.session.written(this.offered.elapsed());
            }
            if let Some(end) = &mut this.end {
                return Poll::Ready(end.take().map(|status| trailers(&status)));
            }
            let now = Instant::now();
            if let Some(status) = this.take(cx, now).or_else(|| this.session.poll_answers(cx)) {
                this.session.close();
                this.end = Some(Some(status));
                continue;
            }
            match this.session.next(now) {
                Some(response) => {
                    this.outgoing = Some(response);
                    this.offered = now;
                }
                None => {
                    this.wait(cx, now);
                    return Poll::Pending;
                }
            }
        }
    }
}

fn trailers(status: &Status) -> Result<Frame<Bytes>, Status> {
    let mut map = http::HeaderMap::new();
    status.add_header(&mut map)?;
    Ok(Frame::trailers(map))
}

impl<S: ConfigSource, M> Drop for AdsBody<S, M> {
    fn drop(&mut self) {
        self.session.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_are_spread_and_a_herd_is_refused() {
        let (pace, now) = (Pace::new(10), Instant::now());
        let waits: Vec<_> = (0..20).map(|_| pace.slot(now)).collect();
        assert_eq!(waits[..3], [0, 100, 200].map(|ms| Some(Duration::from_millis(ms))));
        assert_eq!(waits.iter().flatten().count(), 11);
        // A second later there is room for ten more.
        let later = now + Duration::from_secs(1);
        assert_eq!((0..20).filter_map(|_| pace.slot(later)).count(), 10);
        assert_eq!(Pace::new(0).slot(now), Some(Duration::ZERO));
    }

    #[test]
    fn ages_differ() {
        let age = Duration::from_secs(1_000);
        let ages: Vec<_> = (0..100).map(|_| jittered(age)).collect();
        assert!(ages.iter().all(|a| (900..=1_100).contains(&a.as_secs())));
        assert!(ages.iter().max().unwrap().as_secs() - ages.iter().min().unwrap().as_secs() > 100);
    }
}
