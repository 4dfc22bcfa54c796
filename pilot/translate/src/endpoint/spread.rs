// SPDX-License-Identifier: Apache-2.0
//! Ranks and weights of groups of endpoints for a client at a place
//! (<https://istio.io/latest/docs/reference/config/networking/destination-rule/#LocalityLoadBalancerSetting>).

use super::policy::place_label;
use super::{Group, Place, total};
use crate::locality::{Spread, label};
use tiphys_model::{Distribute, Endpoint, Locality, Str};

/// Ranks and weighs groups.
pub(super) fn apply<'a>(groups: Vec<Group<'a>>, spread: &Spread, place: &Place) -> Vec<Group<'a>> {
    match spread {
        Spread::Distribute(rules) => distribute(groups, rules, &place.locality),
        Spread::Failover { regions, priority } if priority.is_empty() => {
            by_rank(groups, 5, |group| locality_rank(&place.locality, &group.locality, regions))
        }
        Spread::Failover { regions, priority } => {
            let groups = by_labels(groups, priority, place);
            if regions.is_empty() {
                return groups;
            }
            by_rank(groups, 5, |group| locality_rank(&place.locality, &group.locality, regions))
        }
        Spread::Zones { regions, priority } => {
            let groups = if priority.is_empty() { groups } else { by_labels(groups, priority, place) };
            by_rank(groups, 3, |group| region_rank(&place.locality, &group.locality, regions))
        }
    }
}

/// Weights by the first rule that is for the client's locality. Groups that it does not name get no endpoints.
fn distribute<'a>(mut groups: Vec<Group<'a>>, rules: &[Distribute], client: &Locality) -> Vec<Group<'a>> {
    let Some(rule) = rules.iter().find(|rule| client.matches(&rule.from)) else { return groups };
    let mut named = vec![false; groups.len()];
    // Backwards, so that a pattern comes before the wider one that it begins with.
    for (pattern, percent) in rule.to.iter().rev() {
        let fits = |(index, group): &(usize, &Group<'_>)| !named[*index] && group.locality.matches(pattern);
        let matched: Vec<(usize, u64)> = groups
            .iter()
            .enumerate()
            .filter(fits)
            .map(|(index, group)| (index, u64::from(group.weight.unwrap_or(1))))
            .collect();
        let sum: u64 = matched.iter().map(|(_, weight)| weight).sum();
        for (index, weight) in matched {
            named[index] = true;
            let share = (weight * u64::from(*percent)).div_ceil(sum.max(1));
            if share > 0 {
                groups[index].weight = Some(u32::try_from(share).unwrap_or(u32::MAX));
            }
        }
    }
    for (group, named) in groups.iter_mut().zip(named) {
        if !named {
            group.members.clear();
        }
    }
    groups
}

/// 0 for the same subzone, 1 zone, 2 region, 3 elsewhere; 4 elsewhere than the region to fail over to, if the client's has one.
fn locality_rank(client: &Locality, group: &Locality, failover: &[(Str, Str)]) -> u32 {
    if client.region != group.region {
        let to = failover.iter().find(|(from, _)| *from == client.region).map(|(_, to)| to);
        return if to.is_some_and(|to| *to != group.region) { 4 } else { 3 };
    }
    match (client.zone == group.zone, client.subzone == group.subzone) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    }
}

/// 0 for the same region, 1 for the one to fail over to, 2 for others.
fn region_rank(client: &Locality, group: &Locality, failover: &[(Str, Str)]) -> u32 {
    if client.region == group.region {
        return 0;
    }
    match failover.iter().find(|(from, _)| *from == client.region) {
        Some((_, to)) if *to == group.region => 1,
        _ => 2,
    }
}

/// Ranks within the ranks that groups have already; `ranks` is how many there may be.
fn by_rank<'a>(mut groups: Vec<Group<'a>>, ranks: u32, rank: impl Fn(&Group<'a>) -> u32) -> Vec<Group<'a>> {
    for group in &mut groups {
        group.priority = group.priority * ranks + rank(group);
    }
    compact(&mut groups);
    groups
}

/// Splits groups by how many of the labels, from the first on, an endpoint shares with the client.
fn by_labels<'a>(groups: Vec<Group<'a>>, wanted: &[Str], place: &Place) -> Vec<Group<'a>> {
    let mut split = Vec::new();
    for group in groups {
        let mut parts: std::collections::BTreeMap<u32, Vec<_>> = std::collections::BTreeMap::new();
        for member in group.members {
            parts.entry(label_rank(member.0, wanted, place)).or_default().push(member);
        }
        for (priority, members) in parts {
            let weight = Some(total(&members));
            split.push(Group { locality: group.locality.clone(), members, weight, priority });
        }
    }
    compact(&mut split);
    split
}

/// The number of labels from the first that differs. A network in the first place counts by itself: endpoints of another network come
/// after all of the own one, ranked among themselves by the other labels.
fn label_rank(endpoint: &Endpoint, wanted: &[Str], place: &Place) -> u32 {
    let count = |list: &[Str]| u32::try_from(list.len()).unwrap_or(u32::MAX);
    let mut other_network = 0;
    for (index, entry) in wanted.iter().enumerate() {
        let (key, value) = entry.split_once('=').map_or((&**entry, None), |(key, value)| (key, Some(value)));
        let own = value.unwrap_or_else(|| place.labels.get(key).map_or("", |own| own));
        if own == &*endpoint_label(endpoint, key) {
            continue;
        }
        if index == 0 && key == label::NETWORK {
            other_network = count(wanted);
            continue;
        }
        return other_network + count(&wanted[index..]);
    }
    other_network
}

/// A label of an endpoint, those that tell its place included.
fn endpoint_label(endpoint: &Endpoint, key: &str) -> Str {
    let node = || endpoint.node.clone();
    place_label(key, &endpoint.locality, [&endpoint.network, &endpoint.cluster])
        .or_else(|| (key == label::NODE).then(node))
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| endpoint.label(key).into())
}

/// Makes priorities follow each other without gaps, which Envoy asks for.
fn compact(groups: &mut [Group<'_>]) {
    let mut used: Vec<u32> = groups.iter().map(|group| group.priority).collect();
    used.sort_unstable();
    used.dedup();
    for group in groups {
        let place = used.binary_search(&group.priority).unwrap_or_default();
        group.priority = u32::try_from(place).unwrap_or(u32::MAX);
    }
}
