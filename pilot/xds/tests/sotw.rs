// SPDX-License-Identifier: Apache-2.0
//! The state-of-the-world variant, by a scripted client.

mod common;

use common::*;

#[tokio::test]
async fn full_types_name_all_and_others_what_changed() {
    let server = serve_default().await;
    server.stub.set(vec![
        (CDS, table(CDS, &[("a", "c1"), ("b", "c1")])),
        (EDS, table(EDS, &[("a", "1"), ("b", "1")])),
        (LDS, table(LDS, &[])),
    ]);
    let mut client = Sotw::connect(&server, "p").await;
    client.request(CDS, &[], "", "", None).await;
    let first = client.expect(CDS, &[], &["c1", "c1"]).await;
    client.request(LDS, &[], "", "", None).await;
    client.expect(LDS, &[], &[]).await;
    client.request(EDS, &["a", "b", "none"], "", "", None).await;
    client.expect(EDS, &["a", "b", "none"], &["1", "1"]).await;
    client.expect_nothing().await;
    server.stub.set(vec![
        (CDS, table(CDS, &[("a", "c1"), ("b", "c1")])),
        (EDS, table(EDS, &[("a", "1"), ("b", "2")])),
        (LDS, table(LDS, &[("l", "l1")])),
    ]);
    client.expect(EDS, &["a", "b"], &["2"]).await;
    client.expect(LDS, &[], &["l1"]).await;
    // The request gave up a name that did not exist: nothing to say.
    client.expect_nothing().await;
    // A changed cluster: all clusters, and then its endpoints although they are as before.
    server.stub.set(vec![
        (CDS, table(CDS, &[("a", "c2"), ("b", "c1")])),
        (EDS, table(EDS, &[("a", "1"), ("b", "2")])),
        (LDS, table(LDS, &[("l", "l1")])),
    ]);
    let second = client.expect(CDS, &[], &["c2", "c1"]).await;
    assert_ne!(first.version_info, second.version_info);
    client.expect(EDS, &["a", "b"], &["1"]).await;
    // Fewer clusters: all that are left, and the client gives up the endpoints.
    server.stub.set(vec![
        (CDS, table(CDS, &[("a", "c2")])),
        (EDS, table(EDS, &[("a", "1")])),
        (LDS, table(LDS, &[("l", "l1")])),
    ]);
    client.expect(CDS, &[], &["c2"]).await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn an_explicit_subscription_ends_the_legacy_wildcard() {
    let server = serve_default().await;
    server.stub.set(vec![(CDS, table(CDS, &[("a", "1"), ("b", "1")]))]);
    let mut client = Sotw::connect(&server, "p").await;
    client.request(CDS, &[], "", "", None).await;
    client.expect(CDS, &["a"], &["1", "1"]).await;
    server.stub.set(vec![(CDS, table(CDS, &[("a", "2"), ("b", "2")]))]);
    let last = client.expect(CDS, &["a"], &["2"]).await;
    client.request(CDS, &["*", "a"], &last.version_info, &last.nonce, None).await;
    let last = client.expect(CDS, &["*"], &["2", "2"]).await;
    client.request(CDS, &[], &last.version_info, &last.nonce, None).await;
    server.stub.set(vec![(CDS, table(CDS, &[("a", "3"), ("b", "3")]))]);
    client.expect_nothing().await;
}

#[tokio::test]
async fn a_reconnect_with_the_same_version_gets_nothing() {
    let server = serve_default().await;
    let tables = |v: &str| {
        vec![
            (CDS, table(CDS, &[("a", "1"), ("b", v)])),
            (EDS, table(EDS, &[("a", "1"), ("b", "1")])),
            (LDS, table(LDS, &[("l", "1")])),
        ]
    };
    server.stub.set(tables("1"));
    let mut client = Sotw::connect(&server, "p").await;
    client.request(CDS, &[], "", "", None).await;
    let cds = client.expect(CDS, &[], &["1", "1"]).await.version_info;
    client.request(EDS, &["b", "a"], "", "", None).await;
    let eds = client.expect(EDS, &["a", "b"], &["1", "1"]).await.version_info;
    client.request(LDS, &[], "", "", None).await;
    let lds = client.expect(LDS, &[], &["1"]).await.version_info;
    drop(client);
    let mut client = Sotw::connect(&server, "q").await;
    client.request(CDS, &[], &cds, "", None).await;
    client.request(EDS, &["a", "b"], &eds, "old nonce", None).await;
    client.request(LDS, &[], &lds, "", None).await;
    client.expect_nothing().await;
    drop(client);
    server.stub.set(tables("2"));
    let mut client = Sotw::connect(&server, "r").await;
    client.request(CDS, &[], &cds, "", None).await;
    client.request(EDS, &["a", "b"], &eds, "", None).await;
    client.request(LDS, &[], &lds, "", None).await;
    client.expect(CDS, &[], &["1", "2"]).await;
    client.expect(EDS, &["a", "b"], &["1", "1"]).await;
    client.expect_nothing().await;
    drop(client);
    // All listeners are gone: only an empty answer tells it.
    server.stub.set(vec![(LDS, table(LDS, &[]))]);
    let mut client = Sotw::connect(&server, "s").await;
    client.request(LDS, &[], &lds, "", None).await;
    client.expect(LDS, &[], &[]).await;
}

#[tokio::test]
async fn the_version_names_the_set_that_is_held() {
    let server = serve_default().await;
    server.stub.set(vec![(EDS, table(EDS, &[("a", "1"), ("b", "1")]))]);
    let mut client = Sotw::connect(&server, "p").await;
    client.request(EDS, &["a", "b"], "", "", None).await;
    let both = client.expect(EDS, &["a"], &["1", "1"]).await;
    let one = client.expect(EDS, &["a"], &[]).await;
    assert_ne!(both.version_info, one.version_info);
    client.request(EDS, &["a", "b"], &one.version_info, &one.nonce, None).await;
    assert_eq!(client.expect(EDS, &["a", "b"], &["1"]).await.version_info, both.version_info);
}

#[tokio::test]
async fn a_refused_version_is_not_repeated() {
    let server = serve_default().await;
    server.stub.set(vec![(LDS, table(LDS, &[("a", "1"), ("b", "1")]))]);
    let mut client = Sotw::connect(&server, "p").await;
    client.request(LDS, &[], "", "", None).await;
    let good = client.expect(LDS, &[], &["1", "1"]).await;
    server.stub.set(vec![(LDS, table(LDS, &[("a", "bad"), ("b", "1")]))]);
    let bad = client.expect_unanswered(LDS, &["bad", "1"]).await;
    client.request(LDS, &[], &good.version_info, &good.nonce, None).await;
    client.request(LDS, &[], &good.version_info, &bad.nonce, Some("no")).await;
    client.expect_nothing().await;
    server.stub.wait_event("p stale lds").await;
    server.stub.wait_event("p nacked lds 3 no").await;
    server.stub.set(vec![(LDS, table(LDS, &[("a", "bad"), ("b", "2")]))]);
    client.expect(LDS, &[], &["1", "2"]).await;
    server.stub.set(vec![(LDS, table(LDS, &[("a", "2"), ("b", "2")]))]);
    client.expect(LDS, &[], &["2", "2"]).await;
}
