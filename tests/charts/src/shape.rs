// SPDX-License-Identifier: Apache-2.0
//! What of an object others lean on: kind, name, labels, the ports and selectors of Services, webhooks, the container's environment and mounts.
//! Object -> [`of`] -> JSON in the form of the reference -> [`facts`] -> facts by path, to compare.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Key of an object among others: kind and name.
pub fn key(shape: &Value) -> String {
    format!("{}/{}", shape["kind"].as_str().unwrap_or_default(), shape["name"].as_str().unwrap_or_default())
}

/// What of an object others lean on.
pub fn of(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut labels = metadata["labels"].clone();
    if let Some(labels) = labels.as_object_mut() {
        labels.remove("helm.sh/chart");
    }
    let mut shape = Map::new();
    for (name, value) in [
        ("apiVersion", object["apiVersion"].clone()),
        ("kind", object["kind"].clone()),
        ("name", metadata["name"].clone()),
        ("namespace", metadata["namespace"].clone()),
        ("labels", labels),
    ] {
        shape.insert(name.to_owned(), value);
    }
    let spec = &object["spec"];
    let more = match object["kind"].as_str().unwrap_or_default() {
        "ConfigMap" => json!({"keys": object["data"].as_object().map(|data| data.keys().collect::<Vec<_>>())}),
        "Service" => json!({"ports": spec["ports"], "selector": spec["selector"], "type": spec["type"]}),
        "Deployment" | "DaemonSet" => workload(&spec["template"]),
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            let webhooks = object["webhooks"].as_array().into_iter().flatten();
            json!({"webhooks": webhooks.map(webhook).collect::<Vec<_>>()})
        }
        _ => json!({}),
    };
    if let Value::Object(more) = more {
        shape.extend(more);
    }
    Value::Object(shape)
}

fn workload(template: &Value) -> Value {
    let container = &template["spec"]["containers"][0];
    let names = |list: &Value| -> Vec<Value> {
        list.as_array().into_iter().flatten().map(|entry| entry["name"].clone()).collect()
    };
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    json!({
        "container": {
            "args": container["args"],
            "env": names(&container["env"]),
            "name": container["name"],
            "ports": container["ports"],
            "readinessProbe": container["readinessProbe"],
            "volumeMounts": mounts.map(|mount| json!([mount["name"], mount["mountPath"]])).collect::<Vec<_>>(),
        },
        "podAnnotations": template["metadata"]["annotations"],
        "podLabels": template["metadata"]["labels"],
    })
}

fn webhook(webhook: &Value) -> Value {
    let mut shape = webhook.as_object().cloned().unwrap_or_default();
    let client = shape.remove("clientConfig").unwrap_or_default();
    shape.insert("path".to_owned(), client["service"]["path"].clone());
    Value::Object(shape)
}

/// Facts of a shape by path, without what is null or empty. Entries of lists go by name or key, plain lists by what is in them.
pub fn facts(shape: &Value) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    collect(shape, String::new(), &mut facts);
    facts
}

fn collect(value: &Value, path: String, facts: &mut BTreeMap<String, String>) {
    let below = |part: &str| if path.is_empty() { part.to_owned() } else { format!("{path}.{part}") };
    match value {
        Value::Null => {}
        Value::Object(fields) => fields.iter().for_each(|(name, field)| collect(field, below(name), facts)),
        Value::Array(entries) => {
            for entry in entries {
                match entry["name"].as_str().or_else(|| entry["key"].as_str()) {
                    Some(name) => collect(entry, below(name), facts),
                    None if path.ends_with(".rules") => collect(entry, path.clone(), facts),
                    None => drop(facts.insert(below(&entry.to_string().replace('"', "")), "there".to_owned())),
                }
            }
        }
        scalar => drop(facts.insert(path, scalar.to_string())),
    }
}
