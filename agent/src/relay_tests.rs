// SPDX-License-Identifier: Apache-2.0
//! The relay between a client that stands for Envoy and a control plane of raw HTTP/2.

use super::*;
use bytes::BytesMut;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::client::conn::http2::SendRequest;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

type Writer = mpsc::Sender<Result<Frame<Bytes>, Infallible>>;
type Out = StreamBody<ReceiverStream<Result<Frame<Bytes>, Infallible>>>;

const DELTA: &str = METHODS[0];

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        address: address.to_string(),
        roots: None,
        server_name: None,
        plaintext: true,
        headers: BTreeMap::from([("clusterid".into(), "Kubernetes".into())]),
        certificate: None,
        token: "/nonexistent/token".into(),
    }
}

async fn relay(address: SocketAddr) -> (TempDir, Arc<Metrics>, SendRequest<Out>) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("XDS");
    let metrics = Arc::new(Metrics::default());
    let relay = Relay::new(endpoint(address), Arc::default(), metrics.clone(), None);
    tokio::spawn(relay.serve(uds::listen(&path).await.unwrap()));
    let stream = TokioIo::new(UnixStream::connect(path).await.unwrap());
    let (sender, connection) =
        hyper::client::conn::http2::Builder::new(TokioExecutor::new()).handshake(stream).await.unwrap();
    tokio::spawn(connection);
    (dir, metrics, sender)
}

/// Opens a stream as Envoy would; what goes into the sender goes out.
fn open(
    sender: &mut SendRequest<Out>,
    path: &str,
) -> (Writer, impl Future<Output = hyper::Result<Response<Incoming>>>) {
    let (out, body) = mpsc::channel(1);
    let request = Request::post(format!("http://xds{path}")).body(StreamBody::new(ReceiverStream::new(body))).unwrap();
    (out, sender.send_request(request))
}

/// A control plane that sends each frame back, and then a gRPC status.
async fn echo(listener: TcpListener) {
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
            assert_eq!(request.headers()["clusterid"], "Kubernetes");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            assert!(!request.headers().contains_key("authorization"), "no token over plaintext");
            let status = [("grpc-status", "0")].map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()));
            let mut frames = request.into_body();
            let (out, body) = mpsc::channel(1);
            tokio::spawn(async move {
                while let Some(Ok(frame)) = frames.frame().await {
                    out.send(Ok::<_, Infallible>(frame)).await.unwrap();
                }
                let trailers = http::HeaderMap::from_iter(status);
                out.send(Ok(Frame::trailers(trailers))).await.unwrap();
            });
            Ok::<_, Infallible>(Response::new(StreamBody::new(ReceiverStream::new(body))))
        });
        let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(http.serve_connection(TokioIo::new(tcp), service));
    }
}

#[tokio::test]
async fn bytes_and_status_pass_unchanged() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_dir, metrics, mut sender) = relay(listener.local_addr().unwrap()).await;
    tokio::spawn(echo(listener));
    let (out, answer) = open(&mut sender, DELTA);
    let sent: Bytes = (0..300_000u32).map(|n| n.to_le_bytes()[0]).collect::<Vec<u8>>().into();
    let writer = async {
        out.send(Ok(Frame::data(sent.clone()))).await.unwrap();
        drop(out);
    };
    let reader = async {
        let mut body = answer.await.unwrap().into_body();
        assert_eq!(metrics.streams.load(Relaxed), 1);
        let mut got = BytesMut::new();
        loop {
            let frame = body.frame().await.unwrap().unwrap();
            match frame.into_data() {
                Ok(data) => got.extend_from_slice(&data),
                Err(frame) => break assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "0"),
            }
        }
        got
    };
    let ((), got) = tokio::join!(writer, reader);
    assert_eq!(got.freeze(), sent);
    assert_eq!(metrics.connection_terminations.get(), 1);
    assert_eq!(metrics.streams.load(Relaxed), 0);
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_sender() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_dir, _metrics, mut sender) = relay(listener.local_addr().unwrap()).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(move |_| {
            let counter = counter.clone();
            let (out, body) = mpsc::channel(1);
            tokio::spawn(async move {
                let chunk = Bytes::from(vec![0; 16 * 1024]);
                while out.send(Ok::<_, Infallible>(Frame::data(chunk.clone()))).await.is_ok() {
                    counter.fetch_add(chunk.len(), Relaxed);
                }
            });
            async { Ok::<_, Infallible>(Response::new(StreamBody::new(ReceiverStream::new(body)))) }
        });
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(tcp), service)
            .await
            .unwrap();
    });
    let (_out, answer) = open(&mut sender, DELTA);
    let mut body = answer.await.unwrap().into_body();
    let settled = || async {
        let mut last = usize::MAX;
        while last != sent.load(Relaxed) {
            last = sent.load(Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        last
    };
    let held = settled().await;
    // What lies in windows and buffers of three connections, and no more.
    assert!(held < 8 * 1024 * 1024, "{held} bytes went out to a reader that does not read");
    let mut read = 0;
    while read < 4 * held {
        read += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    assert!(sent.load(Relaxed) > held);
}

#[tokio::test]
async fn a_stream_waits_for_a_control_plane_that_is_not_there_yet() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (_dir, metrics, mut sender) = relay(address).await;
    let (out, answer) = open(&mut sender, DELTA);
    out.send(Ok(Frame::data("early".into()))).await.unwrap();
    let late = async {
        while metrics.connection_failures.get() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::spawn(echo(TcpListener::bind(address).await.unwrap()));
    };
    let (answer, ()) = tokio::join!(answer, late);
    let frame = answer.unwrap().into_body().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "early");
}

#[tokio::test]
async fn only_configuration_is_relayed() {
    let (_dir, metrics, mut sender) = relay("127.0.0.1:1".parse().unwrap()).await;
    let request = Request::post("http://xds/istio.v1.auth.IstioCertificateService/CreateCertificate");
    let (_out, body) = mpsc::channel(1);
    let request = request.body(StreamBody::new(ReceiverStream::new(body))).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "12");
    assert_eq!(metrics.connection_failures.get(), 0);
}

#[tokio::test]
async fn a_control_plane_that_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_dir, _metrics, mut sender) = relay(listener.local_addr().unwrap()).await;
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(|_| async {
            let response = Response::builder().header("grpc-status", "16").header("content-type", "application/grpc");
            Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
        });
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(tcp), service)
            .await
            .unwrap();
    });
    let (_out, answer) = open(&mut sender, DELTA);
    assert_eq!(answer.await.unwrap().headers()["grpc-status"], "16");
}
