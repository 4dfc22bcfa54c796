// SPDX-License-Identifier: Apache-2.0
//! What streams share: selections, and the steps from one table to another with their encoded form.
//!
//! Steps are held weakly, by the streams that are sending them. A few of the latest are held for longer, so that clients which
//! arrive or read one after the other use the same bytes.

use crate::selection::Selections;
use crate::wire::{Joined, Variant};
use crate::{Diff, Entry, ResourceType, Table};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// The way from one table to another.
#[derive(Debug)]
pub(crate) struct Step {
    variant: Variant,
    /// What changed and what is gone.
    pub diff: Diff,
    /// The later table and what only the earlier one has: where a client is that was sent all changes and no removal.
    union: OnceLock<Table>,
    all: OnceLock<Arc<Joined>>,
    additions: OnceLock<Arc<Joined>>,
}

impl Step {
    fn new(variant: Variant, old: &Table, new: &Table) -> Self {
        let diff = Table::diff(old, new);
        Self { variant, diff, union: OnceLock::new(), all: OnceLock::new(), additions: OnceLock::new() }
    }

    /// The later table with what it removed still in it. Both tables are those of this step.
    pub fn union(&self, old: &Table, new: &Table) -> Table {
        if self.diff.removed.is_empty() {
            return new.clone();
        }
        let keep = || self.diff.removed.iter().filter_map(|n| old.get(n)).cloned().collect::<Vec<Entry>>();
        self.union.get_or_init(|| new.patch(keep(), &[])).clone()
    }

    /// The encoded form, with or without removed names.
    pub fn joined(&self, with_removed: bool) -> Arc<Joined> {
        let slot = if with_removed || self.diff.removed.is_empty() { &self.all } else { &self.additions };
        Arc::clone(slot.get_or_init(|| Arc::new(Joined::new(self.variant, &self.diff, with_removed))))
    }

    fn size(&self) -> usize {
        [&self.all, &self.additions].iter().filter_map(|j| j.get()).map(|j| j.length).sum()
    }
}

type Key = (Variant, ResourceType, u128, u128);

#[derive(Debug, Default)]
struct Steps {
    known: HashMap<Key, Weak<Step>>,
    recent: VecDeque<Arc<Step>>,
}

/// How many steps are held although no stream is sending them, and how many encoded bytes of them at most.
const RECENT_STEPS: usize = 64;
const RECENT_BYTES: usize = 8 << 20;

/// Shared by all streams of a service.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    pub selections: Selections,
    steps: Mutex<Steps>,
}

impl Hub {
    /// The step between two tables, found or made.
    pub fn step(&self, variant: Variant, ty: ResourceType, old: &Table, new: &Table) -> Arc<Step> {
        let key = (variant, ty, old.fingerprint(), new.fingerprint());
        if let Some(step) = self.lock().known.get(&key).and_then(Weak::upgrade) {
            return step;
        }
        // Made outside the lock; of two threads that make the same one, one does it in vain.
        let step = Arc::new(Step::new(variant, old, new));
        self.lock().insert(key, step)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Steps> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Steps {
    fn insert(&mut self, key: Key, step: Arc<Step>) -> Arc<Step> {
        if let Some(first) = self.known.get(&key).and_then(Weak::upgrade) {
            return first;
        }
        if self.known.len() == self.known.capacity() {
            self.known.retain(|_, s| s.strong_count() > 0);
        }
        self.known.insert(key, Arc::downgrade(&step));
        self.recent.push_back(Arc::clone(&step));
        // What a step weighs shows only when it is encoded, so that all are counted anew.
        let mut bytes: usize = self.recent.iter().map(|s| s.size()).sum();
        while self.recent.len() > 1 && (self.recent.len() > RECENT_STEPS || bytes > RECENT_BYTES) {
            bytes -= self.recent.pop_front().map_or(0, |s| s.size());
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(pairs: &[(&str, usize)]) -> Table {
        Table::from_entries(pairs.iter().map(|(n, v)| Entry::new(*n, "t", vec![1; *v])).collect())
    }

    #[test]
    fn steps_are_shared() {
        let hub = Hub::default();
        let (a, b) = (table(&[("a", 1), ("b", 1)]), table(&[("b", 2), ("c", 1)]));
        let step = hub.step(Variant::Delta, ResourceType::CLUSTER, &a, &b);
        let again = hub.step(Variant::Delta, ResourceType::CLUSTER, &table(&[("a", 1), ("b", 1)]), &b);
        assert!(Arc::ptr_eq(&step.joined(true), &again.joined(true)));
        assert_eq!(step.union(&a, &b), table(&[("a", 1), ("b", 2), ("c", 1)]));
        assert_eq!((step.joined(true).removed, step.joined(false).removed), (1, 0));
        assert_eq!(step.joined(false).resources, 2);
    }

    #[test]
    fn what_nobody_sends_is_dropped() {
        let hub = Hub::default();
        let none = Table::default();
        for i in 0..1_000 {
            let step = hub.step(Variant::Sotw, ResourceType::ROUTE, &none, &table(&[("a", 100_000 + i)]));
            step.joined(false);
        }
        let steps = hub.steps.lock().unwrap();
        assert!(steps.recent.iter().map(|s| s.size()).sum::<usize>() <= RECENT_BYTES + 200_000);
        assert!(steps.known.values().filter(|s| s.strong_count() > 0).count() <= RECENT_STEPS);
    }
}
