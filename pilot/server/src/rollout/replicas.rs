// SPDX-License-Identifier: Apache-2.0
//! What the replicas of a control plane tell each other of a change of mutual TLS: each knows only its own proxies, and a client of one calls
//! servers of another.
//!
//! Each replica has an [`Entry`] that all can read. No replica tells clients of a change before all servers take both, and none has servers take
//! only what is wanted before all clients were told. From when a replica says that its servers are ready, clients of others may act on what is
//! wanted, and it keeps that in mind whatever is wanted next.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tiphys_compile::security::{ClientPolicies, Rollout, Step};
use tokio::sync::watch;

use crate::kubernetes::live_pods::LivePodIndex;

/// How far a replica is with what it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// It has begun.
    Nothing,
    /// Its servers take both.
    Servers,
    /// Its clients were told.
    Clients,
    /// It is done.
    All,
}

/// What one replica says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Stands for what it wants clients to act on.
    pub wanted: String,
    /// How far it is.
    pub reached: Reached,
    /// What its clients may act on: who starts while nobody else is there goes by it.
    pub acted: Vec<ClientPolicies>,
}

impl Entry {
    /// What a replica says that is so far.
    pub fn of(rollout: &Rollout, reached: Reached) -> Self {
        Self { wanted: rollout.target().name(), reached, acted: rollout.acted().to_vec() }
    }
}

/// Entries by replica.
pub type Entries = BTreeMap<String, Entry>;

/// The replicas, as one of them sees them.
pub struct Replicas {
    /// Its own name.
    pub own: String,
    /// The namespace of their pods.
    pub namespace: String,
    /// What they say.
    pub entries: watch::Receiver<Arc<Entries>>,
    /// Tells what this one says.
    pub say: watch::Sender<Option<Entry>>,
    /// Who of them lives.
    pub pods: LivePodIndex,
}

impl Replicas {
    /// Says how far this one is.
    pub fn say(&self, entry: Entry) {
        self.say.send_if_modified(|said| {
            let differs = said.as_ref() != Some(&entry);
            if differs {
                *said = Some(entry);
            }
            differs
        });
    }

    /// The replicas that live and are not so far with what is wanted here, sorted.
    pub fn behind(&self, rollout: &Rollout) -> Vec<String> {
        let reached = match rollout.step() {
            Step::Settled => return Vec::new(),
            Step::Servers => Reached::Servers,
            Step::Clients => Reached::Clients,
        };
        let lives = |name: &str| self.pods.has(&self.namespace, name);
        behind(&self.entries.borrow(), (&self.own, &rollout.target().name()), reached, lives)
    }
}

fn behind(
    entries: &Entries,
    (own, wanted): (&str, &str),
    reached: Reached,
    lives: impl Fn(&str) -> bool,
) -> Vec<String> {
    let late = |entry: &Entry| entry.wanted != wanted || entry.reached < reached;
    let others = entries.iter().filter(|(name, entry)| *name != own && late(entry));
    others.map(|(name, _)| name.clone()).filter(|name| lives(name)).collect()
}

/// What clients may act on, by what all replicas said last, also those that are no more.
pub fn acted(entries: &Entries) -> Vec<ClientPolicies> {
    let mut all: Vec<ClientPolicies> = Vec::new();
    for policies in entries.values().flat_map(|entry| &entry.acted) {
        if !all.contains(policies) {
            all.push(policies.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(wanted: &str, reached: Reached) -> Entry {
        Entry { wanted: wanted.into(), reached, acted: Vec::new() }
    }

    #[test]
    fn a_replica_waits_for_those_that_live() {
        let entries = Entries::from([
            ("a".into(), entry("new", Reached::Servers)),
            ("b".into(), entry("new", Reached::Nothing)),
            ("c".into(), entry("old", Reached::All)),
            ("d".into(), entry("old", Reached::All)),
            ("e".into(), entry("new", Reached::All)),
        ]);
        let of = |reached| behind(&entries, ("a", "new"), reached, |name| name != "d");
        assert_eq!(of(Reached::Servers), ["b", "c"]);
        assert_eq!(of(Reached::Clients), ["b", "c"]);
        assert_eq!(behind(&entries, ("b", "new"), Reached::Clients, |_| true), ["a", "c", "d"]);
    }

    #[test]
    fn entries_are_read_as_they_are_written() {
        let mut one = entry("new", Reached::Clients);
        one.acted.push(ClientPolicies::default());
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(text, r#"{"wanted":"new","reached":"clients","acted":[[]]}"#);
        assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), one);
        let entries = Entries::from([("a".into(), one.clone()), ("b".into(), one)]);
        assert_eq!(acted(&entries).len(), 1);
    }
}
