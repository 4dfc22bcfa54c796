// SPDX-License-Identifier: Apache-2.0
//! What a mesh costs without sockets: the snapshot of 10,000 services and its changes, each kind of resource of one proxy, and the views of
//! 10,000 proxies after a change.
#![allow(missing_docs, clippy::unwrap_used)]

use divan::{Bencher, black_box};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use tiphys_api::mesh::MeshConfig;
use tiphys_api::{Object, parse_yaml};
use tiphys_compile::{Compiler, Settings, Snapshot};
use tiphys_proto::envoy::config::core::v3::Node;
use tiphys_proto::google::protobuf::{Struct, Value, value::Kind};
use tiphys_view::{Client, Memo, Views, generators, proxy_of, render};
use tiphys_xds::{ConfigSource, Peer, ResourceType};

fn main() {
    divan::main();
}

fn service_entry(i: usize, first_endpoint: usize) -> String {
    let (second, third) = (i / 250, i % 250);
    let mut text = format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: s{i:05}, namespace: ns}}\nspec:\n  hosts: [s{i:05}.example]\n  \
         location: MESH_INTERNAL\n  resolution: STATIC\n  ports: [{{number: 80, name: http, protocol: HTTP}}]\n  endpoints:\n"
    );
    for last in [first_endpoint, 2, 3] {
        let _ = writeln!(text, "  - {{address: 10.{second}.{third}.{last}, labels: {{app: s{i:05}}}}}");
    }
    text
}

fn virtual_service(i: usize, timeout: usize) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: s{i:05}, namespace: ns}}\nspec:\n  hosts: [s{i:05}.example]\n  \
         http:\n  - timeout: {timeout}s\n    route: [{{destination: {{host: s{i:05}.example}}}}]\n"
    )
}

fn objects(text: &str) -> Vec<Arc<Object>> {
    parse_yaml(text, None).into_iter().map(|parsed| Arc::new(parsed.unwrap().object)).collect()
}

/// So many services of 3 endpoints, and 100 VirtualServices.
fn mesh(services: usize) -> Vec<Arc<Object>> {
    let text: String = (0..services).map(|i| service_entry(i, 1)).collect();
    let routes: String = (0..100).map(|i| virtual_service(i, 5)).collect();
    objects(&(text + &routes))
}

fn compiler(objects: &[Arc<Object>]) -> Compiler {
    let mut compiler = Compiler::new(&MeshConfig::default(), Settings::default());
    for object in objects {
        compiler.apply(object.key(), Some(object.clone()));
    }
    compiler
}

/// A snapshot after each change; `change` gives the two versions of an object that take turns.
fn changing(bencher: Bencher, services: usize, change: impl Fn(usize) -> String) {
    let mut compiler = compiler(&mesh(services));
    compiler.snapshot();
    let versions = [objects(&change(0)).remove(0), objects(&change(1)).remove(0)];
    let mut turn = 0;
    bencher.bench_local(|| {
        turn += 1;
        let object = &versions[turn % 2];
        compiler.apply(object.key(), Some(object.clone()));
        black_box(compiler.snapshot())
    });
}

#[divan::bench(args = [1_000, 10_000], sample_count = 10)]
fn snapshot(bencher: Bencher, services: usize) {
    let objects = mesh(services);
    bencher.with_inputs(|| compiler(&objects)).bench_local_values(|mut compiler| black_box(compiler.snapshot()));
}

#[divan::bench(args = [1_000, 10_000])]
fn snapshot_after_an_endpoint_moved(bencher: Bencher, services: usize) {
    changing(bencher, services, |version| service_entry(7, 10 + version));
}

#[divan::bench(args = [1_000, 10_000])]
fn snapshot_after_a_virtual_service_changed(bencher: Bencher, services: usize) {
    changing(bencher, services, |version| virtual_service(7, 6 + version));
}

fn node(i: usize) -> Node {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
    let labels =
        Value { kind: Some(Kind::StructValue(Struct { fields: BTreeMap::from([("app".into(), text("load"))]) })) };
    let fields = BTreeMap::from([("NAMESPACE".to_owned(), text("ns")), ("LABELS".to_owned(), labels)]);
    let address = format!("172.{}.{}.{}", 16 + i / 62_500, i / 250 % 250, 1 + i % 250);
    Node {
        id: format!("sidecar~{address}~load-{i}.ns~ns.svc.cluster.local"),
        metadata: Some(Struct { fields }),
        ..Node::default()
    }
}

fn snapshot_of(services: usize) -> Arc<Snapshot> {
    compiler(&mesh(services)).snapshot()
}

/// All resources of one kind of one sidecar, nothing known before.
#[divan::bench(args = [ResourceType::CLUSTER, ResourceType::ENDPOINT, ResourceType::LISTENER, ResourceType::ROUTE], sample_count = 20)]
fn resources_of_1000_services(bencher: Bencher, ty: ResourceType) {
    let snapshot = snapshot_of(1_000);
    let node = proxy_of(&node(0)).unwrap();
    let all = generators();
    let one: Vec<_> = all.into_iter().filter(|generator| generator.ty == ty).collect();
    bencher.bench_local(|| black_box(render(&snapshot, &one, &node, &Memo::default())));
}

/// Views of connected proxies, from a change to the last view.
fn advancing(bencher: Bencher, change: impl Fn(usize) -> String) {
    let mut compiler = compiler(&mesh(1_000));
    let views = Views::new(generators(), ());
    views.advance(compiler.snapshot());
    let clients: Vec<Client> =
        (0..10_000).map(|i| views.connect(&node(i), &Peer::default(), &Arc::default()).unwrap()).collect();
    views.advance(compiler.snapshot());
    let versions = [objects(&change(0)).remove(0), objects(&change(1)).remove(0)];
    let mut turn = 0;
    bencher.bench_local(|| {
        turn += 1;
        let object = &versions[turn % 2];
        compiler.apply(object.key(), Some(object.clone()));
        black_box(views.advance(compiler.snapshot()))
    });
    drop(clients);
}

#[divan::bench(sample_count = 20)]
fn views_of_10k_proxies_after_an_endpoint_moved(bencher: Bencher) {
    advancing(bencher, |version| service_entry(7, 10 + version));
}

#[divan::bench(sample_count = 20)]
fn views_of_10k_proxies_after_a_virtual_service_changed(bencher: Bencher) {
    advancing(bencher, |version| virtual_service(7, 6 + version));
}
