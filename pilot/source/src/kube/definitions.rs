// SPDX-License-Identifier: Apache-2.0
//! Which kinds a cluster has: the CustomResourceDefinitions that are there, and of each kind the version to read it in.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use tiphys_api::Kind;

/// Groups of Kubernetes itself: always there.
const BUILT_IN: [&str; 3] = ["", "discovery.k8s.io", "networking.k8s.io"];

/// Whether a kind is there only when its definition is.
pub(super) fn is_defined(kind: Kind) -> bool {
    !BUILT_IN.contains(&kind.group())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Definition {
    spec: DefinitionSpec,
    status: DefinitionStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DefinitionSpec {
    group: String,
    names: Names,
    versions: Vec<Version>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Names {
    plural: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Version {
    name: String,
    served: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DefinitionStatus {
    conditions: Vec<Condition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// The kind that a definition defines, and the version of it to read: the best that both sides know. None when it is no kind of the mesh, or is
/// not served, or not yet.
fn read(value: Value) -> Option<(Kind, &'static str)> {
    let Definition { spec, status } = Definition::deserialize(value).ok()?;
    if !status.conditions.iter().any(|c| c.kind == "Established" && c.status == "True") {
        return None;
    }
    let kind = *Kind::ALL.iter().find(|kind| kind.group() == spec.group && kind.info().plural == spec.names.plural)?;
    let served = |name: &str| spec.versions.iter().any(|version| version.served && version.name == name);
    let found = kind.info().versions.iter().copied().find(|version| served(version));
    if found.is_none() {
        let names: Vec<&str> = spec.versions.iter().map(|version| version.name.as_str()).collect();
        tracing::warn!(
            target: "kube",
            "{}.{}: the cluster has it in {}, which the mesh does not read: it has no effect",
            spec.names.plural, spec.group, names.join(", ")
        );
    }
    Some((kind, found?))
}

/// The definitions of a cluster.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    known: BTreeMap<String, (Kind, &'static str)>,
    /// The full picture that is being read.
    next: Option<BTreeMap<String, (Kind, &'static str)>>,
    /// A first full picture came.
    complete: bool,
}

impl Definitions {
    /// A full picture begins.
    pub(super) fn begin(&mut self) {
        self.next = Some(BTreeMap::new());
    }

    /// A definition as it is now.
    pub(super) fn put(&mut self, name: String, value: Value) {
        let known = self.next.as_mut().unwrap_or(&mut self.known);
        match read(value) {
            Some(found) => drop(known.insert(name, found)),
            None => drop(known.remove(&name)),
        }
    }

    /// A definition is gone.
    pub(super) fn remove(&mut self, name: &str) {
        self.known.remove(name);
    }

    /// The full picture is complete.
    pub(super) fn end(&mut self) {
        self.known = self.next.take().unwrap_or_default();
        self.complete = true;
    }

    /// The kinds that are there, each in its version; none before it is known.
    pub(super) fn installed(&self) -> Option<BTreeMap<Kind, &'static str>> {
        self.complete.then(|| self.known.values().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(plural: &str, versions: &[(&str, bool)], established: &str) -> Value {
        let versions: Vec<Value> = versions.iter().map(|(n, served)| json!({"name": n, "served": served})).collect();
        json!({
            "spec": {"group": "networking.istio.io", "names": {"plural": plural}, "versions": versions},
            "status": {"conditions": [{"type": "Established", "status": established}]},
        })
    }

    #[test]
    fn the_best_version_that_both_know_is_read() {
        let all = [("v1alpha3", true), ("v1", false), ("v1beta1", true), ("v9", true)];
        assert_eq!(read(definition("gateways", &all, "True")), Some((Kind::IstioGateway, "v1beta1")));
        assert_eq!(read(definition("gateways", &all, "False")), None);
        assert_eq!(read(definition("gateways", &[("v9", true)], "True")), None);
        assert_eq!(read(definition("others", &all, "True")), None);
    }

    #[test]
    fn a_full_picture_replaces_the_one_before_only_when_complete() {
        let mut definitions = Definitions::default();
        definitions.begin();
        definitions.put("g".into(), definition("gateways", &[("v1", true)], "True"));
        assert_eq!(definitions.installed(), None);
        definitions.end();
        definitions.begin();
        assert_eq!(definitions.installed(), Some(BTreeMap::from([(Kind::IstioGateway, "v1")])));
        definitions.end();
        assert_eq!(definitions.installed(), Some(BTreeMap::new()));
    }
}
