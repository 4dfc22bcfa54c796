// SPDX-License-Identifier: Apache-2.0
//! What a change costs: the difference of large tables, and one push to many streams without sockets.
#![allow(missing_docs, clippy::unwrap_used)]

use bytes::{BufMut, Bytes, BytesMut};
use divan::Bencher;
use http_body::{Body, Frame};
use prost::Message;
use std::pin::Pin;
use std::sync::{Arc, RwLock};
use std::task::{Context, Poll, Waker};
use tiphys_proto::envoy::config::core::v3::Node;
use tiphys_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use tiphys_xds::{AdsService, ClientView, ConfigSource, Entry, Options, Peer, ResourceType, Signal, Signals, Table};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::Service;

fn main() {
    divan::main();
}

fn entries(count: usize) -> Vec<Entry> {
    let name = |i| format!("outbound|80||service-{i:05}.bench.example");
    (0..count).map(|i| Entry::new(name(i), ResourceType::CLUSTER.url(), vec![1; 200])).collect()
}

#[divan::bench]
fn build_table_of_10k(bencher: Bencher) {
    bencher.with_inputs(|| entries(10_000)).bench_values(Table::from_entries);
}

#[divan::bench]
fn patch_one_of_10k(bencher: Bencher) {
    let table = Table::from_entries(entries(10_000));
    let changed = Entry::new("outbound|80||service-05000.bench.example", ResourceType::CLUSTER.url(), [2]);
    bencher.with_inputs(|| vec![changed.clone()]).bench_values(|upserts| table.patch(upserts, &[]));
}

#[divan::bench]
fn diff_of_10k_with_one_change(bencher: Bencher) {
    let table = Table::from_entries(entries(10_000));
    let changed = Entry::new("outbound|80||service-05000.bench.example", ResourceType::CLUSTER.url(), [2]);
    let next = table.patch(vec![changed], &[]);
    bencher.bench(|| Table::diff(&table, &next));
}

#[divan::bench]
fn diff_of_10k_rebuilt_with_one_change(bencher: Bencher) {
    let table = Table::from_entries(entries(10_000));
    let mut changed = entries(10_000);
    changed[5_000].version += 1;
    let next = Table::from_entries(changed);
    bencher.bench(|| Table::diff(&table, &next));
}

#[divan::bench]
fn diff_of_10k_all_changed(bencher: Bencher) {
    let table = Table::from_entries(entries(10_000));
    let mut changed = entries(10_000);
    changed.iter_mut().for_each(|e| e.version += 1);
    let next = Table::from_entries(changed);
    bencher.bench(|| Table::diff(&table, &next));
}

struct Source {
    view: RwLock<Arc<ClientView>>,
    signals: Signals,
}

impl ConfigSource for Source {
    type Client = ();

    fn connect(&self, _: &Node, _: &Peer, signal: &Arc<Signal>) -> Result<(), tonic::Status> {
        self.signals.add(signal);
        Ok(())
    }

    fn view(&self, (): &()) -> Arc<ClientView> {
        Arc::clone(&self.view.read().unwrap())
    }
}

struct Stream {
    requests: mpsc::UnboundedSender<Bytes>,
    responses: Pin<Box<tonic::body::Body>>,
}

impl Stream {
    fn send(&self, request: &DeltaDiscoveryRequest) {
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(request.encoded_len() as u32);
        frame.put_slice(&request.encode_to_vec());
        self.requests.send(frame.freeze()).unwrap();
    }

    /// Takes what the stream sends now, and acknowledges it.
    fn take(&mut self) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        let mut taken = BytesMut::new();
        while let Poll::Ready(Some(Ok(frame))) = self.responses.as_mut().poll_frame(&mut cx) {
            taken.extend_from_slice(frame.data_ref().unwrap());
        }
        if taken.is_empty() {
            return 0;
        }
        let response = DeltaDiscoveryResponse::decode(&taken[5..]).unwrap();
        self.send(&DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            ..Default::default()
        });
        response.resources.len()
    }
}

/// One cluster changes: it is sent to 10,000 streams, and the acknowledgements of the change before are taken.
#[divan::bench(sample_count = 20)]
fn push_to_10k_streams(bencher: Bencher) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let table = Table::from_entries(entries(100));
    let view = |generation, table| Arc::new(ClientView::new(generation).with(ResourceType::CLUSTER, table));
    let source = Arc::new(Source { view: RwLock::new(view(0, table.clone())), signals: Signals::default() });
    let mut service = AdsService::new(Arc::clone(&source), Options::default());
    let mut streams: Vec<Stream> = (0..10_000).map(|_| open(&mut service)).collect();
    streams.iter_mut().for_each(|s| assert_eq!(s.take(), 100));
    let mut generation = 0u64;
    bencher.bench_local(|| {
        generation += 1;
        let body = generation.to_le_bytes();
        let changed = Entry::new("outbound|80||service-00050.bench.example", ResourceType::CLUSTER.url(), body);
        *source.view.write().unwrap() = view(generation, table.patch(vec![changed], &[]));
        source.signals.raise();
        streams.iter_mut().map(Stream::take).sum::<usize>()
    });
}

fn open(service: &mut AdsService<Source>) -> Stream {
    let (requests, received) = mpsc::unbounded_channel::<Bytes>();
    let frames = UnboundedReceiverStream::new(received).map(|b| Ok::<_, tonic::Status>(Frame::data(b)));
    let uri = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
    let body = tonic::body::Body::new(http_body_util::StreamBody::new(frames));
    let mut opening = service.call(http::Request::post(uri).body(body).unwrap());
    // Without a limit of new streams it is there at once.
    let Poll::Ready(Ok(response)) = opening.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("the stream is not opened")
    };
    let stream = Stream { requests, responses: Box::pin(response.into_body()) };
    stream.send(&DeltaDiscoveryRequest {
        node: Some(Node::default()),
        type_url: ResourceType::CLUSTER.url().into(),
        ..Default::default()
    });
    stream
}
