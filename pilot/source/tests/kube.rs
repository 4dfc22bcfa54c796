// SPDX-License-Identifier: Apache-2.0
//! What an API server can do to those who watch it.
#![allow(clippy::unwrap_used, reason = "tests fail by panic")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::api_server::{ApiServer, Manner};
use common::{Bench, vs};
use serde_json::json;
use tiphys_api::{Key, Kind};
use tiphys_source::Outcome;
use tiphys_source::kube::{Health, KubeSource};
use tokio::sync::watch;

/// A cluster that has VirtualServices, and where the source says how it does.
async fn bench(manner: Manner, first: &[(&str, &str)]) -> (Bench, Arc<Health>) {
    let server = ApiServer::start(manner).await;
    server.install(Kind::VirtualService);
    let health = Arc::new(Health::default());
    let source = KubeSource::new(server.client(), "test").with_health(health.clone());
    (Bench::kube_from(server, source, first).await, health)
}

fn lists(health: &Health) -> u64 {
    health.watches()["virtualservices.networking.istio.io"].lists
}

#[tokio::test]
async fn a_watch_that_ends_goes_on_where_it_was() {
    let (mut bench, health) = bench(Manner::default(), &[("a", &vs("a", "1"))]).await;
    bench.server().cut();
    bench.put("b", &vs("b", "1"));
    bench.until("b", |b| b.names() == ["a=1", "b=1"]).await;
    assert_eq!(lists(&health), 1, "nothing was read twice");
}

#[tokio::test]
async fn what_is_too_old_is_read_anew_and_nothing_is_torn() {
    let (mut bench, health) =
        bench(Manner::default(), &[("a", &vs("a", "1")), ("b", &vs("b", "1")), ("c", &vs("c", "1"))]).await;
    bench.server().stop();
    bench.put("b", &vs("b", "2"));
    bench.remove("c");
    bench.put("d", &vs("d", "1"));
    bench.server().compact();
    bench.server().start_again().await;
    let mut told = Vec::new();
    while bench.names() != ["a=1", "b=2", "d=1"] {
        told.extend(bench.next().await.changes.into_iter().map(|change| (change.key.name, change.object.is_some())));
    }
    told.sort();
    assert_eq!(
        told,
        [("b".to_owned(), true), ("c".to_owned(), false), ("d".to_owned(), true)],
        "only what differs is told"
    );
    assert_eq!(lists(&health), 2);
}

#[tokio::test]
async fn a_bookmark_saves_reading_anew() {
    let (mut bench, health) = bench(Manner::default(), &[("a", &vs("a", "1"))]).await;
    for i in 0..10 {
        bench.server().put(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("s{i}")}, "spec": {"ports": [{"port": 80}]}}));
    }
    bench.until("services", |b| b.objects.len() == 11).await;
    bench.server().bookmark();
    bench.quiet().await;
    bench.server().compact();
    bench.server().cut();
    bench.put("b", &vs("b", "1"));
    bench.until("b", |b| b.names().contains(&"b=1".to_owned())).await;
    assert_eq!(lists(&health), 1, "the bookmark told how far it was");
}

#[tokio::test]
async fn a_bad_object_does_not_stop_the_others() {
    let bad = |name: &str, spec: serde_json::Value, labels: serde_json::Value| json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name, "namespace": "default", "labels": labels}, "spec": spec});
    for manner in [Manner::default(), Manner { minor: 30, streams: false }] {
        let server = ApiServer::start(manner).await;
        server.install(Kind::VirtualService);
        server.put(bad("b1", json!("no object"), json!({})));
        server.put(bad("b2", json!({"hosts": 7}), json!({})));
        server.put(bad("b3", json!({"hosts": ["a.example"]}), json!({"v": ["x"]})));
        let mut bench = Bench::kube_with(server, &[("a", &vs("a", "1")), ("z", &vs("z", "1"))]).await;
        assert_eq!(bench.names(), ["a=1", "z=1"]);
        assert_eq!(bench.reports.len(), 3, "{:?}", bench.lines());
        assert!(bench.lines().iter().all(|line| line.starts_with("VirtualService default/b")), "{:?}", bench.lines());
        // A good one that turns bad stays as it was.
        bench.server().put(bad("a", json!({"hosts": {}}), json!({})));
        bench.until("report", |b| b.reports.values().any(|r| r.outcome == Outcome::Kept)).await;
        assert_eq!(bench.names(), ["a=1", "z=1"]);
        bench.put("b1", &vs("b1", "1"));
        bench.until("b1", |b| b.names() == ["a=1", "b1=1", "z=1"] && b.reports.len() == 3).await;
    }
}

