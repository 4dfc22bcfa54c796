// SPDX-License-Identifier: Apache-2.0
//! What is in force of a cluster: documents by kind and name in, [`Batch`]es out. The last good version of an object stays in force while
//! a newer one is refused, and a security policy that is refused and has no good version denies.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tiphys_api::{Key, Kind, Object, Origin};

use super::item::{Name, same};
use crate::{Batch, Change, Document, Outcome, Report, ReportId, is_security};

/// One object.
#[derive(Debug, Default)]
struct Slot {
    /// The last good version.
    good: Option<Arc<Object>>,
    /// What is wrong with the newest version; rare.
    trouble: Option<Box<Trouble>>,
    /// The round in which it was seen last.
    round: u32,
}

#[derive(Debug)]
struct Trouble {
    report: Arc<Report>,
    denies: bool,
}

/// The objects of a kind.
#[derive(Debug, Default)]
struct Objects {
    slots: BTreeMap<Name, Slot>,
    /// Counts the full pictures that were begun.
    round: u32,
}

/// The objects of a cluster.
#[derive(Debug)]
pub(super) struct Held {
    /// What stands for the cluster in reports.
    place: Arc<Path>,
    kinds: BTreeMap<Kind, Objects>,
    batch: Batch,
}

impl Held {
    pub(super) fn new(place: &str) -> Self {
        Self { place: Arc::from(Path::new(place)), kinds: BTreeMap::new(), batch: Batch::default() }
    }

    /// A full picture of a kind begins: what does not come before its end is gone.
    pub(super) fn begin(&mut self, kind: Kind) {
        let objects = self.kinds.entry(kind).or_default();
        objects.round = objects.round.wrapping_add(1);
    }

    /// A full picture of a kind is complete.
    pub(super) fn end(&mut self, kind: Kind) {
        let objects = self.kinds.entry(kind).or_default();
        let round = objects.round;
        let gone = |slot: &Slot| slot.round != round;
        let names: Vec<Name> = objects.slots.iter().filter(|(_, s)| gone(s)).map(|(name, _)| name.clone()).collect();
        names.into_iter().for_each(|name| self.remove(kind, &name));
        self.batch.synced.push(kind);
    }

    /// Kinds of which all that is wanted was looked at.
    pub(super) fn synced(&mut self, kinds: [Kind; 2]) {
        self.batch.synced.extend(kinds);
    }

    /// A kind has no objects: it is not installed.
    pub(super) fn absent(&mut self, kind: Kind) {
        self.begin(kind);
        self.end(kind);
    }

    /// A kind is not installed, as far as is known: its full picture is complete if none was before.
    pub(super) fn missing(&mut self, kind: Kind) {
        if !self.kinds.contains_key(&kind) {
            self.absent(kind);
        }
    }

    /// An object as it is now.
    pub(super) fn put(&mut self, document: Document) {
        let Document { key, object, problems, .. } = document;
        let objects = self.kinds.entry(key.kind).or_default();
        let slot = objects.slots.entry((key.namespace.clone(), key.name.clone())).or_default();
        slot.round = objects.round;
        let before = slot.trouble.take();
        let outcome = match (&object, &slot.good) {
            (Ok(_), _) => Outcome::InForce,
            (Err(_), Some(_)) => Outcome::Kept,
            (Err(_), None) if is_security(key.kind) => Outcome::Denied,
            (Err(_), None) => Outcome::Absent,
        };
        let id = ReportId { place: self.place.clone(), key: Some(key.clone()), nth: 0 };
        let report = (!problems.is_empty())
            .then(|| Arc::new(Report { id: id.clone(), origin: Origin::default(), problems, outcome }));
        let told = before.as_ref().map(|trouble| &trouble.report);
        match &report {
            Some(report) if told != Some(report) => self.batch.reports.push(Report::clone(report)),
            None if told.is_some() => self.batch.mended.push(id),
            _ => {}
        }
        let denied = before.is_some_and(|trouble| trouble.denies);
        match object {
            Ok(object) => {
                let news = !slot.good.as_ref().is_some_and(|good| same(good, &object));
                if news {
                    slot.good = Some(object);
                }
                if news || denied {
                    self.batch.changes.push(Change { key, object: slot.good.clone(), rejected: None });
                }
            }
            Err(object) if outcome == Outcome::Denied => {
                self.batch.changes.push(Change { key, object, rejected: report.clone() });
            }
            Err(_) => {}
        }
        slot.trouble = report.map(|report| Box::new(Trouble { report, denies: outcome == Outcome::Denied }));
    }

    /// An object that is gone.
    pub(super) fn remove(&mut self, kind: Kind, name: &Name) {
        let Some(slot) = self.kinds.get_mut(&kind).and_then(|objects| objects.slots.remove(name)) else { return };
        let (namespace, name) = name.clone();
        let denied = slot.trouble.as_ref().is_some_and(|trouble| trouble.denies);
        if slot.good.is_some() || denied {
            let key = Key { kind, namespace, name };
            self.batch.changes.push(Change { key, object: None, rejected: None });
        }
        self.batch.mended.extend(slot.trouble.map(|trouble| trouble.report.id.clone()));
    }

    /// What changed since the last call.
    pub(super) fn settle(&mut self) -> Batch {
        std::mem::take(&mut self.batch)
    }
}
