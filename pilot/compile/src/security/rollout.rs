// SPDX-License-Identifier: Apache-2.0
//! Changes of mutual TLS in an order in which no call between workloads of the mesh fails.
//!
//! A client of the mesh decides whether it calls in plain text or by mutual TLS, a server which of the two it takes, and both decide by the
//! same PeerAuthentications, at different moments. So a change takes two steps, after each of which the control plane waits until the proxies
//! have taken it:
//!
//! 1. [`Step::Servers`]: servers take both wherever clients are to call otherwise than some still do.
//! 2. [`Step::Clients`]: clients are told.
//!
//! After that servers take what is wanted and nothing else ([`Step::Settled`]). It is the same on the way up and on the way down. What clients
//! do not notice (PERMISSIVE to STRICT) has no steps. A newer change in the middle of one begins with the first step again; what clients may
//! still act on is kept until all of them have taken something newer.
//!
//! Where several replicas serve, each goes from one step to the next when all have come so far. A replica that says that its servers are ready
//! ([`Rollout::promise`]) counts on clients of others that act on what is wanted from then on.
//!
//! No clock and no proxy here: [`Rollout::want`] says what is wanted, [`Rollout::pass`] that those who had to have taken a step.

use super::modes::{ClientPolicies, Peers};

/// Where a change is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Servers take what is wanted, and clients act on it.
    Settled,
    /// Servers are to take both.
    Servers,
    /// Clients are to act on what is wanted.
    Clients,
}

/// The way of one change of mutual TLS.
#[derive(Clone, Debug)]
pub struct Rollout {
    ordered: bool,
    wanted: Option<Peers>,
    /// What clients make of it.
    target: ClientPolicies,
    /// What some client may act on; the last one is what clients are told now.
    acted: Vec<ClientPolicies>,
    step: Step,
    epoch: u64,
    /// Clients were told something before the control plane began.
    resumes: bool,
}

impl Rollout {
    /// Without `ordered` all changes are taken at once.
    pub fn new(ordered: bool) -> Self {
        let target = ClientPolicies::default();
        Self {
            ordered,
            wanted: None,
            acted: vec![target.clone()],
            target,
            step: Step::Settled,
            epoch: 0,
            resumes: false,
        }
    }

    /// Before anything is wanted: these are what clients may act on, by what the control plane told them before it began anew.
    pub fn resume(&mut self, acted: Vec<ClientPolicies>) {
        if self.wanted.is_none() && self.ordered && !acted.is_empty() {
            self.acted = acted;
            self.resumes = true;
        }
    }

    /// All servers take both: from now on clients of other replicas may act on what is wanted.
    pub fn promise(&mut self) {
        if self.step == Step::Servers && !self.acted.contains(&self.target) {
            self.acted.insert(0, self.target.clone());
        }
    }

    /// These policies are wanted. The first ones are taken as they are: nobody was told anything before.
    pub fn want(&mut self, peers: &Peers) {
        let first = self.wanted.is_none() && !self.resumes;
        if self.wanted.as_ref() == Some(peers) {
            return;
        }
        self.wanted = Some(peers.clone());
        self.target = ClientPolicies::of(peers);
        if first || !self.ordered || self.acted[..] == [self.target.clone()] {
            self.settle();
        } else if self.step == Step::Clients && self.told() == &self.target {
            // Another word for the same: clients are being told already.
        } else {
            self.enter(Step::Servers);
        }
    }

    /// All proxies that had to have taken the present step.
    pub fn pass(&mut self) {
        match self.step {
            Step::Settled => {}
            Step::Servers => {
                self.acted.retain(|policies| *policies != self.target);
                self.acted.push(self.target.clone());
                self.enter(Step::Clients);
            }
            Step::Clients => self.settle(),
        }
    }

    fn settle(&mut self) {
        self.acted = vec![self.target.clone()];
        if self.step != Step::Settled {
            self.enter(Step::Settled);
        }
    }

    fn enter(&mut self, step: Step) {
        self.step = step;
        self.epoch += 1;
    }

    /// Where the change is on its way.
    pub fn step(&self) -> Step {
        self.step
    }

    /// Counts up whenever a step begins.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What clients make of what is wanted.
    pub fn target(&self) -> &ClientPolicies {
        &self.target
    }

    /// What some client may act on.
    pub fn acted(&self) -> &[ClientPolicies] {
        &self.acted
    }

    /// What clients are told.
    pub fn told(&self) -> &ClientPolicies {
        self.acted.last().unwrap_or(&self.target)
    }

    /// What some clients may act on although it is not what is wanted.
    pub fn outdated(&self) -> Vec<ClientPolicies> {
        self.acted.iter().filter(|policies| **policies != self.target).cloned().collect()
    }
}
