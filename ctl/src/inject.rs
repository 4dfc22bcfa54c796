// SPDX-License-Identifier: Apache-2.0
//! `inject`: workloads with the sidecar in their pods, by files alone or by the settings of a cluster.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;
use tiphys_api::mesh::MeshConfig;
use tiphys_webhook::cluster::{self, Texts};
use tiphys_webhook::inject::Injector;
use tiphys_webhook::inject::config::{InjectionConfig, Values};
use tiphys_webhook::inject::resource::{Injected, inject};

use crate::cli::InjectArgs;

/// Runs the command.
pub fn run(args: &InjectArgs) -> anyhow::Result<ExitCode> {
    let injector = injector(args)?;
    let text = read(&args.file)?;
    let written = rewrite(&text, &injector, args.native_sidecars).with_context(|| args.file.display().to_string())?;
    match &args.output {
        Some(path) => fs::write(path, written).with_context(|| path.display().to_string())?,
        None => std::io::stdout().write_all(written.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("the standard input")?;
        return Ok(text);
    }
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn injector(args: &InjectArgs) -> anyhow::Result<Injector> {
    let mut texts = Texts {
        config: from_file(args.inject_config.as_deref(), "config")?,
        values: from_file(args.values.as_deref(), "values")?,
        mesh: from_file(args.mesh_config.as_deref(), "mesh")?,
    };
    if texts.config.is_none() || texts.values.is_none() || texts.mesh.is_none() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let missing =
            "what is not given by --injectConfigFile, --valuesFile and --meshConfigFile is read from the cluster";
        let known = runtime.block_on(cluster::texts(&args.namespace, &args.revision)).context(missing)?;
        texts = texts.or(known);
    }
    let (Some(config), Some(values)) = (texts.config, texts.values) else {
        bail!("the cluster has no ConfigMap {}/istio-sidecar-injector with config and values", args.namespace);
    };
    let mut config = InjectionConfig::parse(&config)?;
    // Who runs this command asks for it.
    config.enabled = true;
    let (mesh, warnings) = MeshConfig::default().merge_yaml(texts.mesh.as_deref().unwrap_or_default())?;
    warnings.iter().for_each(|warning| eprintln!("MeshConfig: {warning}"));
    Ok(Injector::new(config, Values::parse(&values)?, mesh, &args.revision, "")?)
}

/// The text of a file, or of a key of the ConfigMap in it.
fn from_file(path: Option<&Path>, key: &str) -> anyhow::Result<Option<String>> {
    let Some(path) = path else { return Ok(None) };
    let text = read(path)?;
    for document in yaml_serde::Deserializer::from_str(&text) {
        let Ok(value) = Value::deserialize(document) else { break };
        if value["kind"] == "ConfigMap" && value["data"].get(key).is_some() {
            return Ok(value["data"][key].as_str().map(str::to_owned));
        }
    }
    Ok(Some(text))
}

/// All documents of a text, with those injected that hold a pod.
fn rewrite(text: &str, injector: &Injector, native: bool) -> anyhow::Result<String> {
    let mut written = Vec::new();
    for (number, document) in yaml_serde::Deserializer::from_str(text).enumerate() {
        let place = || format!("document {}", number + 1);
        let value = Value::deserialize(document).with_context(place)?;
        if value.is_null() {
            continue;
        }
        let value = injected(value, injector, native).with_context(place)?;
        written.push(yaml_serde::to_string(&value)?);
    }
    Ok(written.join("---\n"))
}

fn injected(mut value: Value, injector: &Injector, native: bool) -> anyhow::Result<Value> {
    let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    if let (true, Some(items)) = (is_list, value.get_mut("items").and_then(Value::as_array_mut)) {
        for item in items {
            *item = injected(item.take(), injector, native)?;
        }
        return Ok(value);
    }
    let name = || {
        format!(
            "{} {}",
            value["kind"].as_str().unwrap_or("object"),
            value["metadata"]["name"].as_str().unwrap_or("(unnamed)")
        )
    };
    match inject(injector, &value, native).with_context(name)? {
        Injected::Yes(value) => Ok(value),
        Injected::NoPod => Ok(value),
        Injected::Skipped(name, why) => {
            eprintln!("{name} is not injected: {why}");
            Ok(value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Injector {
        let config =
            "policy: enabled\ntemplates:\n  sidecar: |\n    spec: {containers: [{name: istio-proxy, image: x}]}";
        let config = InjectionConfig::parse(config).unwrap();
        Injector::new(config, Values::parse("{}").unwrap(), MeshConfig::default(), "", "").unwrap()
    }

    #[test]
    fn pods_wherever_they_are() {
        let text = "kind: Service\nspec: {ports: []}\n---\nkind: List\nitems:\n- kind: Pod\n  metadata: {name: a}\n  spec: {containers: [{name: app, image: y}]}\n---\nkind: CronJob\nmetadata: {name: b}\nspec: {jobTemplate: {spec: {template: {spec: {containers: []}}}}}\n---\nkind: Deployment\nmetadata: {name: c}\nspec: {template: {spec: {hostNetwork: true, containers: []}}}\n";
        let written = rewrite(text, &plain(), false).unwrap();
        let documents: Vec<Value> =
            yaml_serde::Deserializer::from_str(&written).map(|d| Value::deserialize(d).unwrap()).collect();
        assert_eq!(documents[0]["spec"]["ports"], serde_json::json!([]));
        assert_eq!(documents[1]["items"][0]["spec"]["containers"][1]["name"], "istio-proxy");
        let pod = &documents[2]["spec"]["jobTemplate"]["spec"]["template"];
        assert_eq!(pod["spec"]["containers"][0]["name"], "istio-proxy");
        assert_eq!(documents[2].as_object().unwrap().keys().collect::<Vec<_>>(), ["kind", "metadata", "spec"]);
        assert_eq!(documents[3]["spec"]["template"]["spec"]["containers"], serde_json::json!([]));
        let wrong = "kind: Deployment\nmetadata: {name: d}\nspec: {template: {metadata: {annotations: {inject.istio.io/templates: no}}, spec: {containers: []}}}";
        let error = format!("{:#}", rewrite(wrong, &plain(), false).unwrap_err());
        assert_eq!(error, "document 1: Deployment d: injection template \"no\" is not there: use one of sidecar");
    }

    #[test]
    fn a_file_may_be_the_config_map() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("injector.yaml");
        fs::write(&path, "---\nkind: ConfigMap\ndata: {config: 'policy: enabled', values: '{}'}\n").unwrap();
        assert_eq!(from_file(Some(&path), "config").unwrap().as_deref(), Some("policy: enabled"));
        fs::write(&path, "policy: disabled").unwrap();
        assert_eq!(from_file(Some(&path), "config").unwrap().as_deref(), Some("policy: disabled"));
    }
}
