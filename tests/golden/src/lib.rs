// SPDX-License-Identifier: Apache-2.0
//! Golden tests: a case is a folder with objects and proxies, and in `expected/` what each proxy gets.
//!
//! The way of the data is that of the control plane, without its connections: the folder is read as `--configDir` is, compiled, and
//! rendered for each proxy.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tiphys_api::mesh::MeshConfig;
use tiphys_compile::{Compiler, Settings, Snapshot};
use tiphys_harness::validate::Resources;
use tiphys_model::{Locality, NodeParts, ProxyNode};
use tiphys_source::dir::read_once;
use tiphys_view::{Memo, generators, render};

/// A proxy of a case.
#[derive(Clone, Debug, Deserialize)]
pub struct Proxy {
    /// Its name in the case.
    pub name: String,
    /// Its xDS node.
    pub node: Node,
}

/// As what a proxy introduces itself.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// `TYPE~IP~NAME.NAMESPACE~DOMAIN`
    pub id: String,
    /// Names of Envoy's extensions. A proxy that lists none is taken for Istio's own.
    #[serde(default)]
    pub extensions: Vec<String>,
    /// Istio's metadata.
    pub metadata: Value,
}

/// The proxies of a file.
///
/// # Errors
/// When it cannot be read.
pub fn proxies(file: &Path) -> Result<Vec<Proxy>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    yaml_serde::from_str(&text).with_context(|| format!("{}", file.display()))
}

/// The mesh of the objects in a file or folder, with the settings of a MeshConfig file.
///
/// # Errors
/// When one cannot be read.
pub fn snapshot(objects: &Path, mesh_config: Option<&Path>) -> Result<Arc<Snapshot>> {
    let mut mesh = MeshConfig::default();
    if let Some(file) = mesh_config {
        (mesh, _) = mesh.merge_yaml(&fs::read_to_string(file)?)?;
    }
    let mut compiler = Compiler::new(&mesh, Settings::default());
    for change in read_once(objects)?.changes {
        compiler.apply(change.key, change.object);
    }
    Ok(compiler.snapshot())
}

/// All resources of a proxy by the short name of their type.
///
/// # Errors
/// When the node is none, or a resource is of no known type.
pub fn resources(snapshot: &Snapshot, proxy: &Proxy) -> Result<Map<String, Value>> {
    let Node { id, extensions, metadata } = &proxy.node;
    let parts = NodeParts { id, metadata: metadata.clone(), locality: Locality::default(), extensions };
    let node = ProxyNode::parse(parts)?;
    let mut by_type = Map::new();
    for (ty, entries) in render(snapshot, &generators(), &node, &Memo::default()) {
        // Only a proxy that captures DNS asks for names, and only one with an EnvoyFilter that names extensions for these.
        if ["nds", "ecds"].contains(&ty.short()) && entries.is_empty() {
            continue;
        }
        let entries = entries.iter().map(|entry| Ok(tiphys_proto::to_json(&entry.any()?)?));
        by_type.insert(ty.short().to_owned(), Value::Array(entries.collect::<Result<_>>()?));
    }
    Ok(by_type)
}

/// Whether a real Envoy takes these resources.
///
/// # Errors
/// What Envoy says against them.
pub fn validate(resources: &Map<String, Value>) -> Result<()> {
    let of = |ty: &str| resources.get(ty).and_then(Value::as_array).cloned().unwrap_or_default();
    Resources { lds: of("lds"), cds: of("cds"), rds: of("rds"), eds: of("eds") }.validate()
}
