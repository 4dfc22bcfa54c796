// SPDX-License-Identifier: Apache-2.0
//! One hour in minutes, of which most are empty.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use serde::Serialize;

/// How far back it goes.
const MINUTES: u64 = 60;
/// How many peers are told at most.
const PEERS: usize = 256;

/// Connections without mutual TLS on a port of the workload.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct PortTaken {
    /// The port; 0 for ports that nobody declared.
    pub port: u16,
    /// How many.
    pub plaintext: u64,
    /// Minutes since the last of them.
    pub last_minutes: u64,
}

/// What is told.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// Minutes that it looks back.
    pub minutes: u64,
    /// By port, in order.
    pub ports: Vec<PortTaken>,
    /// Addresses that were seen to be connected, by mutual TLS or not.
    pub peers: Vec<IpAddr>,
}

#[derive(Default)]
struct Slot {
    minute: u64,
    ports: Vec<(u16, u32)>,
    peers: Vec<IpAddr>,
}

/// The last hour.
#[derive(Default)]
pub(super) struct Ring {
    /// Minutes in which something was, the oldest first.
    slots: VecDeque<Slot>,
    /// Envoy's counters as they were last.
    last: BTreeMap<u16, u64>,
    has_counted: bool,
}

impl Ring {
    pub fn has_counted(&self) -> bool {
        self.has_counted
    }

    fn slot(&mut self, minute: u64) -> &mut Slot {
        while self.slots.front().is_some_and(|slot| slot.minute + MINUTES <= minute) {
            self.slots.pop_front();
        }
        if self.slots.back().is_none_or(|slot| slot.minute != minute) {
            self.slots.push_back(Slot { minute, ..Slot::default() });
        }
        let place = self.slots.len() - 1;
        &mut self.slots[place]
    }

    /// Adds who is connected.
    pub fn saw(&mut self, peers: BTreeSet<IpAddr>, minute: u64) {
        if peers.is_empty() {
            return;
        }
        let slot = self.slot(minute);
        let new: Vec<IpAddr> = peers.into_iter().filter(|peer| !slot.peers.contains(peer)).collect();
        let room = PEERS.saturating_sub(slot.peers.len());
        slot.peers.extend(new.into_iter().take(room));
    }

    /// Adds what came since Envoy's counters were read last. One that went back begins anew: Envoy forgot it with its listener.
    pub fn counted(&mut self, counts: &BTreeMap<u16, u64>, minute: u64) {
        self.has_counted = true;
        let mut more = Vec::new();
        for (port, count) in counts {
            let before = self.last.get(port).copied().unwrap_or_default();
            let new = if *count < before { *count } else { count - before };
            if new > 0 {
                more.push((*port, u32::try_from(new).unwrap_or(u32::MAX)));
            }
        }
        self.last.clone_from(counts);
        if more.is_empty() {
            return;
        }
        let slot = self.slot(minute);
        for (port, count) in more {
            match slot.ports.iter_mut().find(|(known, _)| *known == port) {
                Some((_, sum)) => *sum = sum.saturating_add(count),
                None => slot.ports.push((port, count)),
            }
        }
    }

    /// What was in the last minutes.
    pub fn taken(&self, minutes: u32, now: u64) -> Taken {
        let span = u64::from(minutes).clamp(1, MINUTES);
        let mut ports: BTreeMap<u16, PortTaken> = BTreeMap::new();
        let mut peers = BTreeSet::new();
        for slot in self.slots.iter().filter(|slot| slot.minute + span > now) {
            for (port, count) in &slot.ports {
                let new = || PortTaken { port: *port, plaintext: 0, last_minutes: 0 };
                let taken = ports.entry(*port).or_insert_with(new);
                taken.plaintext += u64::from(*count);
                taken.last_minutes = now - slot.minute;
            }
            peers.extend(slot.peers.iter().copied());
        }
        // A minute that has begun counts.
        let minutes = span.min(now + 1);
        Taken { minutes, ports: ports.into_values().collect(), peers: peers.into_iter().take(PEERS).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(port: u16, plaintext: u64, last_minutes: u64) -> PortTaken {
        PortTaken { port, plaintext, last_minutes }
    }

    #[test]
    fn an_hour_goes_by() {
        let mut ring = Ring::default();
        assert!(!ring.has_counted());
        ring.counted(&[(80, 3)].into(), 0);
        ring.counted(&[(80, 5), (90, 1)].into(), 0);
        ring.counted(&[(80, 5), (90, 2)].into(), 10);
        assert_eq!(ring.taken(60, 10).ports, [port(80, 5, 10), port(90, 2, 0)]);
        assert_eq!((ring.taken(60, 10).minutes, ring.taken(60, 99).minutes), (11, 60));
        assert_eq!(ring.taken(5, 10).ports, [port(90, 1, 0)]);
        assert_eq!(ring.taken(60, 60).ports, [port(90, 1, 50)]);
        // Envoy counts from the beginning again.
        ring.counted(&[(80, 2)].into(), 61);
        assert_eq!(ring.taken(60, 61).ports, [port(80, 2, 0), port(90, 1, 51)]);
        ring.counted(&[(80, 3)].into(), 200);
        assert_eq!((ring.slots.len(), ring.taken(60, 200).ports), (1, vec![port(80, 1, 0)]));
    }

    #[test]
    fn peers_are_told_once_and_not_without_end() {
        let mut ring = Ring::default();
        let peers =
            |count: u32| -> BTreeSet<IpAddr> { (0..count).map(|n| std::net::Ipv4Addr::from(n).into()).collect() };
        ring.saw(peers(3), 0);
        ring.saw(peers(4), 1);
        assert_eq!(ring.taken(60, 1).peers.len(), 4);
        ring.saw(peers(1000), 2);
        ring.saw(peers(2000), 2);
        assert_eq!(ring.taken(60, 2).peers.len(), 256);
        assert_eq!(ring.taken(60, 70).peers.len(), 0);
    }
}
