// SPDX-License-Identifier: Apache-2.0
//! What a proxy asks for: all clusters and listeners, of the other types the names that these refer to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;
use tiphys_model::ProxyNode;
use tiphys_xds::ResourceType;

/// Resources by type and name, as JSON.
#[derive(Default)]
pub struct Types(BTreeMap<ResourceType, BTreeMap<String, Value>>);

/// Types that are written even when there is none of them.
const ALWAYS: [ResourceType; 4] =
    [ResourceType::CLUSTER, ResourceType::ENDPOINT, ResourceType::LISTENER, ResourceType::ROUTE];

impl Types {
    /// Adds a resource.
    pub fn add(&mut self, ty: ResourceType, name: String, value: Value) {
        self.0.entry(ty).or_default().insert(name, value);
    }

    /// Drops what this proxy would not ask for.
    pub fn keep_what_is_asked_for(&mut self, node: &ProxyNode) {
        let mut names: BTreeMap<ResourceType, BTreeSet<String>> = BTreeMap::new();
        for (name, cluster) in self.0.get(&ResourceType::CLUSTER).into_iter().flatten() {
            if cluster["type"] == "EDS" {
                let service = cluster["edsClusterConfig"]["serviceName"].as_str().unwrap_or(name);
                names.entry(ResourceType::ENDPOINT).or_default().insert(service.to_owned());
            }
        }
        for listener in self.0.get(&ResourceType::LISTENER).into_iter().flat_map(BTreeMap::values) {
            references(listener, &mut names);
        }
        for ty in [ResourceType::ENDPOINT, ResourceType::ROUTE, ResourceType::EXTENSION] {
            let asked = names.remove(&ty).unwrap_or_default();
            if let Some(resources) = self.0.get_mut(&ty) {
                resources.retain(|name, _| asked.contains(name));
            }
        }
        // Secrets are asked for one by one, of the agent; names only by one that captures DNS.
        self.0.remove(&ResourceType::SECRET);
        if !matches!(node.metadata_str("DNS_CAPTURE"), "true" | "1") {
            self.0.remove(&ResourceType::NAME_TABLE);
        }
    }

    /// Writes one file for each type.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let types: BTreeSet<ResourceType> =
            self.0.iter().filter(|(_, all)| !all.is_empty()).map(|(ty, _)| *ty).chain(ALWAYS).collect();
        for ty in types {
            let values: Vec<Value> = self.0.get(&ty).into_iter().flat_map(BTreeMap::values).cloned().collect();
            super::write_json(&folder.join(format!("{}.json", ty.short())), &values)?;
        }
        Ok(())
    }
}

/// Names of route configurations and extension configurations in a listener.
fn references(value: &Value, names: &mut BTreeMap<ResourceType, BTreeSet<String>>) {
    match value {
        Value::Object(fields) => {
            if let Some(name) = fields.get("routeConfigName").and_then(Value::as_str) {
                names.entry(ResourceType::ROUTE).or_default().insert(name.to_owned());
            }
            if let (Some(_), Some(name)) = (fields.get("configDiscovery"), fields.get("name").and_then(Value::as_str)) {
                names.entry(ResourceType::EXTENSION).or_default().insert(name.to_owned());
            }
            fields.values().for_each(|field| references(field, names));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tiphys_model::{Locality, NodeParts};

    #[test]
    fn only_what_is_referred_to_is_kept() {
        let mut types = Types::default();
        types.add(ResourceType::CLUSTER, "a".into(), json!({"type": "EDS"}));
        types.add(ResourceType::CLUSTER, "b".into(), json!({"type": "EDS", "edsClusterConfig": {"serviceName": "c"}}));
        types.add(ResourceType::CLUSTER, "d".into(), json!({"type": "STRICT_DNS"}));
        for name in ["a", "b", "c", "d"] {
            types.add(ResourceType::ENDPOINT, name.into(), json!({"clusterName": name}));
            types.add(ResourceType::ROUTE, name.into(), json!({"name": name}));
        }
        types.add(
            ResourceType::LISTENER,
            "l".into(),
            json!({"filterChains": [{"filters": [{"rds": {"routeConfigName": "b"}}]}]}),
        );
        types.add(ResourceType::SECRET, "s".into(), json!({}));
        let parts = NodeParts {
            id: "sidecar~1.1.1.1~a.n~d",
            metadata: json!({}),
            locality: Locality::default(),
            extensions: &[],
        };
        types.keep_what_is_asked_for(&ProxyNode::parse(parts).unwrap());
        let names = |ty| types.0.get(&ty).into_iter().flat_map(BTreeMap::keys).cloned().collect::<Vec<_>>();
        assert_eq!(names(ResourceType::ENDPOINT), ["a", "c"]);
        assert_eq!(names(ResourceType::ROUTE), ["b"]);
        assert!(names(ResourceType::SECRET).is_empty());
    }
}
