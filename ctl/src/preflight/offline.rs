// SPDX-License-Identifier: Apache-2.0
//! A folder of objects, without a control plane: which proxies are connected and what they took is not known.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use tiphys_api::Object;
use tiphys_api::mesh::MeshConfig;
use tiphys_compile::{Compiler, Settings};
use tiphys_preflight::{Ask, Inputs, Report, Taken, check};
use tiphys_source::{dir, in_force};

use crate::cli::StrictArgs;

/// What would break of a folder's mesh.
pub(super) fn report(args: &StrictArgs, folder: &Path, policies: Vec<Arc<Object>>) -> anyhow::Result<Report> {
    let mesh = match &args.mesh_config {
        None => MeshConfig::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let merged = MeshConfig::default().merge_yaml(&text);
            let (mesh, warnings) = merged.with_context(|| path.display().to_string())?;
            warnings.iter().for_each(|warning| eprintln!("{}: {warning}", path.display()));
            mesh
        }
    };
    let batch = dir::read_once(folder)?;
    let mut compiler = Compiler::new(&mesh, Settings::from_pairs(std::env::vars()));
    for report in batch.reports.iter().filter(|report| report.is_error()) {
        report.lines().for_each(|line| eprintln!("{line} ({})", report.outcome));
    }
    let mut objects: Vec<Arc<Object>> = Vec::new();
    for change in &batch.changes {
        for (key, object) in in_force(change) {
            objects.extend(object.clone());
            compiler.apply(key, object);
        }
    }
    if objects.is_empty() {
        bail!("{}: no object could be read", folder.display());
    }
    let snapshot = compiler.snapshot();
    let ask = Ask { namespace: args.namespace.clone(), policies, ignore: args.ignore.clone() };
    let inputs = Inputs {
        snapshot: &snapshot,
        objects: &objects,
        ask: &ask,
        proxies: None,
        taken: &Taken::new(),
        revision: &args.revision,
    };
    Ok(check(inputs))
}
