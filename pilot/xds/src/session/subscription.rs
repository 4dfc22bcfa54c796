// SPDX-License-Identifier: Apache-2.0
//! One type on one stream: what the client asked for, what it holds, and what it refused.

use super::refused::Refused;
use crate::selection::Selection;
use crate::wire::{parse_version, set_version};
use crate::{ClientView, Entry, ResourceType, Table};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A response that the client has not answered yet.
#[derive(Debug)]
pub(super) struct InFlight {
    pub nonce: String,
    pub version: String,
}

/// The state of one type on one stream.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    pub selection: Arc<Selection>,
    /// Whether the client ever named a resource: from then on "no names" means none (state of the world).
    pub named: bool,
    /// What the client holds once it took the response in flight.
    pub held: Table,
    /// What it holds without that response.
    pub acked: Table,
    pub in_flight: Option<InFlight>,
    pub last_nonce: String,
    /// Names that the client must be told of if they do not exist (delta).
    pub asked: Vec<Arc<str>>,
    /// Whether a response is due even if it is empty.
    pub must_answer: bool,
    /// None as long as nothing was refused.
    pub refused: Option<Box<Refused>>,
    /// The version of the set that the client says it holds from an earlier stream (state of the world).
    pub claim: Option<String>,
    /// Set while there is nothing to send, as far as is known.
    pub settled: Option<Settled>,
    selected: Option<Selected>,
    demanded: Option<(Arc<ClientView>, Arc<Selection>, Table)>,
}

/// What decided that there is nothing to send.
#[derive(Debug)]
pub(super) struct Settled {
    pub basis: Basis,
    /// Others that count too.
    pub earlier: Option<Table>,
    pub renewed: Option<Table>,
    /// What is gone might have been removed. Who has nothing to send then has nothing to send without removals either.
    pub removals: bool,
}

/// What a view has of a type.
#[derive(Debug)]
pub(super) enum Basis {
    /// All of it.
    Table(Table),
    /// What is made when it is asked for: another view may have another.
    Demand(Arc<ClientView>),
}

/// The inputs and the result of the last selection.
#[derive(Debug)]
struct Selected {
    from: Table,
    renewed: Option<Table>,
    selection: Arc<Selection>,
    result: Table,
}

impl Subscription {
    /// The selected entries of a table; see [`Selection::select`].
    pub fn select(&mut self, from: &Table, renewed: Option<&Table>) -> Table {
        if let Some(last) = &self.selected
            && Arc::ptr_eq(&last.selection, &self.selection)
            && last.from.same(from)
            && Table::both_same(last.renewed.as_ref(), renewed)
        {
            return last.result.clone();
        }
        let result = self.selection.select(from, renewed);
        let selection = Arc::clone(&self.selection);
        self.selected =
            Some(Selected { from: from.clone(), renewed: renewed.cloned(), selection, result: result.clone() });
        result
    }

    /// The table of the selected names that `find` knows, which is asked once for each view.
    pub fn demand(&mut self, view: &Arc<ClientView>, find: impl Fn(&str) -> Option<Entry>) -> Table {
        if let Some((last, selection, table)) = &self.demanded
            && Arc::ptr_eq(last, view)
            && Arc::ptr_eq(selection, &self.selection)
        {
            return table.clone();
        }
        let entries = self.selection.names().iter().filter_map(|name| find(name));
        let table = self.held.replace(entries.collect());
        self.demanded = Some((Arc::clone(view), Arc::clone(&self.selection), table.clone()));
        table
    }

    /// Takes what a delta client says it holds from an earlier stream.
    pub fn adopt(&mut self, initial: BTreeMap<String, String>) {
        // Without bodies: they are only compared, never sent.
        let entries = initial.into_iter().filter(|(name, _)| self.selection.matches(name)).map(|(name, version)| {
            let version = parse_version(&version);
            Entry { name: name.into(), version, body: Bytes::new() }
        });
        self.held = Table::from_entries(entries.collect());
        self.acked = self.held.clone();
    }

    /// Compares what a client of the state of the world says it holds with what it should.
    pub fn settle_claim(&mut self, ty: ResourceType, desired: &Table) {
        let Some(claim) = self.claim.take() else { return };
        if claim == set_version(desired.fingerprint()) {
            self.held = desired.clone();
            self.acked = desired.clone();
            self.must_answer = false;
        } else {
            // It may hold what is gone: for a full state the answer, even an empty one, tells it.
            self.must_answer = ty.rules().full_state;
        }
    }

    /// Forgets that the client holds these, so that they are sent again if they are wanted.
    pub fn forget(&mut self, names: &[Arc<str>]) {
        if names.iter().any(|n| self.held.contains(n)) {
            self.held = self.held.patch(Vec::new(), names);
        }
        if names.iter().any(|n| self.acked.contains(n)) {
            self.acked = self.acked.patch(Vec::new(), names);
        }
    }

    /// Forgets all that is not selected. Gives whether anything was.
    pub fn forget_unselected(&mut self) -> bool {
        if self.selection.wildcard() {
            return false;
        }
        let names: Vec<Arc<str>> =
            self.held.iter().map(|e| &e.name).filter(|n| !self.selection.has(n)).cloned().collect();
        self.forget(&names);
        !names.is_empty()
    }

    /// The client took the response in flight.
    pub fn ack(&mut self) {
        self.acked = self.held.clone();
        if let Some(refused) = &mut self.refused {
            refused.forget_group();
        }
    }

    /// The client refused the response in flight: it goes on with what it had. What was removed counts as removed, since sending
    /// that again would only be refused again.
    pub fn nack(&mut self) {
        let diff = Table::diff(&self.acked, &self.held);
        self.acked = self.acked.patch(Vec::new(), &diff.removed);
        self.held = self.acked.clone();
        self.refused.get_or_insert_default().add(diff.changed);
    }
}
