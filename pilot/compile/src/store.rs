// SPDX-License-Identifier: Apache-2.0
//! Every object that is in force, by kind and name, and what changed since the last snapshot. Objects that do not count (see
//! [`Selection`]) are kept apart, until they do.

use crate::selection::Selection;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tiphys_api::{Key, Kind, Object};

/// The objects in force. Lists come out sorted by namespace and name, whatever the order of arrival was.
#[derive(Default)]
pub struct Store {
    objects: BTreeMap<Kind, BTreeMap<(String, String), Arc<Object>>>,
    changed: BTreeSet<Key>,
    selection: Selection,
    /// Objects that do not count.
    hidden: BTreeMap<Key, Arc<Object>>,
    /// Namespaces that may count from now on, or no longer.
    unsure: BTreeSet<String>,
}

impl Store {
    /// Puts an object in force, or takes it out.
    pub fn apply(&mut self, key: Key, object: Option<Arc<Object>>) {
        if key.kind == Kind::Namespace && !self.selection.takes_all_namespaces() {
            self.unsure.insert(key.name.clone());
        }
        match object {
            Some(object) if !self.counts_now(&object) => {
                self.put(&key, None);
                self.hidden.insert(key, object);
            }
            object => {
                self.hidden.remove(&key);
                self.put(&key, object);
            }
        }
    }

    /// Puts another selection in force.
    pub(crate) fn select(&mut self, selection: Selection) {
        if self.selection == selection {
            return;
        }
        self.selection = selection;
        let everywhere = self.objects.values().flat_map(BTreeMap::keys).map(|(namespace, _)| namespace);
        self.unsure = everywhere.chain(self.hidden.keys().map(|key| &key.namespace)).cloned().collect();
    }

    fn put(&mut self, key: &Key, object: Option<Arc<Object>>) {
        let names = self.objects.entry(key.kind).or_default();
        let name = (key.namespace.clone(), key.name.clone());
        let there = object.is_some();
        let before = match object {
            Some(object) => names.insert(name, object),
            None => names.remove(&name),
        };
        if there || before.is_some() {
            self.changed.insert(key.clone());
        }
    }

    fn counts_now(&self, object: &Object) -> bool {
        self.selection.takes_revision(object) && self.namespace_counts(&object.meta.namespace)
    }

    fn namespace_counts(&self, namespace: &str) -> bool {
        if namespace.is_empty() || self.selection.takes_all_namespaces() {
            return true;
        }
        let object = self.get(Kind::Namespace, "", namespace);
        object.is_some_and(|object| self.selection.takes_namespace(&object.meta.labels))
    }

    /// Looks at the objects of namespaces that may count from now on, or no longer.
    fn sift(&mut self) {
        for namespace in std::mem::take(&mut self.unsure) {
            let shown = self.objects.values().flat_map(|names| {
                names.range((namespace.clone(), String::new())..).take_while(|((of, _), _)| *of == namespace)
            });
            let over: Vec<Arc<Object>> =
                shown.map(|(_, object)| object).filter(|object| !self.counts_now(object)).cloned().collect();
            let back: Vec<Key> = (self.hidden.iter())
                .filter(|(key, object)| key.namespace == namespace && self.counts_now(object))
                .map(|(key, _)| key.clone())
                .collect();
            for object in over {
                self.put(&object.key(), None);
                self.hidden.insert(object.key(), object);
            }
            for key in back {
                let object = self.hidden.remove(&key);
                self.put(&key, object);
            }
        }
    }

