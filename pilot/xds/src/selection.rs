// SPDX-License-Identifier: Apache-2.0
//! Which names of a type a client wants. Clients that want the same share one [`Selection`], and with it the tables that come of it.

use crate::{Entry, Table};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

/// What a client subscribes to: names, or everything, or both.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    key: Key,
    names: Arc<[Arc<str>]>,
    /// The tables selected last, the newest at the end.
    recent: Mutex<Vec<Selected>>,
}

/// Identifies a selection: the sum of the hashes of its names does not depend on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Key {
    wildcard: bool,
    count: usize,
    hash: u128,
}

#[derive(Debug)]
struct Selected {
    from: Table,
    renewed: Option<Table>,
    result: Table,
}

/// How many selected tables are kept: clients of the same names may be on different views.
const KEPT: usize = 4;

impl Selection {
    /// Whether everything is selected.
    pub fn wildcard(&self) -> bool {
        self.key.wildcard
    }

    /// The names that are selected by themselves, sorted.
    pub fn names(&self) -> &Arc<[Arc<str>]> {
        &self.names
    }

    /// Whether a name is selected, by itself or with everything.
    pub fn matches(&self, name: &str) -> bool {
        self.key.wildcard || self.has(name)
    }

    /// Whether a name is selected by itself.
    pub fn has(&self, name: &str) -> bool {
        self.names.binary_search_by(|n| (**n).cmp(name)).is_ok()
    }

    /// Whether nothing is selected.
    pub fn is_empty(&self) -> bool {
        !self.key.wildcard && self.names.is_empty()
    }

    /// The selected entries of a table. With `renewed`, the version of an entry also tells the version of the entry of the same name
    /// in that other table: when either changes, the client must be sent the entry again.
    pub fn select(&self, from: &Table, renewed: Option<&Table>) -> Table {
        if self.key.wildcard && renewed.is_none() {
            return from.clone();
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let equal = |a: Option<&Table>, b: Option<&Table>| match (a, b) {
            (Some(a), Some(b)) => a.same(b),
            (None, None) => true,
            _ => false,
        };
        if let Some(i) = recent.iter().position(|s| s.from.same(from) && equal(s.renewed.as_ref(), renewed)) {
            return recent[i].result.clone();
        }
        let result = match recent.last() {
            Some(last) => self.patched(last, from, renewed),
            None if self.key.wildcard => Table::from_entries(from.iter().map(|e| with_renewal(e, renewed)).collect()),
            None => {
                let entries = self.names.iter().filter_map(|n| from.get(n)).map(|e| with_renewal(e, renewed));
                Table::from_entries(entries.collect())
            }
        };
        if recent.len() == KEPT {
            recent.remove(0);
        }
        recent.push(Selected { from: from.clone(), renewed: renewed.cloned(), result: result.clone() });
        result
    }

    /// The selected entries, found from what differs from an earlier selection.
    fn patched(&self, last: &Selected, from: &Table, renewed: Option<&Table>) -> Table {
        let none = Table::default();
        let mut names: Vec<Arc<str>> = Vec::new();
        for diff in [
            Table::diff(&last.from, from),
            Table::diff(last.renewed.as_ref().unwrap_or(&none), renewed.unwrap_or(&none)),
        ] {
            names.extend(diff.changed.into_iter().map(|e| e.name));
            names.extend(diff.removed);
        }
        names.retain(|n| self.matches(n));
        let mut changed = Vec::new();
        let mut gone = Vec::new();
        for name in names {
            match from.get(&name) {
                Some(entry) => changed.push(with_renewal(entry, renewed)),
                None => gone.push(name),
            }
        }
        last.result.patch(changed, &gone)
    }
}

fn with_renewal(entry: &Entry, renewed: Option<&Table>) -> Entry {
    let mut entry = entry.clone();
    if let Some(other) = renewed.and_then(|t| t.get(&entry.name)) {
        entry.version = xxh3_64_with_seed(&entry.version.to_le_bytes(), other.version);
    }
    entry
}

/// All selections in use.
#[derive(Debug, Default)]
pub(crate) struct Selections {
    known: Mutex<HashMap<Key, Weak<Selection>>>,
}

impl Selections {
    /// The selection of exactly these names (`*` is the wildcard), or `current` when it is the same.
    pub fn exactly(&self, current: &Arc<Selection>, wildcard: bool, names: &[String]) -> Arc<Selection> {
        let mut key = Key { wildcard, count: 0, hash: 0 };
        names.iter().for_each(|n| key.add(n));
        if key == current.key {
            return Arc::clone(current);
        }
        // Only now is it worth sorting: a name may be there twice.
        let mut sorted: Vec<&str> = names.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut key = Key { wildcard, count: 0, hash: 0 };
        sorted.iter().for_each(|n| key.add(n));
        if key == current.key {
            return Arc::clone(current);
        }
        self.intern(key, || sorted.into_iter().map(Arc::from).collect())
    }

