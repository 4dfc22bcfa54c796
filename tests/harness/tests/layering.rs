// SPDX-License-Identifier: Apache-2.0
//! The house rules that a compiler does not hold: which crate may know which (docs/architecture.md), how long a file may be, the
//! licence line, and no path of somebody's machine.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crate, then the crates of this workspace that it may depend on. Data flows down the list; nothing points up.
const ARROWS: &[(&str, &[&str])] = &[
    ("tiphys-api", &[]),
    ("tiphys-model", &[]),
    ("tiphys-proto", &[]),
    ("tiphys-source", &["tiphys-api"]),
    ("tiphys-compile", &["tiphys-api", "tiphys-model", "tiphys-proto"]),
    ("tiphys-preflight", &["tiphys-api", "tiphys-compile", "tiphys-model"]),
    ("tiphys-translate", &["tiphys-model", "tiphys-proto"]),
    ("tiphys-xds", &["tiphys-proto"]),
    ("tiphys-view", &["tiphys-compile", "tiphys-model", "tiphys-proto", "tiphys-translate", "tiphys-xds"]),
    ("tiphys-status", &["tiphys-api", "tiphys-model"]),
    ("tiphys-deploy", &["tiphys-api", "tiphys-model"]),
    ("tiphys-ca", &["tiphys-proto"]),
    ("tiphys-webhook", &["tiphys-api"]),
    ("tiphys-agent", &["tiphys-proto"]),
    ("tiphys-server", EVERY_STAGE),
    ("tiphysctl", EVERY_STAGE),
    ("xtask", &["tiphys-api"]),
];

/// What the two programs that wire the stages together may know.
const EVERY_STAGE: &[&str] = &[
    "tiphys-api",
    "tiphys-ca",
    "tiphys-compile",
    "tiphys-deploy",
    "tiphys-model",
    "tiphys-preflight",
    "tiphys-proto",
    "tiphys-source",
    "tiphys-status",
    "tiphys-translate",
    "tiphys-view",
    "tiphys-webhook",
    "tiphys-xds",
];

/// Test crates may know everything, and nothing but test crates may know them.
const TEST_CRATES: &[&str] =
    &["tiphys-bench", "tiphys-charts", "tiphys-cluster-tests", "tiphys-e2e", "tiphys-golden", "tiphys-harness"];

const KUBERNETES_USERS: &[&str] =
    &["tiphys-source", "tiphys-status", "tiphys-deploy", "tiphys-webhook", "tiphys-server", "tiphysctl"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace's folder")
}

/// Each crate of the workspace with what it uses outside of its tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages").iter();
    packages
        .map(|package| {
            let uses = package["dependencies"].as_array().expect("dependencies").iter();
            let uses = uses.filter(|d| d["kind"] != "dev").filter_map(|d| d["name"].as_str()).map(str::to_owned);
            (package["name"].as_str().expect("name").to_owned(), uses.collect())
        })
        .collect()
}

#[test]
fn arrows_point_down_only() {
    let crates = dependencies();
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (name, uses) in crates.iter().filter(|(name, _)| !TEST_CRATES.contains(&name.as_str())) {
        let Some(allowed) = arrows.get(name.as_str()) else {
            wrong.push(format!("{name} is not in ARROWS: say which crates it may know"));
            continue;
        };
        for used in uses.iter().filter(|used| crates.contains_key(*used)) {
            if !allowed.contains(&used.as_str()) {
                wrong.push(format!("{name} must not depend on {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn few_crates_know_the_kubernetes_client() {
    for (name, uses) in dependencies() {
        let knows = uses.contains("kube");
        assert!(!knows || KUBERNETES_USERS.contains(&name.as_str()), "{name} must not use the Kubernetes client");
    }
}

/// Files that git tracks.
fn tracked(wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().expect("git ls-files");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all = String::from_utf8(output.stdout).expect("UTF-8 file names");
    all.split('\0').filter(|name| wanted(name)).map(PathBuf::from).filter(|name| root().join(name).is_file()).collect()
}

fn is_test(path: &Path) -> bool {
    let in_test_folder = path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "benches")));
    let in_test_crate = path.starts_with("tests/harness/src") || path.starts_with("tests/bench/src");
    path.to_string_lossy().ends_with("tests.rs") || (in_test_folder && !in_test_crate)
}

#[test]
fn source_files_are_under_500_lines() {
    let mut long = Vec::new();
    for name in tracked(|name| name.ends_with(".rs")).into_iter().filter(|name| !is_test(name)) {
        let text = std::fs::read_to_string(root().join(&name)).expect("readable");
        // Tests that stand below the code do not count.
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        if lines >= 500 {
            long.push(format!("{} has {lines} lines: split it by what its parts are about", name.display()));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn source_files_name_their_licence() {
    let line = "SPDX-License-Identifier: Apache-2.0";
    let written = |name: &str| {
        [".rs", ".toml", ".sh", ".proto", "Makefile"].iter().any(|end| name.ends_with(end))
            || ["scripts/", ".ci/"].iter().any(|start| name.starts_with(start))
            || (name.starts_with("samples/") && name.ends_with(".yaml"))
    };
    for name in tracked(written) {
        let text = std::fs::read_to_string(root().join(&name)).expect("readable");
        assert!(text.lines().take(2).any(|l| l.contains(line)), "{}: its first line must be {line}", name.display());
    }
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    let pattern = r#"(^|[ "'=(:])/(home|root|Users|work)/[A-Za-z]"#;
    let output = Command::new("git").args(["grep", "-nIE", pattern]).current_dir(root()).output().expect("git grep");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}
