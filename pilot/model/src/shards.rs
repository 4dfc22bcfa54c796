// SPDX-License-Identifier: Apache-2.0
//! A map whose copies share what they have in common.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3Default;

/// Enough that a change copies little, few enough that a copy is cheap.
const SHARDS: usize = 64;

/// A map in shards: to copy it copies as many pointers as there are shards, and to change a copy copies the shard of the key. (The persistent
/// maps that others have made are under licences that this project does not take in.)
#[derive(Clone, Debug)]
pub struct Shards<K, V>(Vec<Arc<BTreeMap<K, V>>>);

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        Self(vec![Arc::default(); SHARDS])
    }
}

fn shard_of<Q: Hash + ?Sized>(key: &Q) -> usize {
    let mut hasher = Xxh3Default::new();
    key.hash(&mut hasher);
    (hasher.finish() % SHARDS as u64) as usize
}

impl<K: Ord + Hash + Clone, V: Clone> Shards<K, V> {
    /// The value of a key.
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Ord + Hash + ?Sized,
    {
        self.0[shard_of(key)].get(key)
    }

    /// Sets the value of a key; gives the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let shard = shard_of(&key);
        Arc::make_mut(&mut self.0[shard]).insert(key, value)
    }

    /// Removes a key; gives its value.
    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Ord + Hash + ?Sized,
    {
        let shard = &mut self.0[shard_of(key)];
        if shard.contains_key(key) { Arc::make_mut(shard).remove(key) } else { None }
    }

    /// All entries, in the order of their keys.
    pub fn sorted(&self) -> Vec<(&K, &V)> {
        let mut all: Vec<(&K, &V)> = self.0.iter().flat_map(|shard| shard.iter()).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_share_what_did_not_change() {
        let mut map: Shards<String, usize> = Shards::default();
        for i in 0..1000 {
            assert_eq!(map.insert(format!("k{i:04}"), i), None);
        }
        let mut copy = map.clone();
        assert_eq!(copy.insert("k0007".into(), 1), Some(7));
        assert_eq!(copy.remove("k0008"), Some(8));
        assert_eq!(copy.remove("none"), None);
        assert_eq!((map.get("k0007"), copy.get("k0007"), copy.get("k0008")), (Some(&7), Some(&1), None));
        let shared = map.0.iter().zip(&copy.0).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert!(shared >= SHARDS - 2, "{shared}");
        let keys: Vec<&String> = map.sorted().into_iter().map(|(key, _)| key).collect();
        assert!(keys.len() == 1000 && keys.is_sorted());
    }
}
