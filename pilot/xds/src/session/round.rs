// SPDX-License-Identifier: Apache-2.0
//! The order in which one view reaches a client, so that nothing is referred to before it is there or after it is gone.
//!
//! A round takes one view through its stages. Clusters that are new or changed are sent and taken first; then their endpoints; then
//! listeners and routes; and when these are taken, clusters that nothing names any more are removed. Endpoints and types that others do
//! not refer to are not part of a round: they are always those of the latest view. While a round is under way the next views
//! gather, and the following round starts with the latest. A view that has the same clusters, listeners and routes needs no round.

use crate::hub::Step;
use crate::{ClientView, ResourceType, Table};
use std::sync::Arc;
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// New and changed clusters are on their way.
    Clusters,
    /// The endpoints of these clusters are.
    Endpoints,
    /// Listeners and routes are.
    Routes,
    /// What is gone is being removed.
    Removals,
    /// The client has taken the view.
    Done,
}

#[derive(Debug)]
pub(super) struct Round {
    pub view: Arc<ClientView>,
    pub stage: Stage,
    /// When the stage began.
    pub since: Instant,
    /// The clusters that were sent in this round; the client will ask for their endpoints.
    pub clusters: Vec<Arc<Step>>,
}

impl Round {
    pub fn new(view: Arc<ClientView>, now: Instant) -> Self {
        Self { view, stage: Stage::Clusters, since: now, clusters: Vec::new() }
    }

    /// Whether a later view has nothing else that comes in stages: most often only endpoints changed.
    pub fn has_all_of(&self, later: &ClientView) -> bool {
        [ResourceType::CLUSTER, ResourceType::LISTENER, ResourceType::ROUTE]
            .into_iter()
            .all(|ty| Table::both_same(self.view.table(ty), later.table(ty)))
    }

    pub fn enter(&mut self, stage: Stage, now: Instant) {
        self.stage = stage;
        self.since = now;
        if stage > Stage::Endpoints {
            self.clusters.clear();
        }
    }

    /// The names whose endpoints the client is expected to ask for.
    pub fn expected(&self) -> impl Iterator<Item = &str> {
        let endpoints = self.view.table(ResourceType::ENDPOINT);
        let names = self.clusters.iter().flat_map(|step| step.diff.changed.iter()).map(|e| &*e.name);
        names.filter(move |name| endpoints.is_some_and(|t| t.contains(name)))
    }
}
