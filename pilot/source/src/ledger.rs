// SPDX-License-Identifier: Apache-2.0
//! Who says what about which object, and what follows: the claims of places in, [`Batch`]es out.
//!
//! A place (a file) claims the objects that its documents hold. Claims of one key compete: the one in force stays, else the first by place and
//! order in it wins, so a fresh start gives the same result in any order. A claim that its place no longer makes is *leaving*: it holds
//! until [`Ledger::forget`], unless another place makes it, so that moving or rewriting a file tears nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use tiphys_api::{Key, Object, Origin, Problem};

use crate::{Batch, Change, Contents, Document, Located, Outcome, Report, ReportId, is_security};

#[derive(Debug)]
struct Claim {
    place: Arc<Path>,
    /// Order among the place's claims of this key.
    nth: usize,
    document: Document,
    leaving: bool,
}

impl Claim {
    fn id(&self) -> (Arc<Path>, usize) {
        (self.place.clone(), self.nth)
    }
}

/// What was told about a key last.
#[derive(Debug, Default)]
enum Told {
    #[default]
    Nothing,
    Object(Arc<Object>),
    Denied(Arc<Report>),
}

#[derive(Debug, Default)]
struct Entry {
    claims: Vec<Claim>,
    in_force: Option<(Arc<Path>, usize)>,
    good: Option<Arc<Object>>,
    told: Told,
    reports: BTreeMap<ReportId, Report>,
}

#[derive(Debug, Default)]
struct Place {
    keys: BTreeSet<Key>,
    leaving: BTreeSet<Key>,
    /// Reports about parts that are no object.
    reports: BTreeMap<ReportId, Report>,
}

/// The claims of all places.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<Key, Entry>,
    places: BTreeMap<Arc<Path>, Place>,
    touched: BTreeSet<Key>,
    batch: Batch,
}

impl Ledger {
    /// Takes what a place holds now. Returns whether claims are leaving: [`Ledger::forget`] is due for it.
    pub(crate) fn put(&mut self, path: &Arc<Path>, contents: Contents) -> bool {
        let Contents { documents, broken, passed } = contents;
        let complete = broken.is_empty();
        let place = self.places.entry(path.clone()).or_default();
        let mut now: BTreeMap<Key, Vec<Document>> = BTreeMap::new();
        for document in documents {
            now.entry(document.key.clone()).or_default().push(document);
        }
        for key in place.keys.iter().filter(|key| !now.contains_key(key)) {
            // Part of the place could not be read: it may hold this object.
            if complete {
                place.leaving.insert(key.clone());
            } else {
                place.leaving.remove(key);
            }
            for claim in self.entries.get_mut(key).into_iter().flat_map(|e| &mut e.claims).filter(|c| c.place == *path)
            {
                claim.leaving = complete;
            }
            self.touched.insert(key.clone());
        }
        for (key, documents) in now {
            place.leaving.remove(&key);
            place.keys.insert(key.clone());
            let entry = self.entries.entry(key.clone()).or_default();
            entry.claims.retain(|claim| claim.place != *path);
            entry.claims.extend(documents.into_iter().enumerate().map(|(nth, document)| Claim {
                place: path.clone(),
                nth,
                document,
                leaving: false,
            }));
            self.touched.insert(key);
        }
        let broken = broken.into_iter().map(|located| (located, Outcome::Kept));
        let passed = passed.into_iter().map(|located| (located, Outcome::Absent));
        let reports = broken.chain(passed).enumerate().map(|(nth, (located, outcome))| {
            let id = ReportId { place: path.clone(), key: None, nth };
            (id.clone(), Report { id, origin: located.origin.clone(), problems: vec![located], outcome })
        });
        let leaving = !place.leaving.is_empty();
        tell(&mut self.batch, &mut place.reports, reports.collect());
        leaving
    }

    /// A place that is gone: what it claims is leaving.
    pub(crate) fn remove(&mut self, path: &Arc<Path>) -> bool {
        self.places.contains_key(path) && self.put(path, Contents::default())
    }

    /// A place that cannot be read: what it claims stays.
    pub(crate) fn unreadable(&mut self, path: &Arc<Path>, why: &str) {
        let origin = Origin { file: Some(path.clone()), ..Origin::default() };
        self.put(
            path,
            Contents { broken: vec![Located { origin, problem: Problem::error("", why) }], ..Contents::default() },
        );
    }

    /// Takes back that a place that is no file (a folder) cannot be read.
    pub(crate) fn readable(&mut self, path: &Arc<Path>) {
        self.put(path, Contents::default());
        self.forget(path);
    }