#[tokio::test]
async fn a_kind_that_is_installed_later_is_read_and_one_that_goes_is_gone() {
    let (mut bench, _) = bench(Manner::default(), &[("a", &vs("a", "1"))]).await;
    bench.put("g", "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}\n");
    bench.quiet().await;
    assert_eq!(bench.names(), ["a=1"]);
    bench.server().install(Kind::IstioGateway);
    bench.until("the gateway", |b| b.names() == ["a=1", "g"]).await;
    bench.server().uninstall(Kind::VirtualService);
    bench.until("no VirtualService", |b| b.names() == ["g"]).await;
}

#[tokio::test]
async fn secrets_are_watched_by_name_while_they_are_wanted() {
    let secret = |name: &str, value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "ns"}, "data": {"tls.crt": value}});
    let server = ApiServer::start(Manner::default()).await;
    server.put(secret("mine", "YQ=="));
    server.put(secret("other", "YQ=="));
    let wanted = watch::Sender::new(Some(BTreeSet::new()));
    let source = KubeSource::new(server.client(), "test").with_wanted(wanted.subscribe());
    let mut bench = Bench::kube_from(server, source, &[]).await;
    bench.quiet().await;
    assert!(bench.objects.is_empty());
    let want = |name: &str| Key { kind: Kind::Secret, namespace: "ns".into(), name: name.into() };
    wanted.send_replace(Some(BTreeSet::from([want("mine"), want("late")])));
    bench.until("the secret", |b| b.names() == ["mine"]).await;
    bench.server().put(secret("late", "YQ=="));
    bench.until("the late one", |b| b.names() == ["late", "mine"]).await;
    bench.server().delete(Kind::Secret, "ns", "late");
    bench.until("deleted", |b| b.names() == ["mine"]).await;
    wanted.send_replace(Some(BTreeSet::new()));
    bench.until("not wanted", |b| b.objects.is_empty()).await;
    let asked: Vec<String> = bench.server().requests().into_iter().filter(|r| r.contains("/secrets")).collect();
    let by_name = |request: &String| {
        request.starts_with("/api/v1/namespaces/ns/secrets?")
            && (request.contains("metadata.name%3Dmine") || request.contains("metadata.name%3Dlate"))
    };
    assert!(!asked.is_empty() && asked.iter().all(by_name), "{asked:?}");
}

