// SPDX-License-Identifier: Apache-2.0
//! Every field of the shared coverage tables is read without an unknown-field warning and written back. Skipped aloud where the tables
//! are not there.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tiphys_api::mesh::{MeshConfig, MeshNetworks};
use tiphys_api::{Kind, Origin, parse_value};

fn table(name: &str) -> Option<Vec<Vec<String>>> {
    let fallback = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let file = std::env::var_os("TIPHYS_SHARED").map_or(fallback, PathBuf::from).join("coverage").join(name);
    let Ok(text) = fs::read_to_string(&file) else {
        println!("SKIPPED: no table at {} (TIPHYS_SHARED names the folder)", file.display());
        return None;
    };
    Some(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

/// The steps of a path such as `.spec.http[].headers{}.exact`.
fn steps(path: &str) -> Vec<String> {
    let mut steps = Vec::new();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let end = part.find(['[', '{']).unwrap_or(part.len());
        steps.push(part[..end].to_owned());
        let mut rest = &part[end..];
        while rest.len() >= 2 {
            steps.push(rest[..2].to_owned());
            rest = &rest[2..];
        }
    }
    steps
}

fn build(steps: &[String], key: &str, leaf: &Value) -> Value {
    let Some((first, rest)) = steps.split_first() else { return leaf.clone() };
    let inner = build(rest, key, leaf);
    match first.as_str() {
        "[]" => json!([inner]),
        "{}" => json!({ key: inner }),
        name => json!({ name: inner }),
    }
}

fn look<'a>(value: &'a Value, steps: &[String], key: &str) -> Option<&'a Value> {
    let Some((first, rest)) = steps.split_first() else { return Some(value) };
    let inner = match first.as_str() {
        "[]" => value.get(0),
        "{}" => value.get(key),
        // Both spellings are read; the newer one is written.
        "jwks_uri" => value.get("jwksUri"),
        "mirror_percent" => value.get("mirrorPercent"),
        name => value.get(name),
    };
    look(inner?, rest, key)
}

/// Values that a field of a type may take; the first one that is read counts. None of them is a zero, which is not written.
fn samples(field_type: &str, words: Option<&str>) -> Vec<Value> {
    if let Some(words) = words {
        let word = |word: &str| word.parse::<u32>().map_or_else(|_| Value::from(word), Value::from);
        return words.split('|').rev().map(word).collect();
    }
    match field_type {
        "string" => vec![json!("1s"), json!("YQ==")],
        "integer" | "int-or-string" => vec![json!(7)],
        "number" => vec![json!(7.5)],
        "boolean" => vec![json!(true)],
        "array" => vec![json!([])],
        _ => vec![json!({ "a": "b" }), json!({})],
    }
}

fn kind_of(name: &str, istio: bool) -> Kind {
    let (name, _) = name.split_once('/').unwrap();
    *Kind::ALL
        .iter()
        .find(|kind| kind.name() == name && kind.is_istio() == istio)
        .unwrap_or_else(|| panic!("no kind {name}"))
}

