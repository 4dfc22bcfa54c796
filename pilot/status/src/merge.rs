// SPDX-License-Identifier: Apache-2.0
//! A wanted status laid over the one that is there.
//!
//! Conditions are laid over by type; a condition keeps the time of its last transition as long as its status is the same. Of the lists that
//! several controllers share (`parents` of routes, `ancestors` of policies) only the entries of this controller are replaced. All other fields
//! that are wanted replace those that are there, and what is not spoken of stays
//! (<https://gateway-api.sigs.k8s.io/reference/spec/#routeparentstatus>).

use serde_json::{Map, Value};

use crate::CONTROLLER;

/// Lists whose entries say which controller they are of, and the field that tells entries of one controller apart.
const SHARED: [(&str, &str); 2] = [("parents", "parentRef"), ("ancestors", "ancestorRef")];

/// The status that says what is wanted, at this time (RFC 3339) where something changes.
pub fn merge(current: &Value, wanted: &Value, now: &str) -> Value {
    let Value::Object(wanted) = wanted else { return wanted.clone() };
    let none = Map::new();
    let current = current.as_object().unwrap_or(&none);
    let mut merged = current.clone();
    for (field, value) in wanted {
        let before = current.get(field).unwrap_or(&Value::Null);
        let shared = SHARED.iter().find(|(name, _)| name == field);
        let value = match (field.as_str(), shared) {
            ("conditions", _) => conditions(before, value, true, now),
            (_, Some((_, reference))) => entries(before, value, reference, now),
            ("listeners", _) => listeners(before, value, now),
            _ => value.clone(),
        };
        merged.insert(field.clone(), value);
    }
    Value::Object(merged)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Conditions by type; those that are not wanted stay where others may speak too.
fn conditions(before: &Value, wanted: &Value, others_stay: bool, now: &str) -> Value {
    let of = |all: &[Value], kind: &Value| all.iter().position(|one| one["type"] == *kind);
    let mut merged: Vec<Value> = if others_stay { list(before).to_vec() } else { Vec::new() };
    for condition in list(wanted) {
        let known = of(list(before), &condition["type"]).map(|index| &list(before)[index]);
        let since = known.filter(|known| known["status"] == condition["status"]);
        let since = since.and_then(|known| known.get("lastTransitionTime")).cloned();
        let mut condition = condition.clone();
        condition["lastTransitionTime"] = since.unwrap_or_else(|| now.into());
        match of(&merged, &condition["type"]) {
            Some(index) => merged[index] = condition,
            None => merged.push(condition),
        }
    }
    Value::Array(merged)
}

/// Entries of this controller replaced, those of others as they were, where they were.
fn entries(before: &Value, wanted: &Value, reference: &str, now: &str) -> Value {
    let is_ours = |entry: &&Value| entry["controllerName"] == CONTROLLER;
    let mut merged: Vec<Value> = list(before).iter().filter(|entry| !is_ours(entry)).cloned().collect();
    for entry in list(wanted) {
        let known = list(before).iter().filter(is_ours).find(|known| known[reference] == entry[reference]);
        let mut entry = entry.clone();
        let before = known.map_or(&Value::Null, |known| &known["conditions"]);
        entry["conditions"] = conditions(before, &entry["conditions"], false, now);
        merged.push(entry);
    }
    Value::Array(merged)
}

fn listeners(before: &Value, wanted: &Value, now: &str) -> Value {
    let merged = list(wanted).iter().map(|listener| {
        let known = list(before).iter().find(|known| known["name"] == listener["name"]);
        let mut listener = listener.clone();
        let before = known.map_or(&Value::Null, |known| &known["conditions"]);
        listener["conditions"] = conditions(before, &listener["conditions"], false, now);
        listener
    });
    Value::Array(merged.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn condition(kind: &str, status: &str, time: Option<&str>) -> Value {
        let mut condition = json!({"type": kind, "status": status});
        if let Some(time) = time {
            condition["lastTransitionTime"] = time.into();
        }
        condition
    }

    #[test]
    fn times_change_with_the_status_only() {
        let current = json!({"conditions": [condition("Other", "True", Some("t0")), condition("Accepted", "True", Some("t1")), condition("Programmed", "False", Some("t1"))], "more": 1});
        let wanted =
            json!({"conditions": [condition("Accepted", "True", None), condition("Programmed", "True", None)]});
        let merged = merge(&current, &wanted, "now");
        let expected = json!({"conditions": [condition("Other", "True", Some("t0")), condition("Accepted", "True", Some("t1")), condition("Programmed", "True", Some("now"))], "more": 1});
        assert_eq!(merged, expected);
        assert_eq!(merge(&merged, &wanted, "later"), merged, "what is as wanted does not change");
    }

    #[test]
    fn entries_of_others_stay() {
        let entry = |controller: &str, parent: &str, time: Option<&str>| json!({"controllerName": controller, "parentRef": {"name": parent}, "conditions": [condition("Accepted", "True", time)]});
        let current = json!({"parents": [entry(CONTROLLER, "a", Some("t")), entry("other", "a", Some("t")), entry(CONTROLLER, "gone", Some("t"))]});
        let wanted = json!({"parents": [entry(CONTROLLER, "a", None), entry(CONTROLLER, "b", None)]});
        let expected = json!({"parents": [entry("other", "a", Some("t")), entry(CONTROLLER, "a", Some("t")), entry(CONTROLLER, "b", Some("now"))]});
        assert_eq!(merge(&current, &wanted, "now"), expected);
        assert_eq!(merge(&expected, &wanted, "later"), expected);
    }

    #[test]
    fn listeners_keep_their_times_by_name() {
        let listener = |name: &str, time: Option<&str>| json!({"name": name, "attachedRoutes": 1, "conditions": [condition("Programmed", "True", time)]});
        let current = json!({"listeners": [listener("gone", Some("t")), listener("a", Some("t"))]});
        let wanted = json!({"listeners": [listener("a", None), listener("b", None)]});
        let expected = json!({"listeners": [listener("a", Some("t")), listener("b", Some("now"))]});
        assert_eq!(merge(&current, &wanted, "now"), expected);
        assert_eq!(merge(&Value::Null, &wanted, "t")["listeners"][0], listener("a", Some("t")));
    }
}
