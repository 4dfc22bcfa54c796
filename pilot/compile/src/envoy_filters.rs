// SPDX-License-Identifier: Apache-2.0
//! EnvoyFilters: which patches are for a proxy, in which order.

use regex::Regex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tiphys_model::{EnvoyFilter, Fingerprint, Marked, Mesh, PatchSet, ProxyMatch, ProxyNode, Str};

/// All EnvoyFilters.
#[derive(Debug, Default)]
pub struct EnvoyFilters {
    all: Vec<Marked<EnvoyFilter>>,
    fingerprint: Fingerprint,
    /// Expressions for versions of proxies, each compiled once; those that cannot be match no proxy.
    versions: BTreeMap<Str, Regex>,
}

impl EnvoyFilters {
    /// Takes the objects in.
    pub(crate) fn new(all: &Marked<Vec<Marked<EnvoyFilter>>>) -> Arc<Self> {
        let patches = all.iter().flat_map(|filter| &filter.patches);
        let asked = patches.map(|patch| &patch.proxy.version).filter(|version| !version.is_empty());
        let versions = asked.filter_map(|version| Some((version.clone(), Regex::new(version).ok()?))).collect();
        Arc::new(Self { all: all.to_vec(), fingerprint: all.fingerprint(), versions })
    }

    /// Stands for all of them.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The patches for a proxy; none when there are none. First those of lower priority, then those of the root namespace, then the older ones.
    pub fn of(&self, mesh: &Mesh, proxy: &ProxyNode) -> Option<PatchSet> {
        let root = |filter: &EnvoyFilter| filter.namespace == mesh.root_namespace;
        let selects = |filter: &&Marked<EnvoyFilter>| {
            let own = filter.namespace == proxy.namespace;
            (own || root(filter)) && filter.target.covers(&proxy.labels, own)
        };
        let mut selected: Vec<&Marked<EnvoyFilter>> = self.all.iter().filter(selects).collect();
        selected.sort_by(|a, b| {
            let order = |one: &EnvoyFilter| (one.priority, !root(one), one.creation);
            order(a).cmp(&order(b)).then_with(|| (&a.name, &a.namespace).cmp(&(&b.name, &b.namespace)))
        });
        let patches = selected.into_iter().flat_map(|filter| &filter.patches);
        let patches: Vec<_> = patches.filter(|patch| self.is_for(&patch.proxy, proxy)).cloned().collect();
        (!patches.is_empty()).then(|| PatchSet::new(&patches))
    }

    fn is_for(&self, wanted: &ProxyMatch, proxy: &ProxyNode) -> bool {
        let version = wanted.version.is_empty()
            || !proxy.version.is_empty()
                && self.versions.get(&wanted.version).is_some_and(|version| version.is_match(&proxy.version));
        version
            && wanted
                .metadata
                .iter()
                .all(|(key, value)| proxy.metadata.get(&**key).and_then(serde_json::Value::as_str) == Some(&**value))
    }
}
