// SPDX-License-Identifier: Apache-2.0
//! Charts rendered by Helm, as objects: [`Release`] -> `helm template` -> JSON. Without Helm the tests say that they are skipped.

pub mod shape;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folder of the charts.
pub fn charts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts")
}

/// Helm: from PATH, or from the project's cache (`scripts/setup helm`). Without it says, for the test of this name, what is skipped.
pub fn helm(test: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("TIPHYS_CACHE").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
        Some(std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or(home)?.join("tiphys"))
    });
    let folders = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let folders = folders.into_iter().flatten().chain(cache.map(|cache| cache.join("tools/bin")));
    let found = folders.map(|folder| folder.join("helm")).find(|file| file.is_file());
    if found.is_none() {
        println!("SKIPPED: {test}: there is no helm; `make charts-test` installs it");
    }
    found
}

/// One installation of a chart.
#[derive(Debug, Clone, Default)]
pub struct Release<'a> {
    /// Folder of the chart.
    pub chart: PathBuf,
    /// Name of the release.
    pub name: &'a str,
    /// Namespace of the release.
    pub namespace: &'a str,
    /// Files of values.
    pub files: Vec<PathBuf>,
    /// Single values, `key=value`.
    pub set: Vec<&'a str>,
}

impl<'a> Release<'a> {
    /// The release of a chart of this project under the name and in the namespace that the chart is usually installed with.
    pub fn of(chart: &str) -> Self {
        let (name, namespace) = match chart {
            "base" => ("istio-base", "istio-system"),
            "gateway" => ("ingress", "istio-ingress"),
            _ => ("istiod", "istio-system"),
        };
        Self { chart: charts().join(chart), name, namespace, ..Self::default() }
    }

    /// The same with one more value.
    #[must_use]
    pub fn set(mut self, value: &'a str) -> Self {
        self.set.push(value);
        self
    }

    /// The same with the values of a file.
    #[must_use]
    pub fn file(mut self, file: &Path) -> Self {
        self.files.push(file.to_owned());
        self
    }

    /// What Helm renders, as text.
    ///
    /// # Errors
    /// Helm's own words.
    pub fn text(&self, helm: &Path) -> Result<String> {
        let mut command = Command::new(helm);
        command.args(["template", self.name, "--namespace", self.namespace]).arg(&self.chart);
        for file in &self.files {
            command.arg("--values").arg(file);
        }
        for value in &self.set {
            command.args(["--set", value]);
        }
        let output = command.output().with_context(|| helm.display().to_string())?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What Helm renders, as objects in Helm's order.
    ///
    /// # Errors
    /// As [`Release::text`], and when it is no YAML.
    pub fn objects(&self, helm: &Path) -> Result<Vec<Value>> {
        objects(&self.text(helm)?)
    }

    /// The notes that Helm prints after an installation.
    ///
    /// # Errors
    /// As [`Release::text`].
    pub fn notes(&self, helm: &Path) -> Result<String> {
        const TEMPLATE: &str = r#"apiVersion: v1
kind: ConfigMap
metadata: {name: notes-of-the-test}
data:
  notes: |-
    {{- include (print $.Template.BasePath "/NOTES.txt") . | nindent 4 }}
"#;
        // Helm renders notes for a cluster only: here an object of a copy of the chart carries them.
        let copy = tempfile::tempdir()?;
        let copied = Command::new("cp").arg("-r").arg(self.chart.join(".")).arg(copy.path()).status()?;
        anyhow::ensure!(copied.success(), "copying the chart");
        std::fs::write(copy.path().join("templates/notes-of-the-test.yaml"), TEMPLATE)?;
        let release = Self { chart: copy.path().to_owned(), ..self.clone() };
        let objects = release.objects(helm)?;
        let notes = objects.iter().find(|object| object["metadata"]["name"] == "notes-of-the-test");
        Ok(notes.and_then(|object| object["data"]["notes"].as_str()).context("no notes")?.trim().to_owned())
    }
}

/// The objects of a text of YAML documents.
///
/// # Errors
/// When it is no YAML.
pub fn objects(text: &str) -> Result<Vec<Value>> {
    let documents = yaml_serde::Deserializer::from_str(text).map(|document| Ok(Value::deserialize(document)?));
    let documents: Result<Vec<Value>> = documents.collect();
    Ok(documents?.into_iter().filter(|object| !object.is_null()).collect())
}

/// The object of this kind and name.
///
/// # Errors
/// When it is not there.
pub fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.with_context(|| format!("there is no {kind} {name}"))
}