    /// All objects of a kind, by namespace and name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.get(&kind).into_iter().flat_map(BTreeMap::values)
    }

    /// The objects of a kind in a namespace, by name.
    pub fn in_namespace<'a>(&'a self, kind: Kind, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Object>> {
        let from = (namespace.to_string(), String::new());
        self.objects
            .get(&kind)
            .into_iter()
            .flat_map(move |names| names.range(from.clone()..))
            .take_while(move |((of, _), _)| of == namespace)
            .map(|(_, object)| object)
    }

    /// One object.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(&kind)?.get(&(namespace.to_string(), name.to_string()))
    }

    /// Number of objects of each kind.
    pub fn counts(&self) -> impl Iterator<Item = (Kind, usize)> {
        self.objects.iter().map(|(kind, names)| (*kind, names.len()))
    }

    /// Takes the keys that changed since the last call.
    pub fn take_changed(&mut self) -> BTreeSet<Key> {
        self.sift();
        std::mem::take(&mut self.changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiphys_api::mesh::MeshConfig;

    fn apply(store: &mut Store, text: &str) {
        for parsed in tiphys_api::parse_yaml(text, None) {
            let object = parsed.unwrap().object;
            store.apply(object.key(), Some(Arc::new(object)));
        }
    }

    fn selection(text: &str, revision: &str) -> Selection {
        Selection::new(&MeshConfig::default().merge_yaml(text).unwrap().0, revision)
    }

    /// What changed, and the services that count.
    fn now(store: &mut Store) -> (Vec<String>, Vec<String>) {
        let changed = store.take_changed().iter().map(|key| format!("{}/{}", key.namespace, key.name)).collect();
        (changed, store.of_kind(Kind::Service).map(|object| object.meta.name.clone()).collect())
    }

    const SERVICES: &str = "
{apiVersion: v1, kind: Service, metadata: {name: a, namespace: in}}
---
{apiVersion: v1, kind: Service, metadata: {name: b, namespace: out}}
";

    fn namespace(name: &str, labels: &str) -> String {
        format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {labels}}}}}")
    }

    #[test]
    fn objects_count_while_their_namespace_is_selected() {
        let mut store = Store::default();
        store.select(selection(
            "discoverySelectors: [{matchLabels: {mesh: 'yes'}}, {matchExpressions: [{key: x, operator: Exists}]}]",
            "",
        ));
        apply(&mut store, SERVICES);
        assert_eq!(now(&mut store).1, [""; 0]);
        apply(&mut store, &namespace("in", "{mesh: 'yes'}"));
        apply(&mut store, &namespace("out", "{mesh: 'no'}"));
        assert_eq!(now(&mut store), (vec!["/in".into(), "/out".into(), "in/a".into()], vec!["a".into()]));
        apply(&mut store, &namespace("out", "{x: y}"));
        assert_eq!(now(&mut store).1, ["a", "b"]);
        apply(&mut store, &namespace("in", "{}"));
        assert_eq!(now(&mut store).1, ["b"]);
        store.select(selection("{}", ""));
        assert_eq!(now(&mut store), (vec!["in/a".into()], vec!["a".into(), "b".into()]));
        // What does not count may go, and come back.
        store.select(selection("discoverySelectors: [{matchLabels: {mesh: 'yes'}}]", ""));
        assert_eq!(now(&mut store).1, [""; 0]);
        store.apply(Key { kind: Kind::Service, namespace: "in".into(), name: "a".into() }, None);
        store.select(selection("{}", ""));
        assert_eq!(now(&mut store), (vec!["out/b".into()], vec!["b".into()]));
    }

    #[test]
    fn configuration_of_another_revision_does_not_count() {
        let mut store = Store::default();
        store.select(selection("{}", "blue"));
        for (name, labels) in [("a", "{}"), ("b", "{istio.io/rev: blue}"), ("c", "{istio.io/rev: green}")] {
            apply(
                &mut store,
                &format!(
                    "{{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {{name: {name}, labels: {labels}}}}}"
                ),
            );
            apply(
                &mut store,
                &format!("{{apiVersion: v1, kind: Service, metadata: {{name: {name}, labels: {labels}}}}}"),
            );
        }
        assert_eq!(store.of_kind(Kind::Sidecar).map(|o| o.meta.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(store.of_kind(Kind::Service).count(), 3);
    }
}
