// SPDX-License-Identifier: Apache-2.0
//! Each object of each value set is held against what Istio's charts render for it: names, labels, ports, selectors, webhooks, containers,
//! environment and mounts. `make parity` names the folder of the reference in TIPHYS_INTEROP; without it the test says that it is skipped.

use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tiphys_charts::{Release, helm, shape};

/// What is other on purpose: the object (kind/name), the path of the fact, either with `*` at its end, and why.
/// docs/compatibility.md says the same to users.
const ON_PURPOSE: &[(&str, &str, &str)] = &[
    (
        "ValidatingWebhookConfiguration/*",
        "webhooks.validation.istio.io.failurePolicy",
        "only a first installation by Helm says Ignore, so that rendering anew never differs from the live object",
    ),
    (
        "ValidatingWebhookConfiguration/*",
        "webhooks.rev.validation.istio.io.failurePolicy",
        "only a first installation by Helm says Ignore, so that rendering anew never differs from the live object",
    ),
    ("Deployment/istiod*", "container.env.CA_TRUSTED_NODE_ACCOUNTS", "there is no ztunnel that would be trusted"),
    ("Deployment/istiod*", "container.env.PILOT_ENABLE_ANALYSIS", "objects are not analysed in the cluster"),
    (
        "ClusterRole/istiod-gateway-controller*",
        "*",
        "no Deployment is made for a Gateway, so nothing needs these rights",
    ),
    (
        "ClusterRoleBinding/istiod-gateway-controller*",
        "*",
        "no Deployment is made for a Gateway, so nothing needs these rights",
    ),
];

/// The value sets of the reference: its file, the chart, the release and what was set.
const SETS: &[(&str, &str, &str, &[&str])] = &[
    ("base", "base", "istio-base/istio-system", &[]),
    ("istiod", "istiod", "istiod/istio-system", &[]),
    (
        "istiod-cni-ambient-off-autoscale",
        "istiod",
        "istiod/istio-system",
        &["pilot.cni.enabled=true", "pilot.autoscaleEnabled=false"],
    ),
    (
        "istiod-discovery-selectors-networkpolicy",
        "istiod",
        "istiod/istio-system",
        &["meshConfig.discoverySelectors[0].matchLabels.mesh=on", "global.networkPolicy.enabled=true"],
    ),
    (
        "istiod-injection-by-default",
        "istiod",
        "istiod/istio-system",
        &["sidecarInjectorWebhook.enableNamespacesByDefault=true"],
    ),
    ("istiod-revision-canary", "istiod", "istiod-canary/istio-system", &["revision=canary"]),
    ("istiod-revision-tags", "istiod", "istiod-1-30/istio-system", &["revision=1-30", "revisionTags={prod,default}"]),
    ("gateway", "gateway", "ingress/istio-ingress", &[]),
    ("gateway-autoscale-pdb", "gateway", "gw/gw", &["autoscaling.minReplicas=2", "podDisruptionBudget.minAvailable=1"]),
    (
        "gateway-clusterip-egress",
        "gateway",
        "istio-egress/istio-egress",
        &["service.type=ClusterIP", "labels.istio=egressgateway"],
    ),
];

fn reference(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TIPHYS_INTEROP").map(|folder| Path::new(&folder).join("charts"));
    let folder = folder.filter(|folder| folder.is_dir());
    if folder.is_none() {
        println!("SKIPPED: {test}: TIPHYS_INTEROP names no folder with the reference");
    }
    folder
}

fn fits(pattern: &str, text: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == text, |start| text.starts_with(start))
}

