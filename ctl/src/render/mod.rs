// SPDX-License-Identifier: Apache-2.0
//! `render`: what each proxy would be given, as files.
//!
//! The way of the data: a file or folder is read as the control plane's source reads it, compiled to one snapshot, and each proxy's view of that is
//! written as JSON, cut down to what the proxy would ask for.

mod asked;
mod cases;
mod proxies;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use serde_json::Value;
use tiphys_api::mesh::{MeshConfig, MeshNetworks};
use tiphys_compile::{Compiler, Settings};
use tiphys_source::{Report, dir, in_force};
use tiphys_view::{Memo, generators, render};

use crate::cli::RenderArgs;
use proxies::Proxy;

/// What to render.
struct Job {
    config: PathBuf,
    mesh_config: Option<PathBuf>,
    mesh_networks: Option<PathBuf>,
    proxies: PathBuf,
    out: PathBuf,
    /// Settings by environment variable.
    settings: Settings,
}

/// What came of it beside the files.
struct Rendered {
    /// What is wrong with what was read.
    said: Vec<String>,
    /// Whether every object could be used.
    whole: bool,
}

/// Runs the command.
pub fn run(args: &RenderArgs) -> anyhow::Result<ExitCode> {
    if let Some(cases) = &args.cases {
        return cases::run(cases, &args.out);
    }
    let needed = |path: &Option<PathBuf>, flag: &str| path.clone().ok_or_else(|| anyhow!("{flag} is needed"));
    let job = Job {
        config: needed(&args.config, "--config")?,
        mesh_config: args.mesh_config.clone(),
        mesh_networks: args.mesh_networks.clone(),
        proxies: needed(&args.proxies, "--proxies")?,
        out: args.out.clone(),
        settings: Settings::from_pairs(std::env::vars()),
    };
    let Rendered { said, whole } = job.run()?;
    said.iter().for_each(|line| eprintln!("{line}"));
    Ok(ExitCode::from(u8::from(!whole)))
}

impl Job {
    /// Renders everything that can be used.
    fn run(&self) -> anyhow::Result<Rendered> {
        let mut said = Vec::new();
        let mesh = self.mesh(&mut said)?;
        let batch = dir::read_once(&self.config)?;
        let whole = !batch.reports.iter().any(Report::is_error);
        for report in &batch.reports {
            said.extend(report.lines().map(|line| format!("{line} ({})", report.outcome)));
        }
        let mut compiler = Compiler::new(&mesh, self.settings.clone());
        for change in &batch.changes {
            in_force(change).into_iter().for_each(|(key, object)| compiler.apply(key, object));
        }
        let snapshot = compiler.snapshot();
        for (key, problems) in snapshot.warnings.iter() {
            said.extend(problems.iter().map(|problem| format!("{key}: {problem}")));
        }
        self.write_statuses(&compiler)?;
        let (generators, memo) = (generators(), Memo::default());
        for Proxy { name, node } in proxies::read(&self.proxies)? {
            let mut types = asked::Types::default();
            for (ty, entries) in render(&snapshot, &generators, &node, &memo) {
                for entry in entries {
                    let any = entry.any().with_context(|| entry.name.to_string())?;
                    types.add(
                        ty,
                        entry.name.to_string(),
                        tiphys_proto::to_json(&any).map_err(|e| anyhow!("{}: {e}", entry.name))?,
                    );
                }
            }
            types.keep_what_is_asked_for(&node);
            types.write(&self.out.join(&name))?;
        }
        Ok(Rendered { said, whole })
    }

    /// Writes status.yaml: each object that has a status, with nothing else of it.
    fn write_statuses(&self, compiler: &Compiler) -> anyhow::Result<()> {
        let mut text = String::new();
        for (key, status) in compiler.statuses().iter() {
            let Some(object) = compiler.store().get(key.kind, &key.namespace, &key.name) else { continue };
            let mut metadata = serde_json::json!({ "name": key.name });
            if !key.namespace.is_empty() {
                metadata["namespace"] = key.namespace.as_str().into();
            }
            let document = serde_json::json!({
                "apiVersion": object.version, "kind": key.kind.name(), "metadata": metadata, "status": status,
            });
            text += "---\n";
            text += &yaml_serde::to_string(&document)?;
        }
        if text.is_empty() {
            return Ok(());
        }
        fs::create_dir_all(&self.out).with_context(|| self.out.display().to_string())?;
        let path = self.out.join("status.yaml");
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    fn mesh(&self, said: &mut Vec<String>) -> anyhow::Result<MeshConfig> {
        if let Some(path) = &self.mesh_networks {
            // Read, so that a broken file is an error.
            let (_, warnings) = MeshNetworks::from_yaml(&read(path)?).map_err(|e| anyhow!("{}:{e}", path.display()))?;
            said.extend(warnings.iter().map(|w| format!("{}: {w}", path.display())));
            said.push(format!("{}: warning: it has no effect: there is one network", path.display()));
        }
        let Some(path) = &self.mesh_config else { return Ok(MeshConfig::default()) };
        let (mesh, warnings) =
            MeshConfig::default().merge_yaml(&read(path)?).map_err(|e| anyhow!("{}:{e}", path.display()))?;
        said.extend(warnings.iter().map(|w| format!("{}: {w}", path.display())));
        Ok(mesh)
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn write_json(path: &Path, values: &[Value]) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(values)?;
    fs::write(path, text + "\n").with_context(|| path.display().to_string())
}
