// SPDX-License-Identifier: Apache-2.0
//! How long reading takes, with limits far above what is usual: they catch a change of order, not of percents. Run with
//! `--release -- --nocapture` to see the figures.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::{Bench, vs};
use tiphys_source::dir::read_once;

const SERVICES: usize = 1000;

/// A service of three endpoints.
fn service(i: usize) -> String {
    let endpoints: String = (0..3)
        .map(|e| format!("  - address: 10.{}.{}.{e}\n    labels: {{app: svc-{i}}}\n", i / 250, i % 250))
        .collect();
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: svc-{i}\n  namespace: default\nspec:\n  hosts:\n  - svc-{i}.example\n  \
         addresses:\n  - 10.99.{}.{}\n  location: MESH_INTERNAL\n  resolution: STATIC\n  ports:\n  - number: 80\n    name: http\n    protocol: HTTP\n  \
         endpoints:\n{endpoints}",
        i / 250,
        i % 250
    )
}

fn limit(release: u64) -> Duration {
    // Unoptimised code is some 10 times slower, and a loaded machine as much again.
    Duration::from_millis(release * if cfg!(debug_assertions) { 60 } else { 6 })
}

#[test]
fn a_thousand_services_are_read_quickly() {
    let files = tempfile::tempdir().unwrap();
    let one = tempfile::tempdir().unwrap();
    let all: Vec<String> = (0..SERVICES).map(service).collect();
    for (i, text) in all.iter().enumerate() {
        fs::write(files.path().join(format!("svc-{i}.yaml")), text).unwrap();
    }
    fs::write(one.path().join("all.yaml"), all.join("---\n")).unwrap();
    for (what, dir) in [("1,000 files", &files), ("one file of 1,000 documents", &one)] {
        // The best of a few: others may be using the machine.
        let times = (0..5).map(|_| {
            let start = Instant::now();
            let batch = read_once(dir.path()).unwrap();
            assert_eq!((batch.changes.len(), batch.reports.len()), (SERVICES, 0));
            start.elapsed()
        });
        let best = times.min().unwrap();
        println!("{what}: {best:?}");
        assert!(best < limit(150), "{what}: {best:?}");
    }
}

#[tokio::test]
async fn one_changed_file_of_many_is_told_quickly() {
    let first: Vec<(String, String)> = (0..SERVICES).map(|i| (format!("svc-{i}.yaml"), service(i))).collect();
    let first: Vec<(&str, &str)> = first.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let mut bench = Bench::dir(&first).await;
    let mut times: Vec<Duration> = Vec::new();
    for version in 0..20 {
        let start = Instant::now();
        bench.put("svc-7.yaml", &vs("one", &version.to_string()));
        assert_eq!(bench.next().await.changes.len(), 1);
        // What is told is one settle time after the event.
        times.push(start.elapsed().saturating_sub(common::PACE.settle));
        // The object that was in the file first goes a while later.
        if version == 0 {
            bench.until("svc-7 is gone", |b| b.objects.len() == SERVICES).await;
        }
    }
    times.sort();
    println!("one changed file: best {:?}, p50 {:?}, max {:?} after the settle time", times[0], times[10], times[19]);
    assert!(times[0] < limit(5), "{times:?}");
}
