// SPDX-License-Identifier: Apache-2.0

use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn crds() -> Vec<Value> {
    let text = render().unwrap();
    text.split("\n---\n").skip(1).map(|document| yaml_serde::from_str(document).unwrap()).collect()
}

/// Property paths as the coverage table has them, with type and enum.
fn paths(schema: &Value, path: &str, found: &mut BTreeMap<String, (String, BTreeSet<String>)>) {
    let kind = if schema.get("x-kubernetes-int-or-string").is_some() {
        "int-or-string"
    } else {
        schema["type"].as_str().unwrap_or("?")
    };
    let words = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    found.insert(if path.is_empty() { ".".to_owned() } else { path.to_owned() }, (kind.to_owned(), words));
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        paths(inner, &format!("{path}.{name}"), found);
    }
    if let Some(items) = schema.get("items") {
        paths(items, &format!("{path}[]"), found);
    }
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        paths(values, &format!("{path}{{}}"), found);
    }
}

fn rules(value: &Value) -> usize {
    match value {
        Value::Object(fields) => {
            let own = fields.get("x-kubernetes-validations").and_then(Value::as_array).map_or(0, Vec::len);
            own + fields.values().map(rules).sum::<usize>()
        }
        Value::Array(items) => items.iter().map(rules).sum(),
        _ => 0,
    }
}

#[test]
fn the_chart_is_up_to_date() {
    generate(true).unwrap();
}

#[test]
fn properties_are_those_of_the_table() {
    let shared = std::env::var_os("TIPHYS_SHARED").map_or(root().join("../shared"), PathBuf::from);
    let file = shared.join("coverage/istio-fields.tsv");
    let Ok(text) = fs::read_to_string(&file) else {
        println!("SKIPPED: no table at {} (TIPHYS_SHARED names the folder)", file.display());
        return;
    };
    let mut expected: BTreeMap<String, BTreeMap<String, (String, BTreeSet<String>)>> = BTreeMap::new();
    for line in text.lines() {
        let row: Vec<&str> = line.split('\t').collect();
        let kind = row[0].split('/').next().unwrap_or_default();
        let words = row.get(3).into_iter().flat_map(|words| words.split('|')).map(str::to_owned).collect();
        expected.entry(kind.to_owned()).or_default().insert(row[1].to_owned(), (row[2].to_owned(), words));
    }
    for crd in crds() {
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let mut found = BTreeMap::new();
            paths(&version["schema"]["openAPIV3Schema"], "", &mut found);
            assert_eq!(found, expected[kind], "{kind} {}", version["name"]);
        }
        expected.remove(kind);
    }
    assert!(expected.is_empty(), "no CRD for {:?}", expected.keys());
}

/// Kind, number of CEL rules, versions with the stored one first, short names, columns.
type Row = (&'static str, usize, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

const KINDS: [Row; 15] = [
    ("VirtualService", 6, &["v1", "v1beta1", "v1alpha3"], &["vs"], &["Gateways", "Hosts", "Age"]),
    ("DestinationRule", 47, &["v1", "v1beta1", "v1alpha3"], &["dr"], &["Host", "Age"]),
    ("Gateway", 3, &["v1", "v1beta1", "v1alpha3"], &["gw"], &[]),
    ("ServiceEntry", 15, &["v1", "v1beta1", "v1alpha3"], &["se"], &["Hosts", "Location", "Resolution", "Age"]),
    ("WorkloadEntry", 6, &["v1", "v1beta1", "v1alpha3"], &["we"], &["Age", "Address"]),
    ("WorkloadGroup", 9, &["v1", "v1beta1", "v1alpha3"], &["wg"], &["Age"]),
    ("Sidecar", 18, &["v1", "v1beta1", "v1alpha3"], &[], &[]),
    ("EnvoyFilter", 5, &["v1alpha3"], &[], &[]),
    ("ProxyConfig", 3, &["v1beta1"], &[], &[]),
    ("PeerAuthentication", 5, &["v1", "v1beta1"], &["pa"], &["Mode", "Age"]),
    ("RequestAuthentication", 10, &["v1", "v1beta1"], &["ra"], &[]),
    ("AuthorizationPolicy", 7, &["v1", "v1beta1"], &["ap"], &["Action", "Age"]),
    ("Telemetry", 9, &["v1alpha1", "v1"], &["telemetry"], &["Age"]),
    ("WasmPlugin", 8, &["v1alpha1"], &[], &["Age"]),
    ("TrafficExtension", 8, &["v1alpha1"], &[], &["Age"]),
];

#[test]
fn rules_columns_and_versions() {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
    };
    let crds = crds();
    assert_eq!(crds.len(), KINDS.len());
    for (crd, (kind, count, versions, short_names, columns)) in crds.iter().zip(KINDS) {
        assert_eq!(crd["spec"]["names"]["kind"], kind);
        assert_eq!(texts(&crd["spec"]["names"]["shortNames"]), short_names, "{kind}");
        let mut all: Vec<&Value> = crd["spec"]["versions"].as_array().unwrap().iter().collect();
        all.sort_by_key(|version| version["storage"] != true);
        assert_eq!(all.iter().map(|version| version["name"].as_str().unwrap()).collect::<Vec<_>>(), versions, "{kind}");
        for version in all {
            assert_eq!(rules(&version["schema"]), count, "{kind}");
            let names: Vec<&str> = version["additionalPrinterColumns"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|column| column["name"].as_str().unwrap())
                .collect();
            assert_eq!(names, columns, "{kind}");
            assert!(version["subresources"]["status"].is_object());
        }
    }
}

#[test]
fn schemas_are_structural() {
    fn check(schema: &Value, path: &str) {
        let Some(fields) = schema.as_object() else { return };
        assert!(!fields.contains_key("$ref"), "{path} has a reference");
        assert!(fields.contains_key("type") || fields.contains_key("x-kubernetes-int-or-string"), "{path} has no type");
        assert!(fields.get("type").is_none_or(Value::is_string), "{path} has several types");
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            assert!(
                path.is_empty() || inner.get("description").is_some() || path.contains("status") || name == "type",
                "{path}.{name} has no description"
            );
            check(inner, &format!("{path}.{name}"));
        }
        for slot in ["items", "additionalProperties"] {
            if let Some(inner) = schema.get(slot) {
                check(inner, path);
            }
        }
    }
    for crd in crds() {
        for version in crd["spec"]["versions"].as_array().unwrap() {
            check(&version["schema"]["openAPIV3Schema"], "");
        }
    }
}
