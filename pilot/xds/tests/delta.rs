// SPDX-License-Identifier: Apache-2.0
//! The delta variant, by a scripted client.

mod common;

use common::*;

#[tokio::test]
async fn wildcard_gets_all_then_changes_then_removals() {
    let server = serve_default().await;
    server.stub.set(vec![(CDS, table(CDS, &[("a", "1"), ("b", "1")])), (LDS, table(LDS, &[]))]);
    let mut client = Delta::connect(&server, "p").await;
    client.subscribe(CDS, &[], &[]).await;
    let first = client.expect(CDS, &[("a", "1"), ("b", "1")], &[]).await;
    assert_eq!(first.control_plane.unwrap().identifier, "tiphys");
    client.subscribe(LDS, &["*"], &[]).await;
    // An empty answer is one too: the client waits for it.
    client.expect(LDS, &[], &[]).await;
    server.stub.set(vec![(CDS, table(CDS, &[("a", "1"), ("b", "2"), ("c", "1")])), (LDS, table(LDS, &[]))]);
    let second = client.expect(CDS, &[("b", "2"), ("c", "1")], &[]).await;
    assert_ne!(first.nonce, second.nonce);
    assert_ne!(first.system_version_info, second.system_version_info);
    server.stub.set(vec![(CDS, table(CDS, &[("b", "2"), ("c", "1")])), (LDS, table(LDS, &[]))]);
    client.expect(CDS, &[], &["a"]).await;
    let last = server.stub.set(vec![(CDS, table(CDS, &[("b", "2"), ("c", "1")])), (LDS, table(LDS, &[]))]);
    client.expect_nothing().await;
    server.stub.wait_event(&format!("p synced {last}")).await;
    drop(client);
    server.stub.wait_event("p gone").await;
    assert_eq!(server.service.streams(), 0);
}

#[tokio::test]
async fn names_that_do_not_exist_are_answered_as_removed() {
    let server = serve_default().await;
    server.stub.set(vec![(RDS, table(RDS, &[("r", "1")]))]);
    let mut client = Delta::connect(&server, "p").await;
    client.subscribe(RDS, &["r", "none"], &[]).await;
    client.expect(RDS, &[("r", "1")], &["none"]).await;
    server.stub.set(vec![(RDS, table(RDS, &[("none", "1"), ("r", "1")]))]);
    client.expect(RDS, &[("none", "1")], &[]).await;
    // Asked for again, it is sent again.
    client.subscribe(RDS, &["r", "gone"], &[]).await;
    client.expect(RDS, &[("r", "1")], &["gone"]).await;
    client.subscribe(RDS, &[], &["r"]).await;
    server.stub.set(vec![(RDS, table(RDS, &[("none", "1"), ("r", "2")]))]);
    client.expect_nothing().await;
    client.subscribe(RDS, &["r"], &[]).await;
    client.expect(RDS, &[("r", "2")], &[]).await;
}