#[tokio::test]
async fn while_the_server_is_away_the_last_picture_stays() {
    let (mut bench, health) = bench(Manner::default(), &[("a", &vs("a", "1"))]).await;
    bench.server().stop();
    while health.away_since().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.put("a", &vs("a", "2"));
    bench.quiet().await;
    assert_eq!(bench.names(), ["a=1"]);
    assert!(bench.is_running());
    bench.server().start_again().await;
    bench.until("the new version", |b| b.names() == ["a=2"]).await;
    assert!(health.away_since().is_none());
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_read_in_pages() {
    for manner in [Manner { minor: 28, streams: false }, Manner { minor: 33, streams: false }] {
        let server = ApiServer::start(manner).await;
        for i in 0..1_200 {
            server.put(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": format!("a{i}")}}));
        }
        let mut bench = Bench::kube_with(server, &[]).await;
        assert_eq!(bench.objects.len(), 1_200);
        let pages = bench
            .server()
            .requests()
            .into_iter()
            .filter(|r| r.starts_with("/api/v1/serviceaccounts?") && r.contains("limit=500"));
        assert_eq!(pages.count(), 3);
    }
}

#[tokio::test]
async fn what_may_not_be_read_is_said_and_tried_again() {
    let server = ApiServer::start(Manner::default()).await;
    server.forbid("nodes", true);
    let health = Arc::new(Health::default());
    let source = Box::new(KubeSource::new(server.client(), "test").with_health(health.clone()));
    let (sink, mut batches) = tokio::sync::mpsc::channel(16);
    let running = tokio::spawn(tiphys_source::Source::run(source, sink));
    let mut synced = BTreeSet::new();
    while synced.len() < Kind::ALL.len() - 1 {
        synced.extend(batches.recv().await.unwrap().synced);
    }
    assert!(!synced.contains(&Kind::Node));
    let error = health.watches()["nodes"].error.clone().unwrap();
    assert!(error.contains("Forbidden"), "{error}");
    server.forbid("nodes", false);
    while synced.len() < Kind::ALL.len() {
        synced.extend(batches.recv().await.unwrap().synced);
    }
    assert!(health.watches()["nodes"].error.is_none());
    running.abort();
}

#[tokio::test]
async fn noise_ends_in_the_source() {
    let (mut bench, _) = bench(Manner::default(), &[("a", &vs("a", "1"))]).await;
    let node = |beat: u32| {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": {"x": "y"}},
            "status": {"conditions": [{"type": "Ready", "lastHeartbeatTime": beat.to_string()}], "images": [{"names": ["i"]}]}})
    };
    bench.server().put(node(1));
    bench.until("the node", |b| b.objects.len() == 2).await;
    bench.server().put(node(2));
    bench.put("a", &vs("a", "1"));
    bench.put("b", &vs("b", "1"));
    let batch = bench.next().await;
    assert_eq!(batch.changes.iter().map(|c| c.key.name.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn a_pod_is_known_by_its_uid() {
    let (mut bench, _) = bench(Manner::default(), &[]).await;
    let metadata = json!({"name": "p", "namespace": "ns", "uid": "u-1"});
    bench.server().put(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": []}}));
    bench.until("the pod", |b| b.objects.len() == 1).await;
    assert_eq!(bench.objects.values().next().unwrap().meta.uid, "u-1", "tokens are bound to it");
}

#[tokio::test]
async fn what_is_wanted_first_is_looked_at_before_all_is_in_sync() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine", "namespace": "ns"}, "data": {"tls.crt": "YQ=="}});
    let server = ApiServer::start(Manner::default()).await;
    server.put(secret);
    server.forbid("configmaps", true);
    let wanted = watch::Sender::new(None);
    let source = Box::new(KubeSource::new(server.client(), "test").with_wanted(wanted.subscribe()));
    let (sink, mut batches) = tokio::sync::mpsc::channel(16);
    let running = tokio::spawn(tiphys_source::Source::run(source, sink));
    let mut synced = BTreeSet::new();
    while synced.len() < Kind::ALL.len() - 2 {
        synced.extend(batches.recv().await.unwrap().synced);
    }
    assert!(!synced.contains(&Kind::Secret) && !synced.contains(&Kind::ConfigMap));
    let key = |kind, name: &str| Key { kind, namespace: "ns".into(), name: name.into() };
    // The second does not exist, the third may not be read: neither is waited for.
    wanted.send_replace(Some(BTreeSet::from([
        key(Kind::Secret, "mine"),
        key(Kind::Secret, "none"),
        key(Kind::ConfigMap, "hidden"),
    ])));
    let mut changes = Vec::new();
    while synced.len() < Kind::ALL.len() {
        let batch = batches.recv().await.unwrap();
        changes.extend(batch.changes.into_iter().map(|change| change.key.name));
        synced.extend(batch.synced);
    }
    assert_eq!(changes, ["mine"]);
    running.abort();
}
