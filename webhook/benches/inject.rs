// SPDX-License-Identifier: Apache-2.0
//! How long one pod takes, with the chart's templates: deciding, rendering, merging, checking and the patch.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark may stop where it stands")]

#[path = "../tests/chart/mod.rs"]
mod chart;

use std::collections::BTreeMap;

use chart::{Setup, injector};
use serde_json::{Value as Json, json};
use tiphys_webhook::inject::{Injector, Request, Workload, patch};

fn main() {
    divan::main();
}

fn pod() -> Json {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "web-5f-", "labels": {"app": "web", "pod-template-hash": "5f"}, "annotations": {"prometheus.io/port": "9090"}},
        "spec": {
            "containers": [{
                "name": "web", "image": "web:1", "ports": [{"name": "http", "containerPort": 8080}],
                "env": [{"name": "A", "value": "b"}],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
                "livenessProbe": {"httpGet": {"path": "/live", "port": "http"}},
                "volumeMounts": [{"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]
            }],
            "volumes": [{"name": "kube-api-access", "projected": {"sources": []}}]
        }
    })
}

fn inject(injector: &Injector, pod: &Json) -> Vec<u8> {
    let proxy = injector.mesh().proxy_defaults();
    let request = Request {
        pod,
        namespace: "shop",
        namespace_annotations: &BTreeMap::new(),
        workload: Workload::of_pod(pod, "shop"),
        proxy: &proxy,
        variables: BTreeMap::new(),
        native_sidecars: true,
    };
    injector.decide(pod, "shop").unwrap();
    patch(pod, &injector.inject(&request).unwrap()).unwrap()
}

#[divan::bench]
fn one_pod(bencher: divan::Bencher<'_, '_>) {
    let (injector, pod) = (injector(&Setup::default_chart()), pod());
    bencher.bench_local(|| inject(&injector, &pod));
}

#[divan::bench]
fn reading_the_templates(bencher: divan::Bencher<'_, '_>) {
    let setup = Setup::default_chart();
    bencher.bench_local(|| injector(&setup));
}