#[test]
fn every_object_is_the_references() -> Result<()> {
    let test = "every_object_is_the_references";
    let (Some(helm), Some(reference)) = (helm(test), reference(test)) else { return Ok(()) };
    let mut wrong = Vec::new();
    let mut met = BTreeSet::new();
    for (file, chart, release, set) in SETS {
        let (name, namespace) = release.split_once('/').context("name/namespace")?;
        let release = Release { name, namespace, set: set.to_vec(), ..Release::of(chart) };
        let ours: BTreeMap<String, Value> =
            release.objects(&helm)?.iter().map(shape::of).map(|shape| (shape::key(&shape), shape)).collect();
        let theirs = std::fs::read_to_string(reference.join(format!("{file}.jsonl")))?;
        let theirs: Result<Vec<Value>, _> = theirs.lines().map(serde_json::from_str).collect();
        let theirs: BTreeMap<String, Value> = theirs?.into_iter().map(|shape| (shape::key(&shape), shape)).collect();
        let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        for key in keys {
            for (path, difference) in differences(theirs.get(key), ours.get(key)) {
                let known = ON_PURPOSE.iter().position(|(object, fact, _)| fits(object, key) && fits(fact, &path));
                match known {
                    Some(known) => drop(met.insert(known)),
                    None => wrong.push(format!("{file}: {key} {path}: {difference}")),
                }
            }
        }
    }
    for (at, (object, path, _)) in ON_PURPOSE.iter().enumerate().filter(|(at, _)| !met.contains(at)) {
        wrong.push(format!("ON_PURPOSE {at}: {object} {path} is as in the reference: take it out"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Facts that differ, by path, with the reference's and ours.
fn differences(theirs: Option<&Value>, ours: Option<&Value>) -> Vec<(String, String)> {
    let facts = |shape: Option<&Value>| shape.map(shape::facts).unwrap_or_default();
    let (theirs, ours) = (facts(theirs), facts(ours));
    let paths: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let text = |facts: &BTreeMap<String, String>, path: &str| facts.get(path).cloned().unwrap_or("nothing".to_owned());
    paths
        .into_iter()
        // The reference's charts have version 1.0.0.
        .filter(|path| !path.ends_with("app.kubernetes.io/version") && !path.ends_with("helm.sh/chart"))
        .map(|path| (path.clone(), text(&theirs, path), text(&ours, path)))
        .filter(|(_, theirs, ours)| theirs != ours)
        .map(|(path, theirs, ours)| (path, format!("reference {theirs}, ours {ours}")))
        .collect()
}

#[test]
fn every_key_of_the_references_values_has_a_default() -> Result<()> {
    let test = "every_key_of_the_references_values_has_a_default";
    let Some(reference) = reference(test) else { return Ok(()) };
    let mut wrong = Vec::new();
    for chart in ["base", "istiod", "gateway"] {
        let read = |file: PathBuf| -> Result<BTreeMap<String, String>> {
            let values: Value = yaml_serde::from_str(&std::fs::read_to_string(file)?)?;
            let mut leaves = BTreeMap::new();
            flatten(&values["_internal_defaults_do_not_set"], String::new(), &mut leaves);
            Ok(leaves)
        };
        let theirs = read(reference.join(format!("{chart}-values.yaml")))?;
        let ours = read(tiphys_charts::charts().join(chart).join("values.yaml"))?;
        for (key, value) in theirs {
            let own = OTHER_DEFAULTS.iter().find(|(name, _)| *name == format!("{chart}: {key}"));
            match (ours.get(&key), own) {
                (None, None) => wrong.push(format!("{chart}: {key} is missing")),
                (Some(ours), None) if *ours != value => {
                    wrong.push(format!("{chart}: {key} is {ours}, the reference has {value}"));
                }
                (Some(ours), Some(_)) if *ours == value => wrong.push(format!("{chart}: {key} is no other default")),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Defaults that are other on purpose, and why.
const OTHER_DEFAULTS: &[(&str, &str)] = &[
    ("istiod: image", "Tiphys's own image"),
    ("istiod: global.hub", "Tiphys's own images"),
    ("istiod: global.tag", "the chart's appVersion"),
    ("istiod: global.proxy.image", "Tiphys's own image"),
    ("istiod: global.proxy_init.image", "Tiphys's own image"),
    ("istiod: resources.requests.cpu", "less is needed"),
    ("istiod: resources.requests.memory", "less is needed"),
    ("istiod: seccompProfile", "what the Pod Security Standard `restricted` asks for"),
];

fn flatten(value: &Value, path: String, leaves: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(field, path, leaves);
            }
        }
        leaf => drop(leaves.insert(path, leaf.to_string())),
    }
}
