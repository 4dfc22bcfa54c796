// SPDX-License-Identifier: Apache-2.0
//! Tables of resources, shared by all classes that cannot tell them apart, and kept from one snapshot to the next.

use crate::{Context, Generator, Note, patches};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tiphys_model::Fingerprint;
use tiphys_xds::{ResourceType, Table};

#[derive(Default)]
struct Slot {
    generation: u64,
    made_from: Option<(Fingerprint, Fingerprint)>,
    table: Table,
    /// The workload of the class for which it was made first, and what was left out.
    notes: (String, BTreeSet<Note>),
}

type Slots = HashMap<(ResourceType, Fingerprint), Arc<Mutex<Slot>>>;

/// The tables that live classes use.
#[derive(Default)]
pub(crate) struct Tables {
    slots: Mutex<Slots>,
    /// What was logged.
    told: Mutex<BTreeSet<Note>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tables {
    /// The table of a type for a context: the one at hand when nothing that it is made from changed, else patched or made anew with all
    /// that stayed equal taken over by pointer.
    pub fn get(&self, generator: &Generator, cx: &Context<'_>) -> Table {
        let key = (generator.ty, patches::proxy(generator, cx));
        let slot = lock(&self.slots).entry(key).or_default().clone();
        let mut slot = lock(&slot);
        if slot.generation > cx.snapshot.generation {
            // A reader of an older snapshot: its table is made apart, so that the newer one stays.
            let table = slot.table.replace(patches::build(generator, cx));
            cx.notes.take();
            return table;
        }
        slot.generation = cx.snapshot.generation;
        let endpoints = &cx.snapshot.endpoints;
        let read = match generator.patch {
            Some(_) => endpoints.fingerprint(),
            None => Fingerprint::default(),
        };
        let from = ((generator.world)(cx), read);
        if slot.made_from == Some(from) {
            return slot.table.clone();
        }
        let table = match (generator.patch, slot.made_from) {
            (Some(patch), Some(before)) if before == (from.0, endpoints.previous()) => {
                let patch = patches::patch(generator, cx, patch(cx, endpoints.changed()));
                slot.table.patch(patch.upserts, &patch.removals)
            }
            _ => {
                let table = slot.table.replace(patches::build(generator, cx));
                slot.notes = (format!("{}.{}", cx.proxy.workload, cx.proxy.namespace), cx.notes.take());
                self.tell(&slot.notes);
                table
            }
        };
        slot.made_from = Some(from);
        slot.table = table.clone();
        table
    }

    /// Drops the tables that nobody asked for since a generation.
    pub fn sweep(&self, generation: u64) {
        lock(&self.slots).retain(|_, slot| lock(slot).generation >= generation);
        // Never both at once: whoever makes a table holds it while it tells.
        let any = !lock(&self.told).is_empty();
        if any {
            let live = self.notes();
            lock(&self.told).retain(|note| live.contains_key(note));
        }
    }

    /// What was left out of the tables, with a workload that would have it.
    pub fn notes(&self) -> BTreeMap<Note, String> {
        let slots: Vec<Arc<Mutex<Slot>>> = lock(&self.slots).values().cloned().collect();
        let mut all = BTreeMap::new();
        for slot in slots {
            let slot = lock(&slot);
            for note in &slot.notes.1 {
                let of: &mut String = all.entry(note.clone()).or_insert_with(|| slot.notes.0.clone());
                if slot.notes.0 < *of {
                    of.clone_from(&slot.notes.0);
                }
            }
        }
        all
    }

    /// Logs what is new.
    fn tell(&self, (workload, notes): &(String, BTreeSet<Note>)) {
        let mut told = lock(&self.told);
        for note in notes {
            if told.insert(note.clone()) {
                tracing::warn!(target: "model", "{}: {} (seen by {workload})", note.key, note.message);
            }
        }
    }
}
