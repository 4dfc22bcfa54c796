// SPDX-License-Identifier: Apache-2.0
//! DNS to the agent. Requests of the application and those of the agent to its servers have the same addresses and may have the
//! same ports: connection tracking keeps them apart in two zones.

use super::{CaptureConfig, Chain, DNS_PORT, Family, Match, Rule, Table, Target, family, list, tcp, udp};

/// Whether there is anything to capture.
pub(super) fn wanted(config: &CaptureConfig) -> bool {
    config.redirect_dns && (config.capture_all_dns || !config.nameservers.is_empty())
}

/// Redirection and zones.
pub(super) fn all(config: &CaptureConfig, rules: &mut Vec<Rule>) {
    rules.push(Rule::new(Table::Raw, Chain::Output, vec![], Target::Jump(Chain::OutboundDns)));
    for family in families(config) {
        let jump = Rule::new(Table::Nat, Chain::Outbound, vec![], Target::Jump(Chain::OutboundDns));
        rules.push(jump.only(family));
    }
    let to_agent = || Target::Redirect(DNS_PORT.into());
    for protocol in [tcp(), udp()] {
        for (family, server) in servers(config) {
            let mut matches = vec![protocol.clone(), Match::Port("53".into())];
            matches.extend(server.map(Match::Destination));
            rules.push(Rule::new(Table::Nat, Chain::OutboundDns, matches, to_agent()).only(family));
        }
    }
    zones(config, rules);
}

/// Agent and servers are zone 1, application and agent zone 2.
fn zones(config: &CaptureConfig, rules: &mut Vec<Rule>) {
    let users = list(&config.proxy_uid).map(|id| Match::User(id.into()));
    let groups = list(&config.proxy_gid).map(|id| Match::Group(id.into()));
    for owner in users.chain(groups) {
        for (port, zone) in [(Match::Port("53".into()), 1), (Match::SourcePort(DNS_PORT.into()), 2)] {
            rules.push(Rule::new(Table::Raw, Chain::OutboundDns, vec![udp(), port, owner.clone()], Target::Zone(zone)));
        }
    }
    for family in families(config) {
        rules.push(Rule::new(Table::Raw, Chain::Prerouting, vec![], Target::Jump(Chain::Inbound)).only(family));
    }
    for (family, server) in servers(config) {
        let to = [udp(), Match::Port("53".into())].into_iter().chain(server.clone().map(Match::Destination));
        rules.push(Rule::new(Table::Raw, Chain::OutboundDns, to.collect(), Target::Zone(2)).only(family));
        let from = [udp(), Match::SourcePort("53".into())].into_iter().chain(server.map(Match::Source));
        rules.push(Rule::new(Table::Raw, Chain::Inbound, from.collect(), Target::Zone(1)).only(family));
    }
}

/// The families that have a server.
fn families(config: &CaptureConfig) -> Vec<Family> {
    let has = |v6| config.capture_all_dns || config.nameservers.iter().any(|a| a.is_ipv6() == v6);
    match (has(false), has(true)) {
        (true, true) => vec![Family::Both],
        (true, false) => vec![Family::V4],
        (false, true) => vec![Family::V6],
        (false, false) => vec![],
    }
}

/// Each server, IPv4 first; one entry without an address when all DNS is captured.
fn servers(config: &CaptureConfig) -> Vec<(Family, Option<String>)> {
    if config.capture_all_dns {
        return vec![(Family::Both, None)];
    }
    let mut sorted = config.nameservers.clone();
    sorted.sort_by_key(std::net::IpAddr::is_ipv6);
    sorted.iter().map(|a| (family(*a), Some(format!("{a}/{}", if a.is_ipv4() { 32 } else { 128 })))).collect()
}
