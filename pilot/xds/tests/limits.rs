// SPDX-License-Identifier: Apache-2.0
//! Slow readers, limits, and ends of streams.

mod common;

use common::*;
use std::time::{Duration, Instant};
use tiphys_xds::Options;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_slow_readers_do_not_delay_a_fast_one() {
    let server = serve(Options::default()).await;
    let large = |v: usize| (0..200).map(|i| (format!("c{i:03}"), format!("{v:010}").repeat(150))).collect::<Vec<_>>();
    let view = |v: usize| {
        let pairs = large(v);
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, c)| (&**n, &**c)).collect();
        vec![(CDS, table(CDS, &pairs))]
    };
    server.stub.set(view(0));
    let mut slow = Vec::new();
    for i in 0..20 {
        let client = Delta::connect(&server, &format!("slow-{i}")).await;
        // It asks and never reads: 300 KB wait before a window of 64 KB.
        client.subscribe(CDS, &[], &[]).await;
        server.stub.wait_event(&format!("slow-{i} sent cds 200 0")).await;
        slow.push(client);
    }
    let mut fast = Delta::connect(&server, "fast").await;
    fast.subscribe(CDS, &[], &[]).await;
    let first = fast.receive().await;
    fast.answer(&first, None).await;
    for version in 1..=10 {
        let begin = Instant::now();
        server.stub.set(view(version));
        let response = fast.receive().await;
        assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
        let value = text(&response.resources[199].resource.as_ref().unwrap().value);
        assert!(value.starts_with(&format!("{version:010}")));
        fast.answer(&response, None).await;
    }
    // What waited is the first view; the next one is the latest, and none in between was queued.
    for client in &mut slow {
        let first = client.receive().await;
        assert!(text(&first.resources[0].resource.as_ref().unwrap().value).starts_with("0000000000"));
        client.answer(&first, None).await;
        let last = client.receive().await;
        assert!(text(&last.resources[0].resource.as_ref().unwrap().value).starts_with("0000000010"));
        client.answer(&last, None).await;
    }
}

#[tokio::test]
async fn streams_are_limited() {
    let server = serve(Options { max_streams: 2, ..Options::default() }).await;
    let (one, _two) = (Delta::connect(&server, "1").await, Delta::connect(&server, "2").await);
    let refused = channel(server.address).await.delta_aggregated_resources(tokio_stream::pending()).await;
    assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
    drop(one);
    server.stub.wait_event("1 gone").await;
    while server.service.streams() > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Delta::connect(&server, "3").await;
}

#[tokio::test]
async fn requests_are_limited() {
    let server = serve(Options { max_request: 10_000, ..Options::default() }).await;
    let mut client = Delta::connect(&server, "p").await;
    client.subscribe(RDS, &["x".repeat(20_000).as_str()], &[]).await;
    assert_eq!(client.responses.message().await.unwrap_err().code(), Code::OutOfRange);
    server.stub.wait_event("p gone").await;
}

#[tokio::test]
async fn strangers_and_nameless_clients_are_refused() {
    let server = serve(Options::default()).await;
    let mut stranger = Delta::connect(&server, "stranger").await;
    let status = stranger.responses.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "strangers are not served"));
    let nameless = tokio_stream::once(Default::default());
    let mut responses = channel(server.address).await.stream_aggregated_resources(nameless).await.unwrap().into_inner();
    assert_eq!(responses.message().await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_client_that_ends_its_requests_ends_the_stream() {
    let server = serve(Options::default()).await;
    let Delta { requests, mut responses } = Delta::connect(&server, "p").await;
    drop(requests);
    assert!(responses.message().await.unwrap().is_none());
    server.stub.wait_event("p gone").await;
}
