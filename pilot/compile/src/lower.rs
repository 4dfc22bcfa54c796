// SPDX-License-Identifier: Apache-2.0
//! Lowering: one object of one kind becomes a word of the model, once, when it arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use tiphys_api::{Key, Kind, Object, Problem};
use tiphys_model::{Labels, Marked, Mesh, Str};

use crate::Store;

/// What lowering may read beside the object itself. A change of it lowers everything again.
pub struct LowerContext<'a> {
    /// The mesh's configuration.
    pub mesh: &'a Mesh,
}

/// How the objects of one kind are lowered.
pub type LowerFn<T> = fn(&Object, &LowerContext<'_>, &mut Vec<Problem>) -> Option<T>;

/// Namespace and name.
type Name = (String, String);

/// The lowered objects of one kind.
pub struct Table<T> {
    kind: Kind,
    lower: LowerFn<T>,
    entries: BTreeMap<Name, Marked<T>>,
    /// What was left out of objects, or replaced by a fail-safe form; also of those of which nothing is left.
    warnings: BTreeMap<Name, Vec<Problem>>,
    sorted: Marked<Vec<Marked<T>>>,
}

impl<T: Hash> Table<T> {
    /// An empty table.
    pub fn new(kind: Kind, lower: LowerFn<T>) -> Self {
        Self { kind, lower, entries: BTreeMap::new(), warnings: BTreeMap::new(), sorted: Marked::new(Vec::new()) }
    }

    /// Lowers what changed; `all` lowers everything again. Returns whether the content is another than before.
    pub fn update(&mut self, store: &Store, changed: &BTreeSet<Key>, cx: &LowerContext<'_>, all: bool) -> bool {
        let mut differs = false;
        if all {
            let before = std::mem::take(&mut self.entries);
            let warned = std::mem::take(&mut self.warnings);
            for object in store.of_kind(self.kind) {
                self.put(object, cx);
            }
            differs = before != self.entries || warned != self.warnings;
        } else {
            let kind = self.kind;
            for key in changed.iter().filter(|key| key.kind == kind) {
                let name = (key.namespace.clone(), key.name.clone());
                let before = self.entries.remove(&name).map(|value| value.fingerprint());
                let warned = self.warnings.remove(&name);
                if let Some(object) = store.get(key.kind, &key.namespace, &key.name) {
                    self.put(object, cx);
                }
                differs |= before != self.entries.get(&name).map(Marked::fingerprint);
                differs |= warned.as_ref() != self.warnings.get(&name);
            }
        }
        if differs {
            self.sort(store);
        }
        differs
    }

    fn put(&mut self, object: &Object, cx: &LowerContext<'_>) {
        let mut warnings = Vec::new();
        let name = (object.meta.namespace.clone(), object.meta.name.clone());
        if let Some(value) = (self.lower)(object, cx, &mut warnings) {
            self.entries.insert(name.clone(), Marked::new(value));
        }
        if !warnings.is_empty() {
            self.warnings.insert(name, warnings);
        }
    }

    /// Precedence: the older object first, then by name, then by namespace.
    fn sort(&mut self, store: &Store) {
        let mut order: Vec<(i64, &str, &str, &Marked<T>)> = self
            .entries
            .iter()
            .map(|((namespace, name), value)| {
                let creation = store.get(self.kind, namespace, name).map_or(0, |object| object.meta.creation);
                (creation, name.as_str(), namespace.as_str(), value)
            })
            .collect();
        order.sort_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
        self.sorted = Marked::new(order.into_iter().map(|(_, _, _, value)| value.clone()).collect());
    }

    /// The lowered objects in the order of precedence.
    pub fn sorted(&self) -> &Marked<Vec<Marked<T>>> {
        &self.sorted
    }

    /// The warnings of each object.
    pub fn warnings(&self) -> impl Iterator<Item = (Key, &Problem)> {
        self.warnings.iter().flat_map(|((namespace, name), warnings)| {
            let key = Key { kind: self.kind, namespace: namespace.clone(), name: name.clone() };
            warnings.iter().map(move |problem| (key.clone(), problem))
        })
    }
}

/// Labels of an object as the model has them.
pub fn labels(map: &BTreeMap<String, String>) -> Labels {
    map.iter().map(|(key, value)| (Str::from(key.as_str()), Str::from(value.as_str()))).collect()
}

/// Strings of an object as the model has them.
pub fn strs(list: &[String]) -> Vec<Str> {
    list.iter().map(|item| Str::from(item.as_str())).collect()
}
