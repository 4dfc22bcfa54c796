// SPDX-License-Identifier: Apache-2.0
//! The memo table: results of hermetic functions by the fingerprint of their whole input. Nothing in it is ever invalidated; what was not
//! asked for over a generation is forgotten.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tiphys_model::Fingerprint;

const SHARDS: usize = 16;
/// A generation ends when it has so many results more than twice those in steady use.
const SLACK: usize = 4096;

type Results = HashMap<(TypeId, Fingerprint), Arc<dyn Any + Send + Sync>>;

#[derive(Default)]
struct Shard {
    current: Results,
    previous: Results,
    /// How many of the current results are known from the generation before: what is in steady use.
    carried: usize,
}

/// Results of hermetic functions by their inputs.
pub struct Memo {
    shards: [Mutex<Shard>; SHARDS],
}

impl Default for Memo {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Memo {
    /// The result of `make` for an input: the one that is known, or a new one. The type of the input tells functions apart, so each function
    /// has an input type of its own; `make` must not read anything else.
    pub fn get<K, V>(&self, input: &K, make: impl Fn(&K) -> V) -> V
    where
        K: Hash + 'static,
        V: Clone + Send + Sync + 'static,
    {
        let key = (TypeId::of::<(K, V)>(), Fingerprint::of(input));
        let shard = &self.shards[(key.1.0 as usize) % SHARDS];
        if let Some(known) = lock(shard).find(&key).and_then(|known| known.downcast::<V>().ok()) {
            return V::clone(&known);
        }
        // Made outside of the lock: two that ask at once may both make it, which costs time but changes nothing.
        let made = make(input);
        lock(shard).current.insert(key, Arc::new(made.clone()));
        made
    }

    /// Forgets what was not asked for since the last sweep, when enough has come together.
    pub fn sweep(&self) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            if shard.current.len() >= 2 * shard.carried + SLACK / SHARDS {
                shard.previous = std::mem::take(&mut shard.current);
                shard.carried = 0;
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.shards.iter().for_each(|shard| *lock(shard) = Shard::default());
    }

    /// Number of results that are known.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard)).map(|shard| shard.current.len() + shard.previous.len()).sum()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shard {
    fn find(&mut self, key: &(TypeId, Fingerprint)) -> Option<Arc<dyn Any + Send + Sync>> {
        if let Some(known) = self.current.get(key) {
            return Some(known.clone());
        }
        let (key, known) = self.previous.remove_entry(key)?;
        self.current.insert(key, known.clone());
        self.carried += 1;
        Some(known)
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn an_input_is_computed_once() {
        let memo = Memo::default();
        let calls = Cell::new(0);
        let length = |text: &&'static str| {
            calls.set(calls.get() + 1);
            text.len()
        };
        assert_eq!((memo.get(&"abc", length), memo.get(&"abc", length), memo.get(&"ab", length)), (3, 3, 2));
        assert_eq!(calls.get(), 2);
    }

    #[test]
    fn what_is_asked_for_survives_sweeps() {
        let memo = Memo::default();
        memo.get(&0_u64, |n| *n);
        for round in 0..4_u64 {
            for i in 0..SLACK as u64 {
                memo.get(&(round, i), |pair| pair.1);
            }
            memo.sweep();
            assert_eq!(memo.get(&0_u64, |_| 7_u64), 0);
        }
        assert!(memo.len() < 4 * SLACK);
    }
}