    /// A selection with names added and removed. Names that are there already, or are not there, change nothing.
    pub fn changed(
        &self,
        current: &Arc<Selection>,
        wildcard: bool,
        added: &[String],
        removed: &[String],
    ) -> Arc<Selection> {
        let mut key = Key { wildcard, ..current.key };
        let mut add: Vec<&str> = added.iter().map(String::as_str).filter(|n| !current.has(n)).collect();
        add.sort_unstable();
        add.dedup();
        let mut remove: Vec<&str> = removed.iter().map(String::as_str).filter(|n| current.has(n)).collect();
        remove.sort_unstable();
        remove.dedup();
        add.iter().for_each(|n| key.add(n));
        remove.iter().for_each(|n| key.remove(n));
        if key == current.key {
            return Arc::clone(current);
        }
        self.intern(key, || {
            let stay = current.names.iter().filter(|n| remove.binary_search(&&***n).is_err()).cloned();
            let mut names: Vec<Arc<str>> = stay.chain(add.iter().map(|n| Arc::from(*n))).collect();
            names.sort_unstable();
            names
        })
    }

    fn intern(&self, key: Key, names: impl FnOnce() -> Vec<Arc<str>>) -> Arc<Selection> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(selection) = known.get(&key).and_then(Weak::upgrade) {
            return selection;
        }
        let selection = Arc::new(Selection { key, names: names().into(), recent: Mutex::default() });
        if known.len() == known.capacity() {
            known.retain(|_, s| s.strong_count() > 0);
        }
        known.insert(key, Arc::downgrade(&selection));
        selection
    }
}

impl Key {
    fn add(&mut self, name: &str) {
        self.count += 1;
        self.hash = self.hash.wrapping_add(xxh3_128(name.as_bytes()));
    }

    fn remove(&mut self, name: &str) {
        self.count -= 1;
        self.hash = self.hash.wrapping_sub(xxh3_128(name.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(pairs: &[(&str, u8)]) -> Table {
        Table::from_entries(pairs.iter().map(|(n, v)| Entry::new(*n, "t", [*v])).collect())
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| n.to_string()).collect()
    }

    #[test]
    fn equal_selections_are_one() {
        let all = Selections::default();
        let none = Arc::new(Selection::default());
        let ab = all.exactly(&none, false, &strings(&["b", "a", "b"]));
        assert_eq!(**ab.names(), [Arc::from("a"), Arc::from("b")]);
        let grown = all.changed(&none, false, &strings(&["a", "b", "c"]), &[]);
        let shrunk = all.changed(&grown, false, &strings(&["a"]), &strings(&["c", "x"]));
        assert!(Arc::ptr_eq(&ab, &shrunk));
        assert!(Arc::ptr_eq(&ab, &all.exactly(&ab, false, &strings(&["b", "a"]))));
        assert!(!Arc::ptr_eq(&ab, &all.changed(&ab, true, &[], &[])));
    }

    #[test]
    fn selects_what_is_there_and_follows_changes() {
        let all = Selections::default();
        let selection = all.exactly(&Arc::default(), false, &strings(&["a", "b", "x"]));
        let clusters = table(&[("a", 1), ("b", 1), ("c", 1)]);
        let first = selection.select(&table(&[("a", 1), ("b", 1), ("c", 1)]), Some(&clusters));
        assert_eq!(first.iter().map(|e| &*e.name).collect::<Vec<_>>(), ["a", "b"]);
        // Another cluster of the same name renews its endpoints.
        let renewed = selection.select(&table(&[("a", 1), ("b", 1), ("c", 1)]), Some(&table(&[("a", 2), ("b", 1)])));
        let diff = Table::diff(&first, &renewed);
        assert_eq!(diff.changed.iter().map(|e| &*e.name).collect::<Vec<_>>(), ["a"]);
        assert!(diff.removed.is_empty());
        let fresh = all.exactly(&Arc::default(), false, &strings(&["a", "b", "x", "x"]));
        assert!(fresh.select(&table(&[("a", 1), ("b", 1)]), Some(&table(&[("a", 2), ("b", 1)]))).same(&renewed));
        let shrunk = selection.select(&table(&[("x", 1), ("b", 1)]), Some(&clusters));
        assert_eq!(shrunk.iter().map(|e| &*e.name).collect::<Vec<_>>(), ["b", "x"]);
    }
}