#[tokio::test]
async fn wildcard_and_names_mix() {
    let server = serve_default().await;
    server.stub.set(vec![(CDS, table(CDS, &[("a", "1"), ("b", "1")]))]);
    let mut client = Delta::connect(&server, "p").await;
    client.subscribe(CDS, &["b", "x"], &[]).await;
    client.expect(CDS, &[("b", "1")], &["x"]).await;
    client.subscribe(CDS, &["*"], &[]).await;
    client.expect(CDS, &[("a", "1")], &[]).await;
    // Given up by name but still wanted with everything: the client is told which of the two it is.
    client.subscribe(CDS, &[], &["b", "x"]).await;
    client.expect(CDS, &[("b", "1")], &["x"]).await;
    client.subscribe(CDS, &["a"], &[]).await;
    client.expect(CDS, &[("a", "1")], &[]).await;
    client.subscribe(CDS, &[], &["*"]).await;
    server.stub.set(vec![(CDS, table(CDS, &[("a", "2"), ("b", "2")]))]);
    client.expect(CDS, &[("a", "2")], &[]).await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn a_reconnect_resends_nothing_that_is_held() {
    let server = serve_default().await;
    let clusters = table(CDS, &[("a", "1"), ("b", "1"), ("c", "1")]);
    let endpoints = table(EDS, &[("a", "1"), ("b", "1"), ("c", "1")]);
    server.stub.set(vec![(CDS, clusters), (EDS, endpoints)]);
    let mut client = Delta::connect(&server, "p").await;
    client.subscribe(CDS, &[], &[]).await;
    let cds = client.expect(CDS, &[("a", "1"), ("b", "1"), ("c", "1")], &[]).await;
    client.subscribe(EDS, &["a", "b", "c"], &[]).await;
    let eds = client.expect(EDS, &[("a", "1"), ("b", "1"), ("c", "1")], &[]).await;
    drop(client);
    let held = |r: &tiphys_proto::envoy::service::discovery::v3::DeltaDiscoveryResponse| {
        r.resources.iter().map(|r| (r.name.clone(), r.version.clone())).collect::<Vec<_>>()
    };
    let (cds, eds) = (held(&cds), held(&eds));
    let pairs = |held: &'static [(String, String)]| held.iter().map(|(n, v)| (&**n, &**v)).collect::<Vec<_>>();
    let (cds, eds) = (pairs(cds.leak()), pairs(eds.leak()));

    let mut client = Delta::connect(&server, "q").await;
    client.resume(CDS, &[], &[], &cds).await;
    client.resume(EDS, &["a", "b", "c"], &[], &eds).await;
    client.expect_nothing().await;
    for event in ["q kept cds", "q kept eds"] {
        server.stub.wait_event(event).await;
    }
    drop(client);

    // While the client was away: one changed, one is gone, one is new.
    let clusters = table(CDS, &[("b", "2"), ("c", "1"), ("d", "1")]);
    let endpoints = table(EDS, &[("b", "1"), ("c", "2"), ("d", "1")]);
    server.stub.set(vec![(CDS, clusters), (EDS, endpoints)]);
    let mut client = Delta::connect(&server, "r").await;
    client.resume(CDS, &["*"], &[], &cds).await;
    client.resume(EDS, &["a", "b", "c"], &[], &eds).await;
    client.expect(CDS, &[("b", "2"), ("d", "1")], &[]).await;
    let mut rest = [client.receive().await, client.receive().await];
    rest.sort_by_key(|r| r.type_url.clone());
    let [cds, eds] = &rest;
    assert_eq!((cds.resources.len(), &*cds.removed_resources), (0, &strings(&["a"])[..]));
    // The endpoints of the changed cluster come too: the client starts anew with them.
    assert_eq!(eds.resources.iter().map(|r| &*r.name).collect::<Vec<_>>(), ["b", "c"]);
    client.answer(cds, None).await;
    client.answer(eds, None).await;
    client.expect(EDS, &[], &["a"]).await;
    client.expect_nothing().await;
    assert!(!server.stub.has_event("p kept cds") && !server.stub.has_event("r kept cds"));
}

#[tokio::test]
async fn a_refused_resource_is_not_sent_again_until_it_changes() {
    let server = serve_default().await;
    server.stub.set(vec![(CDS, table(CDS, &[("a", "1"), ("b", "1")]))]);
    let mut client = Delta::connect(&server, "p").await;
    client.subscribe(CDS, &[], &[]).await;
    client.expect(CDS, &[("a", "1"), ("b", "1")], &[]).await;
    server.stub.set(vec![(CDS, table(CDS, &[("a", "bad"), ("b", "1")]))]);
    let bad = client.expect_unanswered(CDS, &[("a", "bad")], &[]).await;
    client.answer(&bad, Some("no such filter")).await;
    client.expect_nothing().await;
    server.stub.wait_event("p nacked cds 3 no such filter").await;
    // Others of its type go on without it.
    server.stub.set(vec![(CDS, table(CDS, &[("a", "bad"), ("b", "2")]))]);
    client.expect(CDS, &[("b", "2")], &[]).await;
    server.stub.set(vec![(CDS, table(CDS, &[("a", "good"), ("b", "2")]))]);
    client.expect(CDS, &[("a", "good")], &[]).await;
    // Of several refused together it is not known which is bad: they come again when anything is different.
    server.stub.set(vec![(CDS, table(CDS, &[("a", "bad"), ("b", "3")]))]);
    let bad = client.expect_unanswered(CDS, &[("a", "bad"), ("b", "3")], &[]).await;
    client.answer(&bad, Some("no such filter")).await;
    client.expect_nothing().await;
    server.stub.set(vec![(CDS, table(CDS, &[("a", "good"), ("b", "3")]))]);
    client.expect(CDS, &[("b", "3")], &[]).await;
    server.stub.set(vec![(CDS, table(CDS, &[("a", "good"), ("b", "4")]))]);
    client.expect(CDS, &[("b", "4")], &[]).await;
    // A removal goes through beside what is refused.
    server.stub.set(vec![(CDS, table(CDS, &[("a", "bad"), ("b", "4")]))]);
    let bad = client.expect_unanswered(CDS, &[("a", "bad")], &[]).await;
    client.answer(&bad, Some("no such filter")).await;
    server.stub.set(vec![(CDS, table(CDS, &[("a", "bad")]))]);
    client.expect(CDS, &[], &["b"]).await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn stale_nonces_and_unknown_types() {
    let server = serve_default().await;
    server.stub.set(vec![(CDS, table(CDS, &[("a", "1")]))]);
    let mut client = Delta::connect(&server, "p").await;
    server.stub.wait_event("p refused test/hello").await;
    client.subscribe(CDS, &[], &[]).await;
    let mut first = client.expect(CDS, &[("a", "1")], &[]).await;
    server.stub.set(vec![(CDS, table(CDS, &[("a", "2")]))]);
    let second = client.expect_unanswered(CDS, &[("a", "2")], &[]).await;
    client.answer(&first, Some("late")).await;
    server.stub.wait_event("p stale cds").await;
    // One response in flight: the next waits for the answer, and then is the latest.
    server.stub.set(vec![(CDS, table(CDS, &[("a", "3")]))]);
    server.stub.set(vec![(CDS, table(CDS, &[("a", "4")]))]);
    client.expect_nothing().await;
    client.answer(&second, None).await;
    client.expect(CDS, &[("a", "4")], &[]).await;
    // A type that only answers requests.
    first.type_url = "test/debug".into();
    // What is no nonce of this stream acknowledges nothing: istioctl puts the time there.
    first.nonce = "2026-01-01 00:00:00.5 +0000 UTC".into();
    client.answer(&first, None).await;
    let debug = client.receive().await;
    assert_eq!(text(&debug.resources[0].resource.as_ref().unwrap().value), "p");
    client.answer(&debug, None).await;
    first.type_url = "test/health".into();
    client.answer(&first, Some("not ready")).await;
    server.stub.wait_event("p health Some((3, \"not ready\"))").await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn secrets_are_asked_for_by_name() {
    let server = serve_default().await;
    server.stub.secrets.write().unwrap().insert("s".into(), "1".into());
    let mut client = Delta::connect(&server, "p").await;
    client.subscribe(SDS, &["s", "none"], &[]).await;
    client.expect(SDS, &[("s", "1")], &["none"]).await;
    server.stub.set(vec![]);
    client.expect_nothing().await;
    server.stub.secrets.write().unwrap().insert("s".into(), "2".into());
    server.stub.set(vec![]);
    client.expect(SDS, &[("s", "2")], &[]).await;
    server.stub.secrets.write().unwrap().clear();
    server.stub.set(vec![]);
    client.expect(SDS, &[], &["s"]).await;
}

#[tokio::test]
async fn an_answer_may_come_later_and_holds_up_nothing() {
    let server = serve_default().await;
    server.stub.set(vec![(CDS, table(CDS, &[("a", "1")]))]);
    let mut client = Delta::connect(&server, "p").await;
    let later_type = tiphys_xds::ResourceType::register("test/later", "later", Default::default());
    client.subscribe(later_type, &["x"], &[]).await;
    client.subscribe(CDS, &[], &[]).await;
    client.expect(CDS, &[("a", "1")], &[]).await;
    let later = client.receive().await;
    assert_eq!((later.type_url.as_str(), later.resources[0].name.as_str()), ("test/later", "x"));
    // A status instead of resources ends the stream.
    client.subscribe(later_type, &[], &[]).await;
    server.stub.wait_event("p gone").await;
}
