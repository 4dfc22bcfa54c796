// SPDX-License-Identifier: Apache-2.0
//! Every object that is in force, by kind and name, and what changed since the last snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tiphys_api::{Key, Kind, Object};

/// The objects in force. Lists come out sorted by namespace and name, whatever the order of arrival was.
#[derive(Default)]
pub struct Store {
    objects: BTreeMap<Kind, BTreeMap<(String, String), Arc<Object>>>,
    changed: BTreeSet<Key>,
}

impl Store {
    /// Puts an object in force, or takes it out. Returns what was there before.
    pub fn apply(&mut self, key: Key, object: Option<Arc<Object>>) -> Option<Arc<Object>> {
        let names = self.objects.entry(key.kind).or_default();
        let name = (key.namespace.clone(), key.name.clone());
        self.changed.insert(key);
        match object {
            Some(object) => names.insert(name, object),
            None => names.remove(&name),
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
        std::mem::take(&mut self.changed)
    }
}
