// SPDX-License-Identifier: Apache-2.0
//! Nothing is referred to before it is there or after it is gone.

mod common;

use common::*;
use std::time::{Duration, Instant};
use tiphys_xds::{Options, ResourceType, Table};

fn world(clusters: Pairs, endpoints: Pairs, listeners: Pairs, routes: Pairs) -> Vec<(ResourceType, Table)> {
    vec![
        (CDS, table(CDS, clusters)),
        (EDS, table(EDS, endpoints)),
        (LDS, table(LDS, listeners)),
        (RDS, table(RDS, routes)),
    ]
}

async fn booted(server: &Server) -> Delta {
    server.stub.set(world(&[("a", "1")], &[("a", "1")], &[("l", "r")], &[("r", "a")]));
    let mut client = Delta::connect(server, "p").await;
    client.subscribe(CDS, &[], &[]).await;
    client.expect(CDS, &[("a", "1")], &[]).await;
    client.subscribe(EDS, &["a"], &[]).await;
    client.expect(EDS, &[("a", "1")], &[]).await;
    client.subscribe(LDS, &[], &[]).await;
    client.expect(LDS, &[("l", "r")], &[]).await;
    client.subscribe(RDS, &["r"], &[]).await;
    client.expect(RDS, &[("r", "a")], &[]).await;
    client
}

#[tokio::test]
async fn clusters_endpoints_routes_then_removals() {
    let server = serve(Options::default()).await;
    let mut client = booted(&server).await;
    let last = server.stub.set(world(&[("b", "1")], &[("b", "1")], &[("l", "r")], &[("r", "b")]));
    let cds = client.expect_unanswered(CDS, &[("b", "1")], &[]).await;
    client.expect_nothing().await;
    client.answer(&cds, None).await;
    // The client has the cluster, but routes have to wait for its endpoints.
    client.expect_nothing().await;
    client.subscribe(EDS, &["b"], &[]).await;
    let eds = client.expect_unanswered(EDS, &[("b", "1")], &[]).await;
    client.expect_nothing().await;
    client.answer(&eds, None).await;
    let rds = client.expect_unanswered(RDS, &[("r", "b")], &[]).await;
    client.expect_nothing().await;
    client.answer(&rds, None).await;
    client.expect(CDS, &[], &["a"]).await;
    client.expect(EDS, &[], &["a"]).await;
    client.subscribe(EDS, &[], &["a"]).await;
    server.stub.wait_event(&format!("p synced {last}")).await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn state_of_the_world_sends_the_union_first() {
    let server = serve(Options::default()).await;
    server.stub.set(world(&[("a", "a1")], &[("a", "1")], &[("l", "r")], &[("r", "a")]));
    let mut client = Sotw::connect(&server, "p").await;
    client.request(CDS, &[], "", "", None).await;
    client.expect(CDS, &[], &["a1"]).await;
    client.request(EDS, &["a"], "", "", None).await;
    let eds = client.expect(EDS, &["a"], &["1"]).await;
    client.request(LDS, &[], "", "", None).await;
    client.expect(LDS, &[], &["r"]).await;
    client.request(RDS, &["r"], "", "", None).await;
    client.expect(RDS, &["r"], &["a"]).await;
    server.stub.set(world(&[("b", "b1")], &[("b", "1")], &[("l", "r")], &[("r", "b")]));
    client.expect(CDS, &[], &["a1", "b1"]).await;
    client.request(EDS, &["a", "b"], &eds.version_info, &eds.nonce, None).await;
    client.expect(EDS, &["a", "b"], &["1"]).await;
    client.expect(RDS, &["r"], &["b"]).await;
    client.expect(CDS, &[], &["b1"]).await;
}

#[tokio::test]
async fn endpoints_alone_go_at_once() {
    let server = serve(Options::default()).await;
    let mut client = booted(&server).await;
    // Clusters and routes of this view are under way and not answered.
    server.stub.set(world(&[("a", "1")], &[("a", "1")], &[("l", "r")], &[("r", "a and more")]));
    let rds = client.expect_unanswered(RDS, &[("r", "a and more")], &[]).await;
    server.stub.set(world(&[("a", "1")], &[("a", "2")], &[("l", "r")], &[("r", "a and more")]));
    client.expect(EDS, &[("a", "2")], &[]).await;
    client.answer(&rds, None).await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn endpoints_of_a_changed_cluster_are_sent_again() {
    let server = serve(Options::default()).await;
    let mut client = booted(&server).await;
    server.stub.set(world(&[("a", "2")], &[("a", "1")], &[("l", "r")], &[("r", "a 2")]));
    client.expect(CDS, &[("a", "2")], &[]).await;
    client.expect(EDS, &[("a", "1")], &[]).await;
    client.expect(RDS, &[("r", "a 2")], &[]).await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn a_client_that_never_answers_does_not_wait_for_ever() {
    let server = serve(Options { patience: Duration::from_millis(400), ..Options::default() }).await;
    let mut client = booted(&server).await;
    server.stub.set(world(&[("b", "1")], &[("b", "1")], &[("l", "r")], &[("r", "b")]));
    let begin = Instant::now();
    let cds = client.expect_unanswered(CDS, &[("b", "1")], &[]).await;
    client.expect_unanswered(RDS, &[("r", "b")], &[]).await;
    assert!(begin.elapsed() >= Duration::from_millis(390), "{:?}", begin.elapsed());
    client.answer(&cds, None).await;
    client.expect_unanswered(CDS, &[], &["a"]).await;
}

#[tokio::test]
async fn a_client_that_asks_for_no_endpoints_is_not_waited_for() {
    let server = serve(Options { patience: Duration::from_secs(10), ..Options::default() }).await;
    server.stub.set(world(&[("a", "1")], &[("a", "1")], &[("l", "r")], &[("r", "a")]));
    let mut client = Delta::connect(&server, "p").await;
    client.subscribe(CDS, &[], &[]).await;
    client.expect(CDS, &[("a", "1")], &[]).await;
    client.subscribe(LDS, &[], &[]).await;
    client.expect(LDS, &[("l", "r")], &[]).await;
    server.stub.set(world(&[("a", "1"), ("b", "1")], &[("a", "1"), ("b", "1")], &[("l", "r2")], &[("r2", "b")]));
    let begin = Instant::now();
    client.expect(CDS, &[("b", "1")], &[]).await;
    client.expect(LDS, &[("l", "r2")], &[]).await;
    assert!(begin.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn a_route_of_a_later_view_waits_for_its_clusters() {
    let server = serve(Options::default()).await;
    let mut client = booted(&server).await;
    let routes = &[("r", "a"), ("s", "b")];
    server.stub.set(world(&[("a", "1"), ("b", "1")], &[("a", "1"), ("b", "1")], &[("l", "r,s")], routes));
    let cds = client.expect_unanswered(CDS, &[("b", "1")], &[]).await;
    // Not told as missing either: it will come.
    client.subscribe(RDS, &["s"], &[]).await;
    client.expect_nothing().await;
    client.subscribe(EDS, &["b"], &[]).await;
    client.answer(&cds, None).await;
    client.expect(EDS, &[("b", "1")], &[]).await;
    client.expect(LDS, &[("l", "r,s")], &[]).await;
    client.expect(RDS, &[("s", "b")], &[]).await;
}
