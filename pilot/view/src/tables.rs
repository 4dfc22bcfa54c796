// SPDX-License-Identifier: Apache-2.0
//! Tables of resources, shared by all classes that cannot tell them apart, and kept from one snapshot to the next.

use crate::{Context, Generator};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tiphys_model::Fingerprint;
use tiphys_xds::{ResourceType, Table};

#[derive(Default)]
struct Slot {
    generation: u64,
    made_from: Option<(Fingerprint, Fingerprint)>,
    table: Table,
}

type Slots = HashMap<(ResourceType, Fingerprint), Arc<Mutex<Slot>>>;

/// The tables that live classes use.
#[derive(Default)]
pub(crate) struct Tables {
    slots: Mutex<Slots>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tables {
    /// The table of a type for a context: the one at hand when nothing that it is made from changed, else patched or made anew with all
    /// that stayed equal taken over by pointer.
    pub fn get(&self, generator: &Generator, cx: &Context<'_>) -> Table {
        let key = (generator.ty, (generator.proxy)(cx));
        let slot = lock(&self.slots).entry(key).or_default().clone();
        let mut slot = lock(&slot);
        if slot.generation > cx.snapshot.generation {
            // A reader of an older snapshot: its table is made apart, so that the newer one stays.
            return slot.table.replace((generator.build)(cx));
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
                let patch = patch(cx, endpoints.changed());
                slot.table.patch(patch.upserts, &patch.removals)
            }
            _ => slot.table.replace((generator.build)(cx)),
        };
        slot.made_from = Some(from);
        slot.table = table.clone();
        table
    }

    /// Drops the tables that nobody asked for since a generation.
    pub fn sweep(&self, generation: u64) {
        lock(&self.slots).retain(|_, slot| lock(slot).generation >= generation);
    }
}
