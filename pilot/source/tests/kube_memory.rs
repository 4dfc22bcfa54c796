// SPDX-License-Identifier: Apache-2.0
//! What 10,000 pods cost. A program of its own, so that nothing else is counted; the API server, which makes pods up as it sends them, is.
#![allow(clippy::unwrap_used, reason = "tests fail by panic")]

mod common;

use std::collections::BTreeSet;

use common::Bench;
use common::api_server::{ApiServer, Manner};
use tiphys_api::Kind;
use tiphys_source::Source;
use tiphys_source::kube::KubeSource;
use tokio::sync::mpsc;

const PODS: usize = 10_000;
const LIMIT_MB: f64 = 40.0;

fn resident_mb() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0 / 1e6
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_pods_fit_into_forty_megabytes() {
    let server = ApiServer::start(Manner::default()).await;
    // What the program itself needs is there before.
    drop(Bench::kube_with(ApiServer::start(Manner::default()).await, &[]).await);
    server.make_up_pods(PODS);
    let before = resident_mb();
    let began = std::time::Instant::now();
    let source = Box::new(KubeSource::new(server.client(), "test"));
    let (sink, mut batches) = mpsc::channel(16);
    let running = tokio::spawn(Source::run(source, sink));
    // Whoever compiles the objects shares them with the source.
    let (mut pods, mut synced) = (0, BTreeSet::new());
    while synced.len() < Kind::ALL.len() {
        let batch = batches.recv().await.unwrap();
        pods += batch.changes.iter().filter(|change| change.key.kind == Kind::Pod).count();
        synced.extend(batch.synced);
    }
    let (took, used) = (began.elapsed(), resident_mb() - before);
    assert_eq!(pods, PODS);
    println!("{PODS} pods of {} bytes of JSON: {used:.1} MB, {took:?}", common::pod_text(1).len());
    assert!(used < LIMIT_MB, "{used:.1} MB");
    running.abort();
}
