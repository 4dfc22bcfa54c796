// SPDX-License-Identifier: Apache-2.0
//! The file of proxies.

use std::path::Path;

use anyhow::{Context, anyhow};
use serde::Deserialize;
use serde_json::Value;
use tiphys_model::{Locality, NodeParts, ProxyNode};

/// A proxy to render for.
pub struct Proxy {
    /// Name of its folder.
    pub name: String,
    /// What it says of itself.
    pub node: ProxyNode,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    node: Node,
}

/// The fields of an xDS Node that matter.
#[derive(Deserialize)]
struct Node {
    id: String,
    #[serde(default)]
    metadata: Value,
    #[serde(default)]
    locality: Place,
    #[serde(default)]
    extensions: Vec<Extension>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Place {
    region: String,
    zone: String,
    #[serde(alias = "subZone", alias = "subzone")]
    sub_zone: String,
}

#[derive(Deserialize)]
struct Extension {
    name: String,
}

/// Reads the file.
pub fn read(path: &Path) -> anyhow::Result<Vec<Proxy>> {
    let at = || path.display().to_string();
    let listed: Vec<Listed> = yaml_serde::from_str(&super::read(path)?).with_context(at)?;
    listed.into_iter().map(|proxy| proxy.parse().map_err(|error| anyhow!("{}: {error}", at()))).collect()
}

impl Listed {
    fn parse(self) -> anyhow::Result<Proxy> {
        let Self { name, node } = self;
        let Place { region, zone, sub_zone } = node.locality;
        let extensions: Vec<String> = node.extensions.into_iter().map(|extension| extension.name).collect();
        let parts = NodeParts {
            id: &node.id,
            metadata: node.metadata,
            locality: Locality { region: region.into(), zone: zone.into(), subzone: sub_zone.into() },
            extensions: &extensions,
        };
        let node = ProxyNode::parse(parts).map_err(|error| anyhow!("proxy {name}: {error}"))?;
        // It becomes the name of a folder.
        if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
            return Err(anyhow!("proxy name '{name}' cannot be a folder's name"));
        }
        Ok(Proxy { name, node })
    }
}