fn check(name: &str, istio: bool) {
    let Some(rows) = table(name) else { return };
    let paths: BTreeSet<(String, String)> = rows.iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let mut wrong = Vec::new();
    for row in &rows {
        let (path, field_type) = (&row[1], row[2].as_str());
        let inner = |mark: &str| paths.contains(&(row[0].clone(), format!("{path}{mark}")));
        let parent = paths.iter().any(|(kind, other)| *kind == row[0] && other.starts_with(&format!("{path}.")));
        if path == "." || path == ".spec" || inner("[]") || inner("{}") || parent {
            continue;
        }
        let kind = kind_of(&row[0], istio);
        let steps = steps(path);
        let tries = samples(field_type, row.get(3).map(String::as_str));
        let result =
            ["k", "80"].iter().flat_map(|key| tries.iter().map(move |leaf| (*key, leaf))).map(|(key, leaf)| {
                let mut object = build(&steps, key, leaf);
                let fields = object.as_object_mut().unwrap();
                fields.insert("apiVersion".into(), kind.api_version().into());
                fields.insert("kind".into(), kind.name().into());
                fields.insert("metadata".into(), json!({"name": "a"}));
                let parsed = parse_value(object, Origin::default()).map_err(|error| error.to_string())?;
                if let Some(warning) = parsed.warnings.first() {
                    return Err(warning.to_string());
                }
                let written = parsed.object.to_json().unwrap();
                match look(&written, &steps, key) {
                    Some(value) if value == leaf => Ok(()),
                    // An empty object in a place where unset means the same.
                    None if leaf == &json!({}) => Ok(()),
                    other => Err(format!("{leaf} is written as {other:?}")),
                }
            });
        let results: Vec<Result<(), String>> = result.collect();
        if !results.iter().any(Result::is_ok) {
            wrong.push(format!("{} {path}: {:?}", row[0], results[0]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows.len() > 800);
}

#[test]
fn istio_fields() {
    check("istio-fields.tsv", true);
}

#[test]
fn gateway_api_fields() {
    check("gateway-api-fields.tsv", false);
}

/// The fields of each message of the settings: name and type.
type Messages = BTreeMap<String, Vec<(String, String)>>;

/// The message that a type's name means inside of another message.
fn resolve(messages: &Messages, scope: &str, name: &str) -> Option<String> {
    let mut scope = scope.to_owned();
    loop {
        let full = if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") };
        if messages.contains_key(&full) {
            return Some(full);
        }
        if scope.is_empty() {
            return None;
        }
        scope = scope.rsplit_once('.').map_or(String::new(), |(outer, _)| outer.to_owned());
    }
}

#[test]
fn mesh_config_fields() {
    let Some(rows) = table("meshconfig-fields.tsv") else { return };
    let mut messages = Messages::new();
    for row in &rows {
        messages.entry(row[0].clone()).or_default().push((row[1].clone(), row[2].clone()));
    }
    let mut seen = BTreeSet::new();
    let mut queue: VecDeque<(String, Vec<String>)> =
        ["MeshConfig", "MeshNetworks"].iter().map(|root| ((*root).to_owned(), vec![(*root).to_owned()])).collect();
    let mut count = 0;
    while let Some((message, path)) = queue.pop_front() {
        if !seen.insert(message.clone()) {
            continue;
        }
        for (field, field_type) in &messages[&message] {
            let mut path = path.clone();
            path.push(field.clone());
            let plain = if let Some(item) = field_type.strip_prefix("repeated ") {
                path.push("[]".to_owned());
                item
            } else if let Some(entry) =
                field_type.strip_prefix("map<string, ").and_then(|entry| entry.strip_suffix('>'))
            {
                path.push("{}".to_owned());
                entry
            } else {
                field_type
            };
            count += 1;
            settings_field(&path, plain);
            if let Some(inner) = resolve(&messages, &message, plain) {
                queue.push_back((inner, path));
            }
        }
    }
    assert_eq!(
        count,
        rows.len(),
        "some messages are not reached: {:?}",
        messages.keys().filter(|name| !seen.contains(*name)).collect::<Vec<_>>()
    );
}

fn settings_field(path: &[String], field_type: &str) {
    let samples = match field_type {
        "string" | "google.protobuf.Duration" => vec![json!("1s")],
        "bool" | "google.protobuf.BoolValue" => vec![json!(true)],
        "double" => vec![json!(7.5)],
        "int32" | "uint32" | "google.protobuf.Int32Value" | "google.protobuf.Int64Value" => vec![json!(7), json!("7")],
        // Messages, and enums as the number that is never the default.
        _ => vec![json!({}), json!(1)],
    };
    let fits = samples.iter().any(|leaf| {
        let value = build(&path[1..], "k", leaf);
        let text = serde_json::to_string(&value).unwrap();
        let warnings = if path[0] == "MeshConfig" {
            MeshConfig::default().lay_yaml_over(&text).map(|(_, warnings)| warnings)
        } else {
            MeshNetworks::from_yaml(&text).map(|(_, warnings)| warnings)
        };
        warnings.is_ok_and(|warnings| warnings.is_empty())
    });
    assert!(fits, "{} is not read", path.join("."));
}

#[test]
fn names_of_annotations_and_labels() {
    let Some(rows) = table("annotations-labels.tsv") else { return };
    let source = include_str!("../src/names.rs");
    for row in rows {
        assert!(source.contains(&format!("\"{}\"", row[1])), "{} {} has no constant", row[0], row[1]);
    }
}

#[test]
fn objects_survive_their_own_json() {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"a": "YQ=="},
        "metadata": {"name": "a", "namespace": "b", "labels": {"c": "d"}, "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 2,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "controller": true}]},
    });
    let parsed = parse_value(object.clone(), Origin::default()).unwrap().object;
    assert_eq!(parsed.meta.creation, 1_767_225_600);
    assert!(!format!("{parsed:?}").contains("YQ"), "secrets must not show");
    assert_eq!(parsed.to_json().unwrap(), object);
    let empty: Map<String, Value> = Map::new();
    assert!(parse_value(Value::Object(empty), Origin::default()).is_err());
}