    /// Drops the claims of a place that are leaving.
    pub(crate) fn forget(&mut self, path: &Arc<Path>) {
        let Some(place) = self.places.get_mut(path) else { return };
        for key in std::mem::take(&mut place.leaving) {
            place.keys.remove(&key);
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.claims.retain(|claim| claim.place != *path || !claim.leaving);
            }
            self.touched.insert(key);
        }
        if place.keys.is_empty() && place.reports.is_empty() {
            self.places.remove(path);
        }
    }

    /// What changed since the last call.
    pub(crate) fn settle(&mut self) -> Batch {
        for key in std::mem::take(&mut self.touched) {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.settle(&key, &mut self.batch);
            if entry.claims.is_empty() {
                self.entries.remove(&key);
            }
        }
        std::mem::take(&mut self.batch)
    }
}

impl Entry {
    fn settle(&mut self, key: &Key, batch: &mut Batch) {
        let any_live = self.claims.iter().any(|claim| !claim.leaving);
        let pool = || self.claims.iter().filter(|claim| claim.leaving != any_live);
        let stays = pool().find(|claim| self.in_force.as_ref() == Some(&claim.id()));
        let Some(chosen) = stays.or_else(|| pool().min_by_key(|claim| claim.id())) else {
            return self.vanish(key, batch);
        };
        let mut reports = BTreeMap::new();
        for claim in pool().filter(|claim| claim.id() != chosen.id()) {
            let text = format!("is also in {}, which stays in force: remove one of the two", chosen.document.origin);
            let origin = claim.document.origin.clone();
            let twice = Located { origin, problem: Problem::error("", text) };
            let problems = std::iter::once(twice).chain(claim.document.problems.iter().cloned()).collect();
            add(&mut reports, claim, key, problems, Outcome::Absent);
        }
        let outcome = match (&chosen.document.object, &self.good) {
            (Ok(_), _) => Outcome::InForce,
            (Err(_), Some(_)) => Outcome::Kept,
            (Err(_), None) if is_security(key.kind) => Outcome::Denied,
            (Err(_), None) => Outcome::Absent,
        };
        let report = add(&mut reports, chosen, key, chosen.document.problems.clone(), outcome);
        let change = match (&chosen.document.object, outcome) {
            (Ok(object), _) => {
                let same = matches!(&self.told, Told::Object(told) if Arc::ptr_eq(told, object) || told == object);
                self.good = Some(object.clone());
                (!same).then(|| (Told::Object(object.clone()), Some(object.clone()), None))
            }
            (Err(object), Outcome::Denied) => {
                let report = Arc::new(report.unwrap_or_else(|| unexplained(chosen, key)));
                let same = matches!(&self.told, Told::Denied(told) if *told == report);
                (!same).then(|| (Told::Denied(report.clone()), object.clone(), Some(report)))
            }
            (Err(_), _) => None,
        };
        self.in_force = Some(chosen.id());
        if let Some((told, object, rejected)) = change {
            self.told = told;
            batch.changes.push(Change { key: key.clone(), object, rejected });
        }
        tell(batch, &mut self.reports, reports);
    }

    fn vanish(&mut self, key: &Key, batch: &mut Batch) {
        if !matches!(std::mem::take(&mut self.told), Told::Nothing) {
            batch.changes.push(Change { key: key.clone(), object: None, rejected: None });
        }
        tell(batch, &mut self.reports, BTreeMap::new());
    }
}

fn add(
    reports: &mut BTreeMap<ReportId, Report>,
    claim: &Claim,
    key: &Key,
    problems: Vec<Located>,
    outcome: Outcome,
) -> Option<Report> {
    if problems.is_empty() {
        return None;
    }
    let id = ReportId { place: claim.place.clone(), key: Some(key.clone()), nth: claim.nth };
    let report = Report { id: id.clone(), origin: claim.document.origin.clone(), problems, outcome };
    reports.insert(id, report.clone());
    Some(report)
}

/// A document that is refused names its problems; this stands in for one that does not.
fn unexplained(claim: &Claim, key: &Key) -> Report {
    let origin = claim.document.origin.clone();
    let problem = Problem::error("", "cannot be used");
    Report {
        id: ReportId { place: claim.place.clone(), key: Some(key.clone()), nth: claim.nth },
        problems: vec![Located { origin: origin.clone(), problem }],
        origin,
        outcome: Outcome::Denied,
    }
}

/// Replaces reports, and puts what differs into the batch.
fn tell(batch: &mut Batch, held: &mut BTreeMap<ReportId, Report>, now: BTreeMap<ReportId, Report>) {
    batch.mended.extend(held.keys().filter(|id| !now.contains_key(id)).cloned());
    batch
        .reports
        .extend(now.iter().filter(|(id, report)| held.get(id) != Some(report)).map(|(_, report)| report.clone()));
    *held = now;
}
