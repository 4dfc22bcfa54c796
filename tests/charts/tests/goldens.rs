// SPDX-License-Identifier: Apache-2.0
//! What each chart renders for each file of `values/`, held against `golden/`. `UPDATE_GOLDENS=1` writes what is expected anew; read the
//! difference before you commit it. Long texts that files of the chart hold are named, not repeated.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use tiphys_charts::{Release, charts, helm};

#[test]
fn every_value_set_renders_what_is_expected() -> Result<()> {
    let Some(helm) = helm("every_value_set_renders_what_is_expected") else { return Ok(()) };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = fs::read_dir(folder.join("values"))?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    ensure!(files.len() >= 12, "there are value sets");
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_name().to_string_lossy().into_owned();
        let (chart, _) = name.split_once('-').with_context(|| format!("{name}: CHART-NAME.yaml"))?;
        let mut text = String::from("# SPDX-License-Identifier: Apache-2.0\n");
        for object in Release::of(chart).file(&file.path()).objects(&helm).with_context(|| name.clone())? {
            text.push_str("---\n");
            text.push_str(&yaml_serde::to_string(&shortened(object)?)?);
        }
        let golden = folder.join("golden").join(&name);
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            fs::write(&golden, text)?;
            continue;
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if let Some(at) = first_difference(&expected, &text) {
            wrong.push(format!("{}:{at}; UPDATE_GOLDENS=1 writes it anew", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn first_difference(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    let line = expected.lines().zip(actual.lines()).take_while(|(expected, actual)| expected == actual).count();
    let at = |text: &str| text.lines().nth(line).unwrap_or("the end").trim().to_owned();
    Some(format!("{}: expected {}, got {}", line + 1, at(expected), at(actual)))
}

/// The object with a word in place of what files of the chart hold, and of the values that the ConfigMap `values` repeats.
fn shortened(mut object: Value) -> Result<Value> {
    if object["kind"] == "CustomResourceDefinition" {
        object["spec"] = json!("as in files/crds/crd-all.gen.yaml");
    }
    let Some(data) = object.get_mut("data") else { return Ok(object) };
    if data.get("merged-values").is_some() {
        data["merged-values"] = json!("all values");
    }
    if let Some(config) = data.get("config").and_then(Value::as_str) {
        let mut config: Value = yaml_serde::from_str(config)?;
        let templates = config["templates"].as_object_mut().context("templates")?;
        for (name, template) in templates {
            let files = builtin(name);
            let text =
                files.iter().map(|file| Ok(fs::read_to_string(charts().join("istiod/files/injection").join(file))?));
            let text: Result<Vec<String>> = text.collect();
            if !files.is_empty() && template.as_str().map(str::trim) == Some(text?.concat().trim()) {
                *template = json!(files.join(" + "));
            }
        }
        data["config"] = config;
    }
    Ok(object)
}

/// The files that a template of this name is made of.
fn builtin(name: &str) -> Vec<String> {
    match name {
        "sidecar" | "gateway" | "grpc-agent" => vec!["common.yaml".to_owned(), format!("{name}.yaml")],
        "grpc-simple" => vec!["grpc-simple.yaml".to_owned()],
        _ => vec![],
    }
}

#[test]
fn helm_finds_nothing_to_complain_about() -> Result<()> {
    let Some(helm) = helm("helm_finds_nothing_to_complain_about") else { return Ok(()) };
    for chart in ["base", "istiod", "gateway"] {
        let output = Command::new(&helm).args(["lint", "--strict"]).arg(charts().join(chart)).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{chart}: {said}");
    }
    Ok(())
}

#[test]
fn charts_have_the_version_of_the_workspace() -> Result<()> {
    for chart in ["base", "istiod", "gateway"] {
        let chart: Value = yaml_serde::from_str(&fs::read_to_string(charts().join(chart).join("Chart.yaml"))?)?;
        assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"), "{}", chart["name"]);
        assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"), "{}", chart["name"]);
    }
    Ok(())
}
