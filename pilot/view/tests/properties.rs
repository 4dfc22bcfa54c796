// SPDX-License-Identifier: Apache-2.0
//! Any sequence of changes leads to the bytes that a fresh start leads to.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use tiphys_api::mesh::MeshConfig;
use tiphys_api::{Key, Object, parse_yaml};
use tiphys_compile::{Compiler, Settings};
use tiphys_proto::envoy::config::core::v3::{Locality, Node};
use tiphys_proto::google::protobuf::{Struct, Value, value::Kind};
use tiphys_view::{Memo, Views, generators, proxy_of, render};
use tiphys_xds::{ConfigSource, Peer};

/// Objects of a small mesh; several versions of one object stand beside each other.
const UNIVERSE: &str = include_str!("universe.yaml");

fn universe() -> Vec<Arc<Object>> {
    parse_yaml(UNIVERSE, None).into_iter().map(|parsed| Arc::new(parsed.unwrap().object)).collect()
}

fn config() -> MeshConfig {
    MeshConfig::default()
}

fn node(kind: &str, name: &str, address: &str, labels: &[(&str, &str)]) -> Node {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
    let labels = labels.iter().map(|(key, value)| ((*key).to_string(), text(value))).collect();
    let fields = [
        ("NAMESPACE".to_string(), text("ns")),
        ("NODE_NAME".to_string(), text(&format!("node-{address}"))),
        ("LABELS".to_string(), Value { kind: Some(Kind::StructValue(Struct { fields: labels })) }),
    ];
    Node {
        id: format!("{kind}~{address}~{name}.ns~ns.svc.cluster.local"),
        metadata: Some(Struct { fields: fields.into() }),
        // Proxies of one namespace that differ in nothing but their place.
        locality: Some(Locality {
            region: if address.ends_with('3') { "us" } else { "eu" }.into(),
            ..Locality::default()
        }),
        ..Node::default()
    }
}

fn nodes() -> Vec<Node> {
    vec![
        node("sidecar", "a-1", "10.0.0.1", &[("app", "a")]),
        node("sidecar", "b-1", "10.0.0.2", &[("app", "b"), ("version", "v1")]),
        node("sidecar", "b-2", "10.0.0.3", &[("app", "b"), ("version", "v1")]),
        node("router", "gateway", "10.0.0.9", &[("istio", "ingressgateway")]),
    ]
}

type Bytes = BTreeMap<(String, String), Vec<u8>>;

/// What a fresh control plane gives each proxy.
fn fresh(objects: &BTreeMap<Key, Arc<Object>>) -> Vec<Bytes> {
    let mut compiler = Compiler::new(&config(), Settings::default());
    for (key, object) in objects {
        compiler.apply(key.clone(), Some(object.clone()));
    }
    let snapshot = compiler.snapshot();
    let of = |node: &Node| {
        let rendered = render(&snapshot, &generators(), &proxy_of(node).unwrap(), &Memo::default());
        let entries = rendered.into_iter().flat_map(|(ty, entries)| entries.into_iter().map(move |e| (ty, e)));
        entries.map(|(ty, e)| ((ty.short().to_string(), e.name.to_string()), e.body.to_vec())).collect()
    };
    nodes().iter().map(of).collect()
}

/// What connected proxies have after the same changes, one after the other.
fn followed(steps: &[(usize, bool, bool)], objects: &mut BTreeMap<Key, Arc<Object>>) -> Vec<Bytes> {
    let universe = universe();
    let mut compiler = Compiler::new(&config(), Settings::default());
    let views = Views::new(generators(), ());
    views.advance(compiler.snapshot());
    let clients: Vec<_> =
        nodes().iter().map(|node| views.connect(node, &Peer::default(), &Arc::default()).unwrap()).collect();
    for (index, present, push) in steps {
        let object = &universe[index % universe.len()];
        let object = present.then(|| object.clone());
        let key = universe[index % universe.len()].key();
        match &object {
            Some(object) => objects.insert(key.clone(), object.clone()),
            None => objects.remove(&key),
        };
        compiler.apply(key, object);
        if *push {
            views.advance(compiler.snapshot());
        }
    }
    views.advance(compiler.snapshot());
    let of = |client| {
        let view = views.view(client);
        let tables = view.types().filter_map(|(ty, _)| Some((ty, view.table(ty)?.clone())));
        let entries = tables.flat_map(|(ty, table)| table.iter().cloned().map(move |e| (ty, e)).collect::<Vec<_>>());
        entries.map(|(ty, e)| ((ty.short().to_string(), e.name.to_string()), e.body.to_vec())).collect()
    };
    clients.iter().map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_changes_ends_like_a_fresh_start(
        steps in prop::collection::vec((0..1000_usize, prop::bool::weighted(0.75), any::<bool>()), 1..40)
    ) {
        let mut objects = BTreeMap::new();
        let after = followed(&steps, &mut objects);
        let expected = fresh(&objects);
        for (after, expected) in after.iter().zip(&expected) {
            let keys = |bytes: &Bytes| bytes.keys().cloned().collect::<Vec<_>>();
            prop_assert_eq!(keys(after), keys(expected));
            for (name, body) in expected {
                prop_assert!(after[name] == *body, "{:?} differs", name);
            }
        }
    }
}

#[test]
fn the_universe_is_read_and_makes_resources() {
    let objects = universe().into_iter().map(|object| (object.key(), object)).collect();
    let made = fresh(&objects);
    assert!(made.iter().all(|bytes| bytes.len() > 3), "{:?}", made.iter().map(BTreeMap::len).collect::<Vec<_>>());
}
