// SPDX-License-Identifier: Apache-2.0
//! Statuses: what the conditions of routes and classes say
//! (<https://gateway-api.sigs.k8s.io/reference/spec/#routeparentstatus>). Times are left to who writes them.

use super::Inputs;
use super::Refusal;
use super::class::{self, Class};
use super::parent::{Parent, reference_text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tiphys_api::{Key, Kind, Object};

/// The controller that speaks in statuses of routes.
const CONTROLLER: &str = "istio.io/gateway-controller";

/// What is wrong with the rules of a route: for the mesh, and for gateways.
pub(super) type Errors<'a> = [Option<&'a Refusal>; 2];

/// A condition that is as it should be, unless something is refused.
pub(super) fn condition(kind: &str, good: (&str, &str), refused: Option<&Refusal>, generation: i64) -> Value {
    match refused {
        None => condition_of(kind, "True", good, generation),
        Some(refused) => condition_of(kind, "False", (refused.reason, &refused.message), generation),
    }
}

/// A condition of a status, with a reason and a message.
pub(super) fn condition_of(kind: &str, status: &str, (reason, message): (&str, &str), generation: i64) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": generation})
}

/// The status of a route: one entry for each parentRef that is known here.
pub(super) fn route(object: &Object, parents: &[Parent<'_>], errors: &Errors<'_>) -> Value {
    let own = object.meta.namespace.as_str();
    let generation = object.meta.generation;
    let mut by_reference: BTreeMap<String, Vec<&Parent<'_>>> = BTreeMap::new();
    for parent in parents {
        by_reference.entry(reference_text(parent.reference, own)).or_default().push(parent);
    }
    let entry = |parents: &Vec<&Parent<'_>>| {
        let first = parents.first()?;
        let bound = parents.iter().filter(|parent| parent.denied.is_none()).count();
        let message = match bound {
            0 | 1 => "Route was valid".to_string(),
            bound => format!("Route was valid, bound to {bound} parents"),
        };
        let denied = denied(parents);
        let error = errors[usize::from(!first.is_mesh())];
        Some(json!({
            "controllerName": CONTROLLER,
            "parentRef": tiphys_api::json::to_value(first.reference).ok()?,
            "conditions": [
                condition("Accepted", ("Accepted", &message), denied.as_ref(), generation),
                condition("ResolvedRefs", ("ResolvedRefs", "All references resolved"), error, generation),
            ],
        }))
    };
    let entries: Vec<Value> = by_reference.values().rev().filter_map(entry).collect();
    json!({ "parents": entries })
}

/// Why a reference as a whole is denied: one listener that takes the route is enough; else what came closest to it counts.
fn denied(parents: &[&Parent<'_>]) -> Option<Refusal> {
    let rank = |refusal: &Refusal| match refusal.reason {
        "NotAllowedByListeners" => 1,
        "NoMatchingListenerHostname" => 2,
        _ => 3,
    };
    let mut closest: Option<Refusal> = None;
    for parent in parents {
        let refusal = parent.denied.as_ref()?;
        closest = Some(match closest {
            None => refusal.clone(),
            Some(known) if rank(refusal) < rank(&known) => refusal.clone(),
            Some(known) if rank(refusal) == rank(&known) => {
                Refusal { message: format!("{}; {}", known.message, refusal.message), ..known }
            }
            Some(known) => known,
        });
    }
    closest
}

/// The statuses of the classes that are handled here.
pub(super) fn classes(inputs: &Inputs<'_>) -> BTreeMap<Key, Value> {
    let handled = |object: &&std::sync::Arc<Object>| {
        matches!(class::of_name(inputs, &object.meta.name), Some(Class::Gateway | Class::Unmanaged))
    };
    let status = |object: &std::sync::Arc<Object>| {
        let good = ("Accepted", "Handled by Istio controller");
        (object.key(), json!({"conditions": [condition("Accepted", good, None, object.meta.generation)]}))
    };
    inputs.store.of_kind(Kind::GatewayClass).filter(handled).map(status).collect()
}
