// SPDX-License-Identifier: Apache-2.0
//! Which proxies have not yet taken a snapshot: those that are connected, and those that left a moment ago and may go on with what they had
//! until they come back.

use crate::client::ClientState;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tiphys_xds::ResourceType;

/// How long one that left is expected back. Agents connect anew within a second or two, to this replica or to another.
pub const EXPECTED_BACK: Duration = Duration::from_secs(3);

/// Why a proxy has not taken a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lag {
    /// It has not acknowledged all of it.
    Silent,
    /// It refused a part.
    Refused,
    /// It is not connected.
    Gone,
}

/// A proxy that has not taken a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Behind {
    /// Its node's name.
    pub id: String,
    /// Why.
    pub lag: Lag,
}

/// Proxies that left.
#[derive(Debug, Default)]
pub(crate) struct Left(BTreeMap<String, (Instant, u64)>);

impl Left {
    /// A proxy left that had taken all snapshots up to this one.
    pub fn leave(&mut self, id: &str, synced: u64, now: Instant) {
        self.0.retain(|_, (at, _)| now < *at + EXPECTED_BACK);
        self.0.insert(id.to_owned(), (now, synced));
    }

    /// A proxy is there again.
    pub fn come(&mut self, id: &str) {
        self.0.remove(id);
    }

    /// Those that are expected back and had not taken this snapshot.
    pub fn behind(&self, generation: u64, now: Instant) -> impl Iterator<Item = Behind> {
        let due = move |(at, synced): &(Instant, u64)| now < *at + EXPECTED_BACK && *synced < generation;
        let left = self.0.iter().filter(move |(_, left)| due(left));
        left.map(|(id, _)| Behind { id: id.clone(), lag: Lag::Gone })
    }
}

/// The types by which a proxy knows whom to call, and how to be called.
const TYPES: [ResourceType; 4] =
    [ResourceType::CLUSTER, ResourceType::ENDPOINT, ResourceType::LISTENER, ResourceType::ROUTE];

/// Why a connected proxy has not taken a snapshot; none when it has, or when that brought nothing new for it.
pub(crate) fn lag(client: &Arc<ClientState>, generation: u64) -> Option<Lag> {
    if client.refuses(&TYPES) {
        return Some(Lag::Refused);
    }
    let synced = client.synced();
    if synced >= generation {
        return None;
    }
    // Views of proxies for which a snapshot brought nothing keep the generation that they had.
    let given = client.resolved.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let given = given.as_ref().and_then(|resolved| resolved.class.known()).map(|view| view.generation());
    given.is_none_or(|given| given > synced).then_some(Lag::Silent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_left_is_expected_back_for_a_while() {
        let (mut left, now) = (Left::default(), Instant::now());
        left.leave("a", 4, now);
        left.leave("b", 5, now);
        left.leave("c", 4, now);
        left.come("c");
        let ids = |left: &Left, now| left.behind(5, now).map(|one| one.id).collect::<Vec<_>>();
        assert_eq!(ids(&left, now), ["a"]);
        assert!(ids(&left, now + EXPECTED_BACK).is_empty());
        left.leave("d", 4, now + EXPECTED_BACK);
        assert_eq!(left.0.len(), 1, "the others are forgotten");
    }
}
