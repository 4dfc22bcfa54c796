// SPDX-License-Identifier: Apache-2.0
//! What is read but not served yet: each object that asks for it is told so.

use crate::Store;
use tiphys_api::{Key, Kind, Problem, Spec};

/// Kinds that are read and validated, and do nothing.
const WITHOUT_EFFECT: [Kind; 7] = [
    Kind::WasmPlugin,
    Kind::TrafficExtension,
    Kind::WorkloadGroup,
    Kind::XBackendTrafficPolicy,
    Kind::Ingress,
    Kind::ServiceExport,
    Kind::ServiceImport,
];

/// The objects in force that ask for something that is not served, each with what that is.
pub fn problems(store: &Store) -> impl Iterator<Item = (Key, Problem)> {
    let kinds = WITHOUT_EFFECT.into_iter().flat_map(|kind| store.of_kind(kind)).map(|object| {
        let key = object.key();
        let problem = Problem::warning("spec", format!("{:?} is not supported: it has no effect", key.kind));
        (key, problem)
    });
    let routes = [Kind::HttpRoute, Kind::GrpcRoute].into_iter().flat_map(|kind| store.of_kind(kind));
    let sessions = routes.flat_map(|object| {
        sticky_rules(&object.spec).into_iter().map(|index| {
            let path = format!("spec.rules[{index}].sessionPersistence");
            (
                object.key(),
                Problem::warning(path, "session persistence is not supported: requests are balanced one by one"),
            )
        })
    });
    kinds.chain(sessions)
}

/// Whether objects of a kind do nothing: then only what is said of them changes with them.
pub fn has_no_effect(kind: Kind) -> bool {
    WITHOUT_EFFECT.contains(&kind)
}

fn sticky_rules(spec: &Spec) -> Vec<usize> {
    let sticky: Vec<bool> = match spec {
        Spec::HttpRoute(route) => route.rules.iter().map(|rule| rule.session_persistence.is_some()).collect(),
        Spec::GrpcRoute(route) => route.rules.iter().map(|rule| rule.session_persistence.is_some()).collect(),
        _ => Vec::new(),
    };
    sticky.into_iter().enumerate().filter_map(|(index, sticky)| sticky.then_some(index)).collect()
}
